"""Replicas that read the bucket themselves, told by what the deployment passes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from fakes import ends
from fakes.bus import MemoryBus
from fakes.clock import FakeClock
from fakes.records import MemoryRecords
from fakes.serving import Container, container
from local.vertex.buckets import BUCKET, Buckets
from weightdrop.adapters.gcs import GcsArtifacts
from weightdrop.core.artifacts.manifest import encode
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment
from weightdrop.local.tiny_model import make_tiny_llama
from weightdrop.services import specs
from weightdrop.services.admit import Admission
from weightdrop.settings import Settings, Weights

DIRECT = Settings(weights=Weights.DIRECT)
LATER = "added_tokens.json"
SHARD = "model-00002-of-00004.safetensors"
START_SECONDS = 180.0
PROMPT = {"instances": [{"prompt": "Hi", "max_tokens": 8, "temperature": 0}]}


@dataclass(frozen=True, slots=True)
class Replicas:
    """Starts containers as the platform does that got the model's spec.

    Attributes:
        buckets: The bucket server they read.
        env: Variables of the container's spec, and nothing of the folder's copy.
        args: Its arguments.
    """

    buckets: Buckets
    env: dict[str, str]
    args: tuple[str, ...]

    def start(
        self, folder: Path, env: dict[str, str] | None = None
    ) -> AbstractContextManager[Container]:
        """A replica; `env` is laid over the spec's."""
        local = {"WEIGHTDROP_STORAGE_ENDPOINT": self.buckets.url}
        return container(folder, "", *self.args, env=self.env | local | (env or {}))


Drop = Callable[[str], Replicas]


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buckets]:
    """A bucket server."""
    running = Buckets(tmp_path_factory.mktemp("buckets"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def drop(buckets: Buckets, tmp_path_factory: pytest.TempPathFactory) -> Drop:
    """Uploads a model below a prefix, has it admitted, and gives its replicas."""
    model = tmp_path_factory.mktemp("model")
    make_tiny_llama(model)

    def dropped(prefix: str) -> Replicas:
        buckets.put_folder(model, prefix)
        deployment = _admitted(buckets, prefix)
        spec = specs.model(deployment, deployment.revisions[-1], DIRECT)
        assert spec.artifact_uri == ""
        return Replicas(buckets, dict(spec.server.env), spec.server.args)

    return dropped


def _admitted(buckets: Buckets, prefix: str) -> Deployment:
    admission = Admission(
        artifacts=GcsArtifacts(project="local", endpoint=buckets.url),
        records=MemoryRecords(strict=True),
        bus=MemoryBus(),
        clock=FakeClock(datetime.now(UTC) + timedelta(minutes=1)),  # long uploaded
        settings=DIRECT,
    )
    deployment = admission.folder(BUCKET, prefix)
    assert deployment is not None
    assert deployment.revisions[-1].phase is Phase.ACCEPTED
    return deployment


def _overwrite(buckets: Buckets, name: str) -> None:
    """Put other bytes of the same length there, as a new training run would."""
    path = buckets.root / BUCKET / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    buckets.put(name, bytes(content))


@pytest.fixture(scope="module")
def replica(
    drop: Drop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    """A healthy replica of a folder that got a newer file after it was admitted."""
    replicas = drop("team/direct model")
    replicas.buckets.put(f"team/direct model/{LATER}", b"no JSON")
    with replicas.start(tmp_path_factory.mktemp("replica")) as running:
        running.until_health(200, seconds=START_SECONDS)
        yield running


@pytest.mark.vllm
class TestServing:
    """One replica that serves what was validated, from its bucket."""

    def test_it_answers_as_a_copy_would(
        self, replica: Container, buckets: Buckets, tmp_path: Path
    ) -> None:
        """Byte for byte the validated files, and nothing that came later."""
        (scratch,) = replica.scratch.iterdir()
        got = {p.name for p in (scratch / "model").iterdir()} - {".weights"}
        validated = buckets.root / BUCKET / "team/direct model"
        for name in got:
            copied = (scratch / "model" / name).read_bytes()
            assert copied == (validated / name).read_bytes()
        answer = replica.predict(PROMPT)

        assert LATER not in got
        assert {SHARD, "config.json", "tokenizer.json"} <= got
        assert answer.status_code == 200
        assert len(answer.json()["predictions"][0].split()) > 0

    def test_killed_while_it_answers_nothing_stays(self, replica: Container) -> None:
        """The supervisor alone is killed, in the middle of a stream.

        The last test: it ends the replica.
        """
        body = {"prompt": "Hi", "max_tokens": 250, "stream": True, "ignore_eos": True}
        url = f"{replica.url}/vertex/predict"
        with httpx.stream("POST", url, json=body, timeout=60) as response:
            next(response.iter_lines())
            replica.process.kill()
            replica.ended(ends.SUPERVISOR_KILLED)


class TestRefusals:
    """Replicas that start after somebody changed what was validated."""

    @pytest.mark.parametrize("name", ["config.json", SHARD])
    def test_an_overwritten_file_is_refused(
        self, drop: Drop, tmp_path: Path, name: str
    ) -> None:
        """Its old generation is gone: the log names the file and what to do."""
        replicas = drop(f"overwritten/{name}")
        _overwrite(replicas.buckets, f"overwritten/{name}/{name}")

        with replicas.start(tmp_path) as running:
            running.ended(ends.WEIGHTS_REPLACED)
            message = running.event("failed")["message"]
        assert name in message
        assert f"gs://{BUCKET}/overwritten/{name}" in message

    def test_without_its_list_the_digest_tells(
        self, drop: Drop, tmp_path: Path
    ) -> None:
        """A revision whose generations are forgotten takes no other bytes either."""
        replicas = drop("forgotten")
        _overwrite(replicas.buckets, f"forgotten/{SHARD}")

        with replicas.start(tmp_path, {"WEIGHTDROP_FILES": ""}) as running:
            running.ended(ends.NOT_VALIDATED)
            assert f"gs://{BUCKET}/forgotten" in running.event("failed")["message"]

    def test_a_list_of_another_folder_is_refused(
        self, drop: Drop, tmp_path: Path
    ) -> None:
        """The list must have the digest that was validated."""
        replicas = drop("mixed")
        listed = _admitted(replicas.buckets, "mixed").revisions[-1].files
        fewer = [file for file in listed if file.path != "tokenizer_config.json"]

        other = {"WEIGHTDROP_FILES": encode(fewer)}
        with replicas.start(tmp_path, other) as running:
            running.ended(ends.NOT_VALIDATED)
