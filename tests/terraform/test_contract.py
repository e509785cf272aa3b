"""Terraform and Python are one system: what one names, the other means."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from terraform.harness import ROOT, Made
from weightdrop import logs
from weightdrop.adapters import firestore, firestore_documents
from weightdrop.core.deployment import events, naming
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.triggers import (
    AUDIT_LOG,
    DELETED,
    FINALIZED,
    MESSAGE_PUBLISHED,
)
from weightdrop.settings import Backend, Settings, load, variable
from weightdrop_functions import decode

LOCAL_ONLY = {
    "home": "where the local stack keeps its state",
    "storage_endpoint": "the local bucket server",
    "vertex_endpoint": "the local stand-in for Vertex AI",
    "firestore_endpoint": "an emulator of Firestore",
    "pubsub_endpoint": "an emulator of Pub/Sub",
    "local_gpus": "what the local stand-in for Vertex AI pretends to have",
}
"""Settings that nobody sets in the cloud, and what they are for."""


def functions(made: Made) -> dict[str, Mapping[str, Any]]:
    """The functions by entry point."""
    found = made.of("google_cloudfunctions2_function").values()
    return {one["build_config"][0]["entry_point"]: one for one in found}


def configuration(one: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables of a function."""
    return dict(one["service_config"][0]["environment_variables"])


def entry_points() -> dict[str, str]:
    """The entry points in functions/main.py and how each is called."""
    tree = ast.parse((ROOT / "functions" / "main.py").read_text())
    return {
        node.name: ast.unparse(node.decorator_list[0]).removeprefix(
            "functions_framework."
        )
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    }


def test_every_entry_point_is_a_function_and_the_other_way_round(
    made: Mapping[str, Made],
) -> None:
    """Four entry points, four functions."""
    assert sorted(entry_points()) == sorted(functions(made["minimal"]))


def test_events_call_what_takes_events(made: Mapping[str, Made]) -> None:
    """A function has a trigger exactly when its entry point takes CloudEvents."""
    wanted = {name: kind == "cloud_event" for name, kind in entry_points().items()}

    assert wanted == {
        name: bool(one["event_trigger"])
        for name, one in functions(made["minimal"]).items()
    }


def test_all_functions_are_made_from_one_zip(made: Mapping[str, Made]) -> None:
    """One commit is one behaviour."""
    sources = {
        str(one["build_config"][0]["source"])
        for one in functions(made["minimal"]).values()
    }

    assert len(sources) == 1


@pytest.mark.parametrize("name", ["minimal", "full"])
def test_every_variable_is_a_setting_and_the_other_way_round(
    made: Mapping[str, Made], name: str
) -> None:
    """Nothing is set that nobody reads; what is not set is for one machine only."""
    settings = {variable(field.name) for field in fields(Settings)}
    local = {variable(field) for field in LOCAL_ONLY}

    for one in functions(made[name]).values():
        assert settings - local == set(configuration(one)), (
            "a setting belongs into terraform/functions.tf, and where users choose "
            "it into terraform/variables.tf; or into LOCAL_ONLY here"
        )


def test_the_settings_that_local_only_names_exist() -> None:
    """The list of exceptions has no leftovers."""
    assert set(LOCAL_ONLY) <= {field.name for field in fields(Settings)}


def test_the_defaults_of_terraform_are_the_defaults_of_the_code(
    made: Mapping[str, Made],
) -> None:
    """What a user does not choose is the same in the cloud as elsewhere."""
    chosen = load(configuration(functions(made["minimal"])["on_tick"]))
    tunable = [
        field.name for field in fields(Settings) if field.name.endswith("_seconds")
    ]

    for name in [
        *tunable,
        "strict",
        "retire_on_delete",
        "kms_key",
        "private_projects",
        "private_network",
    ]:
        assert getattr(Settings(), name) == getattr(chosen, name), name


def test_what_a_user_chooses_arrives(made: Mapping[str, Made]) -> None:
    """Every value is read back as what was meant."""
    chosen = load(configuration(functions(made["full"])["on_request"]))

    assert (
        chosen.backend,
        chosen.project,
        chosen.region,
        chosen.buckets,
        chosen.database,
        chosen.settle_seconds,
        chosen.strict,
        chosen.private_projects,
        chosen.kms_key,
        chosen.serving_image,
    ) == (
        Backend.CLOUD,
        "demo-project",
        "us-central1",
        ("demo-drops",),
        "(default)",
        30.0,
        True,
        ("consumer-one", "consumer-two"),
        "projects/keys/locations/us-central1/keyRings/r/cryptoKeys/k",
        "us-central1-docker.pkg.dev/p/r/i@sha256:" + "0" * 64,
    )


