"""`python -m weightdrop.local.bucket`: run the bucket server."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

import click
import uvloop

from weightdrop.errors import UsageError
from weightdrop.local.bucket.server import Options, Server

_DAY = 86400.0


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8471, show_default=True,
              help="Port on 127.0.0.1; 0 takes a free one.")  # fmt: skip
@click.option("--root", type=click.Path(path_type=Path), required=True,
              help="Folder that holds one folder per bucket.")  # fmt: skip
@click.option("--state", type=click.Path(path_type=Path), required=True,
              help="SQLite file of the objects' metadata.")  # fmt: skip
@click.option("--watch", multiple=True,
              help="Bucket whose events are posted; repeatable.")  # fmt: skip
@click.option("--notify", default="", help="URL to which events are posted.")
@click.option("--keep-seconds", type=float, default=_DAY, show_default=True,
              help="How long an event is tried before it is given up.")  # fmt: skip
def main(  # noqa: PLR0917  (click passes them by name)
    port: int, root: Path, state: Path, watch: tuple[str, ...], notify: str,
    keep_seconds: float,
) -> None:  # fmt: skip
    """Serve a folder as Cloud Storage, on this machine only, for development."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(levelname)s bucket: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # The kernel's word that a file we hold a lease on is about to be written.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    options = Options(
        port=port,
        root=root,
        state=state,
        watch=watch,
        notify=notify,
        keep_seconds=keep_seconds,
    )
    try:
        server = Server(options)
        server.prepare()
    except UsageError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    click.echo(f"bucket server for development on {server.url}, folder {root}")
    sys.stdout.flush()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.run())
    except KeyboardInterrupt:
        pass
    finally:
        server.close()


if __name__ == "__main__":
    main()
