"""Events: what they say, in which order, and that none is lost."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from local.bucket.harness import Function, Running, Taken, function, running, until
from weightdrop.local.bucket.dispatcher import pause


def watched(home: Path, subject: Function, *more: str, port: int = 0):  # noqa: ANN201
    """A server whose bucket `models` is watched."""
    options = ("--watch", "models", "--notify", subject.url, *more)
    return running(home, *options, port=port)


def upload(server: Running, name: str, data: bytes = b"x") -> int:
    """Upload an object; its generation."""
    blob = server.client().bucket("models").blob(name)
    blob.upload_from_string(data)
    return int(blob.generation)


def waiting(server: Running) -> int:
    """Events that were not delivered yet."""
    health = httpx.get(f"{server.url}/_weightdrop/health").json()
    return int(health["eventsWaiting"])


def test_a_finalize_event_is_eventarcs(tmp_path: Path) -> None:
    """Headers and data are those of Cloud Storage's event through Eventarc."""
    with function() as subject, watched(tmp_path, subject) as server:
        generation = upload(server, "ä b/config.json", b"{}")
        event = subject.wait("finalized", "ä b/config.json")

    assert event.headers["ce-type"] == "google.cloud.storage.object.v1.finalized"
    source = "//storage.googleapis.com/projects/_/buckets/models"
    assert event.headers["ce-source"] == source
    assert unquote(event.headers["ce-subject"]) == "objects/ä b/config.json"
    assert event.headers["ce-bucket"] == "models"
    assert event.headers["ce-specversion"] == "1.0"
    assert event.headers["ce-id"]
    assert event.headers["content-type"] == "application/json"
    assert event.data["generation"] == str(generation)
    assert (event.data["bucket"], event.data["size"]) == ("models", "2")
    assert event.data["crc32c"]


def test_overwriting_and_deleting(tmp_path: Path) -> None:
    """As without versioning: the overwritten generation is deleted, too."""
    with function() as subject, watched(tmp_path, subject) as server:
        first, second = upload(server, "o"), upload(server, "o")
        server.client().bucket("models").blob("o").delete()
        until(lambda: len(subject.of("o")) == 4, "four events")
        found = [(e.kind, int(e.data["generation"])) for e in subject.of("o")]

    assert found == [
        ("finalized", first),
        ("finalized", second),
        ("deleted", first),
        ("deleted", second),
    ]


def test_other_buckets_are_silent(tmp_path: Path) -> None:
    """Only watched buckets have events."""
    with function() as subject, watched(tmp_path, subject) as server:
        other = server.client().create_bucket("other")
        other.blob("silent").upload_from_string(b"x")
        upload(server, "loud")
        subject.wait("finalized", "loud")

    assert subject.of("silent") == []


def test_one_event_for_each_copied_file(tmp_path: Path) -> None:
    """A copied file is finalized once, and again only when copied again."""
    with function() as subject, watched(tmp_path, subject) as server:
        folder = server.root / "models" / "new"
        folder.mkdir()
        for number in range(50):
            (folder / str(number)).write_bytes(b"x" * number)
        until(lambda: len(subject.taken) >= 50, "50 events")
        (server.root / "models" / "last").write_text("x")
        subject.wait("finalized", "last")
        assert [len(subject.of(f"new/{number}")) for number in range(50)] == [1] * 50
        (folder / "7").write_bytes(b"x" * 7)
        until(lambda: len(subject.of("new/7")) == 3, "finalize and delete")


def test_a_failing_object_holds_up_no_other_and_keeps_its_order(
    tmp_path: Path,
) -> None:
    """Errors are retried, in the object's order; other objects pass."""
    refused = threading.Event()
    healed = threading.Event()

    def decide(event: Taken) -> int:
        if event.data["name"] == "bad" and not healed.is_set():
            refused.set()
            return 500
        return 204

    with function() as subject, watched(tmp_path, subject) as server:
        subject.decide = decide
        first, second = upload(server, "bad"), upload(server, "bad")
        assert refused.wait(60)
        upload(server, "good")
        subject.wait("finalized", "good")
        refusals = subject.of("bad")
        healed.set()
        until(lambda: waiting(server) == 0, "everything delivered")
        taken = subject.of("bad")[len(refusals) - 1 :]

    assert {event.data["generation"] for event in refusals} == {str(first)}
    assert len({event.headers["ce-id"] for event in refusals}) == 1
    order = list(dict.fromkeys((e.kind, e.data["generation"]) for e in taken))
    assert order == [
        ("finalized", str(first)),
        ("finalized", str(second)),
        ("deleted", str(first)),
    ]


def test_a_slow_function_holds_up_no_other_object(tmp_path: Path) -> None:
    """While one event is being handled, another object's arrives."""
    go_on = threading.Event()

    def decide(event: Taken) -> int:
        if event.data["name"] == "slow":
            go_on.wait(60)
        return 200

    with function() as subject, watched(tmp_path, subject) as server:
        subject.decide = decide
        upload(server, "slow")
        upload(server, "fast")
        subject.wait("finalized", "fast")
        assert subject.of("slow") == []
        go_on.set()
        subject.wait("finalized", "slow")


def test_events_outlive_a_killed_server(tmp_path: Path) -> None:
    """What nobody took before kill -9 is delivered by the next server."""
    with function() as subject:
        subject.decide = lambda _: 503
        with watched(tmp_path, subject) as server:
            names = [f"k{number}" for number in range(20)]
            for name in names:
                upload(server, name)
            server.kill()
        subject.taken.clear()
        subject.decide = lambda _: 200
        with watched(tmp_path, subject) as server:
            until(lambda: waiting(server) == 0, "everything delivered")

    assert {event.data["name"] for event in subject.taken} == set(names)


def test_what_is_given_up_is_listed_and_can_be_sent_again(tmp_path: Path) -> None:
    """After the limit an event rests with its reason until it is revived."""
    with function() as subject:
        subject.decide = lambda _: 400
        with watched(tmp_path, subject, "--keep-seconds", "0") as server:
            upload(server, "dead")
            letters = f"{server.url}/_weightdrop/dead-letters"
            found = until(
                lambda: httpx.get(letters).json()["deadLetters"], "a dead letter"
            )
            subject.decide = lambda _: 200
            revived = httpx.post(letters + ":redeliver").json()
            until(lambda: waiting(server) == 0, "delivered after all")

            assert (found[0]["name"], found[0]["bucket"]) == ("dead", "models")
            assert "HTTP 400" in found[0]["reason"]
            assert revived == {"revived": 1}
            assert httpx.get(letters).json()["deadLetters"] == []


def test_files_added_while_down_are_told(tmp_path: Path) -> None:
    """The scan at start sends the events of what it finds."""
    with function() as subject:
        with watched(tmp_path, subject) as server:
            upload(server, "gone")
            subject.wait("finalized", "gone")
        folder = tmp_path / "buckets" / "models"
        (folder / "gone").unlink()
        (folder / "added").write_text("x")
        with watched(tmp_path, subject):
            subject.wait("finalized", "added")
            subject.wait("deleted", "gone")


@pytest.mark.parametrize(("tries", "low", "high"), [(0, 0.15, 0.2), (50, 7.5, 10.0)])
def test_pauses_grow_to_ten_seconds(tries: int, low: float, high: float) -> None:
    """From 0.2 s to 10 s, with jitter, whatever the number of tries."""
    assert low <= pause(tries) <= high
