"""One cold start of our functions: import main, and handle one request.

python -m coldbench.ours CASE
"""

from __future__ import annotations

import sys
from typing import Any

from coldbench.cost import as_deployed, tell

NAME = "cold/model-00001-of-00002.safetensors"


def event(name: str) -> Any:
    """The CloudEvent of an object."""
    from cloudevents.http import CloudEvent  # noqa: PLC0415  # functions-framework has it

    return CloudEvent(
        {
            "id": "1",
            "type": "google.cloud.storage.object.v1.finalized",
            "source": "//storage.googleapis.com/projects/_/buckets/models",
        },
        {"bucket": "models", "name": name, "size": "2", "crc32c": "aaaaaa=="},
    )


def ask(target: str, path: str) -> None:
    """Send one request to an HTTP function."""
    from flask import Flask  # noqa: PLC0415

    import main  # noqa: PLC0415  # what is measured

    with Flask("cold").test_request_context(path):
        import flask  # noqa: PLC0415

        answer = getattr(main, target)(flask.request)
    status = getattr(answer, "status_code", 200)
    if status not in {200, 404}:
        raise SystemExit(f"{target} answered {status}")


def ignored() -> None:
    """An object that cannot belong to a drop."""
    import main  # noqa: PLC0415  # what is measured

    main.on_artifact(event("cold/README.md"))


def record() -> None:
    """A shard of a folder that nobody knows: one record is read."""
    import main  # noqa: PLC0415  # what is measured

    main.on_artifact(event(NAME))


def status() -> None:
    """A question about one deployment."""
    ask("status", "/deployments/none-00000000")


def vertex() -> None:
    """A tick: what is due is asked for, and Vertex AI for what nobody claims."""
    ask("on_tick", "/")


if __name__ == "__main__":
    as_deployed()
    globals()[sys.argv[1]]()
    tell()