def test_the_watched_bucket_is_the_one_that_is_made(made: Mapping[str, Made]) -> None:
    """The code refuses events of other buckets, so it must know this one."""
    buckets = made["minimal"].resources["google_storage_bucket.models"]
    chosen = load(configuration(functions(made["minimal"])["on_artifact"]))

    assert (buckets["name"],) == chosen.buckets


def test_the_default_image_is_where_images_are_pushed(made: Mapping[str, Made]) -> None:
    """What `make image` pushes is what is deployed."""
    outputs = made["minimal"].outputs
    chosen = load(configuration(functions(made["minimal"])["on_request"]))

    assert f"{outputs['image_repository']}/serving:latest" == chosen.serving_image


def test_the_base_url_is_the_status_function(made: Mapping[str, Made]) -> None:
    """The address that the code gives people is that of the function `status`."""
    one = functions(made["minimal"])["status"]
    chosen = load(configuration(one))

    assert chosen.base_url == made["minimal"].outputs["status_url"]
    assert chosen.base_url.endswith(f"/{one['name']}")


def test_topics_are_those_of_the_code(made: Mapping[str, Made]) -> None:
    """What is published on exists."""
    wanted = {events.EVENTS_TOPIC, events.REQUESTS_TOPIC, events.DEAD_LETTERS_TOPIC}
    found = made["minimal"].of("google_pubsub_topic").values()

    assert wanted == {one["name"] for one in found}


def test_dead_letters_are_where_the_command_line_looks(
    made: Mapping[str, Made],
) -> None:
    """The subscription bears the name of its topic."""
    one = made["minimal"].resources["google_pubsub_subscription.dead_letters"]

    assert one["name"] == events.DEAD_LETTERS_TOPIC
    assert f"/{events.DEAD_LETTERS_TOPIC}/" in f"{one['topic']}/"


def test_requests_call_on_request(made: Mapping[str, Made]) -> None:
    """The trigger of on_request listens to the topic that requests go to."""
    trigger = functions(made["minimal"])["on_request"]["event_trigger"][0]

    assert f"/{events.REQUESTS_TOPIC}/" in f"{trigger['pubsub_topic']}/"


def test_the_pulse_goes_to_on_tick(plans: Mapping[str, dict[str, Any]]) -> None:
    """The scheduler calls on_tick, with a token that is made out to it."""
    root = plans["minimal"]["configuration"]["root_module"]["resources"]
    job = next(it for it in root if it["type"] == "google_cloud_scheduler_job")
    target = job["expressions"]["http_target"][0]

    for expression in (target["uri"], target["oidc_token"][0]["audience"]):
        assert 'module.function["on_tick"].uri' in expression["references"]


def test_the_audit_log_is_listened_to_where_it_is_asked_for(
    made: Mapping[str, Made],
) -> None:
    """Each version of the call that the adapter makes, told to on_request."""
    triggers = [
        one
        for one in made["full"].of("google_eventarc_trigger").values()
        if one["name"].startswith("weightdrop-operations-")
    ]
    criteria = [
        {it["attribute"]: it["value"] for it in one["matching_criteria"]}
        for one in triggers
    ]
    service = functions(made["full"])["on_request"]["name"]

    assert {it["methodName"].split(".")[3] for it in criteria} == {"v1", "v1beta1"}
    assert {it["type"] for it in criteria} == {AUDIT_LOG}
    assert {it["serviceName"] for it in criteria} == {decode.PLATFORM}
    for one in triggers:
        run = one["destination"][0]["cloud_run_service"][0]
        assert run["service"] == service
    assert not any("operations" in name for name in made["minimal"].resources)


def test_event_types_are_those_that_the_decoders_take(made: Mapping[str, Made]) -> None:
    """Each type that is decoded is delivered, and to the function that decodes it."""
    wanted = {
        (FINALIZED, "on_artifact"),
        (DELETED, "on_artifact"),
        (MESSAGE_PUBLISHED, "on_request"),
    }
    triggered = {
        (one["event_trigger"][0]["event_type"], name)
        for name, one in functions(made["minimal"]).items()
        if one["event_trigger"]
    }
    names = {one["name"]: name for name, one in functions(made["minimal"]).items()}
    beside = {
        (
            next(
                it["value"]
                for it in one["matching_criteria"]
                if it["attribute"] == "type"
            ),
            names[one["destination"][0]["cloud_run_service"][0]["service"]],
        )
        for one in made["minimal"].of("google_eventarc_trigger").values()
    }

    assert wanted == triggered | beside


