"""What must hold on every run, whatever goes wrong: DESIGN's invariants."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from weightdrop.core.deployment.naming import deployed_model_id
from weightdrop.core.deployment.phases import MOVES, RESTING, Phase, Reason
from weightdrop.core.deployment.record import WHOLE, Deployment, Message, Revision
from weightdrop.services.pace import LATE

ACTIVE = frozenset(
    {Phase.UPLOADING, Phase.CREATING_ENDPOINT, Phase.DEPLOYING, Phase.VERIFYING}
)


PACE = timedelta(seconds=2) - LATE
"""Between two uploads or deployments: what Vertex AI asks for, nearly."""


class InvariantError(AssertionError):
    """A run that must not be possible."""


@dataclass(slots=True)
class Invariants:
    """Watches every write, every publish and every call to the platform."""

    accepted: set[str] = field(default_factory=set)
    sent: list[datetime] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    moves: Counter[tuple[Phase, Phase]] = field(default_factory=Counter)
    said: dict[tuple[str, str, int], set[Phase]] = field(
        default_factory=lambda: defaultdict(set)
    )
    told: dict[tuple[str, str, int, Phase], set[str]] = field(
        default_factory=lambda: defaultdict(set)
    )

    def written(self, before: Deployment | None, after: Deployment) -> None:
        """A record was written: phases move along the table, and only there."""
        known = {r.number: r for r in before.revisions} if before else {}
        for revision in after.revisions:
            old = known.get(revision.number)
            if old and old.phase is not revision.phase:
                self._moved(revision.number, old.phase, revision.phase)
            if revision.reason is Reason.REMOVED:
                self._missed(after, revision)
            if revision.phase is Phase.ACCEPTED:
                self.accepted.add(revision.digest)
            self.said[after.id, revision.digest, revision.attempt].add(revision.phase)
        active = [r.number for r in after.revisions if r.phase in ACTIVE]
        if len(active) > 1:
            raise InvariantError(f"2: revisions {active} are under way at once")
        ready = [r for r in after.revisions if r.phase is Phase.READY]
        if len(ready) > 2 or (len(ready) == 2 and ready[-1].share == WHOLE):
            raise InvariantError(f"2: {[r.number for r in ready]} are ready at once")
        live = [r.number for r in after.revisions if r.deployed]
        if len(live) > 2:
            raise InvariantError(f"2: revisions {live} may all be deployed")

    def _missed(self, deployment: Deployment, revision: Revision) -> None:
        """What is called removed was taken away by somebody else, not by us."""
        what = f"{deployment.endpoint_name}/{deployed_model_id(revision.digest)}"
        if what not in self.taken:
            raise InvariantError(f"2: {what} is gone, and nobody took it away")

    def _moved(self, number: int, before: Phase, after: Phase) -> None:
        if after not in MOVES[before]:
            raise InvariantError(f"3: revision {number} moved {before} -> {after}")
        self.moves[before, after] += 1

    def published(self, message: Message) -> None:
        """An event was published: its phase was written before, its id is one."""
        if not message.type:
            return
        data = json.loads(message.data)
        phase = Phase(data["phase"])
        key = (data["deployment"], data["digest"], data["attempt"])
        if phase not in self.said[key]:
            raise InvariantError(f"4: {phase} of {key} was told before it was written")
        if phase in RESTING:
            ids = self.told[*key, phase]
            ids.add(message.id)
            if len(ids) > 1:
                raise InvariantError(f"4: {phase} of {key} has {len(ids)} event ids")

    def called(self, what: str, digest: str) -> None:
        """The platform is asked for something: the verdict was accepted."""
        if not any(one.startswith(digest) for one in self.accepted):
            raise InvariantError(f"1: {what} for {digest}, which was never accepted")

    def paced(self, sent: datetime) -> None:
        """Uploads and deployments of the project are sent two seconds apart.

        How long each is on its way is not ours to say: one that was sent first
        may arrive last.
        """
        if any(abs(sent - other) < PACE for other in self.sent):
            raise InvariantError(f"pace: two were sent at {sent}, nearly")
        self.sent.append(sent)

    def placed(self, deployed: dict[str, str], alone: set[str]) -> None:
        """An endpoint holds two deployed models at most, one that sleeps alone."""
        if len(deployed) > (1 if alone & set(deployed) else 2):
            raise InvariantError(f"2: deployed at once: {sorted(deployed)}")

    def ended(self, deployment: Deployment) -> None:
        """The run is over: everything rests, and every rest was told."""
        for revision in deployment.revisions:
            if revision.phase not in RESTING:
                raise InvariantError(
                    f"3: revision {revision.number} never came to rest: "
                    f"{revision.phase}, operation {revision.operation!r}"
                )
            if revision.deployed and revision.phase is not Phase.READY:
                raise InvariantError(f"2: {revision.phase} and still deployed")
            if revision.recalled or (deployment.withdrawn and revision.phase.live):
                raise InvariantError(f"3: {revision.phase}, and an order is not done")
        if deployment.outbox:
            raise InvariantError(f"4: {len(deployment.outbox)} messages never left")
        for key, phases in self.said.items():
            for phase in phases & RESTING if key[0] == deployment.id else ():
                if not self.told[*key, phase]:
                    raise InvariantError(f"4: {phase} of {key} was never told")


def served_by(deployment: Deployment) -> set[str]:
    """Ids of the deployed models that a record at rest claims."""
    return {deployed_model_id(r.digest) for r in deployment.revisions if r.deployed}
