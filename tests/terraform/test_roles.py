"""Every role is used by a call the code makes, and every call has its role."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from terraform.harness import Made
from terraform.permissions import (
    CALLS,
    LIBRARY,
    ONLY_DIRECT,
    PORTS,
    ROLES,
    calls,
    modules,
    use,
)
from weightdrop.core.deployment import events

FUNCTIONS = ("on_artifact", "on_request", "on_tick", "status")

CUSTOM = "deployer"

# Who is no function, what it is given, and what for.
OTHERS: Mapping[str, Mapping[str, str]] = {
    "weightdrop-trigger": {
        "roles/eventarc.eventReceiver": "receives the events that a trigger delivers",
        "roles/run.invoker": "calls on_artifact and on_request with them",
    },
    "weightdrop-scheduler": {"roles/run.invoker": "calls on_tick"},
    "weightdrop-build": {
        "roles/artifactregistry.writer": "pushes what it builds",
        "roles/logging.logWriter": "writes the log of a build",
        "roles/storage.objectViewer": "reads the source of a build",
    },
    "agent:storage": {
        "roles/pubsub.publisher": "tells Eventarc of objects",
    },
    "agent:gcp-sa-pubsub": {
        "roles/pubsub.publisher": "moves what is undeliverable to the dead letters",
        "roles/pubsub.subscriber": "acknowledges what it moved there",
    },
    "agent:gcp-sa-monitoring-notification": {
        "roles/run.invoker": "asks status whether it is up"
    },
}


def grantee(member: str) -> str:
    """Who a grant is to: an account's name, or which of Google's agents."""
    if "google_storage_project_service_account" in member:
        return "agent:storage"
    if "@" in member:
        return "agent:" + member.rpartition("@")[2].partition(".")[0]
    return next(part for part in member.split("/") if part.startswith("weightdrop-"))


def grants(made: Made) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    """By grantee and role, what grants it."""
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for address, one in made.resources.items():
        if "_iam_member." in address:
            role = CUSTOM if "custom_role" in one["role"] else one["role"]
            found[grantee(one["member"])][role].append(one)
    return found


def granted(made: Made, entry_point: str) -> dict[str, list[Mapping[str, Any]]]:
    """The roles of a function's account."""
    return grants(made)[f"weightdrop-{entry_point.replace('_', '-')}"]


def allows(made: Made, role: str) -> frozenset[str]:
    """What a role permits."""
    if role == CUSTOM:
        custom = made.resources["google_project_iam_custom_role.deployer"]
        return frozenset(custom["permissions"])
    return ROLES[role]


@pytest.mark.parametrize("port", PORTS)
def test_the_table_of_calls_is_the_code(port: str) -> None:
    """Every call to Google has an entry with its permissions, and no entry is stale."""
    assert set(CALLS[port]) == calls(port)


def test_the_pace_line_is_among_the_records() -> None:
    """What an adapter has its neighbours call is read as its own."""
    assert LIBRARY / "adapters" / "firestore_line.py" in modules(*PORTS["records"])


def test_a_call_in_a_neighbour_of_an_adapter_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: a module that the adapter imports through another deletes."""
    source = "from weightdrop.adapters.{} import it\n"
    place = tmp_path / "adapters"
    place.mkdir()
    (place / "one.py").write_text(source.format("two"))
    (place / "two.py").write_text("from weightdrop.adapters import three\n")
    (place / "three.py").write_text("def it(batch): batch.delete('x')\n")
    monkeypatch.setitem(PORTS, "records", (place / "one.py",))

    assert calls("records") == {"delete"}


@pytest.mark.parametrize("entry_point", FUNCTIONS)
def test_every_call_has_its_role(made: Mapping[str, Made], entry_point: str) -> None:
    """No function is refused what its code asks for."""
    one = made["minimal"]
    allowed = frozenset[str]().union(
        *(allows(one, role) for role in granted(one, entry_point))
    )

    needed = use(entry_point).permissions - ONLY_DIRECT

    assert needed
    assert needed <= allowed


@pytest.mark.parametrize("entry_point", FUNCTIONS)
def test_every_role_is_used_by_a_call(
    made: Mapping[str, Made], entry_point: str
) -> None:
    """No function is given what its code never asks for."""
    one = made["minimal"]
    needed = use(entry_point).permissions

    for role in granted(one, entry_point):
        assert allows(one, role) & needed, role


@pytest.mark.parametrize("entry_point", FUNCTIONS)
def test_direct_reads_have_their_role(
    made: Mapping[str, Made], entry_point: str
) -> None:
    """Who admits weights that replicas read directly sees the bucket's rules."""
    role = "roles/storage.legacyBucketReader"
    asked = use(entry_point).permissions >= ONLY_DIRECT

    assert ROLES[role] >= ONLY_DIRECT
    assert role not in granted(made["minimal"], entry_point)
    assert (role in granted(made["full"], entry_point)) is asked


