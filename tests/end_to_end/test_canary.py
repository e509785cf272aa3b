"""A canary as its user sees it: through functions, Vertex adapter and HTTP.

The servers are small stand-ins for vLLM that say which copy of the weights they
were given. The tests share one stack and one deployment; each begins with a
canary of its own beside what serves.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from end_to_end.conftest import LocalStack, small_stack, until
from weightdrop.cli.client import View
from weightdrop.core.deployment.naming import deployed_model_id, model_id

NAME = "tiny"
ASKED = 200


class Canary:
    """A deployment that serves, and canaries dropped over it."""

    def __init__(self, local: LocalStack, model: Path, folder: Path) -> None:
        self.local = local
        self.folder = folder
        shutil.copytree(model, folder)
        local.copy(folder, NAME)
        self.first = local.when(NAME, "ready", revision=1)
        self.id = str(self.first["id"])

    def drop(self, percent: int) -> View:
        """Drop the model with other options; its status when it is a canary."""
        known = self.local.view(NAME)["revisions"]
        number = max(one["number"] for one in known) + 1
        options = {"traffic": percent, "model_display_name": f"canary {number}"}
        (self.folder / "weightdrop.json").write_text(json.dumps(options))
        self.local.copy(self.folder, NAME)

        def look() -> View:
            assert len(self.endpoint.get("deployedModels", ())) <= 2
            return self.settled(number, {self.serving: 100 - percent, number: percent})

        return until(look, f"revision {number} is a canary: {self.local.view(NAME)}")

    def settled(self, revision: int, parts: dict[int, int]) -> View:
        """The status, once it and the platform agree on who serves how much."""
        view = self.local.view(NAME)
        assert view["phase"] != "failed", json.dumps(view, indent=2)
        told = {one["revision"]: one["percent"] for one in view["traffic"]}
        wanted = {self.deployed(number): part for number, part in parts.items()}
        there = {one["id"] for one in self.endpoint.get("deployedModels", ())}
        fits = (told, there) == (parts, set(wanted)) and view["revision"] == revision
        return view if fits and self.endpoint["trafficSplit"] == wanted else {}

    @property
    def endpoint(self) -> View:
        """The endpoint, as the platform shows it."""
        return self.local.vertex(f"v1/{self.first['endpoint']['name']}")

    @property
    def serving(self) -> int:
        """The revision that served before, and serves beside a canary."""
        return int(self.local.view(NAME)["serving"]["revision"])

    def digest(self, number: int) -> str:
        """The digest of a revision."""
        lines = self.local.view(NAME)["revisions"]
        return str({one["number"]: one["digest"] for one in lines}.get(number, ""))

    def deployed(self, number: int) -> str:
        """The id of a revision on the endpoint; empty as long as there is none."""
        digest = self.digest(number)
        return deployed_model_id(digest) if digest else ""

    def answers(self) -> list[httpx.Response]:
        """What the endpoint answers to many prompts, one after another."""
        url = f"{self.first['endpoint']['baseUrl']}:rawPredict"
        with httpx.Client(trust_env=False, timeout=60) as client:
            said = [client.post(url, json={"prompt": "hi"}) for _ in range(ASKED)]
        assert all(answer.is_success for answer in said)
        return said

    def events(self, number: int) -> list[View]:
        """What was told of a revision, oldest first."""
        told = self.local.client.events(self.id)
        return [one for one in told if one["data"]["revision"] == number]

    def types(self, number: int) -> Counter[str]:
        """Short types of what was told of a revision since it was accepted."""
        kinds = Counter(one["type"].split(".")[2] for one in self.events(number))
        del kinds["waiting"], kinds["progress"]
        return kinds


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Canary]:
    """A stack with one revision that serves."""
    home, image = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("image")
    with small_stack(home, image) as local:
        yield Canary(local, model, tmp_path_factory.mktemp("drop") / NAME)


def by_header(said: list[httpx.Response]) -> Counter[str]:
    """Answers by the deployed model that the platform names."""
    return Counter(it.headers["X-Vertex-AI-Deployed-Model-Id"] for it in said)


def by_server(said: list[httpx.Response]) -> Counter[str]:
    """Answers by the model whose weights the server was given, as it says itself."""
    places = [str(it.json()["env"]["AIP_STORAGE_URI"]) for it in said]
    return Counter(place.split("/")[-2] for place in places)


def pids(said: list[httpx.Response]) -> set[Any]:
    """The processes that answered."""
    return {it.json()["pid"] for it in said}


def test_both_revisions_answer_in_their_shares(canary: Canary) -> None:
    """The endpoint's split, the status, the event and the answers say the same."""
    old = canary.serving
    view = canary.drop(25)
    new = int(view["revision"])
    said = canary.answers()
    (ready,) = [it for it in canary.events(new) if it["type"].endswith(".ready.v1")]

    assert canary.endpoint["trafficSplit"] == {
        canary.deployed(old): 75,
        canary.deployed(new): 25,
    }
    assert view["serving"]["revision"] == old
    assert ready["data"]["traffic"] == 25
    assert canary.types(old)["superseded"] == 0
    assert by_header(said)[canary.deployed(new)] == pytest.approx(ASKED / 4, abs=2)
    assert by_header(said).total() == ASKED
    assert by_server(said) == {
        model_id(canary.id, canary.digest(it)): by_header(said)[canary.deployed(it)]
        for it in (old, new)
    }
    assert view["endpoint"]["id"] == canary.first["endpoint"]["id"]


def everything_goes_to(canary: Canary, number: int, order: str) -> None:
    """After `order` one revision answers all, on the server that it had."""
    before = pids(canary.answers())
    done = canary.local.weightdrop(order, canary.id)
    assert done.returncode == 0, done.stderr
    until(lambda: canary.settled(number, {number: 100}), f"{number} has everything")
    said = canary.answers()
    assert by_header(said) == {canary.deployed(number): ASKED}
    assert pids(said) < before
    until(lambda: canary.local.servers() == pids(said), "one server")


def test_a_promoted_canary_takes_everything(canary: Canary) -> None:
    """`promote` moves the traffic to the server that is there; the old one goes."""
    old = canary.serving
    new = int(canary.drop(50)["revision"])

    everything_goes_to(canary, new, "promote")

    assert canary.types(new) == {"accepted": 1, "ready": 1}
    assert canary.types(old)["superseded"] == 1
    assert canary.serving == new


def test_a_canary_is_rolled_back(canary: Canary) -> None:
    """What served beside it gets everything back, on the server that it had."""
    old = canary.serving
    new = int(canary.drop(10)["revision"])

    everything_goes_to(canary, old, "rollback")

    assert canary.types(new) == {"accepted": 1, "ready": 1, "superseded": 1}
    done = canary.local.weightdrop("promote", canary.id)
    assert done.returncode == 1
    assert "no canary" in done.stderr


def test_a_newer_drop_takes_the_place_of_a_canary(canary: Canary) -> None:
    """Never three at once: another share is another drop, and what serves stays."""
    old = canary.serving
    first = int(canary.drop(20)["revision"])
    second = int(canary.drop(40)["revision"])
    said = canary.answers()

    assert second == first + 1
    assert canary.serving == old
    assert by_header(said)[canary.deployed(second)] == pytest.approx(0.4 * ASKED, abs=2)
    assert canary.types(first)["superseded"] == 1
    assert canary.types(old)["superseded"] == 0
