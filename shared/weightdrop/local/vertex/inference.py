"""Ask a process of its own what a folder holds, and how it is served."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weightdrop.local.vertex.config import Config
from weightdrop.local.vertex.faults import ApiError, invalid
from weightdrop.local.vertex.managed import folder
from weightdrop.local.vertex.processes import Command, Processes, ended

JSON = dict[str, Any]
_SECONDS = 180.0
_TAIL = 2000


class Inference:
    """Infers base model, machine and arguments from a folder.

    Args:
        config: What the stand-in was told.
        processes: Starts the process.
    """

    def __init__(self, config: Config, *, processes: Processes) -> None:
        self._config = config
        self._processes = processes

    async def infer(self, uri: str, *, region: str, machine: JSON) -> JSON:
        """What `inferring.infer` finds for a gs:// folder.

        Args:
            uri: The folder.
            region: Where it shall run.
            machine: MachineSpec that was chosen, or empty.

        Raises:
            ApiError: INVALID_ARGUMENT when the folder cannot be deployed, with
                every reason; INTERNAL when it could not be looked at.
        """
        place = folder(uri)
        with _scratch(self._config.home / "run") as scratch:
            output, log = scratch / "found.json", scratch / "log"
            words = ["--bucket", place.bucket, "--prefix", place.prefix]
            words += ["--region", region, "--project", self._config.project]
            words += ["--storage-endpoint", self._config.storage_endpoint]
            words += ["--machine", json.dumps(machine), "--output", str(output)]
            await self._run(words, scratch=scratch, log=log)
            found = _found(uri, output, log)
        if found["problems"]:
            raise invalid(f"{uri} cannot be deployed: " + "; ".join(found["problems"]))
        return found

    async def _run(self, words: list[str], *, scratch: Path, log: Path) -> None:
        module = [sys.executable, "-m", "weightdrop.local.vertex.inferring"]
        command = Command(argv=module + words, env={}, cwd=scratch)
        with log.open("wb", buffering=0) as output:
            process = self._processes.start(command, output)
            try:
                await ended(process, _SECONDS)
            finally:
                self._processes.forget(process)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        yield Path(name)


def _found(uri: str, output: Path, log: Path) -> JSON:
    try:
        found: JSON = json.loads(output.read_text("utf-8"))
    except (OSError, ValueError) as error:
        tail = log.read_text("utf-8", "replace")[-_TAIL:]
        raise ApiError("INTERNAL", f"{uri} could not be looked at: {tail}") from error
    return found
