"""The process in front: opens the port, fetches, starts vLLM and watches it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from weightdrop_serving import (
    arguments,
    context,
    environment,
    failures,
    folders,
    kinship,
    logs,
    machine,
    vllm_variables,
)
from weightdrop_serving.environment import Environment
from weightdrop_serving.failures import Exit, ServingError
from weightdrop_serving.model import Model, open_model
from weightdrop_serving.room import WaitingRoom, listening_socket

_MODEL: Final = "model"
_STOP_SECONDS: Final = 5.0  # vLLM takes half a second once it is drained


def main(words: Sequence[str]) -> int:
    """Serve until told to stop.

    Args:
        words: vLLM's arguments.

    Returns:
        The exit status: 0 after a SIGTERM, else one that says why.
    """
    try:
        settings = environment.load()
        return asyncio.run(Supervisor(settings, words).run())
    except environment.EnvironmentFaultError as error:
        logs.write("failed", str(error), severity="CRITICAL", status=int(Exit.USAGE))
        return int(Exit.USAGE)


class Supervisor:
    """One life of the container.

    Args:
        settings: What the environment says.
        words: vLLM's arguments.
    """

    def __init__(self, settings: Environment, words: Sequence[str]) -> None:
        self._settings = settings
        self._words = tuple(words)
        self._started = time.time()
        self._stop = asyncio.Event()
        self._failure: asyncio.Future[ServingError] | None = None
        self._room: WaitingRoom | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._line: socket.socket | None = None
        self._serves = False
        self._drained = asyncio.Event()
        self._model: Model | None = None

    async def run(self) -> int:
        """Serve until the end; the exit status."""
        loop = asyncio.get_running_loop()
        self._failure = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        try:
            scratch, lock = folders.make_scratch(self._settings.scratch)
            try:
                await self._live(scratch)
            finally:
                self._kill()
                if self._model is not None:
                    self._model.cancel()
                folders.remove(scratch, lock)
                removed = machine.remove_leftover_segments(self._started)
                if removed:
                    logs.write("note", f"removed {removed} shared memory segments")
        except Exception as error:  # noqa: BLE001  # the last line says why, always
            reason = failures.explained(error)
            status = int(reason.status)
            logs.write("failed", str(reason), severity="CRITICAL", status=status)
            return status
        logs.write("stopped", "stopped as asked", status=0)
        return int(Exit.STOPPED)

    async def _live(self, scratch: Path) -> None:
        """Serve until told to stop."""
        work = asyncio.create_task(self._serve(scratch))
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not self._stop.is_set():
            stop.cancel()
            await work
        await self._shut_down()
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await work  # what goes wrong now is no reason to end otherwise

    async def _serve(self, scratch: Path) -> None:
        settings = self._settings
        listener = listening_socket(settings.host, settings.http_port)
        port = listener.getsockname()[1]
        self._room = WaitingRoom(listener)
        await self._room.open()
        logs.write("starting", f"listening on {settings.host}:{port}", port=port)
        observed = machine.observe(accelerator_expected=settings.has_accelerator)
        folder = scratch / _MODEL
        folder.mkdir()
        # Both are in vLLM's working folder: a socket's path must be short, and the
        # model's is part of what names compiled graphs, which the next start looks for.
        built = arguments.build(
            self._words, model=_MODEL, socket="vllm.sock", machine=observed
        )
        if built.dropped:
            logs.write(
                "note",
                ("" if observed.gpu else "no GPU on this machine: ")
                + "left out "
                + " ".join(built.dropped),
                dropped=list(built.dropped),
            )
        self._model = open_model(settings, folder)
        self._room.reason = "downloading the model"
        await _in_thread(self._model.fetch_small)
        weights = _in_thread(self._model.fetch_weights)
        if not built.overlap:
            await weights
        words = built.words if observed.gpu else _fitting(built.words, folder)
        await self._start_engine(listener, scratch, words, gpu=observed.gpu)
        self._room.reason = "loading the model"
        await self._watch(weights)

    async def _start_engine(
        self,
        listener: socket.socket,
        scratch: Path,
        words: Sequence[str],
        *,
        gpu: bool,
    ) -> None:
        ours, theirs = socket.socketpair()
        self._line = ours
        inherited = os.dup(listener.fileno())
        changes = vllm_variables.for_engine(self._settings, scratch, gpu=gpu)
        fork = self._settings.fork if self._settings.fork is not None else not gpu
        changes[environment.FORK] = str(int(fork))
        changes[environment.LISTEN_FD] = str(inherited)
        changes[environment.CONTROL_FD] = str(theirs.fileno())
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # what lies in the working folder is never imported
            "-m",
            "weightdrop_serving.engine",
            *words,
            cwd=scratch,
            env=environment.for_engine(environment.own(), changes),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(inherited, theirs.fileno()),
            process_group=0,
        )
        os.close(inherited)
        theirs.close()
        logs.write("loading", "starting vLLM", pid=self._child.pid)

    async def _watch(self, weights: asyncio.Future[None]) -> None:
        """Wait for an end: of the engine, of the line, or of the download."""
        if self._child is None or self._failure is None:
            raise RuntimeError("the engine was not started")
        talk = asyncio.create_task(self._listen())
        ended = asyncio.create_task(self._child.wait())
        waiting: set[asyncio.Future[Any]] = {ended, self._failure, weights}
        try:
            while True:
                done, waiting = await asyncio.wait(
                    waiting, return_when=asyncio.FIRST_COMPLETED
                )
                if weights in done:
                    weights.result()
                if self._failure in done:
                    raise self._failure.result()
                if ended in done and not self._stop.is_set():
                    raise ServingError(
                        Exit.ENGINE_DIED,
                        "the engine died: vLLM ended by itself with status "
                        f"{ended.result()}; what it said is above",
                    )
                if ended in done:
                    return
        finally:
            talk.cancel()

    async def _listen(self) -> None:
        if self._line is None:
            return
        reader, _ = await asyncio.open_connection(sock=self._line.dup())
        while line := await reader.readline():
            self._hear(json.loads(line))

    def _hear(self, message: dict[str, Any]) -> None:
        seconds = round(time.time() - self._started, 1)
        match message["event"]:
            case "serving":
                self._serves = True
                if self._room is not None:
                    self._room.close()
                logs.write("serving", "vLLM took over the port", seconds=seconds)
            case "ready":
                logs.write("ready", f"ready in {seconds} s", seconds=seconds)
            case "drained":
                self._drained.set()
            case "hung":
                logs.write("hung", message["detail"], severity="ERROR")
            case "awake":
                logs.write("note", "the engine works again")
            case "mute":
                self._fail(
                    Exit.ENGINE_DIED,
                    f"the model does not answer a first prompt: {message['detail']}",
                )
            case "dead":
                self._fail(Exit.ENGINE_DIED, message["detail"])
            case "lost":
                self._fail(Exit.ENGINE_HUNG, message["detail"])

    def _fail(self, status: Exit, message: str) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(ServingError(status, message))

    async def _shut_down(self) -> None:
        logs.write("draining", "told to stop: finishing what is under way")
        if self._room is not None:
            self._room.reason = "the server is shutting down"
        if self._child is None or self._line is None:
            return
        if self._serves:  # else nothing is under way, and nobody would say so
            with contextlib.suppress(OSError):
                self._line.sendall(b'{"order": "drain"}\n')
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.drain_seconds):
                    await self._drained.wait()
        with contextlib.suppress(TimeoutError, ProcessLookupError):
            self._child.terminate()
            async with asyncio.timeout(_STOP_SECONDS):
                await self._child.wait()

    def _kill(self) -> None:
        """Leave no process of the engine behind."""
        if self._child is None:
            return
        group = self._child.pid
        deadline = time.monotonic() + _STOP_SECONDS
        while kinship.group_members(group) and time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
            time.sleep(0.02)  # the kernel tells nobody when a group is empty


def _fitting(words: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    bounded = context.bounded(words, context.read_config(folder))
    if bounded != words:
        logs.write(
            "note",
            "no GPU on this machine: the context is what its cache holds, the "
            "model's own at most; vLLM says below how many tokens that is",
        )
    return bounded


def _in_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    """Run `work` in a thread that does not keep the process from ending.

    asyncio's own threads do: a read that hangs would outlast the time to stop.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failure: BaseException | None = None
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # handed to whoever waits
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, failure)

    threading.Thread(target=run, daemon=True).start()
    return done
