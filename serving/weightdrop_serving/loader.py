"""vLLM's plugin for loading weights that are still arriving.

Loaded by vLLM in every process it has. The supervisor writes down which files will
come and puts each under its name when it is complete; each is read as soon as it is
there, so the engine starts and the network works at the same time.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from weightdrop_serving import control, kinship, logs, selection
from weightdrop_serving.arguments import LOAD_FORMAT
from weightdrop_serving.model import EXPECTED
from weightdrop_serving.spelling import speller

_LOOK_SECONDS: Final = 0.02


def register() -> None:
    """What the entry point `vllm.general_plugins` resolves to."""
    if control.current() is None:  # the server's own process has a line to watch
        kinship.end_with_parent()
    kinship.allow_matrix_registers()
    from vllm.model_executor.model_loader import (  # noqa: PLC0415  # after vLLM
        register_model_loader,
    )

    register_model_loader(LOAD_FORMAT)(_loader_class())


def arriving(folder: Path) -> Iterator[Path]:
    """The expected files of tensors in `folder`, each once it is complete.

    There is no end to the waiting here: if the copy fails, the supervisor says why
    and ends this process.
    """
    names = (folder / EXPECTED).read_text(encoding="utf-8").splitlines()
    waited = 0.0
    for name in names:
        path = folder / name
        started = time.monotonic()
        while not path.exists():
            time.sleep(_LOOK_SECONDS)  # another process renames; no event crosses
        waited += time.monotonic() - started
        yield path
    logs.write(
        "loading",
        f"{len(names)} files of weights read, {waited:.1f} s of it waiting for them",
        waited_seconds=round(waited, 1),
    )


def _next_step(*, eager: bool) -> str:
    if eager:
        return "the weights are in place; vLLM tries the model and makes its cache"
    return (
        "the weights are in place; vLLM compiles the model, captures graphs and makes "
        "its cache"
    )


def architecture(folder: Path) -> str:
    """The first architecture that config.json in `folder` names."""
    names = json.loads((folder / selection.CONFIG).read_bytes()).get("architectures")
    return str(names[0]) if names else ""


def _loader_class() -> type[Any]:
    from vllm.model_executor.model_loader.default_loader import (  # noqa: PLC0415
        DefaultModelLoader,
    )
    from vllm.model_executor.model_loader.weight_utils import (  # noqa: PLC0415
        pt_weights_iterator,
        safetensors_weights_iterator,
    )

    class ArrivingModelLoader(DefaultModelLoader):  # type: ignore[misc]
        """vLLM's own loader, one file at a time as files arrive."""

        def __init__(self, load_config: Any) -> None:
            # "hf" and not "auto", which may read the folder in another format.
            super().__init__(dataclasses.replace(load_config, load_format="hf"))
            self.counter_before_loading_weights = 0.0

        def load_model(self, *given: Any, **named: Any) -> Any:
            """Load, and say what vLLM does next, which takes minutes on a GPU."""
            loaded = super().load_model(*given, **named)
            model_config = named.get("model_config") or given[1]
            logs.write("compiling", _next_step(eager=model_config.enforce_eager))
            return loaded

        def _get_weights_iterator(self, source: Any) -> Iterator[tuple[str, Any]]:
            folder = Path(source.model_or_path)
            if not (folder / EXPECTED).exists():
                return super()._get_weights_iterator(source)  # type: ignore[no-any-return]
            if source.allow_patterns_overrides or source.subfolder:
                list(arriving(folder))
                return super()._get_weights_iterator(source)  # type: ignore[no-any-return]
            if not self.counter_before_loading_weights:
                self.counter_before_loading_weights = time.perf_counter()
            spelled = speller(architecture(folder))
            return (
                (source.prefix + spelled(name), tensor)
                for path in arriving(folder)
                for name, tensor in self._tensors(str(path))
            )

        def _tensors(self, path: str) -> Iterator[tuple[str, Any]]:
            config = self.load_config
            if path.endswith(".safetensors"):
                return safetensors_weights_iterator(  # type: ignore[no-any-return]
                    [path],
                    False,  # noqa: FBT003  # no progress bar in a log
                    config.safetensors_load_strategy,
                    local_expert_ids=self.local_expert_ids,
                )
            return pt_weights_iterator(  # type: ignore[no-any-return]
                [path],
                False,  # noqa: FBT003
                config.pt_load_map_location,
            )

    return ArrivingModelLoader
