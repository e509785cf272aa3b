"""What clients other than Google's Python one put on the wire."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import httpx
import pytest
from google.cloud import storage

from local.bucket.harness import Running

DATA = os.urandom(3 << 20)


@pytest.fixture
def http(server: Running) -> Iterator[httpx.Client]:
    """A plain HTTP client of the server."""
    with httpx.Client(base_url=server.url, timeout=60) as made:
        yield made


def begin(http: httpx.Client, bucket: storage.Bucket, **query: str) -> str:
    """The address of a new resumable session for the object `r`."""
    answer = http.post(
        f"/resumable/upload/storage/v1/b/{bucket.name}/o",
        params={"uploadType": "resumable", "name": "r"} | query,
        json={"contentType": "x/y"},
    )
    assert answer.status_code == 200
    return answer.headers["location"]


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_boundaries_in_any_quotes(
    http: httpx.Client, bucket: storage.Bucket, quote: str
) -> None:
    """Gcloud writes boundary='===' in single quotes; all three are understood."""
    fence = "===============123=="
    # The bytes hold what looks like the fence, and line ends at their own end.
    media = b"--" + fence[:-1].encode() + b"\r\n--\r\n\r\n"
    body = (
        f"--{fence}\r\nContent-Type: application/json\r\n\r\n"
        f'{{"name": "q"}}\r\n--{fence}\r\nContent-Type: text/x\r\n\r\n'
    ).encode()
    answer = http.post(
        f"/upload/storage/v1/b/{bucket.name}/o?uploadType=multipart",
        content=body + media + f"\r\n--{fence}--".encode(),
        headers={"content-type": f"multipart/related; boundary={quote}{fence}{quote}"},
    )

    assert answer.json()["contentType"] == "text/x"
    assert bucket.blob("q").download_as_bytes() == media


def test_a_session_tells_how_far_it_is(
    http: httpx.Client, bucket: storage.Bucket
) -> None:
    """308 with a range between, the object at the end, and again when asked."""
    url = begin(http, bucket)
    first = http.put(
        url, content=DATA[: 1 << 20], headers={"content-range": "bytes 0-1048575/*"}
    )
    asked = http.put(url, headers={"content-range": f"bytes */{len(DATA)}"})
    rest = f"bytes {1 << 20}-{len(DATA) - 1}/{len(DATA)}"
    last = http.put(url, content=DATA[1 << 20 :], headers={"content-range": rest})
    again = http.put(url, headers={"content-range": f"bytes */{len(DATA)}"})

    assert (first.status_code, first.headers["range"]) == (308, "bytes=0-1048575")
    assert (asked.status_code, asked.headers["range"]) == (308, "bytes=0-1048575")
    assert last.json()["contentType"] == "x/y"
    assert again.json()["generation"] == last.json()["generation"]
    assert bucket.blob("r").download_as_bytes() == DATA


def test_a_chunk_sent_twice_counts_once(
    http: httpx.Client, bucket: storage.Bucket
) -> None:
    """Overlap is dropped; a gap is answered with where to go on."""
    url = begin(http, bucket)
    half = {"content-range": "bytes 0-1048575/*"}
    http.put(url, content=DATA[: 1 << 20], headers=half)
    gap = http.put(
        url, content=b"x" * 10, headers={"content-range": "bytes 2000000-2000009/*"}
    )
    whole = f"bytes 0-{len(DATA) - 1}/{len(DATA)}"
    last = http.put(url, content=DATA, headers={"content-range": whole})

    assert (gap.status_code, gap.headers["range"]) == (308, "bytes=0-1048575")
    assert last.status_code == 200
    assert bucket.blob("r").download_as_bytes() == DATA


def test_a_cancelled_session_is_gone(
    http: httpx.Client, bucket: storage.Bucket
) -> None:
    """DELETE answers 499 as Cloud Storage does; the session is no more."""
    url = begin(http, bucket)

    assert http.delete(url).status_code == 499
    assert http.put(url, content=b"x").status_code == 404
    assert bucket.get_blob("r") is None


def test_wrong_checksums_leave_nothing(
    http: httpx.Client, bucket: storage.Bucket
) -> None:
    """Bytes that are not those the client meant do not become an object."""
    answer = http.post(
        f"/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=h",
        content=b"abc",
        headers={"x-goog-hash": "crc32c=AAAAAA=="},
    )

    assert answer.status_code == 400
    assert "CRC32C" in answer.json()["error"]["message"]
    assert bucket.get_blob("h") is None


def test_errors_have_googles_form(http: httpx.Client, bucket: storage.Bucket) -> None:
    """Code, message and reason, in JSON or XML after the API that was called."""
    answer = http.get(f"/storage/v1/b/{bucket.name}/o/none")
    error = answer.json()["error"]

    assert (answer.status_code, error["code"]) == (404, 404)
    assert error["errors"][0]["reason"] == "notFound"
    assert "<Code>NoSuchKey</Code>" in http.get(f"/{bucket.name}/none").text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/upload/storage/v1/b/{b}/o?uploadType=media", 400),
        ("POST", "/upload/storage/v1/b/{b}/o?uploadType=odd&name=x", 400),
        ("POST", "/upload/storage/v1/b/{b}/o?uploadType=multipart", 400),
        ("POST", "/upload/storage/v1/b/nope/o?uploadType=media&name=x", 404),
        ("PUT", "/upload/storage/v1/b/{b}/o?upload_id=../../x", 404),
        ("GET", "/storage/v1/b/{b}/o?maxResults=x", 400),
        ("GET", "/storage/v1/b/{b}/o?pageToken=%FF", 400),
        ("GET", "/storage/v1/b/{b}/o?matchGlob=%5Bz-a%5D", 400),
        ("GET", "/storage/v1/b/..%2F..%2Fetc/o/passwd?alt=media", 404),
        ("GET", "/storage/v1/b/.weightdrop/o/staging", 404),
        ("GET", "/storage/v1/nothing", 404),
        ("POST", "/batch/storage/v1", 400),
        ("POST", "/storage/v1/b/{b}/o/x/compose", 400),
        ("PUT", "/{b}/x?partNumber=1&uploadId=..%2Fx", 404),
        ("PUT", "/{b}/x?partNumber=0&uploadId=x", 400),
    ],
)
def test_hostile_and_mistaken_calls(
    http: httpx.Client, bucket: storage.Bucket, method: str, path: str, status: int
) -> None:
    """Each is refused with a reason; none is a fault of the server."""
    answer = http.request(method, path.format(b=bucket.name), content=b"junk")

    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}]
)
def test_web_pages_cannot_call(
    http: httpx.Client, bucket: storage.Bucket, headers: dict[str, str]
) -> None:
    """A page in the user's browser is refused, by name or by origin."""
    answer = http.post(
        f"/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=evil",
        content=b"x",
        headers=headers,
    )

    assert answer.status_code == 403
    assert bucket.get_blob("evil") is None


