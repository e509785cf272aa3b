"""One short handler for each function; all map errors in the same way.

Permanent: logged, kept in the dead letters where a message carried it, and
acknowledged. Transient: raised, so that the substrate delivers again. Stale:
somebody else moved the record, acknowledged quietly.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from weightdrop import bootstrap, telemetry
from weightdrop.core.deployment.naming import deployment_id
from weightdrop.core.deployment.tracing import ATTRIBUTE
from weightdrop.core.deployment.triggers import (
    AUDIT_LOG,
    folder_of,
    is_config,
    may_belong,
)
from weightdrop.errors import ConflictError, NotFoundError, PermanentError, StaleError
from weightdrop_functions.decode import (
    ObjectChange,
    deploy_request,
    object_change,
    operated,
    trace_of,
)

if TYPE_CHECKING:
    from flask import Request
    from flask.typing import ResponseReturnValue

log = logging.getLogger(__name__)


@cache
def app() -> bootstrap.App:
    """The wired application, once a process."""
    made = bootstrap.App()
    made.observe()
    return made


def on_artifact(attributes: Mapping[str, object], data: object) -> None:
    """Look at the folder that an object belongs to, if it belongs to any."""
    with telemetry.work("on_artifact", caller=attributes.get(ATTRIBUTE)):
        try:
            change = object_change(attributes, data, buckets=app().settings.buckets)
            if may_belong(change.name):
                _changed(change)
        except StaleError as error:
            log.info("stale: %s", error)
        except PermanentError as error:
            log.error("refused: %s", error)  # noqa: TRY400 - the words say it all


def _changed(change: ObjectChange) -> None:
    if change.deleted:
        _deleted(change)
    else:
        app().admission.object_changed(
            change.bucket, change.name, size=change.size, crc32c=change.crc32c
        )


def _deleted(change: ObjectChange) -> None:
    if app().settings.retire_on_delete and is_config(change.name):
        place = deployment_id(change.bucket, folder_of(change.name))
        with suppress(NotFoundError, ConflictError):
            app().commands.undeploy(place)
            return
    app().admission.object_deleted(change.bucket, change.name)


def on_request(attributes: Mapping[str, object], data: object) -> None:
    """Take the steps of the deployment that a request, or an operation's end, names."""
    with telemetry.work("on_request", caller=trace_of(data)):
        try:
            if attributes.get("type") == AUDIT_LOG:
                deployment = operated(attributes, data)
            else:
                deployment = deploy_request(attributes, data).deployment
            if deployment:
                app().reconciler.deployment(deployment)
        except StaleError as error:
            log.info("stale: %s", error)
        except PermanentError as error:
            log.error("refused: %s", error)  # noqa: TRY400 - the words say it all
            app().bury(attributes, data, reason=str(error))


def on_tick(request: Request) -> ResponseReturnValue:
    """Look at what is due, and now and then at what nobody claims."""
    with telemetry.work("on_tick", caller=request.headers.get(ATTRIBUTE)):
        looked = app().tick.run()
        removed = app().sweep()
    return {"looked": looked, "removed": list(removed)}


def status(request: Request) -> ResponseReturnValue:
    """Answer a question or take an order."""
    from weightdrop_functions import http  # noqa: PLC0415 - only this function

    with telemetry.work("status", caller=request.headers.get(ATTRIBUTE)):
        return http.respond(app(), request)
