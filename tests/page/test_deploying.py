"""Deploying what is in a bucket already: looked at, confirmed, deployed."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from drops.models import TINY_LLAMA, model_files
from drops.stores import MemoryArtifacts
from page.html_facts import facts
from weightdrop.bootstrap import App
from weightdrop.core.deployment.phases import Phase

OWN = {"Sec-Fetch-Site": "same-origin"}
SOURCE = "gs://models/team/llama"


@pytest.fixture
def bucket(app: App) -> dict[str, Any]:
    """The files of the bucket `models`: one good drop."""
    files = {f"team/llama/{name}": it for name, it in drop().items()}
    app.artifacts = MemoryArtifacts(files)
    return files


def drop() -> dict[str, Any]:
    """The files of a small Llama."""
    return dict(model_files(TINY_LLAMA))


def look(site: FlaskClient, **fields: str) -> tuple[int, str]:
    """What the page says of a filled form."""
    answer = site.get("/deploy", query_string=fields)
    return answer.status_code, facts(answer.text).words


def test_a_folder_is_shown_before_it_costs(
    app: App, site: FlaskClient, bucket: object
) -> None:
    """Model, machine and price, and nothing is written or told."""
    code, seen = look(site, source=SOURCE)

    assert (code, "Deploy this?" in seen) == (200, True)
    assert "LlamaForCausalLM" in seen
    assert "g2-standard-4" in seen
    assert "$0.81/h" in seen
    assert app.records.writes == 0  # type: ignore[attr-defined]


def test_a_confirmed_folder_is_deployed(
    app: App, site: FlaskClient, bucket: object
) -> None:
    """The same way as a drop, and the browser is led to it."""
    answer = site.post("/deploy", data={"source": SOURCE}, headers=OWN)

    (one,) = app.records.page(phase=None, size=5, token="").deployments
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        f"./deployments/{one.id}",
    )
    assert (one.prefix, one.phase) == ("team/llama", Phase.ACCEPTED)


CHOICES = {
    "source": SOURCE,
    "machine_type": "g2-standard-24",
    "model_id": "mine",
    "endpoint_display_name": "My endpoint",
    "max_replica_count": "2",
}


def test_choices_are_planned_and_confirmed(
    app: App, site: FlaskClient, bucket: dict[str, Any]
) -> None:
    """They go over what the folder's own file says, which stays as it is."""
    bucket["team/llama/weightdrop.json"] = b'{"max_model_len": 128, "spot": true}'

    code, seen = look(site, **CHOICES)
    before = app.records.writes  # type: ignore[attr-defined]
    answer = site.post("/deploy", data=CHOICES, headers=OWN)

    (one,) = app.records.page(phase=None, size=5, token="").deployments
    assert (code, before, answer.status_code) == (200, 0, 303)
    assert "g2-standard-24" in seen
    assert one.latest is not None
    assert one.latest.plan is not None
    assert one.latest.plan.machine_type == "g2-standard-24"
    options = one.latest.options
    assert (options.model_id, options.spot, options.max_replica_count) == (
        "mine",
        True,
        2,
    )


def test_every_choice_is_in_the_form_that_confirms(
    site: FlaskClient, bucket: object
) -> None:
    """What was looked at is what is ordered."""
    answer = site.get("/deploy", query_string=CHOICES)

    for name, text in CHOICES.items():
        assert f'name="{name}" value="{text}"' in answer.text


def test_a_broken_folder_cannot_be_confirmed(
    site: FlaskClient, bucket: dict[str, Any]
) -> None:
    """The findings are there, the button is not."""
    bucket["team/llama/config.json"] = b"{}"

    answer = site.get("/deploy", query_string={"source": SOURCE})

    found = facts(answer.text)
    assert "This cannot be deployed" in found.words
    assert "Fix:" in found.words
    assert not any(tag[0] == "button" for tag in found.shape)


def test_an_incomplete_folder_says_what_is_missing(
    site: FlaskClient, bucket: dict[str, Any]
) -> None:
    """It would wait: the page says for what."""
    for name in [it for it in bucket if it.endswith(".safetensors")]:
        del bucket[name]

    _, seen = look(site, source=SOURCE)

    assert "Files are missing" in seen
    assert "missing" in seen


def test_a_machine_that_is_too_dear_or_small_is_refused(
    site: FlaskClient, bucket: dict[str, Any]
) -> None:
    """No plan, no button, a finding that says why."""
    bucket["team/llama/weightdrop.json"] = b'{"max_hourly_usd": 0.01}'

    answer = site.get("/deploy", query_string={"source": SOURCE})

    assert "This cannot be deployed" in answer.text
    assert "plan-" in answer.text


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "gs://models/none"},
        {"source": "gs://foreign/llama"},
        {"source": "/etc/passwd"},
        {"source": "gs://models/../x"},
        {"source": ""},
        {"source": SOURCE, "machine_type": "abacus"},
        {"source": SOURCE, "region": "Atlantis"},
        {"source": SOURCE, "model_id": "a b"},
        {"source": SOURCE, "endpoint_display_name": "\x07"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_cannot_be_is_said_at_the_form(
    app: App,
    site: FlaskClient,
    bucket: object,
    fields: dict[str, str],
    method: str,
) -> None:
    """With the form filled as it was, and nothing deployed."""
    if method == "POST":
        answer = site.post("/deploy", data=fields, headers=OWN)
    else:
        answer = site.get("/deploy", query_string={"model_id": "m", **fields})

    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert 'name="source"' in answer.text
    assert app.records.writes == 0  # type: ignore[attr-defined]