def test_the_custom_role_holds_exactly_what_is_called(
    made: Mapping[str, Made],
) -> None:
    """Not one permission more than the adapter needs."""
    needed = {
        permission
        for permissions in CALLS["platform"].values()
        for permission in permissions
        if permission.startswith(("aiplatform.", "logging."))
    }

    assert needed == allows(made["minimal"], CUSTOM)


@pytest.mark.parametrize("entry_point", FUNCTIONS)
def test_functions_publish_where_their_code_does(
    made: Mapping[str, Made], entry_point: str
) -> None:
    """Only a function that buries messages may write dead letters."""
    wanted = {events.EVENTS_TOPIC, events.REQUESTS_TOPIC}
    if use(entry_point).buries:
        wanted |= {events.DEAD_LETTERS_TOPIC}
    found = granted(made["minimal"], entry_point)["roles/pubsub.publisher"]

    assert wanted == {one["topic"] for one in found}


def test_only_on_request_buries() -> None:
    """The analysis sees the one function that writes dead letters itself."""
    assert [name for name in FUNCTIONS if use(name).buries] == ["on_request"]


@pytest.mark.parametrize("entry_point", FUNCTIONS)
def test_functions_read_the_watched_bucket_alone(
    made: Mapping[str, Made], entry_point: str
) -> None:
    """Reading objects is granted on one bucket, where the code reads any."""
    found = granted(made["minimal"], entry_point).get("roles/storage.objectViewer", [])
    wanted = (
        {"demo-project-weightdrop-models"}
        if "artifacts" in use(entry_point).ports
        else set()
    )

    assert wanted == {one["bucket"] for one in found}


def test_the_serving_container_reads_the_weights_and_nothing_else(
    made: Mapping[str, Made],
) -> None:
    """Its account has a role where it reads the bucket itself, and none elsewhere."""
    copied = grants(made["minimal"])
    one = made["full"]
    found = grants(one)["weightdrop-serving"]

    assert "weightdrop-serving" not in copied
    assert list(found) == ["roles/storage.objectViewer"]
    bucket = one.resources["google_storage_bucket.models"]["name"]
    assert [bucket] == [it["bucket"] for it in found["roles/storage.objectViewer"]]


def test_every_other_grant_has_its_reason(made: Mapping[str, Made]) -> None:
    """Each role of the accounts beside the functions is one that is accounted for."""
    functions = {f"weightdrop-{name.replace('_', '-')}" for name in FUNCTIONS}
    found = {
        who: set(roles)
        for who, roles in grants(made["minimal"]).items()
        if who not in functions
    }

    assert {who: set(roles) for who, roles in OTHERS.items()} == found


def test_members_invoke_what_the_variable_opens(made: Mapping[str, Made]) -> None:
    """Who may call status is the user's choice, and reaches no other function."""
    opened = {
        one["name"]
        for one in made["full"].of("google_cloud_run_v2_service_iam_member").values()
        if one["member"] == "group:ml@example.com"
    }

    assert {"weightdrop-status"} == opened


def test_a_key_is_for_googles_agents_alone(made: Mapping[str, Made]) -> None:
    """Whatever keeps data under the key may use it, and nobody else."""
    one = made["full"].of("google_kms_crypto_key_iam_member").values()

    assert {"roles/cloudkms.cryptoKeyEncrypterDecrypter"} == {it["role"] for it in one}
    assert {
        "agent:gcf-admin-robot",
        "agent:gcp-sa-aiplatform",
        "agent:gcp-sa-artifactregistry",
        "agent:gcp-sa-eventarc",
        "agent:gcp-sa-firestore",
        "agent:gcp-sa-pubsub",
        "agent:serverless-robot-prod",
        "agent:storage",
    } == {grantee(it["member"]) for it in one}
