"""The page, as a browser without JavaScript gets it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from flask.testing import FlaskClient

from fakes.builders import make_deployment, make_revision
from page import samples
from page.html_facts import facts, page
from page.samples import CANARY, FAILED, IDS, READY
from weightdrop.bootstrap import App
from weightdrop.core.deployment.phases import Phase
from weightdrop.local.records import SqliteRecords
from weightdrop_functions.page import words


class TestReading:
    """What is shown, and to whom."""

    @pytest.mark.parametrize("path", ["/", f"/deployments/{READY}"])
    @pytest.mark.parametrize(
        ("accept", "mimetype"),
        [
            ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
            ("*/*", "application/json"),
            ("", "application/json"),
            ("application/json", "application/json"),
            ("application/json, text/html;q=0.5", "application/json"),
        ],
    )
    def test_people_get_the_page_and_programs_json(
        self, full: FlaskClient, path: str, accept: str, mimetype: str
    ) -> None:
        """Who asks for HTML first gets it; curl and clients get what they did."""
        answer = full.get(path, headers={"Accept": accept})

        assert (200, mimetype) == (answer.status_code, answer.mimetype)

    def test_the_list_says_what_matters_of_each(self, full: FlaskClient) -> None:
        """Phase, model, machine, price and age, the newest change first."""
        seen = page(full, "/").words

        assert all(identity in seen for identity in IDS.values())
        for word in ("deploying", "Llama-3.1-70B", "g4-standard-96", "3 h 1 min"):
            assert word in seen
        plan = samples.ready().revisions[-1].plan
        assert plan is not None
        assert words.price(plan.hourly_usd) in seen
        assert seen.index(IDS["legal/summaries-70b"]) < seen.index(READY)

    def test_the_list_filters(self, full: FlaskClient) -> None:
        """One phase alone, or the word that there is none in it."""
        assert READY in page(full, "/?phase=ready").words
        assert FAILED not in page(full, "/?phase=ready").words
        assert "No deployment is verifying" in page(full, "/?phase=verifying").words
        assert "no phase" in page(full, "/?phase=odd", code=400).words

    def test_an_empty_stack_says_what_to_do(self, site: FlaskClient) -> None:
        """The first look is an invitation."""
        assert "weightdrop drop" in page(site, "/").words

    def test_one_shows_where_and_how_to_ask(self, full: FlaskClient) -> None:
        """Endpoint, curl and Python, to be copied."""
        seen = page(full, f"/deployments/{READY}").words

        assert "curl -X POST https://wd-support-bot" in seen
        assert "client.chat.completions.create" in seen
        assert "KV cache" in seen
        assert "superseded" in seen

    def test_one_shows_why_and_what_to_do(self, full: FlaskClient) -> None:
        """Reason, message, advice and log of a failure; findings of a rejection."""
        failed = page(full, f"/deployments/{FAILED}").words
        rejected = page(full, f"/deployments/{IDS['experiments/run-0417']}").words
        waiting = page(full, f"/deployments/{IDS['incoming/tuned-gemma']}").words

        assert "CUDA out of memory" in failed
        assert "Read the log tail" in failed
        assert samples.ERROR.detail in rejected
        assert samples.ERROR.fix in rejected
        assert rejected.index("safetensors-trunc") < rejected.index("tokenizer-templ")
        assert "model-00003-of-00004.safetensors" in waiting

    def test_a_canary_shows_its_part(self, full: FlaskClient) -> None:
        """Both parts, what both cost, and what an order chose."""
        one = samples.canary()
        price = one.revisions[-1].plan.hourly_usd  # type: ignore[union-attr]
        together = words.price(2 * (price or 0.0))
        seen = page(full, f"/deployments/{CANARY}").words
        listed = page(full, "/").words

        assert "Revision 2, serving: 75 %" in seen
        assert "Revision 3, canary: 25 %" in seen
        assert "takes 25 % of the traffic" in seen
        assert f"Both are deployed, {together} together" in seen
        assert "Machine type" in seen
        assert "team=search" in seen
        assert "canary, 25 %" in listed
        assert together in listed
        ready = page(full, f"/deployments/{READY}").words
        assert "Both are deployed" not in ready
        assert "Machine type" not in ready

    def test_a_region_that_had_no_machine_is_named(self, full: FlaskClient) -> None:
        """Beside the one it is in now."""
        seen = page(full, f"/deployments/{IDS['legal/summaries-70b']}").words

        assert "no machine or no quota for it in us-east4" in seen
        assert "uploading, in us-central1" in seen

    def test_an_old_revision_that_still_runs_is_paid_for(
        self, app: App, site: FlaskClient
    ) -> None:
        """Also while a newer folder, not planned yet, waits beside it."""
        one = samples.ready()
        new = make_revision(3, missing=("tokenizer.json",))
        app.records.create(replace(one, revisions=(*one.revisions, new)), events=())
        price = words.price(one.revisions[-1].plan.hourly_usd)  # type: ignore[union-attr]

        assert price in page(site, "/").words
        assert "revision 2, until a newer" in page(site, f"/deployments/{READY}").words

    def test_the_timeline_tells_every_event(self, full: FlaskClient) -> None:
        """The newest first."""
        seen = page(full, f"/deployments/{IDS['legal/summaries-70b']}").words

        timeline = seen[seen.index("Timeline") :]
        assert timeline.index("creating endpoint") < timeline.index("uploading")
        assert timeline.index("uploading") < timeline.index("accepted")

    def test_what_is_not_there_is_said_in_html(self, full: FlaskClient) -> None:
        """A person who mistyped gets a way back."""
        seen = page(full, "/deployments/none-00000000", code=404)

        assert "none-00000000" in seen.words
        assert "../" in seen.addresses

    def test_every_link_leads_somewhere(self, full: FlaskClient) -> None:
        """Followed from the root, also below a path that a front end adds."""
        todo, seen = ["http://localhost/"], set[str]()
        while todo:
            address = todo.pop()
            parts = urlsplit(address)
            path = parts.path + ("?" + parts.query if parts.query else "")
            if path in seen or parts.netloc != "localhost":
                continue
            seen.add(path)
            answer = full.get(path)
            assert answer.status_code == 200, path
            if answer.mimetype != "text/html":
                continue
            found = facts(answer.text).addresses
            assert not [one for one in found if one.startswith("/")], path
            todo += [urljoin(address, one) for one in found]

        assert len(seen) > 15


class TestPaging:
    """A thousand deployments."""

    @pytest.fixture
    def thousand(self, app: App, tmp_path: Path) -> Iterator[int]:
        """As many records in SQLite, as the local stack has them."""
        records = SqliteRecords(tmp_path / "records.db")
        model = samples.ready()
        for number in range(1000):
            one = replace(
                model,
                id=f"bot-{number:08d}",
                updated=model.updated + timedelta(seconds=number),
            )
            records.create(one)
        app.records = records
        yield 1000
        records.close()

    def test_a_page_is_there_at_once(self, thousand: int, site: FlaskClient) -> None:
        """The list and one deployment take less than 200 ms, and all are found."""
        best = dict.fromkeys(("/", "/deployments/bot-00000500"), 9.0)
        for path in best:
            for _ in range(5):
                start = time.perf_counter()
                page(site, path)
                best[path] = min(best[path], time.perf_counter() - start)
        seen = set[str]()
        address = "http://localhost/"
        while address:
            found = facts(site.get(address.removeprefix("http://localhost")).text)
            ids = {it.rpartition("/")[2] for it in found.addresses if "/bot-" in it}
            assert ids
            assert not ids & seen
            seen |= ids
            older = [one for one in found.addresses if "pageToken" in one]
            address = urljoin(address, unescape(older[-1])) if older else ""

        assert thousand == len(seen)
        assert max(best.values()) < 0.2, best


class TestWaiting:
    """A deployment that stands still says why."""

    @pytest.mark.parametrize(
        ("said", "changes"),
        [
            ("The last 3 looks got nowhere", {"setbacks": 3}),
            ("The last look got nowhere", {"setbacks": 1}),
            (
                "429: at most 30 a minute",
                {"setbacks": 1, "setback": "429: at most 30 a minute"},
            ),
            (
                "still to be removed there",
                {
                    "leftovers": ("projects/7/endpoints/a",),
                    "revisions": (make_revision(phase=Phase.READY),),
                },
            ),
            ("No file is missing", {"revisions": (make_revision(),)}),
            (
                "Revision 1 comes to rest first (creating endpoint)",
                {
                    "revisions": (
                        make_revision(phase=Phase.CREATING_ENDPOINT),
                        make_revision(2, phase=Phase.ACCEPTED),
                    )
                },
            ),
        ],
    )
    def test_it_says_why_and_until_when(
        self, app: App, site: FlaskClient, said: str, changes: dict[str, Any]
    ) -> None:
        """One sentence, and the time of the next look."""
        later = samples.NOW + timedelta(minutes=4)
        one = replace(make_deployment(due=later), **changes)
        app.records.create(one)

        seen = page(site, f"/deployments/{one.id}").words

        assert said in seen
        assert f"looked at again at {words.moment(later)}" in seen

    def test_who_waits_for_nothing_says_nothing(self, full: FlaskClient) -> None:
        """At rest, and while the platform works on it."""
        for path in ("support-bot", "legal/summaries-70b", "incoming/tuned-gemma"):
            seen = page(full, f"/deployments/{IDS[path]}").words
            assert "looked at again at" not in seen


def test_files_of_the_page_may_be_kept(site: FlaskClient) -> None:
    """Their address changes with their content; others are not given out."""
    addresses = [it for it in page(site, "/").addresses if "assets/" in it]
    answers = [site.get(urljoin("/", it)) for it in addresses]

    assert {200} == {it.status_code for it in answers}
    assert all("immutable" in it.headers["Cache-Control"] for it in answers)
    assert site.get("/assets/render.py").status_code == 404
    assert site.get("/assets/../render.py").status_code == 404
    assert sum(len(it.data) for it in answers) < 20_000


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7265, "2 h 1 min"),
        (86400 * 3 + 30, "3 d"),
    ],
)
def test_ages_have_two_units(seconds: int, said: str) -> None:
    """The two largest that say something."""
    then = samples.NOW - timedelta(seconds=seconds)

    assert said == words.age(then, samples.NOW)


def test_every_phase_has_a_look(full: FlaskClient) -> None:
    """The list can be narrowed to each, and none breaks it."""
    for phase in Phase:
        page(full, f"/?phase={phase.value}")
