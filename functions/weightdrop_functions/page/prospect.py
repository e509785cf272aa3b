"""What a folder would become: validated and planned, with nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weightdrop.core.artifacts.findings import Finding, Verdict, verdict_of
from weightdrop.core.artifacts.objects import CONFIG_NAME
from weightdrop.core.artifacts.overlay import laid_over
from weightdrop.core.deployment import admission
from weightdrop.core.deployment.record import ModelSummary
from weightdrop.core.planning.plan import Plan
from weightdrop.errors import NotFoundError
from weightdrop.services.listing import list_drop
from weightdrop.services.planning import request_for
from weightdrop.services.policy import policy_of
from weightdrop_functions.page import sight

if TYPE_CHECKING:
    from weightdrop.bootstrap import App
    from weightdrop_functions.deploying import Wish


@dataclass(frozen=True, slots=True)
class Prospect:
    """What would be deployed.

    Attributes:
        verdict: Whether it can be.
        findings: Of validation and planning, the worst first.
        model: What is known of the model.
        plan: The machine; None where there is none for it.
        replicas: How many are kept.
        bars: The memory of one GPU, part by part.
        capacity_gib: What the bars are parts of.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    model: ModelSummary | None
    plan: Plan | None
    replicas: int
    bars: tuple[sight.Bar, ...]
    capacity_gib: float

    @property
    def hourly_usd(self) -> float | None:
        """What the replicas that are kept cost together; None if not known."""
        if self.plan is None or self.plan.hourly_usd is None:
            return None
        return self.plan.hourly_usd * self.replicas


def look(app: App, wanted: Wish) -> Prospect:
    """Validate and plan what is wished for, as an order of it would.

    Raises:
        NotFoundError: If there is no drop.
        TransientError: If the bucket cannot answer now.
    """
    artifacts = list_drop(app.artifacts, wanted.bucket, wanted.prefix)
    if artifacts.get(CONFIG_NAME) is None:
        place = f"gs://{wanted.bucket}/{wanted.prefix}"
        raise NotFoundError(f"There is no config.json in {place}.")
    policy = policy_of(app.settings)
    report = laid_over(
        app.admission.inspect(app.artifacts, artifacts, policy), wanted.overrides
    )
    options = report.options
    plan, findings = None, report.findings
    if report.model is not None and report.verdict is not Verdict.REJECTED:
        request = request_for(options, region=app.settings.region)
        planned = app.admission.choose(report.model, request)
        findings = (*findings, *planned.findings)
        plan = planned if isinstance(planned, Plan) else None
    bars, capacity = sight.memory_bars(plan.memory) if plan else ((), 0.0)
    return Prospect(
        verdict=verdict_of(findings),
        findings=sight.worst_first(findings),
        model=admission.summary(report),
        plan=plan,
        replicas=max(options.min_replica_count, 1),
        bars=bars,
        capacity_gib=capacity,
    )
