"""Whole records made from the few facts a test is about."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from weightdrop.core.deployment.events import EVENTS_TOPIC
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.platform import DeploySpec
from weightdrop.core.deployment.record import Deployment, Message, Revision

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When everything happens unless a test says otherwise."""


def make_revision(number: int = 1, **fields: Any) -> Revision:
    """A revision whose digest follows from its number."""
    defaults: dict[str, Any] = {
        "digest": f"{number:064x}",
        "phase": Phase.WAITING,
        "phase_since": NOON,
        "created": NOON,
    }
    return Revision(number=number, **(defaults | fields))


def make_deployment(identity: str = "tiny-12345678", **fields: Any) -> Deployment:
    """A deployment with one waiting revision."""
    defaults: dict[str, Any] = {
        "bucket": "models",
        "prefix": identity.rpartition("-")[0],
        "region": "us-central1",
        "created": NOON,
        "updated": NOON,
        "revisions": (make_revision(),),
    }
    return Deployment(id=identity, **(defaults | fields))


def make_deploy_spec(endpoint: str, model: str, **fields: Any) -> DeploySpec:
    """One replica with one L4, and all traffic to it unless `fields` says otherwise."""
    own = fields.get("deployed_model_id", "1234567890")
    values: dict[str, Any] = {
        "endpoint": endpoint,
        "model": model,
        "deployed_model_id": own,
        "display_name": "m",
        "machine_type": "g2-standard-12",
        "accelerator_type": "NVIDIA_L4",
        "accelerator_count": 1,
        "min_replica_count": 1,
        "max_replica_count": 1,
        "spot": False,
        "traffic": ((own, 100),),
    }
    return DeploySpec(**{**values, **fields})


def make_message(identity: str = "event-1", **fields: Any) -> Message:
    """An event about the deployment that make_deployment makes."""
    defaults: dict[str, Any] = {
        "topic": EVENTS_TOPIC,
        "ordering_key": "tiny-12345678",
        "type": "weightdrop.deployment.waiting.v1",
        "time": NOON,
        "data": json.dumps({"deployment": "tiny-12345678", "event": identity}),
    }
    return Message(id=identity, **(defaults | fields))
