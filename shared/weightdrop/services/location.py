"""Where a deployment's endpoint is asked."""

from __future__ import annotations

from dataclasses import replace

from weightdrop.core.deployment.record import Deployment
from weightdrop.ports import Platform


def located(platform: Platform, deployment: Deployment, base: str) -> Deployment:
    """`deployment` with its endpoint's name, dedicated DNS name and URL.

    Args:
        platform: Vertex AI.
        deployment: The record, of an endpoint that may be there by now.
        base: URL at which every endpoint is asked, instead of its own; may be empty.
    """
    name = platform.endpoint_name(deployment.region, deployment.endpoint_id)
    found = platform.endpoint(name)
    dns = found.dns if found else ""
    base = base or (f"https://{dns}" if dns else "")
    return replace(
        deployment,
        endpoint_name=name,
        endpoint_dns=dns,
        endpoint_url=f"{base}/v1beta1/{name}" if base else "",
    )
