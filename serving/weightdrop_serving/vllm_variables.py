"""What keeps vLLM offline, silent and private, and ties it to its supervisor."""

from __future__ import annotations

import os
from pathlib import Path

from weightdrop_serving.environment import Environment


def for_engine(settings: Environment, scratch: Path, *, gpu: bool) -> dict[str, str]:
    """What the engine's process is told through its environment.

    Args:
        settings: The supervisor's own.
        scratch: The folder made for this life of the container.
        gpu: Whether vLLM runs on a GPU.
    """
    cache = settings.cache.expanduser()
    changes = {
        "DO_NOT_TRACK": "1",
        "FLASHINFER_WORKSPACE_BASE": str(cache),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "VLLM_CACHE_ROOT": str(cache / "vllm"),
        "VLLM_CONFIG_ROOT": str(cache / "config"),
        "VLLM_DO_NOT_TRACK": "1",
        "VLLM_ENGINE_READY_TIMEOUT_S": "7200",
        "VLLM_NO_USAGE_STATS": "1",
        # Relative to its working folder: a socket's path may have 107 characters.
        "VLLM_RPC_BASE_PATH": ".",
        "VLLM_PLUGINS": "weightdrop_vertex,weightdrop_loader,weightdrop_progress",
        "VLLM_SERVER_DEV_MODE": "0",
        "WEIGHTDROP_SERVING_SCRATCH": str(scratch),
    }
    if settings.loopback:
        changes |= {
            "GLOO_SOCKET_IFNAME": "lo",
            "NCCL_SOCKET_IFNAME": "lo",
            "VLLM_HOST_IP": "127.0.0.1",
        }
    if not gpu:
        # Lets the CPU build run its worker inside the engine's process.
        changes["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        changes["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) - 1, 1))
    return changes
