"""Which files count, how arguments are built, and what the environment says."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drops.stores import MemoryArtifacts
from weightdrop.core.artifacts import engine_args
from weightdrop.core.deployment.admission import relevant
from weightdrop.services.listing import list_drop
from weightdrop_serving import (
    arguments,
    control,
    environment,
    folders,
    machine,
    selection,
    vllm_variables,
)
from weightdrop_serving.arguments import Machine
from weightdrop_serving.failures import Exit, ServingError
from weightdrop_serving.health import Health, State
from weightdrop_serving.storage import Source

_NAMES = st.sampled_from(
    [
        *("config.json", "m.safetensors", "README.md", ".gitattributes", "a.txt"),
        *("gcloud", "tmp", ".tmp", "x", "..", "b\x00.json", "trainer_state.json"),
    ]
)
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)


def _files(*paths: str) -> list[Source]:
    return [Source(path=p, size=10, generation=1, crc32c="") for p in paths]


class TestSelection:
    """What is copied out of what people upload."""

    def test_the_index_decides(self) -> None:
        """Only files the index names are weights; the original format is not."""
        files = _files(
            "a-1.safetensors",
            "a-2.safetensors",
            "consolidated.safetensors",
            "pytorch_model.bin",
        )
        index = json.dumps({"weight_map": {"x": "a-1.safetensors"}})
        chosen = selection.weight_files(files, {selection.SAFETENSORS_INDEX: index})
        assert [file.path for file in chosen] == ["a-1.safetensors"]

    def test_safetensors_win_over_bin(self) -> None:
        """Where both are there, the safe format is read."""
        chosen = selection.weight_files(_files("m.safetensors", "m.bin"), {})
        assert [file.path for file in chosen] == ["m.safetensors"]

    def test_bin_alone_is_read(self) -> None:
        """Sets of .bin files are weights; what a trainer left is not."""
        files = _files("pytorch_model.bin", "training_args.bin", "optimizer.bin")
        chosen = selection.weight_files(files, {})
        assert [file.path for file in chosen] == ["pytorch_model.bin"]

    @given(st.lists(_PATHS, unique=True, max_size=8))
    @example(["config.json", "README.md", "m.safetensors", ".gitattributes"])
    @example(["config.json", "checkpoint-1/config.json", "checkpoint-1/m.bin"])
    def test_the_digest_is_that_of_the_deploying_side(self, paths: list[str]) -> None:
        """Of the same files, whatever else lies in the folder."""
        store = MemoryArtifacts({f"m/{path}": path.encode() for path in paths})
        validated = list_drop(store, "bucket", "m")
        seen = [
            Source(file.path, file.size, file.generation + 7, file.crc32c)
            for file in validated.files
        ]
        others = [
            Source(path, 1, 1, "") for path in paths if validated.get(path) is None
        ]

        assert selection.digest(seen + others) == relevant(validated).digest

    @pytest.mark.parametrize(
        "index",
        [
            "{",
            "[]",
            "{}",
            '{"weight_map": 1}',
            '{"weight_map": {}}',
            "[" * 99999,
            '{"weight_map": {"a": "../../etc/passwd"}}',
            '{"weight_map": {"a": 1}}',
        ],
    )
    def test_a_bad_index_is_an_error(self, index: str) -> None:
        """Nothing an index says leads to a crash or out of the folder."""
        with pytest.raises(ServingError):
            selection.weight_files(
                _files("a.safetensors"), {selection.SAFETENSORS_INDEX: index}
            )

    def test_code_and_hidden_files_stay_where_they_are(self) -> None:
        """Neither Python nor another folder's files are copied."""
        files = _files("config.json", "modeling_x.py", "sub/tokenizer.json", ".env")
        assert [f.path for f in selection.small_files(files)] == ["config.json"]

    def test_no_config_is_an_error(self) -> None:
        """The message names the file and the variable."""
        with pytest.raises(ServingError, match="AIP_STORAGE_URI"):
            selection.small_files(_files("tokenizer.json"))


_GPU = Machine(gpu=True, memory=64 << 30)
_CPU = Machine(gpu=False, memory=16 << 30)


