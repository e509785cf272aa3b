"""OpenTelemetry's SDK behind the sink: what leaves the process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

from telemetry.traces import from_file
from weightdrop import telemetry
from weightdrop.adapters import otel
from weightdrop.bootstrap import App
from weightdrop.core.deployment import tracing
from weightdrop.errors import UsageError
from weightdrop.settings import Backend, Settings, load
from weightdrop.telemetry import Span

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TRACE = "0123456789abcdef" * 2
OTHER = f"00-{'f' * 32}-{'e' * 16}-01"


def root(**fields: Any) -> Span:
    """The span of a whole drop."""
    values: dict[str, Any] = {
        "name": "drop",
        "trace": TRACE,
        "id": tracing.root_id(TRACE),
        "parent": "",
        "start": NOON,
        "end": NOON + timedelta(seconds=90),
        "facts": {telemetry.DEPLOYMENT: "tiny-1", "weightdrop.attempt": 2},
    }
    return Span(**(values | fields))


def phase() -> Span:
    """A span inside of it."""
    return root(name="deploying", id="a" * 16, parent=tracing.root_id(TRACE))


@pytest.fixture
def collector() -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """A collector's address, and what was posted to each of its paths."""
    bodies: dict[str, list[bytes]] = defaultdict(list)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies[self.path].append(
                self.rfile.read(int(self.headers["Content-Length"]))
            )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write no access log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_collector_gets_spans_with_our_ids_and_times(
    collector: tuple[str, dict[str, list[bytes]]],
) -> None:
    """Over OTLP/HTTP: parent, links, fault and attributes are as they were told."""
    url, bodies = collector
    sink = otel.sink(url, project="p")
    sink.span(phase())
    sink.span(root(links=(OTHER,), fault="server_failed"))
    sink.flush()
    sink.close()
    sent = ExportTraceServiceRequest.FromString(b"".join(bodies["/v1/traces"]))
    (resource,) = sent.resource_spans
    inner, whole = resource.scope_spans[0].spans
    about = {it.key: it.value.string_value for it in resource.resource.attributes}

    assert about["service.name"] == "weightdrop"
    assert about["gcp.project_id"] == "p"
    assert whole.trace_id.hex() == inner.trace_id.hex() == TRACE
    assert inner.parent_span_id == whole.span_id
    assert (whole.parent_span_id, whole.links[0].trace_id.hex()) == (b"", "f" * 32)
    assert whole.status.message == "server_failed"
    assert whole.end_time_unix_nano - whole.start_time_unix_nano == 90 * 10**9
    facts = {it.key: it.value for it in whole.attributes}
    assert facts["weightdrop.deployment"].string_value == "tiny-1"
    assert facts["weightdrop.attempt"].int_value == 2


def test_a_collector_gets_histograms(
    collector: tuple[str, dict[str, list[bytes]]],
) -> None:
    """In seconds, by phase, in buckets that fit minutes."""
    url, bodies = collector
    sink = otel.sink(url, project="p")
    for seconds in (3.0, 700.0):
        sink.duration("weightdrop.phase.duration", seconds, {"phase": "deploying"})
    sink.flush()
    sink.close()
    sent = ExportMetricsServiceRequest.FromString(bodies["/v1/metrics"][0])
    (metric,) = sent.resource_metrics[0].scope_metrics[0].metrics
    (point,) = metric.histogram.data_points

    assert (metric.name, metric.unit) == ("weightdrop.phase.duration", "s")
    assert (point.count, point.sum) == (2, 703.0)
    assert list(point.explicit_bounds) == list(otel.BUCKETS)
    assert point.attributes[0].value.string_value == "deploying"


def test_metrics_are_not_sent_with_every_call(
    collector: tuple[str, dict[str, list[bytes]]],
) -> None:
    """Cloud Monitoring refuses points of one series that follow too fast."""
    url, bodies = collector
    sink = otel.sink(url, project="p")
    for _ in range(3):
        sink.duration("weightdrop.phase.duration", 1.0, {})
        sink.flush()

    assert len(bodies["/v1/metrics"]) == 1
    sink.close()


def test_a_file_gets_a_line_for_each(tmp_path: Path) -> None:
    """What the local stack writes where it is told to."""
    path = tmp_path / "new" / "telemetry.jsonl"
    sink = otel.sink(f"file:{path}", project="p")
    sink.span(phase())
    sink.span(root())
    sink.duration("weightdrop.drop.duration", 90.0, {"phase": "ready"})
    sink.flush()
    sink.close()
    inner, whole = from_file(path, "tiny-1")

    assert (inner.name, inner.parent) == ("deploying", whole.id)
    assert whole.trace == TRACE
    assert any(
        "resource_metrics" in json.loads(it) for it in path.read_text().splitlines()
    )


@pytest.mark.parametrize("text", ["google", "http://c:4318/", "file:/tmp/x"])
def test_the_setting_says_where(text: str) -> None:
    """Google, a collector, a file."""
    assert load({"WEIGHTDROP_TELEMETRY": text}).telemetry == text.rstrip("/")


@pytest.mark.parametrize("text", ["yes", "file:relative", "ftp://c", "https"])
def test_a_setting_that_names_nothing_is_refused(text: str) -> None:
    """At the start, with all other faults."""
    with pytest.raises(UsageError, match="WEIGHTDROP_TELEMETRY"):
        load({"WEIGHTDROP_TELEMETRY": text})


def test_a_sink_that_cannot_be_made_stops_nothing(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """It is said once; deployments go on."""
    (tmp_path / "taken").touch()
    place = f"file:{tmp_path}/taken/x"
    App(Settings(backend=Backend.LOCAL, telemetry=place)).observe()
    for _ in range(2):
        assert telemetry.sink() is None
    telemetry.use(None)

    assert [it.levelname for it in caplog.records] == ["ERROR"]


LOADED = """
import sys
sys.path.insert(0, "functions")
import main
from weightdrop_functions import handlers
handlers.on_artifact({"type": "google.cloud.storage.object.v1.finalized",
  "source": "//storage.googleapis.com/projects/_/buckets/models"},
  {"bucket": "models", "name": "a/README.md", "size": "1"})
print([name for name in sys.modules if name.partition(".")[0] == "opentelemetry"])
"""


@pytest.mark.parametrize("telemetry", ["", "http://127.0.0.1:1"])
def test_an_event_that_is_ignored_does_not_load_it(telemetry: str) -> None:
    """Whether it is wanted or not: a cold start pays for every import."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        env={
            "WEIGHTDROP_BUCKETS": "models",
            "WEIGHTDROP_TELEMETRY": telemetry,
            "WEIGHTDROP_BACKEND": "cloud",
        },
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "[]\n", done.stderr
