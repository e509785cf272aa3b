"""Start the stand-in: `python -m weightdrop.local.vertex --home HOME`."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path

import click
import uvicorn

from weightdrop.local.vertex.config import Choices, Config, Probing, Scaling
from weightdrop.local.vertex.server import make_app

_BACKLOG = 512


def _listen(port: int) -> socket.socket:
    # asyncio sends small packets at once only when the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(_BACKLOG)
    return listener


def _leave(*_: object) -> None:
    sys.exit(0)


def serve(config: Config) -> None:
    """Answer on 127.0.0.1 until SIGTERM or SIGINT."""
    # uvicorn raises the signal that ended it once more when all is stopped.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    listener = _listen(config.port)
    address = "{}:{}".format(*listener.getsockname())
    app = make_app(config, dns=config.dedicated_dns or address)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=75,
            ws="none",
        )
    )
    logging.getLogger(__name__).warning(
        "Vertex AI stand-in for local use, on http://%s", address
    )
    asyncio.run(server.serve(sockets=[listener]))


@click.command()
@click.option("--home", type=click.Path(path_type=Path), required=True)
@click.option("--port", default=8472, show_default=True, help="0 takes a free one.")
@click.option("--project", default="local", show_default=True)
@click.option("--storage-endpoint", default="", help="URL of the bucket server.")
@click.option("--gpus", default=64, show_default=True, help="Accelerators there are.")
@click.option("--dedicated-dns", default="", help="Name of dedicated endpoints.")
@click.option("--probe-seconds", default=0.5, show_default=True)
@click.option("--start-attempts", default=2, show_default=True)
@click.option("--deployment-timeout", default=1800.0, show_default=True)
@click.option("--requests-per-replica", default=16, show_default=True)
@click.option("--scale-down-seconds", default=30.0, show_default=True)
@click.option("--idle-factor", default=60.0, show_default=True)
@click.option("--first-takes-traffic/--first-takes-none", default=False)
@click.option("--chat-request-format/--chat-plain", default=True)
def main(
    *,
    home: Path,
    port: int,
    project: str,
    storage_endpoint: str,
    gpus: int,
    dedicated_dns: str,
    probe_seconds: float,
    start_attempts: int,
    deployment_timeout: float,
    requests_per_replica: int,
    scale_down_seconds: float,
    idle_factor: float,
    first_takes_traffic: bool,
    chat_request_format: bool,
) -> None:
    """Speak the Vertex AI API on 127.0.0.1 and really run what is deployed."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    serve(
        Config(
            home=home.expanduser().resolve(),
            port=port,
            project=project,
            storage_endpoint=storage_endpoint,
            gpus=gpus,
            dedicated_dns=dedicated_dns,
            probing=Probing(
                starting_seconds=probe_seconds, start_attempts=start_attempts
            ),
            scaling=Scaling(
                requests_per_replica=requests_per_replica,
                down_seconds=scale_down_seconds,
                idle_factor=idle_factor,
            ),
            choices=Choices(
                first_takes_traffic=first_takes_traffic,
                chat_request_format=chat_request_format,
                deployment_timeout=deployment_timeout,
            ),
        )
    )


if __name__ == "__main__":
    main()
