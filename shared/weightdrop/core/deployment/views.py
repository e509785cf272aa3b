"""What people and programs see of a record: JSON-ready values in camelCase."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict

from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.deployment.phases import ADVICE, Phase
from weightdrop.core.deployment.record import Deployment, ModelSummary, Revision
from weightdrop.core.planning.plan import Plan

SAMPLE_PROMPT = "How to tell the time by looking at the sky?"


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def finding_view(finding: Finding) -> dict[str, object]:
    """One finding."""
    return asdict(finding)


def model_view(model: ModelSummary) -> dict[str, object]:
    """What is known of the model."""
    return {_camel(key): value for key, value in asdict(model).items()}


def plan_view(plan: Plan) -> dict[str, object]:
    """The machine and the arithmetic."""
    values = {
        _camel(key): value
        for key, value in asdict(plan).items()
        if key not in {"memory", "alternatives"}
    }
    values["memory"] = {
        _camel(key): value for key, value in asdict(plan.memory).items()
    }
    return values


def endpoint_view(deployment: Deployment, revision: Revision) -> dict[str, object]:
    """Where to send queries, with a command to copy."""
    body = {
        "model": revision.options.model_id,
        "max_tokens": 64,
        "messages": [{"role": "user", "content": SAMPLE_PROMPT}],
    }
    token = (
        ""
        if deployment.endpoint_url.startswith("http://")
        else ' -H "Authorization: Bearer $(gcloud auth print-access-token)"'
    )
    url = shlex.quote(f"{deployment.endpoint_url}/chat/completions")
    return {
        "id": deployment.endpoint_id,
        "name": deployment.endpoint_name,
        "dns": deployment.endpoint_dns,
        "baseUrl": deployment.endpoint_url,
        "model": revision.model_name,
        "modelId": revision.options.model_id,
        "curl": f"curl -X POST {url}{token} -H 'Content-Type: application/json' "
        f"-d {shlex.quote(json.dumps(body))}",
    }


def revision_view(revision: Revision) -> dict[str, object]:
    """One line of the history."""
    return {
        "number": revision.number,
        "digest": revision.digest,
        "phase": revision.phase.value,
        "phaseSince": revision.phase_since.isoformat(),
        "reason": revision.reason.value,
    }


def deployment_view(deployment: Deployment) -> dict[str, object]:
    """All there is to see of a deployment; the newest revision in full."""
    view: dict[str, object] = {
        "id": deployment.id,
        "bucket": deployment.bucket,
        "prefix": deployment.prefix,
        "source": f"gs://{deployment.bucket}/{deployment.prefix}",
        "region": deployment.region,
        "overrides": {
            name: dict(value) if isinstance(value, tuple) else value
            for name, value in deployment.overrides
        },
        "phase": deployment.phase.value,
        "created": deployment.created.isoformat(),
        "updated": deployment.updated.isoformat(),
        "revisions": [revision_view(revision) for revision in deployment.revisions],
        "serving": None,
        "traffic": [
            {"revision": one.number, "digest": one.digest, "percent": percent}
            for one, percent in deployment.split
        ],
        "ordered": ordered(deployment),
        "setback": setback_view(deployment),
        "endpoint": None,
    }
    serving = deployment.serving
    if serving:
        view["serving"] = {"revision": serving.number, "digest": serving.digest}
        view["endpoint"] = endpoint_view(deployment, serving)
    if deployment.latest:
        view |= _latest_view(deployment.latest)
    return view


def setback_view(deployment: Deployment) -> dict[str, object] | None:
    """What keeps a deployment from getting on; None while nothing does."""
    if not deployment.setbacks or deployment.due is None:
        return None
    return {
        "times": deployment.setbacks,
        "message": deployment.setback,
        "nextLook": deployment.due.isoformat(),
    }


def ordered(deployment: Deployment) -> str:
    """The order that is remembered and not carried out yet; may be empty."""
    if deployment.withdrawn and any(
        revision.phase.live or revision.phase is Phase.RETIRING
        for revision in deployment.revisions
    ):
        return "undeploy"
    back = next((one for one in deployment.revisions if one.recalled), None)
    if back is None:
        return ""
    return "retry" if back is deployment.latest else "rollback"


def _latest_view(revision: Revision) -> dict[str, object]:
    advice = ADVICE.get(revision.reason, "")
    if revision.phase is Phase.WAITING and revision.missing:
        advice = "Copy the missing files; the drop is looked at again."
    return {
        "phaseSince": revision.phase_since.isoformat(),
        "revision": revision.number,
        "digest": revision.digest,
        "attempt": revision.attempt,
        "reason": revision.reason.value,
        "message": revision.message,
        "advice": advice,
        "stage": revision.stage,
        "logTail": list(revision.log_tail),
        "missing": list(revision.missing),
        "findings": [finding_view(finding) for finding in revision.findings],
        "model": model_view(revision.model) if revision.model else None,
        "plan": plan_view(revision.plan) if revision.plan else None,
    }
