"""What is loaded before the warm control plane is measured: a folder, many records."""

from __future__ import annotations

import datetime as dt
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
from controllab.lab import BUCKET, Lab

from drops.stores import File, Sparse
from fakes.builders import make_deployment, make_revision
from weightdrop import codec
from weightdrop.adapters.firestore import DEPLOYMENTS, FirestoreRecords
from weightdrop.adapters.firestore_documents import fields_of
from weightdrop.bootstrap import App
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment
from weightdrop.local.records import SqliteRecords

ACTIVE = 10
"""Deployments at work among all that are loaded."""

BATCH = 400

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
"""config.json of Llama-3.1-8B, as far as it is read."""


def lay_folder(made: Lab, files: dict[str, File]) -> None:
    """Write all but config.json as plain files, weights without their bytes."""
    target = made.folder / "source"
    target.mkdir(parents=True)
    for name in sorted(set(files) - {"config.json"}):
        file = files[name]
        with (target / name).open("wb") as out:
            out.write(file.head if isinstance(file, Sparse) else file)
            out.truncate(file.size if isinstance(file, Sparse) else len(file))


def announce(made: Lab, files: dict[str, File]) -> None:
    """Wait until the weights are read once; then config.json comes, and announces."""
    url = f"{made.members['bucket'].url}/storage/v1/b/{BUCKET}/o"
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        answer = httpx.get(url, params={"prefix": "source/"}, timeout=900)
        if len(answer.json().get("items", ())) == len(files) - 1:
            break
        time.sleep(0.5)
    else:
        raise SystemExit("the bucket server did not take the files")
    server = made.members["bucket"].url
    httpx.post(
        f"{server}/upload/storage/v1/b/{BUCKET}/o",
        params={"uploadType": "media", "name": "source/config.json"},
        content=json.dumps(LLAMA),
        timeout=60,
    ).raise_for_status()


def deployment(number: int, *, active: bool) -> Deployment:
    """One of many: ready and resting, or at work and due."""
    now = dt.datetime.now(dt.UTC)
    phase = Phase.DEPLOYING if active else Phase.READY
    revision = make_revision(
        phase=phase,
        phase_since=now,
        operation="operations/1" if active else "",
        model_name="projects/p/locations/l/models/m",
        deployed=True,
        deadline=now + dt.timedelta(hours=2) if active else None,
    )
    return make_deployment(
        f"many-{number:08x}",
        revisions=(revision,),
        created=now,
        updated=now - dt.timedelta(microseconds=number),
        due=now - dt.timedelta(seconds=1) if active else None,
        endpoint_id=f"wd-many-{number:08x}",
    )


def load_sqlite(path: Path, count: int, start: int) -> None:
    """Put records in at once, in the form in which the port keeps them."""
    records = SqliteRecords(path)
    with records._database.write() as connection:  # noqa: SLF001  # in bulk
        for number in range(start, count):
            made = deployment(number, active=number < ACTIVE)
            due = codec.microseconds(made.due) if made.due else None
            connection.execute(
                "INSERT INTO deployments (id, version, phase, updated, due, record) "
                "VALUES (?, 1, ?, ?, ?, ?)",
                (
                    made.id,
                    made.phase.value,
                    codec.microseconds(made.updated),
                    due,
                    codec.encode(made),
                ),
            )
    records.close()


def load_firestore(records: FirestoreRecords, count: int, start: int) -> None:
    """Put records in by batches."""
    client = records._client  # noqa: SLF001  # in bulk

    def write(first: int) -> None:
        batch = client.batch()
        for number in range(first, min(first + BATCH, count)):
            made = deployment(number, active=number < ACTIVE)
            place = client.collection(DEPLOYMENTS).document(made.id)
            batch.set(place, fields_of(made, writes=1))
        batch.commit(timeout=120)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(start, count, BATCH)))


def make_due(app: App) -> None:
    """Have the next tick look at all that is active."""
    now = dt.datetime.now(dt.UTC)
    for number in range(ACTIVE):
        held = app.records.get(f"many-{number:08x}")
        if held is None:
            raise SystemExit("an active record is gone")
        due = replace(held.deployment, due=now - dt.timedelta(seconds=1))
        app.records.put(due, version=held.version)
