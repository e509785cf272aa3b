"""What the server costs: memory that does not grow with the objects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from local.bucket.harness import running

# Interpreter and libraries take about 65 MB; a few blocks per transfer come on
# top. The objects below are three times this.
LIMIT_KB = 100_000
SIZE = 300 << 20
BLOCK = bytes(1 << 20)


def peak(pid: int) -> int:
    """The most memory a process ever had resident, in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1])


def blocks() -> Iterator[bytes]:
    """The body of a large upload."""
    for _ in range(SIZE // len(BLOCK)):
        yield BLOCK


def test_memory_is_flat(tmp_path: Path) -> None:
    """A large upload, copies of it and eight readers at once fit in 100 MB."""
    with running(tmp_path, "--watch", "models") as server:
        name = f"{server.url}/storage/v1/b/models/o"
        up = f"{server.url}/upload/storage/v1/b/models/o?uploadType=media&name=big"
        size = httpx.post(up, content=blocks(), timeout=120).json()["size"]
        copied = httpx.post(f"{name}/big/rewriteTo/b/models/o/copy", timeout=120)

        def read(_: int) -> int:
            with httpx.stream("GET", f"{name}/big?alt=media", timeout=120) as answer:
                return sum(len(chunk) for chunk in answer.iter_raw(1 << 20))

        with ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(read, range(8)))

        assert size == str(SIZE)
        assert copied.json()["done"]
        assert sizes == [SIZE] * 8
        assert peak(server.process.pid) < LIMIT_KB


def test_a_reader_that_leaves_costs_nothing(tmp_path: Path) -> None:
    """Its file is closed when the client goes, not when all is read."""
    with running(tmp_path, "--watch", "models") as server:
        folder = Path(f"/proc/{server.process.pid}/fd")
        url = f"{server.url}/storage/v1/b/models/o"
        up = f"{server.url}/upload/storage/v1/b/models/o?uploadType=media&name=big"
        httpx.post(up, content=blocks(), timeout=120)
        for _ in range(3):
            with httpx.stream("GET", f"{url}/big?alt=media", timeout=120) as answer:
                next(answer.iter_raw(1000))
        target = str(server.root / "models" / "big")
        held = [target]
        while held:
            httpx.get(url)
            links = [str(link.readlink()) for link in folder.iterdir() if link.exists()]
            held = [link for link in links if link == target]
