"""Which permissions the code needs, read from the code itself.

A vendor call is an attribute that is called, by a name that one of Google's
clients has a network method of: a call that nobody entered in the table below
is a test that fails, and so is an entry that no code calls any more.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from terraform.harness import ROOT

LIBRARY = ROOT / "shared" / "weightdrop"
HANDLERS = ROOT / "functions" / "weightdrop_functions"

PORTS: Mapping[str, tuple[Path, ...]] = {
    "artifacts": (LIBRARY / "adapters" / "gcs.py",),
    "records": (LIBRARY / "adapters" / "firestore.py",),
    "bus": (LIBRARY / "adapters" / "pubsub.py",),
    "platform": tuple(sorted((LIBRARY / "adapters" / "vertex").glob("*.py"))),
}
CLASSES = {"bus": "PubsubBus"}
"""Where only one class of an adapter is the port that functions use."""

CALLS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "artifacts": {
        "get_bucket": frozenset({"storage.buckets.get"}),
        "list_blobs": frozenset({"storage.objects.list"}),
        "reload": frozenset({"storage.objects.get"}),
        "download_as_bytes": frozenset({"storage.objects.get"}),
    },
    "records": {
        "get": frozenset({"datastore.entities.get", "datastore.entities.list"}),
        "get_all": frozenset({"datastore.entities.get"}),
        "create": frozenset({"datastore.entities.create"}),
        "set": frozenset({"datastore.entities.create", "datastore.entities.update"}),
        "update": frozenset({"datastore.entities.update"}),
        "commit": frozenset(),  # needs what is in the batch
    },
    "bus": {"publish": frozenset({"pubsub.topics.publish"})},
    "platform": {
        "get_model": frozenset({"aiplatform.models.get"}),
        "list_models": frozenset({"aiplatform.models.list"}),
        "upload_model": frozenset({"aiplatform.models.upload"}),
        "delete_model": frozenset({"aiplatform.models.delete"}),
        "get_endpoint": frozenset({"aiplatform.endpoints.get"}),
        "list_endpoints": frozenset({"aiplatform.endpoints.list"}),
        "create_endpoint": frozenset({"aiplatform.endpoints.create"}),
        "update_endpoint": frozenset({"aiplatform.endpoints.update"}),
        "delete_endpoint": frozenset({"aiplatform.endpoints.delete"}),
        "deploy_model": frozenset(
            {"aiplatform.endpoints.deploy", "iam.serviceAccounts.actAs"}
        ),
        "undeploy_model": frozenset({"aiplatform.endpoints.undeploy"}),
        # An operation is read with the right to read what it works on.
        "get": frozenset(
            {
                "aiplatform.endpoints.get",
                "aiplatform.models.get",
                "aiplatform.operations.list",
            }
        ),
        "post": frozenset({"aiplatform.endpoints.predict", "logging.logEntries.list"}),
    },
}
"""Permissions by port and vendor call."""

ROLES: Mapping[str, frozenset[str]] = {
    "roles/storage.objectViewer": frozenset(
        {"storage.objects.get", "storage.objects.list"}
    ),
    "roles/storage.legacyBucketReader": frozenset(
        {"storage.buckets.get", "storage.objects.list"}
    ),
    "roles/datastore.user": frozenset(
        {
            "datastore.entities.create",
            "datastore.entities.delete",
            "datastore.entities.get",
            "datastore.entities.list",
            "datastore.entities.update",
        }
    ),
    "roles/pubsub.publisher": frozenset({"pubsub.topics.publish"}),
    "roles/iam.serviceAccountUser": frozenset({"iam.serviceAccounts.actAs"}),
}
"""What Google's roles allow, as far as it matters here."""

ONLY_DIRECT = frozenset({"storage.buckets.get"})
"""What is asked for only where replicas read the bucket itself."""

BURY = "bury"
"""The application's method that writes dead letters."""

HOUSEKEEPING = {"close"}
"""Methods of clients that reach no service."""


@cache
def network_methods(port: str) -> frozenset[str]:
    """Names of the methods by which Google's clients reach the service."""
    found: set[str] = set()
    for client in _clients(port):
        for name, member in inspect.getmembers(client, callable):
            if not name.startswith("_") and _waits(member):
                found.add(name)
    return frozenset(found - HOUSEKEEPING)


def _waits(member: object) -> bool:
    try:
        return "timeout" in inspect.signature(member).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _clients(port: str) -> tuple[type, ...]:
    if port == "artifacts":
        from google.cloud import storage  # noqa: PLC0415  # slow, and not for all

        return storage.Client, storage.Bucket, storage.Blob
    if port == "records":
        from google.cloud import firestore  # noqa: PLC0415

        return (
            firestore.Client,
            firestore.CollectionReference,
            firestore.DocumentReference,
            firestore.Query,
            firestore.WriteBatch,
        )
    if port == "bus":
        from google.pubsub_v1 import PublisherClient  # noqa: PLC0415

        return (PublisherClient,)
    from google.cloud import aiplatform_v1 as vertex  # noqa: PLC0415

    return vertex.EndpointServiceClient, vertex.ModelServiceClient


