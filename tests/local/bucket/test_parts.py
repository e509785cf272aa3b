"""The pure parts: globs, ranges, bodies, paths."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightdrop.local.bucket.downloads import parse_span
from weightdrop.local.bucket.listing import decode_token, encode_token, glob_pattern
from weightdrop.local.bucket.problems import ApiError
from weightdrop.local.bucket.related import Related, parse
from weightdrop.local.bucket.resumable import Piece, parse_range
from weightdrop.local.bucket.tree import Tree, representable


@pytest.mark.parametrize(
    ("glob", "name", "expected"),
    [
        ("*.json", "a.json", True),
        ("*.json", "d/a.json", False),
        ("**.json", "d/a.json", True),
        ("d/**", "d/e/f", True),
        ("?", "/", False),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("{a,b/*}", "b/c", True),
        ("a,b", "a,b", True),
        ("a.b", "axb", False),
        ("a\\*", "a*", True),
        ("[", "[", True),
        ("}", "}", True),
    ],
)
def test_globs(glob: str, name: str, expected: bool) -> None:
    """Cloud Storage's glob, also where it looks unfinished."""
    assert bool(glob_pattern(glob).match(name)) is expected


@given(st.text(max_size=20))
def test_any_glob_is_a_pattern_or_a_refusal(glob: str) -> None:
    """No glob is a fault of the server."""
    with contextlib.suppress(ApiError):
        glob_pattern(glob).match("a/b")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_tokens_come_back(name: str) -> None:
    """A page token holds any name."""
    assert decode_token(encode_token(name)) == name


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=3-", (3, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-40", (0, 10)),
        ("bytes=3-99", (3, 10)),
        ("bytes=5-3", None),
        ("bytes=-", None),
        ("bytes=1-2,4-5", None),
        ("lines=1-2", None),
        ("", None),
    ],
)
def test_spans(header: str, expected: tuple[int, int] | None) -> None:
    """Ranges of a ten-byte object; what is not understood means everything."""
    assert parse_span(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0", "bytes=99-100"])
def test_spans_that_do_not_exist(header: str) -> None:
    """416 names the size."""
    with pytest.raises(ApiError) as caught:
        parse_span(header, 10)

    assert caught.value.headers == {"content-range": "bytes */10"}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", Piece(0, None, None)),
        ("bytes 0-9/*", Piece(0, 9, None)),
        ("bytes 5-9/10", Piece(5, 9, 10)),
        ("bytes */10", Piece(None, None, 10)),
        ("bytes */*", Piece(None, None, None)),
    ],
)
def test_content_ranges(header: str, expected: Piece) -> None:
    """The forms that clients send."""
    assert parse_range(header) == expected


async def collect(body: bytes, size: int, kind: str) -> tuple[Related, bytes]:
    """Parse a body that arrives in pieces of a size."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    parts = await parse(kind, pieces())
    return parts, b"".join([chunk async for chunk in parts.media])


@given(
    media=st.lists(
        st.sampled_from([b"\r\n", b"\n", b"--==", b"--", b"=", b"x", b"\r\n--="])
    ).map(b"".join),
    size=st.integers(1, 40),
    end=st.sampled_from([b"\r\n", b"\n"]),
)
def test_bodies_in_any_pieces(media: bytes, size: int, end: bytes) -> None:
    """The bytes come out as they were, wherever the network cut them."""
    fence = b"--===end"
    first = [fence, b"Content-Type: application/json", b"", b'{"a": 1}']
    second = [fence, b"Content-Type: text/x", b"", media, fence + b"--", b""]
    body = end.join([*first, *second])
    parts, found = asyncio.run(
        collect(body, size, "multipart/related; boundary='===end'")
    )

    # With bare line feeds a carriage return before the fence is not the media's.
    expected = media.removesuffix(b"\r") if end == b"\n" else media
    assert found == expected
    assert parts.resource.strip() == b'{"a": 1}'
    assert parts.content_type == "text/x"


@pytest.mark.parametrize(
    "body", [b"", b"--f", b"--f\r\n\r\n{}\r\n--f\r\nA: b\r\n\r\nmedia with no end"]
)
def test_bodies_that_end_too_early(body: bytes) -> None:
    """400, whatever is missing."""
    with pytest.raises(ApiError) as caught:
        asyncio.run(collect(body, 7, "multipart/related; boundary=f"))

    assert caught.value.status == 400


@given(st.text(max_size=60))
def test_no_name_leads_out_of_its_bucket(name: str) -> None:
    """A visible place is always below the bucket's folder."""
    if representable(name):
        assert ".." not in name.split("/")
        assert not name.startswith("/")


def test_a_link_in_the_way_hides_the_object(tmp_path_factory: object) -> None:
    """Bytes are not written through a link that somebody planted."""
    home = tmp_path_factory.mktemp("tree")  # type: ignore[attr-defined]
    tree = Tree(home / "buckets")
    (tree.root / "models").mkdir()
    (tree.root / "models" / "out").symlink_to(home)

    assert tree.place("models", "in/x") == "models/in/x"
    assert tree.place("models", "out/x").startswith(".weightdrop/blobs/")
