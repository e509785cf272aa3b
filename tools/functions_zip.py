"""Write the one zip that all Cloud Functions are made from.

The same sources give the same bytes, on any machine and at any time: entries
are sorted, times and permissions fixed. Terraform names the object by its
digest, so functions are deployed anew exactly when their source changed.

    python tools/functions_zip.py build/functions.zip
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold."""

_MODE = 0o100644 << 16
"""A plain file that everybody may read, where a zip keeps it."""

_LEFT_OUT = {"local", "cli", "__pycache__"}
"""Folders of the library that no function imports."""

_SUFFIXES = {
    ".py",
    ".json",
    ".html",
    ".css",
    ".js",
    ".svg",
    ".jinja",
    ".yaml",
    ".typed",
}


def sources(root: Path = ROOT) -> Iterator[tuple[str, Path]]:
    """Name in the zip and file of everything that functions are made from.

    Args:
        root: The repository.
    """
    functions = root / "functions"
    yield "main.py", functions / "main.py"
    yield "requirements.txt", functions / "requirements.txt"
    packages = (functions / "weightdrop_functions", root / "shared" / "weightdrop")
    for package in packages:
        for path in package.rglob("*"):
            place = path.relative_to(package)
            if path.is_file() and not _LEFT_OUT & set(place.parts[:-1]):
                yield f"{package.name}/{place.as_posix()}", path


def write(target: Path, *, root: Path = ROOT) -> str:
    """Write the zip; returns the SHA-256 of it in hexadecimal.

    Args:
        target: Where to; replaced if it is there.
        root: The repository.

    Raises:
        ValueError: If a source is of a kind that nobody decided about.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for name, path in sorted(sources(root)):
            if path.suffix not in _SUFFIXES and name != "requirements.txt":
                raise ValueError(f"{path} has no place in the functions' source")
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _MODE
            entry.create_system = 3  # Unix, wherever it is written
            archive.writestr(entry, path.read_bytes())
    return hashlib.sha256(target.read_bytes()).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Write the zip that the command line names."""
    parser = argparse.ArgumentParser(description="Write the functions' source.")
    parser.add_argument("target", type=Path, nargs="?", default="build/functions.zip")
    target = parser.parse_args(arguments).target
    digest = write(target)
    sys.stdout.write(f"{target} {target.stat().st_size} bytes sha256:{digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
