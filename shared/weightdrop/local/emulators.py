"""How the Google Cloud CLI's emulators of Firestore and Pub/Sub are started.

Their jars are started directly: `gcloud beta emulators …` is a wrapper that
costs a second and leaves its child behind when it is killed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from weightdrop.errors import UsageError

_FIRESTORE = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
_FIRESTORE_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
_PUBSUB = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"
_HEAP = "-Xmx512m"


class EmulatorsMissingError(UsageError):
    """The emulators are not installed; the message says what to install."""


def firestore(host: str, port: int) -> list[str]:
    """The command of a Firestore emulator.

    Raises:
        EmulatorsMissingError: If it is not installed.
    """
    java = [_java(), _HEAP, "-Duser.language=en", "-cp", _jar(_FIRESTORE)]
    return [*java, _FIRESTORE_MAIN, "start", *_listening(host, port)]


def pubsub(host: str, port: int) -> list[str]:
    """The command of a Pub/Sub emulator.

    Raises:
        EmulatorsMissingError: If it is not installed.
    """
    return [_java(), _HEAP, "-jar", _jar(_PUBSUB), *_listening(host, port)]


def _listening(host: str, port: int) -> tuple[str, str]:
    return f"--host={host}", f"--port={port}"


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise EmulatorsMissingError(
            "java is not on PATH; the emulators need 17 or later"
        )
    return java


def _jar(pattern: str) -> str:
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        raise EmulatorsMissingError(
            "gcloud is not on PATH; install the Google Cloud CLI"
        )
    root = Path(gcloud).resolve().parent.parent
    found = sorted(root.glob(pattern))
    if not found:
        raise EmulatorsMissingError(
            f"{root} has no {pattern}; install the emulators with `gcloud components "
            "install cloud-firestore-emulator pubsub-emulator`"
        )
    return str(found[-1])
