"""Hostile words in a bucket stay words, and the policy holds wherever they are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.builders import make_deployment
from fakes.records import MemoryRecords
from page import samples
from page.html_facts import facts
from page.samples import READY
from weightdrop.bootstrap import App
from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment, Message
from weightdrop_functions.page.guard import POLICY

HOSTILE = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror=window.pwned=1>',
    "'><svg/onload=window.pwned=1>",
    "{{ 7 * 7 }}{% raw %}",
    "</code></pre></textarea></title><h1>",
    "&lt;b&gt; &amp; \u202egnp.exe \x00\x1b[31m",
    "javascript:window.pwned=1",
)


def poisoned(text: str, phase: Phase) -> tuple[Deployment, tuple[Message, ...]]:
    """A deployment with `text` wherever a bucket or the platform chooses words."""
    finding = Finding(text, Severity.WARNING, text, text, file=text, offset=1)
    serving = samples.ready().revisions[-1]
    assert serving.model is not None
    assert serving.plan is not None
    broken = replace(
        serving,
        phase=phase,
        message=text,
        stage=text,
        findings=(finding,),
        log_tail=(text,),
        missing=(text,),
        model=replace(
            serving.model,
            base_model=text,
            architecture=text,
            dtype=text,
            quantization=text,
        ),
        plan=replace(
            serving.plan, explanation=(text,), vllm_args=(text,), machine_type=text
        ),
        options=replace(serving.options, model_id=text),
        tried=(text,),
    )
    one = make_deployment(
        f"evil-{phase.value.replace('_', '-')}",
        prefix=text,
        revisions=(replace(serving, number=1, digest="3" * 64), broken),
        endpoint_id=text,
        endpoint_dns=text,
        endpoint_url=f"https://{text}",
        overrides=(("model_id", text),),
        setbacks=2,
        setback=text,
        due=samples.NOW,
    )
    return one, samples.told(replace(one, revisions=(broken,)))


def shapes(app: App, site: FlaskClient, text: str) -> list[list[tuple[str, ...]]]:
    """The elements of each page about a deployment with `text` in it."""
    app.records = MemoryRecords(strict=True)
    vars(app).pop("query", None)
    vars(app).pop("commands", None)
    paths = ["/"]
    for phase in (Phase.WAITING, Phase.DEPLOYING, Phase.READY, Phase.FAILED):
        one, events = poisoned(text, phase)
        app.records.create(one, events=events)
        paths += [f"/deployments/{one.id}", f"/deployments/{one.id}/undeploy"]
    return [facts(site.get(path).text).shape for path in paths]


class TestHostileWords:
    """Whatever is in a bucket, it is text on the page."""

    @pytest.mark.parametrize("text", HOSTILE)
    def test_hostile_words_make_no_element(
        self, app: App, site: FlaskClient, text: str
    ) -> None:
        """The page has the same elements and attributes as with harmless words."""
        assert shapes(app, site, "harmless") == shapes(app, site, text)

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
    def test_no_words_make_an_element(
        self, app: App, site: FlaskClient, text: str
    ) -> None:
        """Any text at all."""
        assert shapes(app, site, "harmless") == shapes(app, site, text)

    @pytest.mark.parametrize("text", HOSTILE)
    def test_the_form_gives_hostile_words_back_as_text(
        self, site: FlaskClient, text: str
    ) -> None:
        """What was typed is in the field again, and nowhere else."""
        harmless = site.get("/deploy", query_string={"source": "harmless"})
        hostile = site.get("/deploy", query_string={"source": text})

        assert (harmless.status_code, hostile.status_code) == (400, 400)
        assert facts(harmless.text).shape == facts(hostile.text).shape

    def test_a_planted_fault_is_found(self) -> None:
        """The comparison sees one element too many."""
        assert facts("<p>x</p>").shape != facts("<p><b>x</b></p>").shape
        assert facts("<p onclick=x>").inline == ["onclick"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/deploy",
        f"/deployments/{READY}",
        f"/deployments/{READY}/undeploy",
        "/deployments/none-00000000",
        "/?phase=odd",
    ],
)
def test_the_policy_holds_on_every_page(full: FlaskClient, path: str) -> None:
    """Nothing inline, nothing from elsewhere, no frame, no store."""
    answer = full.get(path)

    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert facts(answer.text).inline == []
