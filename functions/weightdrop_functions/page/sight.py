"""What the page shows, made from records: nothing here knows HTML."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.deployment.phases import ADVICE, Phase
from weightdrop.core.deployment.record import WHOLE, Deployment, Message, Revision
from weightdrop.core.deployment.views import SAMPLE_PROMPT, endpoint_view, ordered
from weightdrop.core.planning.plan import Memory, Plan
from weightdrop_functions.page import waits, words

COSTING = frozenset({Phase.DEPLOYING, Phase.VERIFYING, Phase.READY, Phase.RETIRING})
"""Phases in which a machine may be running, and is paid for."""

_ORDER = (Severity.ERROR, Severity.MISSING, Severity.WARNING, Severity.NOTICE)
_LOCAL_KEY = "api_key='local'"  # the local stack asks for none
_CLOUD_KEY = "api_key=token"


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of the memory bar.

    Attributes:
        name: What the memory is for.
        kind: A word for the style sheet.
        gib: How much.
        start: Where it begins, in percent of the whole.
        width: In percent of the whole.
    """

    name: str
    kind: str
    gib: float
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class Happening:
    """One event, told shortly.

    Attributes:
        word: The last word of its type: ready, failed, progress.
        time: When.
        revision: Of which revision.
        note: What else it says, in a few words.
    """

    word: str
    time: datetime
    revision: int
    note: str


@dataclass(frozen=True, slots=True)
class Row:
    """One deployment in the list.

    Attributes:
        deployment: The record.
        revision: The newest one; None for a record without any.
        plan: The machine of the revision.
        replicas: How many are kept.
        costs: Whether machines may be running now.
    """

    deployment: Deployment
    revision: Revision | None
    plan: Plan | None
    replicas: int
    costs: bool

    @property
    def hourly_usd(self) -> float | None:
        """What the replicas that are kept cost together; None if not known."""
        if self.plan is None or self.plan.hourly_usd is None:
            return None
        return self.plan.hourly_usd * self.replicas

    @property
    def running_usd(self) -> float | None:
        """What all revisions that may be running cost together; None if not known."""
        total = 0.0
        for one in self.deployment.revisions:
            if one.phase not in COSTING:
                continue
            if one.plan is None or one.plan.hourly_usd is None:
                return None
            total += one.plan.hourly_usd * _kept(one)
        return total


@dataclass(frozen=True, slots=True)
class Share:
    """A revision's part of the traffic.

    Attributes:
        revision: Which one.
        kind: `serving` or `canary`, also for the style sheet.
        percent: Of all queries.
        start: Where its part of the bar begins, in percent.
    """

    revision: int
    kind: str
    percent: int
    start: int


@dataclass(frozen=True, slots=True)
class Sight:
    """One deployment in full.

    Attributes:
        row: What the list says of it.
        advice: What to do, for a person.
        findings: Of its newest revision, the worst first.
        bars: The memory of one GPU, part by part.
        capacity_gib: What the bars are parts of.
        endpoint: Where to send queries; None while nothing serves.
        python: A program to copy; empty while nothing serves.
        happenings: Its events, the newest first.
        shares: Who takes which part of the traffic, in percent; none without a canary.
        choices: What an order laid over the folder's options, name and value.
        orders: What can be ordered of it now.
        ordered: The order that is remembered and not carried out yet; may be empty.
        wait: Why nothing happens right now; empty where something does.
    """

    row: Row
    advice: str
    findings: tuple[Finding, ...]
    bars: tuple[Bar, ...]
    capacity_gib: float
    endpoint: dict[str, Any] | None
    python: str
    happenings: tuple[Happening, ...]
    shares: tuple[Share, ...] = ()
    choices: tuple[tuple[str, str], ...] = ()
    orders: frozenset[str] = field(default_factory=frozenset)
    ordered: str = ""
    wait: str = ""


def row(deployment: Deployment) -> Row:
    """What the list says of a deployment."""
    latest = deployment.latest
    return Row(
        deployment=deployment,
        revision=latest,
        plan=latest.plan if latest else None,
        replicas=_kept(latest) if latest else 1,
        costs=any(revision.phase in COSTING for revision in deployment.revisions),
    )


def _kept(revision: Revision) -> int:
    """Replicas that are paid for, whether anybody asks or not."""
    return max(revision.options.min_replica_count, 1)


