"""`demo`: the whole way, from a folder to an answer, watched."""

from __future__ import annotations

import queue
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from weightdrop.cli import own_stack
from weightdrop.cli.asking import EndpointClient, Reply, endpoint_of
from weightdrop.cli.client import StatusClient, View
from weightdrop.cli.context import Target, Where, find_target, json_option
from weightdrop.cli.render import deployment_lines, event_line
from weightdrop.cli.telling import subscription
from weightdrop.cli.terminal import clean, emit, err, out
from weightdrop.cli.watching import changes
from weightdrop.core.artifacts.objects import CONFIG_NAME
from weightdrop.core.deployment.naming import deployment_id
from weightdrop.core.deployment.views import SAMPLE_PROMPT
from weightdrop.errors import NotFoundError, WeightdropError
from weightdrop.local.supervisor.stack import Stack

NAME = "demo-llama"
SHARDS = 4
MAX_TOKENS = 24
NOTICE_SECONDS = 30.0
"""By then what was copied has been noticed, on any machine."""

EVENT_SECONDS = 30.0
_READY = "weightdrop.deployment.ready.v1"
_LOOK_SECONDS = 0.1


@dataclass(slots=True)
class _Stage:
    """What the demo speaks through, and when it began."""

    console: Console
    begin: float

    def say(self, text: str, *, style: str = "") -> None:
        self.console.print(text, style=style)

    def step(self, text: str) -> None:
        gone = time.monotonic() - self.begin
        self.console.print(f"\n[{gone:5.1f} s] {text}", style="bold")


@click.command(short_help="Drop a small model and watch it become an endpoint.")
@json_option
def demo(*, as_json: bool) -> int:
    """Make a small model, drop it, watch it become an endpoint, and ask it.

    Everything is real, vLLM too, and runs on this machine in a stack of its
    own, which is gone afterwards. Exit status 0 means that all of it happened.
    """
    stage = _Stage(err() if as_json else out(), time.monotonic())
    with tempfile.TemporaryDirectory(prefix="weightdrop-demo-") as folder:
        document = _play(stage, Path(folder))
    if as_json:
        emit(document)
    return 0


def _play(stage: _Stage, folder: Path) -> View:
    model, home = folder / NAME, folder / "home"
    home.mkdir()
    stage.step(f"Making a small Llama with random weights in {SHARDS} shards")
    # NumPy, which it needs, takes longer to load than all else together.
    from weightdrop.local.tiny_model import make_tiny_llama  # noqa: PLC0415

    make_tiny_llama(model, shards=SHARDS, seed=random.SystemRandom().randrange(2**32))
    for path in sorted(model.iterdir()):
        stage.say(f"  {path.name:<36} {path.stat().st_size:>10,} bytes")

    stage.step("Starting a local stack of its own")
    process, stack = own_stack.start(home)
    with own_stack.ended(process, home):
        stage.say(f"  gs://{stack.bucket} is the folder {stack.folder}")
        stage.say(f"  status is at {stack.urls['status']}")
        target = find_target(Where(home=home))
        view, replies, event = _deploy(stage, target, stack, model)
        stage.step("Stopping everything")
        took = own_stack.stop(process, stack)
    stage.say(f"  stopped within {took:.1f} s; nothing is left running")
    _close(stage, replies, event)
    return {
        "deployment": view,
        "answers": [reply.document() for reply in replies],
        "event": event,
        "seconds": round(time.monotonic() - stage.begin, 1),
    }


def _deploy(
    stage: _Stage, target: Target, stack: Stack, model: Path
) -> tuple[View, list[Reply], View]:
    client = StatusClient(target.status_url)
    name = deployment_id(stack.bucket, NAME)
    received = _subscribe(target)
    _drop(stage, client, name, model=model, bucket=Path(stack.folder))

    stage.step("Everything is there; watching it become an endpoint")
    view = _watched(stage, changes(client, name))
    if view["phase"] != "ready":
        for line in deployment_lines(view):
            stage.console.print(line)
        raise WeightdropError(f"{name} came to rest as {view['phase']}.")

    stage.step("Asking it, through each form of request")
    replies = _ask(stage, view)

    stage.step("The deployment's status, and the events a subscriber received")
    for line in deployment_lines(view):
        stage.console.print(line)
    event = _show_events(stage, received)
    return view, replies, event


# ---------------------------------------------------------------------- events


def _subscribe(target: Target) -> queue.Queue[View]:
    """Start to receive the events topic, as any subscriber would."""
    received: queue.Queue[View] = queue.Queue()
    stream = subscription(target.settings, from_start=False)

    def receive() -> None:
        for event in stream:
            received.put(event)
            if event["type"] == _READY:
                return

    threading.Thread(target=receive, daemon=True).start()
    return received


