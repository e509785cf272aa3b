"""Have a new deployed model answer one real prompt before it is called ready.

An endpoint's traffic split decides who answers. Where the new model is alone
it gets everything; beside an older one it gets a small share until one of the
answers is its own, and the rest when it has answered.
"""

from __future__ import annotations

from dataclasses import dataclass

from weightdrop.core.deployment.naming import deployed_model_id
from weightdrop.core.deployment.record import Deployment, Revision
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
        """Ask until the new model answers, and give it all traffic then."""
        found = self.platform.endpoint(deployment.endpoint_name)
        new = deployed_model_id(revision.digest)
        if found is None or new not in found.deployed:
            return Outcome(answered=False, words="The deployed model is gone.")
        old = _other(deployment, found, new)
        if old:
            self._share(found, ((new, SHARE), (old, 100 - SHARE)))
        elif dict(found.traffic).get(new) != 100:  # noqa: PLR2004 - percent
            self._share(found, ((new, 100),))
        outcome = self._ask(found, revision, new, alone=not old)
        if outcome.answered and old:
            self._share(found, ((new, 100),))
        return outcome

    def give_back(self, deployment: Deployment, revision: Revision) -> None:
        """Return all traffic to the revision that served before."""
        if not deployment.endpoint_name:
            return
        found = self.platform.endpoint(deployment.endpoint_name)
        new = deployed_model_id(revision.digest)
        old = _other(deployment, found, new) if found else ""
        if found and old:
            self._share(found, ((old, 100),))

    def _share(self, found: Endpoint, traffic: tuple[tuple[str, int], ...]) -> None:
        wanted = {key: share for key, share in traffic if share}
        if {key: share for key, share in found.traffic if share} != wanted:
            self.platform.set_traffic(found.name, traffic)

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
