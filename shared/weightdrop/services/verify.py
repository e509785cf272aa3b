"""Have a new deployed model answer one real prompt before it is called ready.

An endpoint's traffic split decides who answers. Where the new model is alone
it gets everything; beside an older one it gets a small share until one of the
answers is its own. When it has answered it gets the share that it is to have:
all of it, or a canary's part.
"""

from __future__ import annotations

from dataclasses import dataclass

from weightdrop.core.deployment.naming import deployed_model_id
from weightdrop.core.deployment.record import WHOLE, Deployment, Revision
from weightdrop.errors import PermanentError, TransientError
from weightdrop.ports import Endpoint, Platform

PROMPT = "Hello"
SHARE = 10
"""Percent of the traffic that a new revision gets while it is asked."""

QUESTIONS = 64
"""Prompts of one run: at a share of 10 % all of them miss once in 800 runs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether the new model answered; `words` say why it never will."""

    answered: bool
    words: str = ""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Asks through the platform."""

    platform: Platform

    def verify(self, deployment: Deployment, revision: Revision) -> Outcome:
        """Ask until the new model answers, and give it its share then."""
        found = self.platform.endpoint(deployment.endpoint_name)
        new = deployed_model_id(revision.digest)
        if found is None or new not in found.deployed:
            return Outcome(answered=False, words="The deployed model is gone.")
        old = _other(deployment, found, new)
        # A canary's share is not exceeded, unless it is to have none at all.
        trial = min(SHARE, revision.share or SHARE) if old else WHOLE
        split = {key: share for key, share in found.traffic if share}
        split = set_split(self.platform, found.name, split, _parts(new, old, trial))
        outcome = self._ask(found, revision, new, alone=not old)
        if outcome.answered and old:
            set_split(
                self.platform, found.name, split, _parts(new, old, revision.share)
            )
        return outcome

    def _ask(
        self, found: Endpoint, revision: Revision, new: str, *, alone: bool
    ) -> Outcome:
        words = ""
        for _ in range(1 if alone else QUESTIONS):
            try:
                answer = self.platform.ask(
                    found, PROMPT, model=revision.options.model_id
                )
            except TransientError:
                continue
            except PermanentError as error:
                words = str(error)
                continue
            if alone or answer.deployed_model_id == new:
                return Outcome(answered=True)
        return Outcome(answered=False, words=words if alone else "")


def _other(deployment: Deployment, found: Endpoint, new: str) -> str:
    serving = deployment.serving
    old = deployed_model_id(serving.digest) if serving else ""
    return old if old in found.deployed and old != new else ""


def _parts(new: str, old: str, share: int) -> dict[str, int]:
    """A traffic split in which `new` has its share; empty parts are left out."""
    return {key: part for key, part in ((new, share), (old, WHOLE - share)) if part}


def settle_traffic(platform: Platform, deployment: Deployment) -> bool:
    """Give the traffic to what is ready, each its part; whether that was needed.

    Nothing is done where nothing is ready, or where it is not on the endpoint.
    """
    wanted = {
        deployed_model_id(one.digest): part for one, part in deployment.split if part
    }
    found = platform.endpoint(deployment.endpoint_name) if wanted else None
    if found is None or not wanted.keys() <= set(found.deployed):
        return False
    split = {key: share for key, share in found.traffic if share}
    set_split(platform, found.name, split, wanted)
    return split != wanted


def set_split(
    platform: Platform, endpoint: str, split: dict[str, int], wanted: dict[str, int]
) -> dict[str, int]:
    """Make `wanted` of the split that an endpoint has; returns what it has then."""
    if split != wanted:
        platform.set_traffic(endpoint, tuple(wanted.items()))
    return wanted
