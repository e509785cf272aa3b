"""What Cloud Functions run: entry points only.

`on_artifact` and `on_request` take CloudEvents, `on_tick` and `status` HTTP
requests. The handlers are in `weightdrop_functions`, the use cases in
`weightdrop.services`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework

from weightdrop_functions import handlers

if TYPE_CHECKING:
    from cloudevents.http import CloudEvent
    from flask import Request
    from flask.typing import ResponseReturnValue


@functions_framework.cloud_event
def on_artifact(event: CloudEvent) -> None:
    """React to an object that was finalized or deleted in a watched bucket."""
    handlers.on_artifact(event.get_attributes(), event.get_data())


@functions_framework.cloud_event
def on_request(event: CloudEvent) -> None:
    """React to a deploy request, or to the end of an operation."""
    handlers.on_request(event.get_attributes(), event.get_data())


@functions_framework.http
def on_tick(request: Request) -> ResponseReturnValue:
    """Look at everything that is due; called by the scheduler."""
    return handlers.on_tick(request)


@functions_framework.http
def status(request: Request) -> ResponseReturnValue:
    """Answer people and programs."""
    return handlers.status(request)
