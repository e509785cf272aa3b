"""A stack's worth of deployments to look at: real plans, real events."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fakes.builders import make_deployment, make_revision
from fakes.models import dense
from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.artifacts.model import ModelFacts
from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.deployment import naming
from weightdrop.core.deployment.events import event
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import (
    Deployment,
    Message,
    ModelSummary,
    Revision,
)
from weightdrop.core.planning.choose import plan
from weightdrop.core.planning.plan import Plan, PlanRequest
from weightdrop.core.planning.tables import packaged_tables
from weightdrop.ports import Records

NOW = datetime(2026, 7, 1, 14, 30, tzinfo=UTC)
"""When the samples are looked at."""

EIGHT = dense()
SMALL = dense(hidden=2048, inner=8192, layers=16, vocab=128256)
LARGE = dense(hidden=8192, inner=28672, layers=80, heads=64)

WARNING = Finding(
    code="tokenizer-template-missing",
    severity=Severity.WARNING,
    detail="There is no chat template: chat requests will be refused.",
    fix="Save the tokenizer of an instruction-tuned model beside the weights.",
    file="tokenizer_config.json",
)
ERROR = Finding(
    code="safetensors-truncated",
    severity=Severity.ERROR,
    detail="The header promises 4,976,698,672 bytes; the file ends after 4,194,304.",
    fix="Copy the file again: its upload was cut short.",
    file="model-00001-of-00002.safetensors",
    offset=4194304,
)
LOG = (
    "INFO 14:02:11 loading shard 4/4",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    "ERROR 14:02:12 engine core ended with exit status 1",
)


def planned(model: ModelFacts, **wishes: int) -> Plan:
    """The real plan of a model, which must exist."""
    request = PlanRequest(region="us-central1", **wishes)  # type: ignore[arg-type]
    outcome = plan(model, request, packaged_tables())
    assert isinstance(outcome, Plan), outcome
    return outcome


def summary(model: ModelFacts, name: str) -> ModelSummary:
    """What a record keeps of a model."""
    return ModelSummary(
        base_model=name,
        architecture=model.architecture,
        parameters=model.parameters,
        dtype=model.dtype,
        quantization=model.quantization,
        weight_bytes=sum(tensor.nbytes for tensor in model.tensors),
    )


def served(model: ModelFacts, name: str, **fields: object) -> Revision:
    """A revision of a model on its plan."""
    defaults: dict[str, object] = {
        "model": summary(model, name),
        "plan": planned(model),
        "options": FolderOptions(model_id=name),
        "created": NOW - timedelta(hours=3),
        "phase_since": NOW - timedelta(hours=2, minutes=24),
    }
    return make_revision(**(defaults | fields))  # type: ignore[arg-type]


def placed(
    prefix: str, *revisions: Revision, minutes: int, **more: object
) -> Deployment:
    """A deployment of a folder, last changed so many minutes ago."""
    identity = naming.deployment_id("models", prefix)
    return make_deployment(
        identity,
        prefix=prefix,
        created=NOW - timedelta(hours=3, minutes=minutes),
        updated=NOW - timedelta(minutes=minutes),
        revisions=revisions,
        endpoint_id=naming.endpoint_id(identity),
        endpoint_name=f"projects/7/locations/us-central1/endpoints/{identity}",
        **more,
    )


def addressed(endpoint: str) -> dict[str, str]:
    """Where a dedicated endpoint is asked."""
    dns = f"{endpoint}.us-central1-7.prediction.vertexai.goog"
    path = f"v1beta1/projects/7/locations/us-central1/endpoints/{endpoint}"
    return {"endpoint_dns": dns, "endpoint_url": f"https://{dns}/{path}"}


def ready() -> Deployment:
    """One that serves its second revision and can go back to the first."""
    first = served(
        EIGHT,
        "Llama-3.1-8B",
        number=1,
        digest="1" * 64,
        phase=Phase.SUPERSEDED,
        model_name="projects/7/locations/us-central1/models/wd-support",
    )
    second = served(
        EIGHT,
        "Llama-3.1-8B",
        number=2,
        digest="2" * 64,
        phase=Phase.READY,
        findings=(WARNING,),
        options=FolderOptions(model_id="support-bot"),
    )
    return placed(
        "support-bot", first, second, minutes=144, **addressed("wd-support-bot")
    )


def canary() -> Deployment:
    """One whose third revision takes a quarter beside the second, in a second region.

    An order chose its machine, and the first region had none.
    """
    second, third = (
        served(
            EIGHT,
            "Llama-3.1-8B",
            number=number,
            digest=str(number) * 64,
            phase=Phase.READY,
            options=FolderOptions(model_id="search-bot"),
            phase_since=NOW - timedelta(minutes=100 - 30 * number),
            share=share,
            model_name=f"projects/7/locations/us-central1/models/search-{number}",
            tried=tried,
        )
        for number, share, tried in ((2, 100, ("us-east4",)), (3, 25, ()))
    )
    return replace(
        placed("search-bot", second, third, minutes=10, **addressed("wd-search-bot")),
        served=True,
        overrides=(
            ("labels", (("team", "search"),)),
            ("machine_type", third.plan.machine_type if third.plan else ""),
        ),
    )


def samples() -> tuple[Deployment, ...]:
    """One of most kinds, the newest change first."""
    deploying = served(
        LARGE,
        "Llama-3.1-70B",
        phase=Phase.DEPLOYING,
        stage="STARTING_MODEL_SERVER",
        tried=("us-east4",),
        phase_since=NOW - timedelta(minutes=11),
    )
    waiting = make_revision(
        phase=Phase.WAITING,
        phase_since=NOW - timedelta(minutes=2),
        missing=("model-00003-of-00004.safetensors", "tokenizer.json"),
    )
    rejected = make_revision(
        phase=Phase.REJECTED,
        phase_since=NOW - timedelta(minutes=38),
        reason=Reason.INVALID,
        findings=(ERROR, WARNING),
    )
    failed = served(
        SMALL,
        "Llama-3.2-1B",
        phase=Phase.FAILED,
        phase_since=NOW - timedelta(minutes=27),
        reason=Reason.SERVER_FAILED,
        message="The model server exited with status 1 before it was healthy.",
        log_tail=LOG,
    )
    retired = served(
        SMALL,
        "Llama-3.2-1B",
        phase=Phase.RETIRED,
        phase_since=NOW - timedelta(days=3),
        reason=Reason.WITHDRAWN,
    )
    return (
        placed("legal/summaries-70b", deploying, minutes=1),
        placed("incoming/tuned-gemma", waiting, minutes=2),
        canary(),
        placed("triage-1b", failed, minutes=27),
        placed("experiments/run-0417", rejected, minutes=38),
        ready(),
        placed("old/classifier", retired, minutes=4320),
    )


def told(deployment: Deployment) -> tuple[Message, ...]:
    """The events of a deployment's way to where it is."""
    events: list[Message] = []
    for revision in deployment.revisions:
        way = {
            Phase.WAITING: (),
            Phase.REJECTED: (Phase.WAITING,),
            Phase.DEPLOYING: (
                Phase.ACCEPTED,
                Phase.UPLOADING,
                Phase.CREATING_ENDPOINT,
            ),
        }.get(revision.phase, (Phase.ACCEPTED, Phase.UPLOADING, Phase.DEPLOYING))
        steps = (*way, revision.phase)
        for number, phase in enumerate(steps):
            then = revision.phase_since - timedelta(
                minutes=7 * (len(steps) - number - 1)
            )
            one = replace(revision, phase=phase, stage="")
            found = event(deployment, one, then)
            events += [found] if found else []
    return tuple(events)


def fill(records: Records) -> None:
    """Put the samples into the records."""
    for deployment in samples():
        records.create(deployment, events=told(deployment))


IDS = {one.prefix: one.id for one in samples()}
"""Ids of the samples, by their folders."""

READY, FAILED, CANARY = IDS["support-bot"], IDS["triage-1b"], IDS["search-bot"]
