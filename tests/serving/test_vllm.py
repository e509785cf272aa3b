"""The whole entry point with real vLLM: contract, forms, and every way to die."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from fakes import ends
from fakes.bin_files import as_bin
from fakes.serving import Container, container
from local.separate import separate_python
from weightdrop.local.tiny_model import make_tiny_llama
from weightdrop_serving import kinship

pytestmark = [pytest.mark.vllm, pytest.mark.xdist_group("vllm")]

_START_SECONDS = 180.0  # 15 s on two idle cores


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder."""
    folder = tmp_path_factory.mktemp("model")
    make_tiny_llama(folder)
    return folder


@pytest.fixture(scope="module")
def server(
    model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    """One healthy container for all tests that leave it alive."""
    words = ("--tensor-parallel-size", "2", "--gpu-memory-utilization", "0.9")
    folder = tmp_path_factory.mktemp("serving")
    with container(folder, str(model), *words) as running:
        running.until_health(503, seconds=10)
        running.until_health(200, seconds=_START_SECONDS)
        yield running


class TestContract:
    """What the platform relies on."""

    def test_the_port_is_open_before_anything_else(self, server: Container) -> None:
        """The first line says that it listens; every step of vLLM's start follows."""
        names = [event["event"] for event in server.events()]
        order = ["starting", "loading", "compiling", "serving", "ready"]
        assert names[0] == "starting"
        assert sorted(order, key=names.index) == order

    def test_arguments_for_a_gpu_are_left_out_and_named(
        self, server: Container
    ) -> None:
        """The log says what a machine without a GPU did not get."""
        (dropped,) = [e["dropped"] for e in server.events() if "dropped" in e]
        assert dropped == [
            "--tensor-parallel-size",
            "2",
            "--gpu-memory-utilization",
            "0.9",
        ]

    def test_only_loopback_is_bound(self, server: Container) -> None:
        """No process of the group listens where another machine could reach it."""
        inodes = set()
        for member in kinship.group_members(server.engine()):
            inodes |= _sockets(member)
        found = []
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and fields[9] in inodes:
                    found.append(fields[1].rpartition(":")[0])
        loopback = {"0100007F", "0" * 24 + "01000000"}
        assert found
        assert set(found) <= loopback


def _sockets(process: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


class TestForms:
    """The forms of requests, answered by vLLM."""

    def test_the_documented_prediction(self, server: Container) -> None:
        """Prompt, sampling parameters and ignore_eos in the instance."""
        instance = {
            "prompt": "How to tell the time by looking at the sky?",
            "temperature": 0,
            "top_p": 1,
            "max_tokens": 154,
            "ignore_eos": True,
        }
        first = server.predict({"instances": [instance]})
        floats = instance | {"max_tokens": 154.0, "temperature": 0.0}
        again = server.predict({"instances": [floats]})
        assert (first.status_code, again.status_code) == (200, 200)
        (text,) = first.json()["predictions"]
        assert len(text.split()) > 100
        assert first.json() == again.json()

    def test_a_batch_is_answered_in_order(self, server: Container) -> None:
        """Sixteen prompts at once give what each gives alone."""
        instances = [{"text": f"What is {n}?"} for n in range(16)]
        parameters = {"temperature": 0, "max_new_tokens": 8}
        body = {"instances": instances, "parameters": parameters}
        together = server.predict(body).json()["predictions"]
        alone = [
            server.predict({"instances": [one], "parameters": parameters})
            for one in instances[:3]
        ]
        assert len(together) == 16
        assert [a.json()["predictions"][0] for a in alone] == together[:3]

    def test_a_conversation_in_each_of_its_forms(self, server: Container) -> None:
        """Instances, the platform's mark, a plain body and vLLM's own route agree."""
        messages = [{"role": "user", "content": "Hello"}]
        options = {"max_tokens": 6, "temperature": 0}
        chat = {"messages": messages, **options}
        marked = {"@requestFormat": "chatCompletions", **chat}
        answers = [
            server.predict({"instances": [marked]}).json()["predictions"][0],
            server.predict(marked | {"model": "some-model-id"}).json(),
            server.predict(chat | {"model": ""}).json(),
            httpx.post(f"{server.url}/v1/chat/completions", json=chat).json(),
        ]
        texts = {answer["choices"][0]["message"]["content"] for answer in answers}
        assert len(texts) == 1
        assert texts != {""}

    @pytest.mark.parametrize(
        "body",
        [
            {"instances": [{"prompt": "Hi", "max_tokens": 5, "stream": True}]},
            {"prompt": "Hi", "max_tokens": 5, "stream": True, "model": "x"},
        ],
    )
    def test_streams_arrive_in_pieces(
        self, server: Container, body: dict[str, object]
    ) -> None:
        """Server-sent events, one after the other, and an end."""
        url = f"{server.url}/vertex/predict"
        with httpx.stream("POST", url, json=body, timeout=60) as response:
            kind = response.headers["content-type"]
            lines = [line for line in response.iter_lines() if line]
        assert kind.startswith("text/event-stream")
        assert lines[-1] == "data: [DONE]"
        text = "".join(json.loads(x[6:])["choices"][0]["text"] for x in lines[:-1])
        assert len(text.split()) == 5

    def test_errors_have_their_status(self, server: Container) -> None:
        """What vLLM refuses comes through, and the server stays well."""
        bad = {"instances": ["Hi", {"prompt": "Hi", "max_tokens": -1}]}
        answer = server.predict(bad)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith("instances[1]: max_tokens")
        assert server.predict({"instances": [{"prompt": "x " * 5000}]}).is_client_error
        large = {"instances": ["x" * 10_000_001]}
        assert server.predict(large).status_code == 413
        assert server.health() == 200

    def test_a_client_that_leaves_frees_the_engine(self, server: Container) -> None:
        """Generation stops when nobody waits for it."""

        async def leave() -> None:
            body = {"instances": [{"prompt": "Hi", "max_tokens": 256}] * 12}
            async with httpx.AsyncClient() as client:
                url = f"{server.url}/vertex/predict"
                asked = asyncio.create_task(client.post(url, json=body))
                await _until(lambda: _running(server) > 0, asked)
                asked.cancel()

        asyncio.run(leave())
        asyncio.run(_until(lambda: _running(server) == 0))


async def _until(
    condition: Callable[[], bool], work: asyncio.Task[httpx.Response] | None = None
) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(condition):
            assert work is None or not work.done()


def _running(server: Container) -> float:
    for line in httpx.get(f"{server.url}/metrics").text.splitlines():
        if line.startswith("vllm:num_requests_running"):
            return float(line.rpartition(" ")[2])
    raise AssertionError("vLLM counts no requests")


@pytest.fixture
def streamer(tmp_path: Path) -> Path:
    """A folder with run:ai's packages alone, from the environment of clients.

    The rest of that environment has other versions of what vLLM needs.
    """
    (packages,) = (separate_python().parents[1] / "lib").glob("python3*/site-packages")
    folder = tmp_path / "streamer"
    folder.mkdir()
    for pattern in ("runai_model_streamer*", "humanize*"):
        found = list(packages.glob(pattern))
        assert found, f"no {pattern} in {packages}"
        for each in found:
            (folder / each.name).symlink_to(each)
    return folder


def test_another_loader_answers_the_same(
    server: Container, model: Path, tmp_path: Path, streamer: Path
) -> None:
    """run:ai's streamer, when the plan names it, finds all files and reads them."""
    env = {"PYTHONPATH": str(streamer)}
    words = ("--load-format", "runai_streamer")
    with container(tmp_path, str(model), *words, env=env) as running:
        running.until_health(200, seconds=_START_SECONDS)
        body = {"instances": [{"prompt": "Hi", "max_tokens": 8, "temperature": 0}]}
        assert running.predict(body).json() == server.predict(body).json()
        assert "Runai Model Streamer" in running.log.read_text()


class TestEnds:
    """Each way to end, and what is left: nothing."""

    def test_a_hung_engine_is_seen_and_one_that_wakes_is_forgiven(
        self, server: Container
    ) -> None:
        """Health turns 503 while requests wait on a stopped engine, then 200."""
        core = server.core()
        os.kill(core, signal.SIGSTOP)
        try:
            asked = threading.Thread(target=server.predict, args=({"prompt": "Hi"},))
            asked.start()
            seconds = server.until_health(503, seconds=30)
            server.until_said("no sign of life", seconds=10)
        finally:
            os.kill(core, signal.SIGCONT)
        asked.join()
        server.until_health(200, seconds=30)
        assert seconds < 10  # 4 by itself; the rest is for a busy machine
        assert server.event("hung")["severity"] == "ERROR"
        server.until_said("the engine works again", seconds=10)

    def test_sigterm_finishes_what_is_under_way(
        self, server: Container, model: Path, tmp_path: Path
    ) -> None:
        """Health flips, the stream ends whole, the process ends with 0.

        Here with weights in `.bin` files, which answer as the same in safetensors
        do, and with a cache that is too small for the planned context.
        """
        as_bin(model, tmp_path / "bin")
        small = ("--kv-cache-memory-bytes", str(1 << 20), "--max-model-len", "2048")
        with container(tmp_path / "run", str(tmp_path / "bin"), *small) as running:
            running.until_health(200, seconds=_START_SECONDS)
            models = httpx.get(f"{running.url}/v1/models").json()["data"]
            assert 256 < models[0]["max_model_len"] < 2048
            assert "no GPU" in running.event("note")["message"]
            short = {"instances": [{"prompt": "Hi", "max_tokens": 8, "temperature": 0}]}
            assert running.predict(short).json() == server.predict(short).json()
            body = {"prompt": "Hi", "max_tokens": 200, "stream": True}
            url = f"{running.url}/vertex/predict"
            with httpx.stream("POST", url, json=body, timeout=60) as response:
                lines = response.iter_lines()
                next(lines)
                running.process.send_signal(signal.SIGTERM)
                rest = [line for line in lines if line]
            assert rest[-1] == "data: [DONE]"
            assert running.wait(seconds=30) == 0
            running.until_clean(seconds=10)

    def test_a_dead_worker_ends_the_container(
        self, model: Path, tmp_path: Path
    ) -> None:
        """One of vLLM's workers alone: status 70 and why, nothing left."""
        words = ("--distributed-executor-backend", "mp")
        with container(tmp_path, str(model), *words) as running:
            running.until_health(200, seconds=_START_SECONDS)
            os.kill(running.member("Worker"), signal.SIGKILL)
            running.ended(ends.WORKER_KILLED)  # vLLM looks every five seconds

    def test_a_hang_that_lasts_ends_the_container(
        self, model: Path, tmp_path: Path
    ) -> None:
        """Health says it first; then status 75, so that it is started anew."""
        soon = {
            "WEIGHTDROP_SERVING_HANG_SECONDS": "1",
            "WEIGHTDROP_SERVING_HANG_EXIT_SECONDS": "3",
        }
        with container(tmp_path, str(model), env=soon) as running:
            running.until_health(200, seconds=_START_SECONDS)
            os.kill(running.core(), signal.SIGSTOP)
            ask = functools.partial(_ask_in_vain, running)
            asked = threading.Thread(target=ask)
            asked.start()
            running.ended(ends.HUNG, later=3)
            asked.join()
            assert running.event("hung")["message"].startswith("1 requests wait")

    def test_a_killed_supervisor_leaves_nothing(
        self, model: Path, tmp_path: Path
    ) -> None:
        """Killed while vLLM starts: no process, no folder."""
        with container(tmp_path, str(model)) as running:
            running.until_health(503, seconds=20)
            deadline = time.monotonic() + 60
            while "EngineCore" not in running.tail():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            running.process.kill()
            running.ended(ends.SUPERVISOR_KILLED)

    def test_a_dead_engine_ends_the_container(self, server: Container) -> None:
        """Killed with a request waiting: an error, status 70, nothing left.

        The last test: it ends the container that the others share.
        """
        os.kill(server.core(), signal.SIGKILL)
        server.ended(ends.ENGINE_KILLED)


def _ask_in_vain(server: Container) -> None:
    with contextlib.suppress(httpx.TransportError):
        assert server.predict({"prompt": "Hi"}).status_code >= 500
