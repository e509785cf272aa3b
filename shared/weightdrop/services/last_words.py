"""What the server of a revision that ends badly said before it ended."""

from __future__ import annotations

from weightdrop.core.deployment import naming
from weightdrop.core.deployment.platform import ServerLog
from weightdrop.core.deployment.record import Deployment, Revision
from weightdrop.ports import Platform


def last_words(
    platform: Platform, deployment: Deployment, revision: Revision
) -> ServerLog:
    """The newest lines since its phase began; none if it never had a server."""
    if not revision.deployed:
        return ServerLog(())
    return platform.server_log(
        platform.endpoint_name(deployment.region, deployment.endpoint_id),
        naming.deployed_model_id(revision.digest),
        since=revision.phase_since,
    )
