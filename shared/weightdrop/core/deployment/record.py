"""The record of a deployment: all that the next run needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.objects import ArtifactFile
from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.artifacts.overrides import Overrides
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.planning.plan import Plan

SCHEMA = 1
"""Version of the stored form; raised when a reader of the old form would err."""

WHOLE = 100
"""All of the traffic, in percent."""


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What status and events say about the model of a revision."""

    base_model: str
    architecture: str
    parameters: int
    dtype: str
    quantization: str
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class Revision:
    """One digest of a deployment.

    Attributes:
        number: Counts from 1 within the deployment.
        digest: Identity of the artifact set and of what was laid over it.
        content: Digest of the artifact set alone, where that is another one.
        phase: Where it is.
        phase_since: When it came there.
        created: When this digest was first seen.
        deadline: When the phase gives up; None without a limit.
        recheck: When a waiting folder is looked at again at the latest.
        attempt: Counts from 1; raised by retry and rollback.
        started: When a later attempt began; None in the first, see `created`.
        reason: Why it came to rest.
        message: The platform's or our own words on `reason`.
        log_tail: Last lines of the server's log, where it failed.
        findings: Of its validation and planning.
        missing: Paths still to come while it waits.
        files: The pinned artifact set.
        model: What validation learnt.
        plan: The hardware it is deployed on.
        overrides: Options that an order laid over the folder's own.
        options: What is wished of it: the folder's own options below those.
        model_name: Full resource name of the Vertex AI model.
        operation: Name of the operation under way, or empty.
        stage: The platform's own word for how far the operation is.
        deployed: Whether a deployed model of it may exist on the endpoint.
        share: Percent of the traffic it takes when it is ready beside another
            one; the whole of it lets the other one go.
        tried: Regions that had no machine for it.
        recalled: It was ordered back while it was being let go of: it is sent
            on its way again once nothing is left of it.
    """

    number: int
    digest: str
    phase: Phase
    phase_since: datetime
    created: datetime
    content: str = ""
    deadline: datetime | None = None
    recheck: datetime | None = None
    attempt: int = 1
    started: datetime | None = None
    reason: Reason = Reason.NONE
    message: str = ""
    log_tail: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    missing: tuple[str, ...] = ()
    files: tuple[ArtifactFile, ...] = ()
    model: ModelSummary | None = None
    plan: Plan | None = None
    overrides: Overrides = ()
    options: FolderOptions = field(default_factory=FolderOptions)
    model_name: str = ""
    operation: str = ""
    stage: str = ""
    deployed: bool = False
    share: int = WHOLE
    tried: tuple[str, ...] = ()
    recalled: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """Something to be published: written with the phase it tells of.

    Attributes:
        id: Derived, see naming.event_id.
        topic: Name of the topic, without project.
        ordering_key: The deployment id.
        type: CloudEvents type; empty for a deploy request.
        time: When the phase was entered.
        data: The body, as a JSON text.
        trace: The drop's W3C trace context (`traceparent`); may be empty.
    """

    id: str
    topic: str
    ordering_key: str
    type: str
    time: datetime
    data: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What lives at one bucket and prefix.

    Attributes:
        id: Derived from the place; never changes.
        bucket: Where the drop is.
        prefix: Folder of the drop, without slashes at its ends.
        region: Where it is deployed.
        created: When it was first seen.
        updated: When the record last changed.
        revisions: Oldest first; old ended ones are cut off.
        endpoint_id: The Vertex AI endpoint's id.
        endpoint_name: Full resource name of the endpoint, once it is made.
        endpoint_dns: Dedicated DNS name of the endpoint, once known.
        endpoint_url: Base URL for queries, once known.
        overrides: Options that whatever is dropped here is planned with: those of
            the last order, or of the revision that was brought back.
        withdrawn: The user wants it gone (undeploy).
        served: Whether a revision ever was ready: then it stays in its region.
        leftovers: Full names of what is to be removed in regions it has left.
        setbacks: How often in a row a tick got nowhere with it.
        setback: What kept the last of them, in the words of who refused.
        leased_until: Somebody takes its steps until then, unless they crash;
            None while nobody does.
        due: When a tick must look again; None if nothing is to be done.
        outbox: Messages written and not yet known to be published.
    """

    id: str
    bucket: str
    prefix: str
    region: str
    created: datetime
    updated: datetime
    revisions: tuple[Revision, ...] = ()
    endpoint_id: str = ""
    endpoint_name: str = ""
    endpoint_dns: str = ""
    endpoint_url: str = ""
    overrides: Overrides = ()
    withdrawn: bool = False
    served: bool = False
    leftovers: tuple[str, ...] = ()
    setbacks: int = 0
    setback: str = ""
    leased_until: datetime | None = None
    due: datetime | None = None
    outbox: tuple[Message, ...] = ()

    @property
    def latest(self) -> Revision | None:
        """The newest revision."""
        return self.revisions[-1] if self.revisions else None

    @property
    def serving(self) -> Revision | None:
        """The revision that has the traffic, or what a canary leaves of it."""
        return next(iter(self._ready), None)

    @property
    def canary(self) -> Revision | None:
        """The revision that is ready beside the one that serves, if there is one."""
        return self._ready[-1] if len(self._ready) > 1 else None

    @property
    def split(self) -> tuple[tuple[Revision, int], ...]:
        """Percent of the traffic for each ready revision, when nothing moves."""
        serving, canary = self.serving, self.canary
        if serving is None:
            return ()
        if canary is None:
            return ((serving, WHOLE),)
        return ((serving, WHOLE - canary.share), (canary, canary.share))

    @property
    def _ready(self) -> list[Revision]:
        """What is ready, in the order in which it became so."""
        found = [rev for rev in self.revisions if rev.phase is Phase.READY]
        return sorted(found, key=lambda rev: rev.phase_since)

    @property
    def phase(self) -> Phase:
        """The newest revision's phase: what lists and filters go by."""
        latest = self.latest
        return latest.phase if latest else Phase.WAITING

    def find(self, digest: str) -> Revision | None:
        """The revision of `digest`, or None."""
        return next((rev for rev in self.revisions if rev.digest == digest), None)
