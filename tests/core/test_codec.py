"""The stored and the sent form of records."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.builders import NOON, make_deployment, make_message, make_revision
from weightdrop import codec
from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.artifacts.objects import ArtifactFile
from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import SCHEMA, Deployment, ModelSummary
from weightdrop.core.planning.plan import Alternative, Memory, Plan
from weightdrop.errors import PermanentError, TransientError

PLAN = Plan(
    region="us-central1",
    machine_type="g2-standard-12",
    accelerator_type="NVIDIA_L4",
    accelerator_count=1,
    tensor_parallel_size=1,
    max_model_len=8192,
    max_num_seqs=256,
    gpu_memory_utilization=0.9,
    hourly_usd=None,
    vllm_args=("--max-model-len", "8192"),
    memory=Memory(
        weights_gib=1.5,
        activation_gib=1.0,
        non_torch_gib=0.25,
        cuda_graph_gib=0.5,
        kv_cache_gib=10.0,
        kv_cache_tokens=80_000,
        budget_gib=20.0,
    ),
    alternatives=(Alternative("a3-highgpu-8g", "NVIDIA_H100_80GB", 8, 88.5, "dear"),),
    explanation=("It fits.",),
)

FULL = make_deployment(
    due=NOON + timedelta(microseconds=7),
    overrides=(("labels", (("a", "b"),)), ("max_replica_count", 2), ("spot", True)),
    endpoint_dns="1.us-central1-2.prediction.vertexai.goog",
    outbox=(make_message(),),
    revisions=(
        make_revision(
            phase=Phase.FAILED,
            reason=Reason.SERVER_FAILED,
            deadline=NOON,
            log_tail=("größer 模型", '"\\\n\u2028'),
            findings=(
                Finding("bad-offset", Severity.ERROR, "d", "f", "x.safetensors", 8),
            ),
            files=(ArtifactFile("config.json", 2**63 - 1, 2**40, "AAAAAA==", NOON),),
            model=ModelSummary("llama-3", "LlamaForCausalLM", 8, "bfloat16", "", 16),
            plan=PLAN,
            options=FolderOptions(labels=(("team", "a"),), max_hourly_usd=1.5),
        ),
        make_revision(2),
    ),
)


def _changed(text: str, **fields: Any) -> str:
    stored = json.loads(text)
    stored["body"].update(fields)
    return json.dumps(stored)


def test_every_kind_of_value_survives() -> None:
    """A record with all that it can hold is read back equal."""
    assert codec.decode_deployment(codec.encode(FULL)) == FULL
    assert codec.decode_revision(codec.encode(FULL.revisions[0])) == FULL.revisions[0]
    assert codec.decode_message(codec.encode(FULL.outbox[0])) == FULL.outbox[0]


def test_the_form_is_stable() -> None:
    """The same record always has the same text, and says its schema first."""
    text = codec.encode(FULL)

    assert text == codec.encode(codec.decode_deployment(text))
    assert text.startswith(f'{{"schema":{SCHEMA},"body":{{"id":')


def test_times_keep_their_moment() -> None:
    """A time in another zone is the same moment when it is read."""
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=45)))

    read = codec.decode_deployment(codec.encode(make_deployment(updated=elsewhere)))

    assert read.updated == NOON


def test_unknown_fields_of_this_schema_are_ignored() -> None:
    """A field that a newer writer of the same schema added does no harm."""
    text = _changed(codec.encode(FULL), colour="green")

    assert codec.decode_deployment(text) == FULL


def test_missing_fields_take_their_defaults() -> None:
    """A record written before a field was there is read with its default."""
    stored = json.loads(codec.encode(FULL))
    del stored["body"]["outbox"]

    read = codec.decode_deployment(json.dumps(stored))

    assert read == replace(FULL, outbox=())


def test_a_newer_schema_is_transient() -> None:
    """An old instance leaves a newer record to a newer instance."""
    stored = json.loads(codec.encode(FULL)) | {"schema": SCHEMA + 1, "body": [1]}

    with pytest.raises(TransientError, match="roll-out"):
        codec.decode_deployment(json.dumps(stored))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{}",
        "[]",
        '{"schema":0,"body":{}}',
        '{"schema":"1","body":{}}',
        '{"schema":1,"body":{}}',
        '{"schema":1}',
        "\ud800",
        _changed(codec.encode(FULL), region=7),
        _changed(codec.encode(FULL), revisions=[{"phase": "flying"}]),
        codec.encode(FULL)[:-2],
    ],
)
def test_what_nobody_wrote_is_permanent(text: str) -> None:
    """Anything else is refused with words, never with a crash."""
    with pytest.raises(PermanentError, match="deployment"):
        codec.decode_deployment(text)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    """Bytes from anywhere end in one of our own errors."""
    with pytest.raises(PermanentError):
        codec.decode_deployment(data)


@given(st.text(st.characters(exclude_categories=())), st.datetimes())
def test_any_text_can_be_written(text: str, time: datetime) -> None:
    """Whatever a name holds, it can be stored and read as valid Unicode."""
    aware = time.replace(tzinfo=UTC)
    record = make_deployment(prefix=text, updated=aware)

    read = codec.decode_deployment(codec.encode(record))

    assert read.prefix == text.encode("utf-16", "surrogatepass").decode(
        "utf-16", "replace"
    )
    assert read.updated == aware


def test_too_large_is_refused_with_its_size() -> None:
    """The bound of one document is kept when writing."""
    revision = make_revision(message="x" * codec.MAX_BYTES)

    with pytest.raises(PermanentError, match=r"revision has 9\d{5} bytes"):
        codec.encode(revision)


@given(st.datetimes(timezones=st.timezones()))
def test_microseconds_are_exact(time: datetime) -> None:
    """A time becomes an integer and comes back the same moment."""
    try:
        moment = time.astimezone(UTC)
    except OverflowError:
        return

    assert codec.from_microseconds(codec.microseconds(time)) == moment


def test_a_time_without_zone_is_refused() -> None:
    """Nobody guesses a time zone."""
    with pytest.raises(PermanentError, match="timezone"):
        codec.microseconds(NOON.replace(tzinfo=None))


@given(st.datetimes(), st.text(), st.none() | st.sampled_from(Phase))
def test_page_tokens_come_back(
    time: datetime, identity: str, phase: Phase | None
) -> None:
    """A token is opaque text, safe in an address, and leads to its place."""
    last: Deployment = make_deployment(identity, updated=time.replace(tzinfo=UTC))
    if any("\ud800" <= letter <= "\udfff" for letter in identity):
        return
    token = codec.page_token(last, phase=phase)

    assert (last.updated, identity) == codec.read_page_token(token, phase=phase)
    assert token.replace("-", "").replace("_", "").isalnum()


@given(st.text())
def test_no_token_crashes_the_reader(token: str) -> None:
    """A token from anywhere is refused, or was by chance a good one."""
    try:
        codec.read_page_token(token, phase=None)
    except PermanentError as error:
        assert "page token" in str(error)  # noqa: PT017  # a good one is good


@pytest.mark.parametrize("kind", ["weightdrop.deployment.ready.v1", ""])
def test_a_sent_message_is_received_as_it_was(kind: str) -> None:
    """Attributes and data make the message again, event or request."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    message = make_message(
        type=kind, time=NOON + timedelta(microseconds=1), trace=trace
    )

    received = codec.received(
        topic=message.topic,
        data=message.data.encode(),
        attributes=codec.attributes(message),
        ordering_key=message.ordering_key,
    )

    assert received == message


@pytest.mark.parametrize(
    "attributes",
    [{}, {"id": "x"}, {"id": "x", "time": "noon"}, {"ce-id": "x", "ce-type": "y"}],
)
def test_a_foreign_message_is_refused(attributes: dict[str, str]) -> None:
    """A message without our attributes is named as foreign."""
    with pytest.raises(PermanentError, match="none of Weightdrop's"):
        codec.received(topic="t", data=b"", attributes=attributes, ordering_key="")


def test_an_event_in_bytes_that_are_no_text_is_refused() -> None:
    """Data that is no UTF-8 is no message of ours."""
    with pytest.raises(PermanentError, match="none of Weightdrop's"):
        codec.received(
            topic="t",
            data=b"\xff",
            attributes=codec.attributes(make_message()),
            ordering_key="",
        )
