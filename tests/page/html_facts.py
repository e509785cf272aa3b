"""What a test wants to know of a page: its elements, links and words."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

from flask.testing import FlaskClient

_ADDRESSES = ("href", "src", "action")


@dataclass
class Facts(HTMLParser):
    """A page, taken apart.

    Attributes:
        shape: Every start and end tag with the names of its attributes.
        addresses: The values of href, src and action.
        inline: Scripts, styles and handlers that are in the page itself.
        words: The text, as a reader gets it.
    """

    shape: list[tuple[str, ...]] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)
    words: str = ""

    def __post_init__(self) -> None:
        """Start the parser."""
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See HTMLParser."""
        names = [name for name, _ in attrs]
        self.shape.append((tag, *names))
        self.addresses += [value or "" for name, value in attrs if name in _ADDRESSES]
        if tag == "style" or (tag == "script" and "src" not in names):
            self.inline.append(tag)
        self.inline += [n for n in names if n == "style" or n.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        """See HTMLParser."""
        self.shape.append((f"/{tag}",))

    def handle_data(self, data: str) -> None:
        """See HTMLParser."""
        self.words += data


def facts(html: str) -> Facts:
    """A page, taken apart."""
    found = Facts()
    found.feed(html)
    found.close()
    return found


def page(site: FlaskClient, path: str, *, code: int = 200) -> Facts:
    """A page that must answer with `code`."""
    answer = site.get(path)

    assert answer.status_code == code, answer.text
    assert answer.mimetype == "text/html"

    return facts(answer.text)