def _show_events(stage: _Stage, received: queue.Queue[View]) -> View:
    stage.say("")
    while True:
        try:
            event = received.get(timeout=EVENT_SECONDS)
        except queue.Empty:
            raise WeightdropError("The subscriber received no `ready` event.") from None
        stage.console.print(event_line(event))
        if event["type"] == _READY:
            return event


# ------------------------------------------------------------------------ drop


def _drop(
    stage: _Stage, client: StatusClient, name: str, *, model: Path, bucket: Path
) -> None:
    """Copy config.json first and the shards last, in any order, seen each time."""
    place = bucket / NAME
    place.mkdir(parents=True)
    shards = [path.name for path in model.glob("*.safetensors")]
    others = [
        path.name for path in model.iterdir() if path.name not in {CONFIG_NAME, *shards}
    ]
    random.SystemRandom().shuffle(shards)

    stage.step(f"Copying {CONFIG_NAME} first, and nothing else")
    shutil.copyfile(model / CONFIG_NAME, place / CONFIG_NAME)
    view = _until(client, name, lambda view: bool(view.get("missing")))
    _say_waiting(stage, view)

    stage.step(f"Copying {', '.join(sorted(others))}")
    for path in others:
        shutil.copyfile(model / path, place / path)
    view = _until(client, name, _misses(shards))
    _say_waiting(stage, view)

    for number, path in enumerate(shards, 1):
        stage.step(f"Copying shard {number} of {len(shards)}: {path}")
        shutil.copyfile(model / path, place / path)
        if number < len(shards):
            view = _until(client, name, _misses(shards[number:]))
            _say_waiting(stage, view)


def _misses(paths: list[str]) -> Callable[[View], bool]:
    """Whether exactly `paths` are still to come."""
    return lambda view: sorted(view["missing"]) == sorted(paths)


def _until(client: StatusClient, name: str, holds: Callable[[View], bool]) -> View:
    """The status, once it says what it must.

    Raises:
        WeightdropError: If it does not come to say so.
    """
    deadline = time.monotonic() + NOTICE_SECONDS
    view: View = {}
    while time.monotonic() < deadline:
        try:
            view = client.deployment(name)
        except NotFoundError:
            view = {}
        if view.get("phase") == "waiting" and holds(view):
            return view
        time.sleep(_LOOK_SECONDS)
    raise WeightdropError(
        f"{name} is {view.get('phase', 'unknown')} and misses {view.get('missing')}, "
        "which is not what was copied."
    )


def _say_waiting(stage: _Stage, view: View) -> None:
    stage.say(f"  {clean(view['phase'])} for", style="yellow")
    for path in view["missing"]:
        stage.say(f"    {clean(path)}")


def _watched(stage: _Stage, looks: Iterator[View]) -> View:
    """The last of the looks; every change of phase or stage is said."""
    seen: tuple[object, object] | None = None
    view: View = {}
    for view in looks:
        here = (view.get("phase"), view.get("stage"))
        if here != seen:
            seen = here
            gone = time.monotonic() - stage.begin
            words = [clean(word) for word in here if word]
            stage.say(f"  [{gone:5.1f} s] {'  '.join(words)}", style="cyan")
    return view


# ------------------------------------------------------------------------- ask


def _ask(stage: _Stage, view: View) -> list[Reply]:
    def show(text: str) -> None:
        stage.console.print(clean(text, lines=True), end="")
        sys.stdout.flush()

    stage.say(f"  question: {SAMPLE_PROMPT}")
    with EndpointClient(endpoint_of(view), max_tokens=MAX_TOKENS) as client:
        forms: tuple[Callable[[], Reply], ...] = (
            lambda: client.chat(SAMPLE_PROMPT),
            lambda: client.chat_stream(SAMPLE_PROMPT, show),
            lambda: client.predict(SAMPLE_PROMPT),
            lambda: client.stream_raw_predict(SAMPLE_PROMPT, show),
        )
        return [_asked(stage, ask) for ask in forms]


def _asked(stage: _Stage, ask: Callable[[], Reply]) -> Reply:
    stage.say("")
    reply = ask()
    streamed = reply.first_token_seconds is not None
    stage.say("" if streamed else clean(reply.answer, lines=True))
    if not reply.answer.strip():
        raise WeightdropError(f"{reply.form} gave no answer.")
    stage.say(f"  {_timing(reply)}", style="dim")
    return reply


def _timing(reply: Reply) -> str:
    first = (
        ""
        if reply.first_token_seconds is None
        else f", first piece after {reply.first_token_seconds:.3f} s"
    )
    return f"{reply.form}: {reply.seconds:.3f} s{first}"


def _close(stage: _Stage, replies: list[Reply], event: View) -> None:
    stage.step("What it said (its weights are random)")
    for reply in replies:
        answer = " ".join(clean(reply.answer, lines=True).split())
        stage.say(f"  {reply.form}, {reply.seconds:.2f} s: {answer}")
    stage.console.print(event_line(event))
