"""What no change of terraform/ may give up: safety, privacy, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from terraform.harness import Made, Terraform

BASIC = {"roles/owner", "roles/editor", "roles/viewer"}
UNLABELLED = {
    "google_billing_budget",
    "google_cloud_scheduler_job",
    "google_firestore_backup_schedule",
    "google_firestore_database",
    "google_firestore_field",
    "google_firestore_index",
    "google_logging_metric",
    "google_monitoring_dashboard",
    "google_project_iam_custom_role",
    "google_project_service",
    "google_service_account",
    "google_storage_bucket_object",
}
"""Kinds that Google gives no labels; grants have none either."""

TRACING = {("telemetry.metricsWriter", False), ("telemetry.tracesWriter", False)}
"""Roles on the project for whoever wants traces."""

both = pytest.mark.parametrize("name", ["minimal", "full"])


def kind(address: str) -> str:
    """The type in an address."""
    return next(part for part in address.split(".") if part.startswith("google_"))


def grants(made: Made) -> dict[str, Mapping[str, Any]]:
    """Everything that gives a role to somebody."""
    return {
        a: it for a, it in made.resources.items() if kind(a).endswith("_iam_member")
    }


@both
def test_roles_are_narrow_and_nothing_is_public(
    made: Mapping[str, Made], name: str
) -> None:
    """No basic role, no administrator, no grant to everybody."""
    for address, one in grants(made[name]).items():
        assert one["role"] not in BASIC, address
        assert "admin" not in one["role"].lower(), address
        assert not one["member"].startswith("all"), address


@both
def test_roles_on_the_project_are_few(made: Mapping[str, Made], name: str) -> None:
    """What can be granted on one resource is not granted on the project."""
    found = {
        (one["role"].rpartition("/")[2], bool(one["condition"]))
        for address, one in grants(made[name]).items()
        if kind(address) == "google_project_iam_member"
    }

    assert {
        ("datastore.user", True),
        ("eventarc.eventReceiver", False),
        ("logging.logWriter", False),
        ("name", False),  # the custom role, as the stand-in names it
        ("pubsub.publisher", False),
        ("storage.objectViewer", True),
    } | (TRACING if name == "full" else set()) == found


@both
def test_buckets_are_private_and_uniform(made: Mapping[str, Made], name: str) -> None:
    """No object has rights of its own, and none can be made public."""
    for address, one in made[name].of("google_storage_bucket").items():
        assert one["uniform_bucket_level_access"] is True, address
        assert one["public_access_prevention"] == "enforced", address


@both
def test_everything_that_can_carries_our_labels(
    made: Mapping[str, Made], name: str
) -> None:
    """Whoever looks at the bill or the console knows whose it is."""
    for address, one in made[name].resources.items():
        if kind(address).endswith("_iam_member") or kind(address) in UNLABELLED:
            continue
        labels = one["user_labels"] if "user_labels" in one else one["labels"]
        assert (labels or {}).get("weightdrop") == "true", address


@both
def test_events_are_tried_again(made: Mapping[str, Made], name: str) -> None:
    """A function that fails gets its event once more."""
    functions = made[name].of("google_cloudfunctions2_function").values()
    policies = [
        one["event_trigger"][0]["retry_policy"]
        for one in functions
        if one["event_trigger"]
    ]

    assert policies == ["RETRY_POLICY_RETRY"] * 2


@both
def test_subscriptions_lose_nothing(made: Mapping[str, Made], name: str) -> None:
    """Each keeps, retries, never expires, and gives what it cannot deliver away."""
    found = made[name].of("google_pubsub_subscription")

    assert len(found) >= 2
    for address, one in found.items():
        assert one["expiration_policy"][0]["ttl"] == "", address
        assert one["retry_policy"], address
        assert int(one["message_retention_duration"].rstrip("s")) >= 86400, address
        last = address.endswith(".dead_letters")
        assert (
            last or "dead-letters" in one["dead_letter_policy"][0]["dead_letter_topic"]
        )
        assert last or one["enable_message_ordering"] is True


@both
def test_the_function_for_people_is_the_only_one_in_reach(
    made: Mapping[str, Made], name: str
) -> None:
    """Events and ticks come from inside; only `status` answers the world."""
    found = {
        one["name"]: one["service_config"][0]["ingress_settings"]
        for one in made[name].of("google_cloudfunctions2_function").values()
    }

    assert found.pop("weightdrop-status") == "ALLOW_ALL"
    assert {"ALLOW_INTERNAL_ONLY"} == set(found.values())


@both
def test_each_function_runs_as_itself(made: Mapping[str, Made], name: str) -> None:
    """Four functions, four accounts, none of them the project's default."""
    functions = made[name].of("google_cloudfunctions2_function").values()
    accounts = [one["service_config"][0]["service_account_email"] for one in functions]

    assert [f"{one['name']}@" for one in functions] == [
        email.partition("@")[0] + "@" for email in accounts
    ]
    assert len(set(accounts)) == 4
    assert all(
        "weightdrop-build" in one["build_config"][0]["service_account"]
        for one in functions
    )


def test_data_is_protected_by_default(made: Mapping[str, Made]) -> None:
    """`terraform destroy` stops before drops and records."""
    found = made["minimal"].resources
    database = found["google_firestore_database.records"]

    assert found["google_storage_bucket.models"]["force_destroy"] is False
    assert database["delete_protection_state"] == "DELETE_PROTECTION_ENABLED"
    assert (
        database["point_in_time_recovery_enablement"]
        == "POINT_IN_TIME_RECOVERY_ENABLED"
    )


@both
def test_a_second_apply_changes_nothing(
    terraform: Terraform, made: Mapping[str, Made], name: str
) -> None:
    """The plan after an apply is empty."""
    assert made[name].resources
    said = terraform.run(
        "plan",
        f"-state={name}.tfstate",
        f"-var-file={name}.tfvars.json",
        "-detailed-exitcode",
    )

    assert "No changes" in said


def test_everything_can_be_taken_down(
    terraform: Terraform, made: Mapping[str, Made]
) -> None:
    """Without protection, destroy leaves nothing of ours."""
    assert made["full"].resources
    terraform.run(
        "plan",
        "-destroy",
        "-state=full.tfstate",
        "-var-file=full.tfvars.json",
        "-out=destroy.plan",
    )
    planned = json.loads(terraform.run("show", "-json", "destroy.plan"))
    actions = {
        tuple(it["change"]["actions"])
        for it in planned["resource_changes"]
        if it["mode"] == "managed"
    }

    assert {("delete",)} == actions


def test_the_dashboard_is_json_that_names_our_metrics(made: Mapping[str, Made]) -> None:
    """Six charts, none of them on top of another."""
    one = made["minimal"].resources["google_monitoring_dashboard.this"]
    tiles = json.loads(one["dashboard_json"])["mosaicLayout"]["tiles"]

    assert 6 == len(tiles) == len({(it["xPos"], it["yPos"]) for it in tiles})
    assert all(it["xPos"] + it["width"] <= 12 for it in tiles)