def _build(*given: str, machine: Machine = _CPU) -> arguments.Arguments:
    return arguments.build(given, model="/m", socket="/s", machine=machine)


class TestArguments:
    """What vLLM is started with."""

    def test_a_gpu_gets_the_plan_as_it_is(self) -> None:
        """Nothing of the plan is left out or overruled."""
        plan = ("--tensor-parallel-size", "4", "--load-format=runai_streamer")
        built = _build(*plan, machine=_GPU)
        assert built.dropped == ()
        assert " ".join(plan) in " ".join(built.words)
        assert "weightdrop" not in built.words

    @pytest.mark.parametrize("word", ["--load-format", "--load_format"])
    def test_another_loader_waits_for_the_weights(self, word: str) -> None:
        """Only ours reads a folder that still fills."""
        assert _build().overlap
        assert not _build(word, "runai_streamer").overlap

    def test_without_a_gpu_nothing_is_compiled_unless_asked(self) -> None:
        """`--no-enforce-eager` is not overruled by what comes after it."""
        assert "--enforce-eager" in _build().words
        assert "--enforce-eager" not in _build("--no-enforce-eager").words

    def test_no_gpu_drops_what_needs_one(self) -> None:
        """Both spellings, values included, and no more."""
        built = _build(
            *("--tensor-parallel-size", "4", "--gpu_memory_utilization=0.9"),
            *("--enable-expert-parallel", "--max-model-len", "512"),
        )
        assert built.dropped == (
            "--tensor-parallel-size",
            "4",
            "--gpu_memory_utilization=0.9",
            "--enable-expert-parallel",
        )
        assert "512" in built.words

    @pytest.mark.parametrize(
        "word",
        [
            "--trust-remote-code",
            "--trust_remote_code",
            "--trust-remote",
            "--trust_r=true",
            "--middle",
            "--config.model",
            "--port=1",
            "--middleware",
            "--api-key",
            "--config",
            "--tool-parser-plugin",
            "--model",
        ],
    )
    def test_what_would_break_the_contract_is_refused(self, word: str) -> None:
        """The error names the argument and says why."""
        with pytest.raises(ServingError, match=re.escape(word.partition("=")[0])):
            _build(word)

    @pytest.mark.vllm
    @pytest.mark.filterwarnings("ignore")
    def test_vllm_understands_no_other_spelling(self) -> None:
        """Whatever of vLLM's arguments begins like a refused one is refused, or whole.

        With its own parser, which takes a beginning of a name for the name.
        """
        from vllm.entrypoints.launchers import cli_args  # noqa: PLC0415  # seconds
        from vllm.utils.argparse_utils import (  # noqa: PLC0415
            FlexibleArgumentParser,
        )

        parser = cli_args.make_arg_parser(FlexibleArgumentParser())
        names = {name for action in parser._actions for name in action.option_strings}
        beginnings = {
            name
            for name in names
            for refused in arguments._REFUSED
            if refused.startswith(name) and name not in arguments._REFUSED
        }
        assert parser.parse_args(["--trust-rem"]).trust_remote_code
        assert beginnings == arguments._WHOLE
        assert "--reasoning-parser" in _build("--reasoning-parser", "x").words

    @pytest.mark.parametrize("machine", [_GPU, _CPU])
    def test_whatever_a_folder_may_ask_for_is_accepted(self, machine: Machine) -> None:
        """What the check lets through never fails here, after the deploy."""
        words = [*engine_args.FLAGS, *(f"{name}=1" for name in engine_args.VALUES)]
        built = _build(*words, machine=machine)
        assert {*built.words, *built.dropped} >= set(words)


