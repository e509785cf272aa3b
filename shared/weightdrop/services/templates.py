"""Render chat templates in a sandbox, in a process of their own.

The process gets the templates on standard input and nothing else: no
environment, no arguments from the bucket. It limits its own memory and
processor time before it reads them, and is killed when it takes too long.
"""

from __future__ import annotations

import json
import subprocess
import sys
from os import pathsep

from weightdrop.core.artifacts.exchange import Rendering, Template

WALL_SECONDS = 20.0
"""A busy machine may take this long for it."""
_FAULTS = frozenset(
    {"", "syntax", "error", "refused", "unsafe", "time", "memory", "output"}
)
_MAX_OUTPUT = 1024 * 1024


def _command() -> list[str]:
    return [sys.executable, "-P", "-s", "-B", "-m", "weightdrop.services.sandbox"]


def render(templates: tuple[Template, ...]) -> tuple[Rendering, ...]:
    """What comes of rendering each template; a fault of one hurts no other."""
    found = _run(templates)
    if len(found) == len(templates):
        return found
    # One of them took the process down: find out which, each on its own.
    if len(templates) == 1:
        return found or (Rendering("time", "it did not end in time."),)
    return tuple(rendering for one in templates for rendering in render((one,)))


def _run(templates: tuple[Template, ...]) -> tuple[Rendering, ...]:
    message = json.dumps([template.text for template in templates])
    child = subprocess.Popen(
        _command(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"},
        close_fds=True,
    )
    try:
        output, _ = child.communicate(
            message.encode("utf-8", "surrogatepass"), timeout=WALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return ()
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    return _read(output) if child.returncode == 0 else ()


def _read(output: bytes) -> tuple[Rendering, ...]:
    if len(output) > _MAX_OUTPUT:
        return ()
    try:
        answers = json.loads(output)
        return tuple(
            Rendering(
                fault=answer["fault"] if answer["fault"] in _FAULTS else "error",
                message=str(answer["message"]),
                prompt=str(answer["prompt"]),
            )
            for answer in answers
        )
    except (ValueError, TypeError, KeyError):
        return ()
