"""`status`, `events`, `retry`, `undeploy` against the real status function."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fakes.builders import NOON, make_deployment, make_message, make_revision
from weightdrop.cli import watching
from weightdrop.cli.render import deployment_lines
from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import Deployment
from weightdrop.core.deployment.views import deployment_view

ID = "tiny-12345678"


def keep(serving: Any, deployment: Deployment, *events: Any) -> None:
    """Put a record into the store the status function reads."""
    serving.app.records.create(deployment, events=events)


def waiting() -> Deployment:
    """A deployment whose two shards have not come."""
    missing = ("model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors")
    return make_deployment(ID, revisions=(make_revision(missing=missing),))


def rejected(**fields: Any) -> Deployment:
    """A deployment with one finding."""
    values = {
        "code": "shard-truncated",
        "severity": Severity.ERROR,
        "detail": "the file ends after 12 of 512 bytes",
        "fix": "copy the file again",
        "file": "model.safetensors",
        "offset": 12,
    }
    finding = Finding(**(values | fields))
    revision = make_revision(
        phase=Phase.REJECTED, reason=Reason.INVALID, findings=(finding,)
    )
    return make_deployment(ID, revisions=(revision,))


def test_nothing_yet_says_how_to_begin(serving: Any) -> None:
    """An empty list is a success, and the hint goes to standard error."""
    outcome = serving.weightdrop("status")

    assert outcome.status == 0
    assert outcome.out == ""
    assert "weightdrop drop FOLDER" in outcome.err


def test_an_empty_list_as_json_is_a_document(serving: Any) -> None:
    """`--json` prints one document even when there is nothing."""
    assert serving.weightdrop("status", "--json").document == {"deployments": []}


def test_waiting_names_each_missing_file(serving: Any) -> None:
    """One line for each file, and how to go on."""
    keep(serving, waiting())
    outcome = serving.weightdrop("status", ID)

    assert outcome.status == 0
    assert "    model-00002-of-00003.safetensors\n" in outcome.out
    assert "    model-00003-of-00003.safetensors\n" in outcome.out
    assert "Copy the missing files" in outcome.out


def test_a_complete_drop_says_what_it_waits_for(serving: Any) -> None:
    """Nothing is missing: the files have to be quiet for a while."""
    keep(serving, make_deployment(ID))
    outcome = serving.weightdrop("status", ID)

    assert "no file is missing; waiting for the copying to end" in outcome.out


def test_rejected_shows_code_file_detail_and_fix(serving: Any) -> None:
    """Everything a finding says is shown, and the answer is no."""
    keep(serving, rejected())
    outcome = serving.weightdrop("status", ID)

    assert outcome.status == 1
    assert "error shard-truncated  model.safetensors at byte 12" in outcome.out
    assert "the file ends after 12 of 512 bytes" in outcome.out
    assert "fix: copy the file again" in outcome.out


def test_what_a_bucket_says_cannot_steer_the_terminal(serving: Any) -> None:
    """Control characters of a file's name are shown, not sent."""
    keep(serving, rejected(file="x\x1b]0;owned\x07.bin", detail="a\rb\u202e"))
    outcome = serving.weightdrop("status", ID)

    assert r"x\x1b]0;owned\x07.bin" in outcome.out
    assert r"a\rb\u202e" in outcome.out
    assert "\x1b" not in outcome.out + outcome.err


def test_json_is_the_status_functions_view(serving: Any) -> None:
    """One document with what the function says, the exit status unchanged."""
    keep(serving, rejected())
    outcome = serving.weightdrop("status", ID, "--json")

    assert outcome.status == 1
    assert outcome.document["phase"] == "rejected"
    assert outcome.document["findings"][0]["code"] == "shard-truncated"
    assert outcome.err == ""


def test_a_gs_address_names_its_deployment(serving: Any) -> None:
    """The id follows from the place, so the place will do."""
    from weightdrop.core.deployment.naming import deployment_id  # noqa: PLC0415

    name = deployment_id("models", "team/tiny")
    keep(serving, replace(waiting(), id=name, prefix="team/tiny"))

    outcome = serving.weightdrop("status", "gs://models/team/tiny/", "--json")
    assert outcome.document["id"] == name


def test_an_unknown_deployment_is_a_wrong_call(serving: Any) -> None:
    """Status 2, one sentence, nothing on standard output."""
    outcome = serving.weightdrop("status", "nobody-00000000")

    assert outcome.status == 2
    assert outcome.out == ""
    assert "nobody-00000000" in outcome.err


def test_the_list_shows_all_pages(serving: Any) -> None:
    """More deployments than one page holds are all there."""
    for number in range(120):
        keep(serving, make_deployment(f"tiny-{number:08}"))

    assert len(serving.weightdrop("status", "--json").document["deployments"]) == 120
    assert serving.weightdrop("status").out.count("waiting") == 120


def test_the_list_filters_by_phase(serving: Any) -> None:
    """`--phase` leaves out the others."""
    keep(serving, rejected())
    keep(serving, make_deployment("other-00000000"))
    outcome = serving.weightdrop("status", "--phase", "rejected", "--json")

    assert [view["id"] for view in outcome.document["deployments"]] == [ID]


