"""Import one service of a generated client without the hundred others.

`import google.cloud.aiplatform_v1` loads every service and every type of Vertex
AI, whatever is asked for, and most of a cold start is that. The service's own
package names what it needs; so it is imported while empty packages stand in
for those above it. They are gone again afterwards: whoever imports the whole
package later gets it, with the same classes.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_PARENTS = ("", ".services", ".types")
_lock = threading.Lock()


def service(version: str, name: str) -> Any:
    """The package of one service.

    Args:
        version: Package of the API's version, like "google.cloud.aiplatform_v1".
        name: The service, like "endpoint_service".
    """
    wanted = f"{version}.services.{name}"
    with _lock:
        if wanted in sys.modules or version in sys.modules:
            return importlib.import_module(wanted)
        with _empty_parents(version):
            return importlib.import_module(wanted)


@contextmanager
def _empty_parents(version: str) -> Iterator[None]:
    root = _folder(version)
    stubs = {version + part: root / part.lstrip(".") for part in _PARENTS}
    for name, folder in stubs.items():
        module = ModuleType(name)
        module.__path__ = [str(folder)]
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in stubs:
            del sys.modules[name]


def _folder(version: str) -> Path:
    parent, _, name = version.rpartition(".")
    places = importlib.import_module(parent).__path__
    found = next((Path(it, name) for it in places if Path(it, name).is_dir()), None)
    if found is None:
        raise ModuleNotFoundError(f"No module named {version!r}", name=version)
    return found
