"""gRPC in front of the Vertex AI stand-in: each call is handed on over REST.

`python -m weightdrop.adapters.vertex.grpc_face --rest URL --port P` serves the
generated clients' default transport on 127.0.0.1. It knows no method by itself:
the request of METHOD is METHODRequest in Google's own clients, which send it on.
"""

from __future__ import annotations

import importlib
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import grpc  # type: ignore[import-untyped]  # it has no types

_METHOD = re.compile(
    r"^/google\.cloud\.aiplatform\.(?P<version>v1|v1beta1)"
    r"\.(?P<service>\w+)Service/(?P<method>\w+)$"
)
_OPERATIONS = re.compile(r"^/google\.longrunning\.Operations/(?P<method>\w+)$")
_SERVICES = ("Endpoint", "Model", "Prediction", "ModelGarden")
_STREAMING = ("Stream", "Server")
_LARGEST = 16 * 2**20
_THREADS = 16
_SECONDS = 600.0


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Face(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Answers every unary method of the services by its REST twin.

    Args:
        rest: Base URL of the stand-in.
    """

    def __init__(self, rest: str) -> None:
        self._rest = rest
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], tuple[Any, Any]] = {}

    def service(self, details: Any) -> Any:
        """The handler of one call, or None for a method that nobody has."""
        found = _METHOD.match(details.method)
        if found is not None and found["service"] in _SERVICES:
            package, rest = self._twin(found["version"], found["service"])
            kind = getattr(package, f"{found['method']}Request", None)
            reads = getattr(kind, "deserialize", None)
            return _unary(rest, found["method"], reads)
        operations = _OPERATIONS.match(details.method)
        if operations is not None:
            from google.longrunning import operations_pb2  # noqa: PLC0415

            _, rest = self._twin("v1", "Endpoint")
            kind = getattr(operations_pb2, f"{operations['method']}Request", None)
            return _unary(rest, operations["method"], getattr(kind, "FromString", None))
        return None

    def _twin(self, version: str, service: str) -> tuple[Any, Any]:
        """The package of a version, and a service's REST transport."""
        from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415

        with self._lock:
            if (version, service) not in self._made:
                package = importlib.import_module(f"google.cloud.aiplatform_{version}")
                client = getattr(package, f"{service}ServiceClient")
                scheme, _, host = self._rest.partition("://")
                rest = client.get_transport_class("rest")(
                    host=host, url_scheme=scheme, credentials=AnonymousCredentials()
                )
                self._made[version, service] = (package, rest)
            return self._made[version, service]


def _serialized(answer: Any) -> bytes:
    """A message of either kind, as bytes."""
    if answer is None:
        return b""
    if hasattr(answer, "SerializeToString"):
        return bytes(answer.SerializeToString())
    return bytes(type(answer).serialize(answer))


def _unary(rest: Any, method: str, reads: Any) -> Any:
    """A handler that calls the method's REST twin; None where there is none."""
    from google.api_core import exceptions  # noqa: PLC0415

    call = getattr(rest, _snake(method), None)
    if call is None or reads is None or method.startswith(_STREAMING):
        return None

    def answer(request: Any, context: Any) -> Any:
        try:
            return call(request, timeout=_SECONDS)
        except exceptions.GoogleAPICallError as error:
            context.abort(_code(error), error.message)

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=reads, response_serializer=_serialized
    )


def _code(error: Any) -> Any:
    """The gRPC code of an error that came over HTTP: its status says it."""
    try:
        status = str(error.response.json()["error"]["status"])
    except (AttributeError, ValueError, KeyError, TypeError):
        status = "UNKNOWN"
    return getattr(grpc.StatusCode, status, grpc.StatusCode.UNKNOWN)


def _serve(face: Face, port: int, secret: tuple[Path, Path] | None) -> Iterator[int]:
    sizes = ("grpc.max_receive_message_length", "grpc.max_send_message_length")
    server = grpc.server(
        ThreadPoolExecutor(_THREADS),
        handlers=[face],
        options=[(name, _LARGEST) for name in sizes],
    )
    where = f"127.0.0.1:{port}"
    if secret is None:
        bound = server.add_insecure_port(where)
    else:
        key, certificate = (path.read_bytes() for path in secret)
        credentials = grpc.ssl_server_credentials([(key, certificate)])
        bound = server.add_secure_port(where, credentials)
    server.start()
    yield int(bound)
    server.stop(grace=1).wait()


@click.command()
@click.option("--rest", required=True, help="URL of the stand-in.")
@click.option("--port", default=0, help="0 takes a free one.")
@click.option("--tls-certificate", type=click.Path(path_type=Path), default=None)
@click.option("--tls-key", type=click.Path(path_type=Path), default=None)
def main(
    *, rest: str, port: int, tls_certificate: Path | None, tls_key: Path | None
) -> None:
    """Speak gRPC on 127.0.0.1 for a Vertex AI stand-in, for local use only."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    secret = (tls_key, tls_certificate) if tls_key and tls_certificate else None
    for bound in _serve(Face(rest.rstrip("/")), port, secret):
        click.echo(f"gRPC for {rest} on 127.0.0.1:{bound}", err=True)
        over.wait()


if __name__ == "__main__":
    main()
