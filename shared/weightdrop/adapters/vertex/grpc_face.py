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
import httpx

_METHOD = re.compile(
    r"^/google\.cloud\.aiplatform\.(?P<version>v1|v1beta1)"
    r"\.(?P<service>\w+)Service/(?P<method>\w+)$"
)
_OPERATIONS = re.compile(r"^/google\.longrunning\.Operations/(?P<method>\w+)$")
_SERVICES = ("Endpoint", "Model", "Prediction", "ModelGarden")
_BODIES = {
    "RawPredict": ":rawPredict",
    "StreamRawPredict": ":streamRawPredict",
    "ChatCompletions": "/chat/completions",
}
"""Methods whose body passes as it is (google.api.HttpBody), and their paths: their
REST twins in the generated clients would wrap it in JSON."""

_STREAMED = frozenset({"StreamRawPredict", "ChatCompletions"})
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""HTTP status to code (google/rpc/code.proto), where a body does not name it."""

_LARGEST = 16 * 2**20
_THREADS = 16
_SECONDS = 600.0


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Face(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Answers the methods of the services by what serves them over REST.

    Args:
        rest: Base URL of the stand-in.
        client: Sends what is no message of the API.
    """

    def __init__(self, rest: str, client: httpx.Client) -> None:
        self._rest = rest
        self._client = client
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], tuple[Any, Any]] = {}

    def service(self, details: Any) -> Any:
        """The handler of one call, or None for a method that nobody has."""
        found = _METHOD.match(details.method)
        if found is not None and found["service"] in _SERVICES:
            method = found["method"]
            package, rest = self._twin(found["version"], found["service"])
            kind = getattr(package, f"{method}Request", None)
            reads = getattr(kind, "deserialize", None)
            if method in _BODIES and reads is not None:
                return self._body(method, reads, version=found["version"])
            return _unary(rest, method, reads) or _refusal(method)
        operations = _OPERATIONS.match(details.method)
        if operations is not None:
            from google.longrunning import operations_pb2  # noqa: PLC0415

            _, rest = self._twin("v1", "Endpoint")
            kind = getattr(operations_pb2, f"{operations['method']}Request", None)
            return _unary(rest, operations["method"], getattr(kind, "FromString", None))
        return None

    def _body(self, method: str, reads: Any, *, version: str) -> Any:
        """A handler that passes a body on, and what comes back as it comes."""
        from google.api.httpbody_pb2 import HttpBody  # noqa: PLC0415

        def pieces(request: Any, context: Any) -> Iterator[Any]:
            url = f"{self._rest}/{version}/{request.endpoint}{_BODIES[method]}"
            kind = request.http_body.content_type or "application/json"
            content, headers = request.http_body.data, {"content-type": kind}
            with self._client.stream(
                "POST", url, content=content, headers=headers
            ) as answer:
                if answer.is_error:
                    answer.read()
                    context.abort(_named(answer), answer.text)
                kind = answer.headers.get("content-type", "")
                told = [item for item in answer.headers.items() if _tells(item[0])]
                context.send_initial_metadata(told)
                for piece in answer.iter_raw():
                    yield HttpBody(content_type=kind, data=piece)

        def whole(request: Any, context: Any) -> Any:
            parts = list(pieces(request, context))
            data = b"".join(part.data for part in parts)
            kind = parts[0].content_type if parts else ""
            return HttpBody(content_type=kind, data=data)

        streamed = method in _STREAMED
        make = (
            grpc.unary_stream_rpc_method_handler
            if streamed
            else grpc.unary_unary_rpc_method_handler
        )
        return make(
            pieces if streamed else whole,
            request_deserializer=reads,
            response_serializer=_serialized,
        )

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
    if call is None or reads is None or method.startswith(("Stream", "Server")):
        return None

    def answer(request: Any, context: Any) -> Any:
        try:
            return call(request, timeout=_SECONDS)
        except exceptions.GoogleAPICallError as error:
            context.abort(_code(error), error.message)

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=reads, response_serializer=_serialized
    )


def _refusal(method: str) -> Any:
    """A handler that says what is not served; of the widest form, so of any."""

    def answer(_: Any, context: Any) -> Iterator[Any]:
        words = f"{method} is not served by this stand-in: its containers speak HTTP."
        context.abort(grpc.StatusCode.UNIMPLEMENTED, words)
        yield

    return grpc.stream_stream_rpc_method_handler(answer)


def _tells(header: str) -> bool:
    return header.lower().startswith("x-vertex-ai-")


def _code(error: Any) -> Any:
    """The gRPC code of an error of a generated client."""
    return _named(error.response) if error.response is not None else _UNKNOWN


_UNKNOWN = grpc.StatusCode.UNKNOWN


def _named(answer: Any) -> Any:
    """The gRPC code of an error over HTTP: its body names it, or its status does."""
    try:
        status = str(answer.json()["error"]["status"])
    except (ValueError, KeyError, TypeError):
        status = _CODES.get(answer.status_code, "UNKNOWN")
    return getattr(grpc.StatusCode, status, _UNKNOWN)


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
    with httpx.Client(timeout=_SECONDS, trust_env=False) as client:
        for bound in _serve(Face(rest.rstrip("/"), client), port, secret):
            click.echo(f"gRPC for {rest} on 127.0.0.1:{bound}", err=True)
            over.wait()


if __name__ == "__main__":
    main()