def test_watch_ends_when_it_rests(serving: Any) -> None:
    """Changes are told as they come; the last look decides the exit status."""
    keep(serving, waiting())
    outcomes: list[Any] = []
    watch = threading.Thread(
        target=lambda: outcomes.append(serving.weightdrop("status", ID, "--watch"))
    )
    watch.start()
    for phase in (Phase.ACCEPTED, Phase.DEPLOYING, Phase.FAILED):
        watch.join(1.5)
        assert watch.is_alive()
        held = serving.app.records.get(ID)
        revision = replace(
            held.deployment.revisions[0],
            phase=phase,
            missing=(),
            reason=Reason.SERVER_FAILED if phase is Phase.FAILED else Reason.NONE,
            log_tail=("CUDA out of memory",) if phase is Phase.FAILED else (),
        )
        serving.app.records.put(
            replace(held.deployment, revisions=(revision,)), version=held.version
        )
    watch.join(30)

    assert outcomes[0].status == 1
    assert [word in outcomes[0].err for word in ("waiting", "accepted", "failed")] == [
        True,
        True,
        True,
    ]
    assert "gs://models" not in outcomes[0].err
    assert "CUDA out of memory" in outcomes[0].out
    assert "server_failed" in outcomes[0].out


def test_watching_what_is_not_known_yet_says_so_and_waits(serving: Any) -> None:
    """Whoever has just copied a folder may ask before it was noticed."""
    outcomes: list[Any] = []
    watch = threading.Thread(
        target=lambda: outcomes.append(serving.weightdrop("status", ID, "--watch"))
    )
    watch.start()
    watch.join(0.6)
    assert watch.is_alive()
    keep(serving, rejected())
    watch.join(30)

    assert outcomes[0].status == 1
    assert outcomes[0].err.count(f"{ID} is not known yet; waiting 60 s") == 1


def test_watching_what_never_comes_ends(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped id is said after a while, as a wrong call."""
    monkeypatch.setattr(watching, "APPEAR_SECONDS", 0.3)
    outcome = serving.weightdrop("status", "nobody-00000000", "--watch")

    assert outcome.status == 2
    assert "There is no deployment 'nobody-00000000'" in outcome.err


def test_events_without_an_id_are_those_of_what_changed_last(serving: Any) -> None:
    """Not of everything there ever was: a thousand deployments are as quick as ten."""
    for number in range(5):
        keep(
            serving,
            make_deployment(
                f"tiny-{number:08}", updated=NOON + timedelta(minutes=number)
            ),
            make_message(f"event-{number}", ordering_key=f"tiny-{number:08}"),
        )
    found = serving.weightdrop("events", "--recent", "2", "--json").document["events"]

    assert [event["id"] for event in found] == ["event-3", "event-4"]


def test_events_are_shown_in_order(serving: Any) -> None:
    """Those of one deployment, oldest first, and as one document."""
    first = make_message("event-1")
    second = make_message("event-2", type="weightdrop.deployment.accepted.v1")
    keep(serving, waiting(), first, second)
    outcome = serving.weightdrop("events", ID, "--json")

    assert [event["id"] for event in outcome.document["events"]] == [
        "event-1",
        "event-2",
    ]
    shown = serving.weightdrop("events").out
    assert shown.index("waiting") < shown.index("accepted")
    assert shown.startswith(f"{NOON:%Y-%m-%d %H:%M:%SZ}  {ID}  waiting")


def test_no_events_are_said_to_be_none(serving: Any) -> None:
    """A person is not left with an empty screen."""
    keep(serving, waiting())
    outcome = serving.weightdrop("events", ID)

    assert outcome.out == ""
    assert "Nothing was told yet" in outcome.err


@pytest.mark.parametrize(
    ("verb", "deployment"), [("retry", waiting()), ("undeploy", rejected())]
)
def test_an_order_that_its_phase_forbids_is_answered_no(
    serving: Any, verb: str, deployment: Deployment
) -> None:
    """Status 1, and the sentence says which phase it is in."""
    keep(serving, deployment)
    outcome = serving.weightdrop(verb, ID)

    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err.startswith("weightdrop: ")


def test_retry_brings_a_failed_drop_back(serving: Any) -> None:
    """It is accepted again, as the view that is printed says."""
    failed = make_revision(phase=Phase.FAILED, reason=Reason.QUOTA)
    keep(serving, make_deployment(ID, revisions=(failed,)))
    outcome = serving.weightdrop("retry", ID, "--json")

    assert outcome.status == 0
    assert outcome.document["phase"] == "accepted"
    assert outcome.document["attempt"] == 2


def test_what_is_held_up_says_by_what(serving: Any) -> None:
    """How often, in whose words, and when it is tried again; the list has a word."""
    keep(serving, replace(waiting(), setbacks=3, setback="429: \x1b[31m", due=NOON))
    outcome = serving.weightdrop("status", ID)

    said = f"the last 3 looks got nowhere, the next is at {NOON:%Y-%m-%d %H:%M:%SZ}"
    assert f"  held up   {said}: 429: \\x1b[31m\n" in outcome.out
    assert serving.weightdrop("status", ID, "--json").document["setback"] == {
        "times": 3,
        "message": "429: \x1b[31m",
        "nextLook": NOON.isoformat(),
    }


def test_facts_stand_out_from_their_names() -> None:
    """The names are dim, what they name is not."""
    lines = list(deployment_lines(deployment_view(waiting())))
    source = next(line for line in lines if "gs://" in line.plain)

    assert source.style == ""
    assert [source.plain[it.start : it.end] for it in source.spans] == ["  source    "]


def test_ctrl_c_ends_the_looking_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The deployment goes on, and one can look again."""

    def looks() -> Iterator[dict[str, Any]]:
        yield deployment_view(waiting())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watching.follow(looks())

    assert capsys.readouterr().err.endswith(
        f"{ID} goes on by itself: `weightdrop status {ID} --watch` looks again.\n"
    )


def test_nobody_answering_is_said(cli: Any) -> None:
    """A status function that is not there: one sentence, status 2."""
    outcome = cli("status", "--url", "http://127.0.0.1:1")

    assert outcome.status == 2
    assert "does not answer" in outcome.err
    assert outcome.err.count("\n") == 1