class TestEnvironment:
    """What the platform says."""

    def test_all_faults_are_told_together(self) -> None:
        """Every variable that cannot be used is named."""
        source = {"AIP_HTTP_PORT": "x", "WEIGHTDROP_SERVING_STREAMS": "0"}
        with pytest.raises(environment.EnvironmentFaultError) as caught:
            environment.load(source)
        assert all(name in str(caught.value) for name in source)

    def test_the_two_routes_must_differ(self) -> None:
        """One path cannot be health and prediction."""
        source = {"AIP_HEALTH_ROUTE": "/a", "AIP_PREDICT_ROUTE": "/a"}
        with pytest.raises(environment.EnvironmentFaultError):
            environment.load(source)

    def test_privacy_cannot_be_switched_off(self) -> None:
        """The engine is offline and silent whatever the environment says."""
        own = {"HF_HUB_OFFLINE": "0", "VLLM_LOGGING_LEVEL": "DEBUG"}
        changes = {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "INFO"}
        result = environment.for_engine(own, changes)
        assert result == {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "DEBUG"}

    def test_what_vllm_keeps_lies_in_the_cache(self, tmp_path: Path) -> None:
        """Classes, graphs and kernels: none in a folder that ends with the process."""
        settings = environment.load({"WEIGHTDROP_SERVING_CACHE": str(tmp_path)})
        told = vllm_variables.for_engine(settings, Path("/scratch"), gpu=True)
        kept = ("VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "FLASHINFER_WORKSPACE_BASE")
        assert all(Path(told[name]).is_relative_to(tmp_path) for name in kept)


class TestHealth:
    """Signs of life."""

    def test_silence_before_work_is_no_hang(self) -> None:
        """The clock starts when work arrives at an idle engine."""
        now = [0.0]
        health = Health(clock=lambda: now[0], hang_seconds=4)
        health.answered = True
        now[0] = 1000
        health.enter()
        assert health.verdict().state is State.OK
        now[0] = 1005
        assert health.verdict().state is State.HUNG
        health.sign_of_life()
        assert health.verdict().state is State.OK

    def test_a_client_that_does_not_read_is_no_hang(self) -> None:
        """Work that waits for its client is not waiting for the engine."""
        now = [0.0]
        health = Health(clock=lambda: now[0], hang_seconds=4)
        health.answered = True
        health.enter()
        health.writing(1)
        now[0] = 100
        assert health.verdict().state is State.OK

    def test_a_dead_engine_is_said_at_once(self) -> None:
        """Before anything else."""
        health = Health(clock=lambda: 0, hang_seconds=4, dead=lambda: True)
        health.answered = True
        assert health.verdict().state is State.DEAD


class TestControl:
    """The line between the engine's process and its supervisor."""

    def test_an_order_that_cannot_be_taken_ends_the_process(self) -> None:
        """Nobody else would notice that the supervisor is gone."""
        ended = threading.Event()
        ours, theirs = socket.socketpair()
        with ours:
            line = control.Control(theirs.detach(), ended.set)

            def broken(order: str) -> None:
                raise RuntimeError(f"the loop is closed: {order}")

            line.deliver_to(broken)
            line.watch()
            ours.sendall(b'{"order": "drain"}\n')
            assert ended.wait(10)
        line._socket.close()


class TestLeftovers:
    """Shared memory of processes that were killed."""

    def test_only_what_is_left_of_ours_goes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that another process removes meanwhile disturbs nobody."""
        for name in ("psm_left", "psm_old", "other"):
            (tmp_path / name).touch()
        os.utime(tmp_path / "psm_old", (1, 1))
        (tmp_path / "psm_gone").symlink_to(tmp_path / "nothing")
        monkeypatch.setattr(machine, "_SHARED_MEMORY", tmp_path)

        assert machine.remove_leftover_segments(since=100) == 1
        assert not (tmp_path / "psm_left").exists()
        assert (tmp_path / "psm_old").exists()
        assert (tmp_path / "other").exists()


class TestFolders:
    """What is left of those who were killed."""

    def test_abandoned_folders_go_and_kept_ones_stay(self, tmp_path: Path) -> None:
        """A folder whose lock is free is removed by the next one."""
        kept, lock = folders.make_scratch(tmp_path)
        other = tmp_path / "weightdrop-serving-left"
        other.mkdir()
        (other / "lock").touch()
        fresh, second = folders.make_scratch(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([kept, fresh])
        folders.remove(kept, lock)
        folders.remove(fresh, second)
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_made_is_an_error(self, tmp_path: Path) -> None:
        """The message names the setting."""
        (tmp_path / "file").touch()
        with pytest.raises(ServingError, match="SCRATCH") as caught:
            folders.make_scratch(tmp_path / "file" / "x")
        assert caught.value.status is Exit.DISK_FULL
