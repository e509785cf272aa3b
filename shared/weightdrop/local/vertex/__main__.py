"""Start the stand-in: `python -m weightdrop.local.vertex --home HOME`."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import uvicorn
from starlette.applications import Starlette

from weightdrop.local.vertex.config import Choices, Config, Probing, Scaling
from weightdrop.local.vertex.server import make_app
from weightdrop.settings import load

_BACKLOG = 512
log = logging.getLogger(__name__)


def _listen(port: int) -> socket.socket:
    # asyncio sends small packets at once only when the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(_BACKLOG)
    return listener


def _leave(*_: object) -> None:
    sys.exit(0)


class _Quiet(uvicorn.Server):
    """A second server in the same process: signals are the first one's."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield


def _options(app: Starlette, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
        ws="none",
        **more,
    )


async def _serve(config: Config) -> None:
    listener = _listen(config.port)
    address = "{}:{}".format(*listener.getsockname())
    secure = _listen(config.tls_port) if config.tls_certificate else None
    dns = f"localhost:{secure.getsockname()[1]}" if secure else address
    app = make_app(config, dns=config.dedicated_dns or dns)
    log.warning("Vertex AI stand-in for local use, on http://%s", address)
    main_server = uvicorn.Server(_options(app))
    if secure is None:
        await main_server.serve(sockets=[listener])
        return
    log.warning("and on https://%s", dns)
    tls = _Quiet(
        _options(
            app,
            lifespan="off",
            ssl_certfile=config.tls_certificate,
            ssl_keyfile=config.tls_key,
        )
    )
    second = asyncio.create_task(tls.serve(sockets=[secure]))
    try:
        await main_server.serve(sockets=[listener])
    finally:
        tls.should_exit = True
        await second


def serve(config: Config) -> None:
    """Answer on 127.0.0.1 until SIGTERM or SIGINT."""
    # uvicorn raises the signal that ended it once more when all is stopped.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    asyncio.run(_serve(config))


@click.command()
@click.option("--home", type=click.Path(path_type=Path), required=True)
@click.option("--port", default=8472, show_default=True, help="0 takes a free one.")
@click.option("--project", default="local", show_default=True)
@click.option("--storage-endpoint", default="", help="URL of the bucket server.")
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    help="Accelerators of each region; WEIGHTDROP_LOCAL_GPUS, else 64.",
)
@click.option("--dedicated-dns", default="", help="Name of dedicated endpoints.")
@click.option("--tls-port", default=0, help="0 takes a free one.")
@click.option("--tls-certificate", type=click.Path(path_type=Path), default=None)
@click.option("--tls-key", type=click.Path(path_type=Path), default=None)
@click.option("--probe-seconds", default=0.5, show_default=True)
@click.option("--health-seconds", default=2.0, show_default=True)
@click.option("--liveness-seconds", default=10.0, show_default=True)
@click.option("--start-attempts", default=2, show_default=True)
@click.option("--deployment-timeout", default=1800.0, show_default=True)
@click.option("--requests-per-replica", default=16, show_default=True)
@click.option("--scale-down-seconds", default=30.0, show_default=True)
@click.option("--idle-factor", default=60.0, show_default=True)
@click.option("--first-takes-traffic/--first-takes-none", default=False)
@click.option("--chat-request-format/--chat-plain", default=True)
@click.option("--chat-refused/--chat-served", default=False)
@click.option("--container-spec-ignored/--container-spec-used", default=False)
@click.option("--listed-only/--any-model", default=False)
@click.option("--failed-deploy-stays/--failed-deploy-goes", default=False)
@click.option("--dedicated-only/--any-host", default=False)
@click.option("--inference-timeout", default=3600.0, show_default=True)
def main(
    *,
    home: Path,
    port: int,
    project: str,
    storage_endpoint: str,
    gpus: int | None,
    dedicated_dns: str,
    tls_port: int,
    tls_certificate: Path | None,
    tls_key: Path | None,
    probe_seconds: float,
    health_seconds: float,
    liveness_seconds: float,
    start_attempts: int,
    deployment_timeout: float,
    requests_per_replica: int,
    scale_down_seconds: float,
    idle_factor: float,
    first_takes_traffic: bool,
    chat_request_format: bool,
    chat_refused: bool,
    container_spec_ignored: bool,
    listed_only: bool,
    failed_deploy_stays: bool,
    dedicated_only: bool,
    inference_timeout: float,
) -> None:
    """Speak the Vertex AI API on 127.0.0.1 and really run what is deployed."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    serve(
        Config(
            home=home.expanduser().resolve(),
            port=port,
            project=project,
            storage_endpoint=storage_endpoint,
            gpus=load().local_gpus if gpus is None else gpus,
            dedicated_dns=dedicated_dns,
            tls_port=tls_port,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            probing=Probing(
                starting_seconds=probe_seconds,
                running_seconds=health_seconds,
                liveness_seconds=liveness_seconds,
                start_attempts=start_attempts,
            ),
            scaling=Scaling(
                requests_per_replica=requests_per_replica,
                down_seconds=scale_down_seconds,
                idle_factor=idle_factor,
            ),
            choices=Choices(
                first_takes_traffic=first_takes_traffic,
                chat_request_format=chat_request_format,
                chat_refused=chat_refused,
                container_spec_ignored=container_spec_ignored,
                listed_only=listed_only,
                failed_deploy_stays=failed_deploy_stays,
                shared_dns_refused=dedicated_only,
                inference_timeout=inference_timeout,
                deployment_timeout=deployment_timeout,
            ),
        )
    )


if __name__ == "__main__":
    main()
