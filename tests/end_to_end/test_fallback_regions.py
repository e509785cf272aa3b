"""A region without room, as its user sees it: functions, Vertex adapter and HTTP.

The servers are small stand-ins for vLLM. Every region has one accelerator. What a
test deploys it takes down again, so that the next one finds all regions free.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from end_to_end.conftest import LocalStack, small_stack, until
from weightdrop.cli.client import View

HOME, SECOND, THIRD = "us-central1", "us-east4", "europe-west4"
REGIONS = (HOME, SECOND, THIRD)
STOCK_OUT = "Machine type temporarily unavailable, please retry."
Drop = Callable[..., None]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack that may go to two further regions."""
    home, image = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("image")
    settings = {"fallback_regions": f"{SECOND},{THIRD}", "local_gpus": "1"}
    with small_stack(home, image, **settings) as running:
        yield running


@pytest.fixture
def drop(local: LocalStack, model: Path, tmp_path: Path) -> Iterator[Drop]:
    """Drops a model under a name, with options; all are taken down afterwards."""
    names: list[str] = []

    def put(name: str, **options: Any) -> None:
        folder = tmp_path / name
        shutil.copytree(model, folder)
        (folder / "weightdrop.json").write_text(json.dumps(options))
        names.append(name)
        local.copy(folder, name)

    yield put
    rules(local)
    for name in names:
        if local.view(name)["phase"] == "ready":
            local.client.act(local.id_of(name), "undeploy")
            local.when(name, "retired")


def rules(local: LocalStack, *regions: str) -> None:
    """Have these regions, and no others, be without free machines."""
    rule = {"where": "operation", "status": "RESOURCE_EXHAUSTED", "times": 1000}
    body = [
        {"match": f"^deploy_model .*/{region}/", "message": STOCK_OUT, **rule}
        for region in regions
    ]
    local.vertex("weightdrop/faults", method="PUT", json={"rules": body})


def held(local: LocalStack, region: str, kind: str, name: str) -> list[View]:
    """What the platform holds of a drop in a region: `models` or `endpoints`."""
    label = local.id_of(name)
    found = local.vertex(f"v1/projects/local/locations/{region}/{kind}").get(kind, ())
    return [one for one in found if label in one.get("labels", {}).values()]


def place(name: str) -> str:
    """A resource's name without the project, which has a number and an id."""
    return name.partition("/locations/")[2]


def gone(local: LocalStack, region: str, name: str) -> bool:
    """Whether nothing of a drop is left in a region, its copied weights included."""
    copies = local.home / "buckets" / "vertex-managed-local" / region
    return (
        not held(local, region, "models", name)
        and not held(local, region, "endpoints", name)
        and not [
            path
            for path in copies.rglob("*")
            if path.is_file() and local.id_of(name) in str(path)
        ]
    )


def weights(local: LocalStack, name: str) -> str:
    """Where the server that answers a prompt reads its weights, as it says itself."""
    base = local.view(name)["endpoint"]["baseUrl"].partition("/v1beta1/")[2]
    said = local.vertex(
        f"v1beta1/{base}:rawPredict", method="POST", json={"prompt": "hi"}
    )
    return str(said["env"]["AIP_STORAGE_URI"])


def told(local: LocalStack, name: str, kind: str) -> list[View]:
    """The events of one short type, oldest first."""
    events = local.client.events(local.id_of(name))
    return [one for one in events if one["type"].split(".")[2] == kind]