def test_xml_reads_and_writes(http: httpx.Client, bucket: storage.Bucket) -> None:
    """PUT, GET with a range, HEAD and DELETE by the XML API."""
    path = f"/{bucket.name}/x/y z.bin"
    put = http.put(path, content=DATA, headers={"x-goog-meta-k": "v"})
    ranged = http.get(path, headers={"range": "bytes=5-9"})
    head = http.head(path)

    assert put.headers["x-goog-generation"] == head.headers["x-goog-generation"]
    assert (ranged.status_code, ranged.content) == (206, DATA[5:10])
    assert ranged.headers["content-range"] == f"bytes 5-9/{len(DATA)}"
    assert head.headers["content-length"] == str(len(DATA))
    assert bucket.get_blob("x/y z.bin").metadata == {"k": "v"}
    assert http.delete(path).status_code == 204
    assert bucket.get_blob("x/y z.bin") is None


def test_a_rewrite_in_small_steps(http: httpx.Client, bucket: storage.Bucket) -> None:
    """A client that bounds each call gets a token until all is copied."""
    bucket.blob("s").upload_from_string(DATA)
    path = f"/storage/v1/b/{bucket.name}/o/s/rewriteTo/b/{bucket.name}/o/t"
    query = {"maxBytesRewrittenPerCall": "1048576"}
    done = []
    while not done or not done[-1]["done"]:
        token = {"rewriteToken": done[-1]["rewriteToken"]} if done else {}
        done.append(http.post(path, params=query | token).json())

    written = [int(step["totalBytesRewritten"]) for step in done]
    assert written == sorted(written)
    assert written[-1] == len(DATA)
    assert bucket.blob("t").download_as_bytes() == DATA
    assert http.post(path, params={"rewriteToken": "odd"}).status_code == 400


def test_slashes_need_no_encoding(http: httpx.Client, bucket: storage.Bucket) -> None:
    """People's curl commands work."""
    bucket.blob("a/b/c.json").upload_from_string(b"{}")
    answer = http.get(f"/storage/v1/b/{bucket.name}/o/a/b/c.json?alt=media")

    assert answer.content == b"{}"


def test_an_unchanged_object_is_not_sent_again(
    http: httpx.Client, bucket: storage.Bucket
) -> None:
    """304 for a read that asks for another generation than it has."""
    blob = bucket.blob("n")
    blob.upload_from_string(b"x")
    path = f"/storage/v1/b/{bucket.name}/o/n?ifGenerationNotMatch={blob.generation}"

    assert http.get(path).status_code == 304
    assert json.loads(http.get(path.replace("=", "=9")).text)["name"] == "n"
