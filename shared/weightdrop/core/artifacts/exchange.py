"""What an inspection asks of the outside, and what it is told.

The inspection is a generator: it yields batches of requests and is sent the
answers, in the same order. So it does no I/O of its own, and all that makes
reads fast (threads, connections) lives elsewhere.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from weightdrop.core.artifacts.report import Report


@dataclass(frozen=True, slots=True)
class ReadRange:
    """Bytes [start, start + length) of the file at `path`."""

    path: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Template:
    """A chat template of the artifact set.

    Attributes:
        file: Where it was found.
        name: Its name there; empty for the only one.
        text: Jinja source.
    """

    file: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class RenderTemplates:
    """Render canned conversations, in a sandbox in a process of its own."""

    templates: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class Rendering:
    """What came of one template.

    Attributes:
        fault: "" if all is well, else "syntax", "unsafe", "error", "time",
            "memory" or "output".
        message: The fault in words.
        prompt: What it made of a plain conversation, cut at a few kilobytes.
    """

    fault: str = ""
    message: str = ""
    prompt: str = ""


Request = ReadRange | RenderTemplates
Answer = bytes | tuple[Rendering, ...]
Batch = tuple[Request, ...]
Answers = Sequence[Answer]
"""In the order of the requests; getting one may wait until it is there."""
Inspection = Generator[Batch, Answers, Report]