def sight(
    deployment: Deployment, events: tuple[Message, ...], *, orders: frozenset[str]
) -> Sight:
    """All that the page shows of a deployment.

    Args:
        deployment: The record.
        events: Of the deployment, oldest first.
        orders: What can be ordered of it now.
    """
    shown, order = row(deployment), ordered(deployment)
    latest, serving = shown.revision, deployment.serving
    bars, capacity = memory_bars(shown.plan.memory) if shown.plan else ((), 0.0)
    endpoint = endpoint_view(deployment, serving) if serving else None
    return Sight(
        row=shown,
        advice=_advice(latest),
        findings=_findings(latest),
        bars=bars,
        capacity_gib=capacity,
        endpoint=endpoint,
        python=python_snippet(endpoint) if endpoint else "",
        happenings=tuple(happening(event) for event in reversed(events)),
        shares=_shares(deployment),
        choices=tuple(words.choice(it) for it in deployment.overrides),
        orders=orders - ({order} & {"undeploy"}),
        ordered=order,
        wait=waits.why(deployment),
    )


def _shares(deployment: Deployment) -> tuple[Share, ...]:
    if deployment.canary is None:
        return ()
    (serving, rest), (canary, share) = deployment.split
    return (
        Share(serving.number, "serving", rest, 0),
        Share(canary.number, "canary", share, rest),
    )


def _advice(revision: Revision | None) -> str:
    if revision is None:
        return ""
    if revision.phase is Phase.WAITING and revision.missing:
        return "Copy the missing files; the drop is looked at again."
    return ADVICE.get(revision.reason, "")


def _findings(revision: Revision | None) -> tuple[Finding, ...]:
    if revision is None:
        return ()
    return worst_first(
        revision.findings + (revision.plan.findings if revision.plan else ())
    )


def worst_first(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Each finding once, errors before warnings."""
    unique = tuple(dict.fromkeys(findings))
    return tuple(sorted(unique, key=lambda one: _ORDER.index(Severity(one.severity))))


def memory_bars(memory: Memory) -> tuple[tuple[Bar, ...], float]:
    """The parts of one GPU's memory, and the GiB that they are parts of."""
    parts = (
        ("Weights", "weights", memory.weights_gib),
        ("Activations", "activation", memory.activation_gib),
        ("CUDA graphs", "graphs", memory.cuda_graph_gib),
        ("Outside PyTorch", "other", memory.non_torch_gib),
        ("KV cache", "cache", memory.kv_cache_gib),
    )
    capacity = max(memory.budget_gib, sum(gib for *_, gib in parts), 1e-9)
    bars: list[Bar] = []
    start = 0.0
    for name, kind, gib in parts:
        width = 100 * max(gib, 0.0) / capacity
        bars.append(Bar(name, kind, gib, round(start, 3), round(width, 3)))
        start += width
    return tuple(bars), capacity


def happening(event: Message) -> Happening:
    """An event in a few words."""
    data = json.loads(event.data)
    missing = data.get("missing") or []
    traffic = data.get("traffic", WHOLE)
    notes = (
        _words(data.get("phase")) if "stage" in data else "",
        f"in {data['region']}" if _begins(data) else "",
        _words(data.get("stage")),
        _words(data.get("reason")),
        f"waits for {len(missing)} file{'s'[: len(missing) != 1]}" if missing else "",
        "" if traffic == WHOLE else f"takes {traffic} % of the traffic",
    )
    return Happening(
        word=event.type.split(".")[-2] if event.type.count(".") > 1 else event.type,
        time=event.time,
        revision=int(data.get("revision") or 0),
        note=", ".join(note for note in notes if note),
    )


def _begins(data: dict[str, Any]) -> bool:
    """Whether an event tells of the first step in a region."""
    return data.get("phase") == Phase.UPLOADING and bool(data.get("region"))


def _words(value: object) -> str:
    return str(value).replace("_", " ").lower() if value else ""


def python_snippet(endpoint: dict[str, Any]) -> str:
    """A program that asks the endpoint through OpenAI's client."""
    local = str(endpoint["baseUrl"]).startswith("http://")
    key = _LOCAL_KEY if local else _CLOUD_KEY
    lines = [
        "from openai import OpenAI",
        "",
        f"client = OpenAI(base_url={endpoint['baseUrl']!r}, {key})",
        "answer = client.chat.completions.create(",
        f"    model={endpoint['modelId']!r},",
        f"    messages=[{{'role': 'user', 'content': {SAMPLE_PROMPT!r}}}],",
        "    max_tokens=64,",
        ")",
        "print(answer.choices[0].message.content)",
    ]
    if not local:
        lines[1:2] = [
            "import google.auth",
            "import google.auth.transport.requests",
            "",
            "credentials, _ = google.auth.default(",
            "    scopes=['https://www.googleapis.com/auth/cloud-platform']",
            ")",
            "credentials.refresh(google.auth.transport.requests.Request())",
            "token = credentials.token",
        ]
    return "\n".join(lines)