SESSION = frozenset({"get", "post", "put", "patch", "delete", "request"})
"""Methods of the plain HTTP session that the platform's adapter also uses."""

BATCH = frozenset({"create", "set", "update", "delete"})
"""Writes of a batch, which reach Firestore with its commit."""


def calls(port: str) -> frozenset[str]:
    """Names of the vendor calls that the adapter of a port makes."""
    names = network_methods(port)
    names |= {"platform": SESSION, "records": BATCH}.get(port, frozenset())
    return frozenset(
        node.func.attr
        for tree in _trees(port)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in names
        and not _own(node.func)
    )


def _own(called: ast.Attribute) -> bool:
    """Whether the call is of a method of ours (`self.x()`, `super().x()`)."""
    return isinstance(called.value, ast.Name) and called.value.id == "self"


def modules(*paths: Path) -> tuple[Path, ...]:
    """Modules of adapters, and those beside them that they import, each once."""
    found = dict.fromkeys(paths)
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        beside = (path.parent / f"{name}.py" for name in _imported(path))
        new = [it for it in beside if it.is_file() and it not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return tuple(found)


def _imported(path: Path) -> Iterator[str]:
    """Names of the modules beside a module from which it imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parent, _, name = node.module.rpartition(".")
            beside = f".{path.parent.name}"
            if parent.endswith(beside):
                yield name
            elif node.module.endswith(beside):
                yield from (alias.name for alias in node.names)


def _trees(port: str) -> Iterator[ast.AST]:
    for path in modules(*PORTS[port]):
        tree = ast.parse(path.read_text())
        wanted = CLASSES.get(port) if path in PORTS[port] else None
        if wanted is None:
            yield tree
        else:
            yield from (
                node
                for node in tree.body
                if isinstance(node, ast.ClassDef) and node.name == wanted
            )


@dataclass(frozen=True, slots=True)
class Use:
    """What an entry point reaches: ports, and topics it publishes on."""

    ports: frozenset[str]
    buries: bool

    @property
    def permissions(self) -> frozenset[str]:
        """Everything that its calls need."""
        return frozenset(
            permission
            for port in self.ports
            for call in calls(port)
            for permission in CALLS[port].get(call, ())
        )


def use(entry_point: str) -> Use:
    """What an entry point reaches, through its handler and the wiring."""
    app = _app_members()
    seen: set[str] = set()
    waiting = set(_handler_members(entry_point))
    while waiting:
        name = waiting.pop()
        if name in app and name not in seen:
            seen.add(name)
            waiting |= _self_members(app[name])
    strange = {it for it in seen if "weightdrop.adapters" in ast.unparse(app[it])}
    if strange - set(PORTS):
        raise LookupError(f"{entry_point} reaches ports without a table: {strange}")
    return Use(ports=frozenset(seen & set(PORTS)), buries=BURY in seen)


def _app_members() -> dict[str, ast.FunctionDef]:
    tree = ast.parse((LIBRARY / "bootstrap.py").read_text())
    app = next(
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "App"
    )
    return {node.name: node for node in app.body if isinstance(node, ast.FunctionDef)}


def _self_members(function: ast.FunctionDef) -> set[str]:
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def _handler_members(entry_point: str) -> set[str]:
    """Members of the application that a handler and its helpers ask for."""
    tree = ast.parse((HANDLERS / "handlers.py").read_text())
    functions = {it.name: it for it in tree.body if isinstance(it, ast.FunctionDef)}
    found: set[str] = set()
    seen: set[str] = set()
    waiting = {entry_point}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for node in ast.walk(functions[name]):
            if isinstance(node, ast.Name) and node.id in functions:
                waiting |= {node.id} - seen
        found |= _members_of_app(functions[name]) | _in_modules(functions[name])
    return found


def _in_modules(handler: ast.FunctionDef) -> set[str]:
    """The same of modules that a handler imports when it is called."""
    found: set[str] = set()
    for node in ast.walk(handler):
        if isinstance(node, ast.ImportFrom) and node.module == "weightdrop_functions":
            for alias in node.names:
                path = HANDLERS / f"{alias.name}.py"
                found |= _members_of_app(ast.parse(path.read_text()))
    return found


def _members_of_app(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (
            (isinstance(node.value, ast.Name) and node.value.id == "app")
            or (
                isinstance(node.value, ast.Call)
                and isinstance(node.value.func, ast.Name)
                and node.value.func.id == "app"
            )
        )
    }