def test_a_first_revision_goes_where_there_is_room(
    local: LocalStack, drop: Drop
) -> None:
    """It answers from the second region; nothing is left in the first."""
    rules(local, HOME)
    drop("roomless")
    view = local.when("roomless", "ready", region=SECOND)
    until(lambda: gone(local, HOME, "roomless"), "nothing in the first region")
    (endpoint,) = held(local, SECOND, "endpoints", "roomless")
    (deployed,) = endpoint["deployedModels"]
    (model,) = held(local, SECOND, "models", "roomless")

    assert endpoint["trafficSplit"] == {deployed["id"]: 100}
    assert deployed["model"] == model["name"]
    assert place(view["endpoint"]["model"]) == place(model["name"])
    assert place(view["endpoint"]["name"]) == place(endpoint["name"])
    assert f"/locations/{SECOND}/" in view["endpoint"]["baseUrl"]
    assert (view["plan"]["region"], view["attempt"]) == (SECOND, 1)
    assert f"/{SECOND}/" in weights(local, "roomless")
    assert held(local, THIRD, "endpoints", "roomless") == []


def test_the_events_tell_of_both_regions_and_of_one_end(
    local: LocalStack, drop: Drop
) -> None:
    """Progress names the region it is in; each end is told once, with the address."""
    rules(local, HOME, SECOND)
    drop("told")
    local.when("told", "ready", region=THIRD)
    (ready,) = told(local, "told", "ready")
    progress = told(local, "told", "progress")
    seen = dict.fromkeys(one["data"]["region"] for one in progress)
    events = local.client.events(local.id_of("told"))

    assert list(seen) == list(REGIONS)
    assert f"/locations/{THIRD}/" in ready["data"]["endpoint"]["baseUrl"]
    assert told(local, "told", "failed") == []
    assert len(told(local, "told", "accepted")) == 1
    assert max(Counter(one["id"] for one in events).values()) == 1
    until(
        lambda: all(gone(local, region, "told") for region in (HOME, SECOND)),
        "nothing in the regions that had no room",
    )


def test_a_quota_that_is_used_up_leads_on_to_the_last_region(
    local: LocalStack, drop: Drop
) -> None:
    """One accelerator a region: three find a place in turn, the fourth nowhere."""
    for number, region in enumerate(REGIONS):
        drop(f"quota-{number}")
        local.when(f"quota-{number}", "ready", region=region)
    drop("quota-3")
    view = local.when("quota-3", "failed")

    assert view["reason"] == "quota"
    assert "CustomModelServingL4GPUsPerProjectPerRegion" in view["message"]
    (failed,) = told(local, "quota-3", "failed")
    assert failed["data"]["reason"] == "quota"
    for number in range(3):
        assert f"/{REGIONS[number]}/" in weights(local, f"quota-{number}")
    until(
        lambda: all(gone(local, region, "quota-3") for region in (HOME, SECOND)),
        "nothing in the regions before the last",
    )
    until(lambda: not held(local, THIRD, "models", "quota-3"), "no model in the last")
    assert len(local.servers()) == 3


def test_a_folder_that_names_its_region_is_deployed_there_or_nowhere(
    local: LocalStack, drop: Drop
) -> None:
    """Who chose a region meant it: it fails, and no other region is asked."""
    rules(local, HOME)
    drop("named", region=HOME)
    view = local.when("named", "failed")

    assert (view["reason"], view["region"]) == ("no_capacity", HOME)
    assert STOCK_OUT in view["message"]
    assert all(gone(local, region, "named") for region in (SECOND, THIRD))


def test_what_has_served_stays_where_its_users_know_it(
    local: LocalStack, drop: Drop, model: Path, tmp_path: Path
) -> None:
    """A second revision that finds no room fails; the first goes on answering."""
    drop("stays")
    before = local.when("stays", "ready", revision=1)
    rules(local, HOME)
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "weightdrop.json").write_text('{"model_display_name": "second"}')
    local.copy(changed, "stays", "weightdrop.json")
    view = local.when("stays", "failed", revision=2)

    # The only accelerator of the region is in use: quota, before any stock-out.
    assert view["reason"] == "quota"
    assert view["region"] == HOME
    assert view["serving"]["revision"] == 1
    assert view["endpoint"]["name"] == before["endpoint"]["name"]
    assert f"/{HOME}/" in weights(local, "stays")
