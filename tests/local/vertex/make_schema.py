"""Write the stand-in's schema anew from the installed Vertex AI protos.

Run it after google-cloud-aiplatform was upgraded::

    cd tests/local/vertex
    python make_schema.py > ../../../shared/weightdrop/local/vertex/schema.json

A test compares what it makes with what is in the repository.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

VERSIONS = ("v1", "v1beta1")
SERVICES = ("Endpoint", "Model", "ModelGarden", "Prediction")
MIXINS = re.compile(r"IamPolicy|IamPermissions|Operation")
ROOTS = (
    "UploadModelRequest",
    "UploadModelResponse",
    "UploadModelOperationMetadata",
    "UpdateModelRequest",
    "MergeVersionAliasesRequest",
    "Model",
    "ListModelsResponse",
    "ListModelVersionsResponse",
    "Endpoint",
    "ListEndpointsResponse",
    "CreateEndpointOperationMetadata",
    "UpdateEndpointLongRunningRequest",
    "UpdateEndpointOperationMetadata",
    "DeployModelRequest",
    "DeployModelResponse",
    "DeployModelOperationMetadata",
    "UndeployModelRequest",
    "UndeployModelResponse",
    "UndeployModelOperationMetadata",
    "MutateDeployedModelRequest",
    "MutateDeployedModelResponse",
    "MutateDeployedModelOperationMetadata",
    "DeleteOperationMetadata",
    "DeployRequest",
    "DeployResponse",
    "DeployOperationMetadata",
    "RecommendSpecRequest",
    "RecommendSpecResponse",
    "PredictRequest",
    "PredictResponse",
)
WELL_KNOWN = {
    "google.protobuf.Duration": "duration",
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.FieldMask": "mask",
    "google.protobuf.Struct": "any",
    "google.protobuf.Value": "any",
    "google.protobuf.ListValue": "any",
    "google.protobuf.Any": "any",
    "google.protobuf.Empty": "any",
    "google.protobuf.StringValue": "string",
    "google.protobuf.BoolValue": "bool",
    "google.protobuf.Int32Value": "int",
    "google.protobuf.Int64Value": "int",
    "google.protobuf.FloatValue": "float",
    "google.protobuf.DoubleValue": "float",
    "google.rpc.Status": "any",
    "google.api.HttpBody": "any",
    "google.type.Money": "any",
    "google.type.Interval": "any",
}
SCALARS = {
    1: "float",
    2: "float",
    3: "long",
    4: "long",
    5: "int",
    8: "bool",
    9: "string",
    12: "bytes",
    13: "int",
}
MESSAGE, ENUM = 11, 14


class Collector:
    """Walks the descriptors of one API version."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, str]] = {}
        self.enums: dict[str, dict[str, int]] = {}

    def _base(self, field: Any) -> str:
        if field.type == MESSAGE:
            full = field.message_type.full_name
            return WELL_KNOWN.get(full) or self.message(field.message_type)
        if field.type == ENUM:
            return "!" + self.enum(field.enum_type)
        return SCALARS[field.type]

    def _name(self, descriptor: Any) -> str:
        full: str = descriptor.full_name
        return full.partition("aiplatform.")[2].partition(".")[2] or (full)

    def enum(self, descriptor: Any) -> str:
        """Add one enum; gives its name."""
        name: str = self._name(descriptor)
        self.enums[name] = {value.name: value.number for value in descriptor.values}
        return name

    def message(self, descriptor: Any) -> str:
        """Add one message and all it refers to; gives its name."""
        name: str = self._name(descriptor)
        if name in self.messages:
            return name
        fields = self.messages[name] = {}
        for field in descriptor.fields:
            kind = field.message_type
            if kind is not None and kind.GetOptions().map_entry:
                text = "{}" + self._base(kind.fields_by_name["value"])
            else:
                text = ("[]" if field.is_repeated else "") + self._base(field)
            fields[field.json_name] = text
        return name


def bindings(version: str) -> list[str]:
    """Every HTTP binding of the services, as "METHOD path/with/*"."""
    return sorted(set(_bindings(version)))


def _bindings(version: str) -> Iterator[str]:
    package = importlib.import_module(f"google.cloud.aiplatform_{version}")
    for service in SERVICES:
        client = getattr(package, f"{service}ServiceClient")
        base = client.get_transport_class("rest").__mro__[1]
        for name, kind in vars(base).items():
            options = getattr(kind, "_get_http_options", None)
            if not inspect.isclass(kind) or options is None or MIXINS.search(name):
                continue
            for option in options():
                path = re.sub(r"\{[^=}]*=([^}]*)\}", r"\1", option["uri"])
                if path.startswith(f"/{version}/"):
                    yield f"{option['method'].upper()} {path[len(version) + 2 :]}"


def schema() -> dict[str, Any]:
    """The schema of all versions."""
    found = {}
    for version in VERSIONS:
        types = importlib.import_module(f"google.cloud.aiplatform_{version}.types")
        collector = Collector()
        for root in ROOTS:
            wrapper = getattr(types, root, None)
            if wrapper is not None:
                collector.message(wrapper.pb(wrapper()).DESCRIPTOR)
        found[version] = {
            "messages": collector.messages,
            "enums": collector.enums,
            "bindings": bindings(version),
        }
    return found


def text() -> str:
    """The schema as the repository keeps it."""
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