def test_events_that_can_be_subscribed_to_are_those_that_are_published() -> None:
    """The words that the variable takes make exactly the types in the code."""
    text = (ROOT / "terraform" / "variables.tf").read_text()
    listed = re.search(r"contains\(\[\s*(\"waiting\".*?)\]", text, re.DOTALL)
    assert listed is not None
    words = re.findall(r'"(\w+)"', listed[1])

    assert set(events.EVENT_TYPES) == {events.TYPE.format(word) for word in words}


def test_subscriptions_filter_by_the_attribute_that_is_published(
    made: Mapping[str, Made],
) -> None:
    """The filter names a type as the code writes it."""
    one = made["full"].resources['google_pubsub_subscription.events["ready"]']

    assert one["filter"] == " OR ".join(
        f'attributes.ce-type = "{events.event_type(phase)}"'
        for phase in (Phase.READY, Phase.FAILED)
    )


def test_indexes_are_those_that_the_queries_need(made: Mapping[str, Made]) -> None:
    """No query fails for want of an index, and no index is paid for in vain."""
    wanted = {(index.collection, index.fields) for index in firestore.INDEXES}
    found = made["minimal"].of("google_firestore_index").values()

    assert wanted == {
        (
            one["collection"],
            tuple((field["field_path"], field["order"]) for field in one["fields"]),
        )
        for one in found
    }
    assert {"COLLECTION"} == {one["query_scope"] for one in found}


def test_time_to_live_and_exemptions_are_those_of_the_records(
    made: Mapping[str, Made],
) -> None:
    """Events expire by the field that the adapter writes; large fields lack indexes."""
    found = made["minimal"].of("google_firestore_field").values()
    expiring = [(it["collection"], it["field"]) for it in found if it["ttl_config"]]
    bare = [(it["collection"], it["field"]) for it in found if not it["ttl_config"]]

    assert expiring == [(firestore_documents.EVENTS, firestore_documents.EXPIRES)]
    assert sorted(firestore.UNINDEXED) == sorted(bare)
    assert all(it["index_config"] == [{"indexes": []}] for it in found)


def test_the_database_is_the_one_that_is_made(made: Mapping[str, Made]) -> None:
    """Records are where the functions look for them."""
    for one in made.values():
        database = one.resources["google_firestore_database.records"]["name"]
        chosen = load(configuration(functions(one)["status"]))

        assert database == chosen.database


def test_our_label_is_the_one_that_the_code_puts_on_resources(
    made: Mapping[str, Made],
) -> None:
    """One label finds all that is paid for, and the budget counts by it."""
    bucket = made["minimal"].resources["google_storage_bucket.models"]
    budget = made["full"].resources["google_billing_budget.this[0]"]
    ours = {naming.LABEL: naming.labels("one", "")[naming.LABEL]}

    assert ours == bucket["labels"]
    assert ours == budget["budget_filter"][0]["labels"]


def test_metrics_are_made_of_what_is_logged(made: Mapping[str, Made]) -> None:
    """Every field that a metric reads is a fact that the code logs."""
    read: set[str] = set()
    for one in made["minimal"].of("google_logging_metric").values():
        extractors = [*one["label_extractors"].values(), one["value_extractor"] or ""]
        read |= set(
            re.findall(r"jsonPayload\.(\w+)", " ".join([*extractors, one["filter"]]))
        )

    assert {logs.EVENT, logs.PHASE, logs.PHASE_SECONDS} == read


def test_alerts_go_by_metrics_that_exist(made: Mapping[str, Made]) -> None:
    """No alert waits for a metric of ours that nothing makes."""
    metrics = {
        f"logging.googleapis.com/user/{one['name']}"
        for one in made["minimal"].of("google_logging_metric").values()
    }
    text = str(made["minimal"].of("google_monitoring_alert_policy"))

    assert metrics == set(re.findall(r"logging\.googleapis\.com/user/[\w/]+", text))


def test_failures_are_alerted_by_the_type_that_is_published(
    made: Mapping[str, Made],
) -> None:
    """The alert on failed deployments reads the event's own type."""
    policy = made["minimal"].resources['google_monitoring_alert_policy.this["failed"]']
    condition = policy["conditions"][0]["condition_threshold"][0]

    assert f'"{events.event_type(Phase.FAILED)}"' in condition["filter"]


def test_a_phase_counts_as_stuck_only_after_every_deadline(
    made: Mapping[str, Made],
) -> None:
    """The alert on stuck phases leaves time for the longest deadline to act."""
    policy = made["minimal"].resources['google_monitoring_alert_policy.this["stuck"]']
    above = policy["conditions"][0]["condition_threshold"][0]["threshold_value"]
    longest = Settings()

    assert above > max(
        longest.deploy_seconds, longest.verify_seconds, longest.operation_seconds
    )
