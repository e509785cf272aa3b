"""Traces and metrics with OpenTelemetry's SDK: see weightdrop.telemetry.Sink.

The SDK is loaded when this module is, so that it is imported when there is a first
span and not before.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExporter,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
)
from opentelemetry.sdk.trace.id_generator import IdGenerator

import weightdrop
from weightdrop.telemetry import Span

GOOGLE = "https://telemetry.googleapis.com"
"""Google's own OTLP endpoint, for Cloud Trace and Cloud Monitoring:
https://cloud.google.com/stackdriver/docs/reference/telemetry/overview"""

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

FLUSH_MILLISECONDS = 5_000
"""How long a function's answer may be held back by a collector that is slow."""

METRICS_SECONDS = 10.0
"""Between two exports of one process; Cloud Monitoring takes a point of a time series
every 5 seconds at most: https://cloud.google.com/monitoring/quotas"""

BUCKETS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 86400)
"""Bounds of the histograms, in seconds: a deployment takes minutes."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OtelSink:
    """Spans and durations for an exporter of each.

    Args:
        spans: Where spans go.
        metrics: Where metrics go.
        project: Google Cloud project id, which Google's endpoint wants to know.
        metrics_seconds: Between two exports of metrics.
        output: A file that the exporters write to, to be closed with the sink.
    """

    def __init__(
        self,
        spans: SpanExporter,
        metrics: MetricExporter,
        *,
        project: str,
        metrics_seconds: float = METRICS_SECONDS,
        output: IO[str] | None = None,
    ) -> None:
        self._output = output
        resource = Resource.create(
            {
                "service.name": "weightdrop",
                "service.version": weightdrop.__version__,
                # Two processes must not write one time series.
                "service.instance.id": secrets.token_hex(8),
                "gcp.project_id": project,
            }
        )
        self._ids, self._one = _Given(), threading.Lock()
        self._traces = TracerProvider(resource=resource, id_generator=self._ids)
        self._traces.add_span_processor(BatchSpanProcessor(spans))
        self._tracer = self._traces.get_tracer("weightdrop", weightdrop.__version__)
        reader = PeriodicExportingMetricReader(metrics)
        self._metrics = MeterProvider([reader], resource=resource)
        self._meter = self._metrics.get_meter("weightdrop", weightdrop.__version__)
        self._histograms: dict[str, Histogram] = {}
        self._seconds, self._told = metrics_seconds, float("-inf")

    def span(self, span: Span) -> None:
        """See weightdrop.telemetry.Sink."""
        links = [trace.Link(_context(*one.split("-")[1:3])) for one in span.links]
        with self._one:
            self._ids.trace, self._ids.span = int(span.trace, 16), int(span.id, 16)
            made = self._tracer.start_span(
                span.name,
                context=_inside(span.trace, span.parent),
                attributes=dict(span.facts),
                links=links,
                start_time=_nanoseconds(span.start),
            )
        if span.fault:
            made.set_status(trace.Status(trace.StatusCode.ERROR, span.fault))
        made.end(_nanoseconds(span.end))

    def duration(self, name: str, seconds: float, facts: Mapping[str, str]) -> None:
        """See weightdrop.telemetry.Sink."""
        if name not in self._histograms:
            self._histograms[name] = self._meter.create_histogram(
                name, unit="s", explicit_bucket_boundaries_advisory=BUCKETS
            )
        self._histograms[name].record(seconds, dict(facts))

    def flush(self) -> None:
        """See weightdrop.telemetry.Sink."""
        self._traces.force_flush(FLUSH_MILLISECONDS)
        now = time.monotonic()
        if now - self._told >= self._seconds:
            self._told = now
            self._metrics.force_flush(FLUSH_MILLISECONDS)

    def close(self) -> None:
        """Send what is left, and end the threads."""
        self._traces.shutdown()
        self._metrics.shutdown()
        if self._output:
            self._output.close()


class _Given(IdGenerator):
    """Ids that were decided before: the SDK asks when a span is made."""

    trace = 0
    span = 0

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


def _context(trace_id: str, span_id: str) -> trace.SpanContext:
    return trace.SpanContext(
        trace_id=int(trace_id, 16),
        span_id=int(span_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )


def _inside(trace_id: str, parent: str) -> Context:
    """The context of a parent; without one, that of a trace's first span."""
    if not parent:
        return Context()
    above = trace.NonRecordingSpan(_context(trace_id, parent))
    return trace.set_span_in_context(above, Context())


def _nanoseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000


def sink(target: str, *, project: str) -> OtelSink:
    """The sink for the setting `telemetry`.

    Args:
        target: `google`, the base URL of an OTLP/HTTP collector, or `file:` and a
            path, to which each span and each export of metrics is added as a line.
        project: Google Cloud project id.
    """
    if target.startswith("file:"):
        path = Path(target.removeprefix("file:"))
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several processes add to one file: a line is one write.
        output = path.open("a", buffering=1 << 20, encoding="utf-8")
        return _to_file(output, project=project)
    session = _google_session() if target == "google" else None
    base = GOOGLE if target == "google" else target
    return OtelSink(
        OTLPSpanExporter(endpoint=f"{base}/v1/traces", session=session),
        OTLPMetricExporter(endpoint=f"{base}/v1/metrics", session=session),
        project=project,
    )


def _to_file(output: IO[str], *, project: str) -> OtelSink:
    return OtelSink(
        ConsoleSpanExporter(
            out=output, formatter=lambda span: str(span.to_json(indent=None)) + "\n"
        ),
        ConsoleMetricExporter(
            out=output, formatter=lambda data: str(data.to_json(indent=None)) + "\n"
        ),
        project=project,
        metrics_seconds=0.0,
        output=output,
    )


def _google_session() -> Any:
    import google.auth  # noqa: PLC0415  # only for Google's own endpoint
    from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415

    credentials, _ = google.auth.default(scopes=SCOPES)
    return AuthorizedSession(credentials)
