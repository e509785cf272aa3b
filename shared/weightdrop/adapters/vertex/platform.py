"""The Platform port over google-cloud-aiplatform's clients."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from weightdrop.adapters.vertex import messages
from weightdrop.adapters.vertex.asking import ask
from weightdrop.adapters.vertex.clients import Clients, retry
from weightdrop.adapters.vertex.faults import translated
from weightdrop.adapters.vertex.names import last, ours, region_of
from weightdrop.adapters.vertex.operations import OperationReader
from weightdrop.adapters.vertex.serverlog import GOOGLE, ServerLogs
from weightdrop.core.deployment.naming import LABEL
from weightdrop.errors import ConflictError, NotFoundError, TransientError
from weightdrop.ports import (
    Answer,
    DeploySpec,
    Endpoint,
    EndpointSpec,
    ModelSpec,
    Operation,
    Resource,
    ServerLog,
)

_TIMEOUT = 30.0
"""Seconds of one try. The clients' own default of 5 s may end a call that the
service has already accepted."""

_DONE = Operation(name="", done=True)
_FILTER = f"labels.{LABEL}=true"


class VertexPlatform:
    """The Platform port; safe for several threads.

    Args:
        project: Google Cloud project id.
        endpoint: Base URL of a stand-in, spoken to without credentials; empty
            for Google's service with the default credentials.
        deploy_seconds: How long a deployed model may take to become healthy.
        safeguards: Account, key and network of what is made.
        logging: Base URL of Cloud Logging; by default Google's, and none where
            `endpoint` is a stand-in, which tells a server's last words itself.
    """

    def __init__(
        self,
        *,
        project: str,
        endpoint: str = "",
        deploy_seconds: float = messages.LONGEST_DEPLOYMENT,
        safeguards: messages.Safeguards = messages.PLAIN,
        logging: str = "",
    ) -> None:
        self._project = project
        self._endpoint = endpoint.rstrip("/")
        self._deploy_seconds = deploy_seconds
        self._safeguards = safeguards
        self._clients = Clients(self._endpoint)
        self._operations = OperationReader(self._clients, project)
        url = logging or ("" if self._endpoint else GOOGLE)
        self._logs = ServerLogs(self._clients, project=project, url=url)

    # -------------------------------------------------------------- models

    def model_name(self, region: str, model_id: str) -> str:
        """See `weightdrop.ports.Platform.model_name`."""
        return f"{self._parent(region)}/models/{model_id}"

    def model_exists(self, name: str) -> bool:
        """See `weightdrop.ports.Platform.model_exists`."""
        client = self._clients.models(region_of(name))
        try:
            with translated(f"read {name}"):
                client.get_model(name=name, **_calling())
        except NotFoundError:
            return False
        return True

    def upload_model(self, spec: ModelSpec) -> Operation:
        """See `weightdrop.ports.Platform.upload_model`."""
        name = self.model_name(spec.region, spec.model_id)
        # Looked for first: whether an upload to a taken id is refused, or makes
        # a version nobody asked for, is not documented.
        if self.model_exists(name):
            return _DONE
        request = {
            "parent": self._parent(spec.region),
            "model_id": spec.model_id,
            "model": messages.model(
                spec,
                deploy_seconds=self._deploy_seconds,
                safeguards=self._safeguards,
            ),
        }
        client = self._clients.models(spec.region)
        try:
            with translated(f"upload {name}"):
                future = client.upload_model(request=request, **_calling())
        except ConflictError:
            if self.model_exists(name):
                return _DONE
            return self._under_way(name, "UploadModelOperationMetadata")
        return self._started(future)

    def delete_model(self, name: str) -> None:
        """See `weightdrop.ports.Platform.delete_model`."""
        client = self._clients.models(region_of(name))
        try:
            with translated(f"delete {name}"):
                client.delete_model(name=name, **_calling())
        except NotFoundError:
            return

    # ----------------------------------------------------------- endpoints

    def endpoint_name(self, region: str, endpoint_id: str) -> str:
        """See `weightdrop.ports.Platform.endpoint_name`."""
        return f"{self._parent(region)}/endpoints/{endpoint_id}"

    def endpoint(self, name: str) -> Endpoint | None:
        """See `weightdrop.ports.Platform.endpoint`."""
        client = self._clients.endpoints(region_of(name))
        try:
            with translated(f"read {name}"):
                found = client.get_endpoint(name=name, **_calling())
        except NotFoundError:
            return None
        return Endpoint(
            name=name,
            dns=_address(found),
            deployed=_deployed(found),
            traffic=tuple(sorted(found.traffic_split.items())),
        )

    def create_endpoint(self, spec: EndpointSpec) -> Operation:
        """See `weightdrop.ports.Platform.create_endpoint`."""
        name = self.endpoint_name(spec.region, spec.endpoint_id)
        request = {
            "parent": self._parent(spec.region),
            "endpoint_id": spec.endpoint_id,
            "endpoint": messages.endpoint(
                spec, project=self._project, safeguards=self._safeguards
            ),
        }
        client = self._clients.endpoints(spec.region)
        try:
            with translated(f"create {name}"):
                future = client.create_endpoint(request=request, **_calling())
        except ConflictError:
            if self.endpoint(name) is not None:
                return _DONE
            return self._under_way(name, "CreateEndpointOperationMetadata")
        return self._started(future)

    def delete_endpoint(self, name: str) -> None:
        """See `weightdrop.ports.Platform.delete_endpoint`."""
        client = self._clients.endpoints(region_of(name))
        try:
            with translated(f"delete {name}"):
                client.delete_endpoint(name=name, **_calling())
        except NotFoundError:
            return

    # ---------------------------------------------------------- deployments

    def deploy(self, spec: DeploySpec) -> Operation:
        """See `weightdrop.ports.Platform.deploy`."""
        request = {
            "endpoint": spec.endpoint,
            "deployed_model": messages.deployed_model(
                spec, safeguards=self._safeguards
            ),
            "traffic_split": messages.traffic(spec),
        }
        region, beta = region_of(spec.endpoint), messages.sleeps(spec)
        client = self._clients.endpoints(region, beta=beta)
        what = f"deploy {spec.model} on {spec.endpoint}"
        try:
            with translated(what):
                future = client.deploy_model(request=request, **_calling())
        except ConflictError:
            found = self.endpoint(spec.endpoint)
            if found and spec.deployed_model_id in found.deployed:
                return _DONE
            return self._under_way(spec.endpoint, "DeployModelOperationMetadata")
        return self._started(future)

    def set_traffic(self, endpoint: str, traffic: tuple[tuple[str, int], ...]) -> None:
        """See `weightdrop.ports.Platform.set_traffic`."""
        client = self._clients.endpoints(region_of(endpoint))
        split = {name: part for name, part in traffic if part}
        with translated(f"set the traffic of {endpoint}"):
            client.update_endpoint(
                endpoint={"name": endpoint, "traffic_split": split},
                update_mask={"paths": ["traffic_split"]},
                **_calling(),
            )

    def undeploy(self, endpoint: str, deployed_model_id: str) -> Operation:
        """See `weightdrop.ports.Platform.undeploy`."""
        found = self.endpoint(endpoint)
        if found is None:
            return _DONE
        request = {
            "endpoint": endpoint,
            "deployed_model_id": deployed_model_id,
            "traffic_split": messages.without(dict(found.traffic), deployed_model_id),
        }
        client = self._clients.endpoints(region_of(endpoint))
        try:
            with translated(f"undeploy {deployed_model_id} from {endpoint}"):
                future = client.undeploy_model(request=request, **_calling())
        except NotFoundError:
            going = self._operations.pending(endpoint, "UndeployModelOperationMetadata")
            return going or _DONE
        return self._started(future)

    # --------------------------------------------------------------- others

    def operation(self, name: str) -> Operation | None:
        """See `weightdrop.ports.Platform.operation`."""
        return self._operations.get(name)

    def server_log(
        self, endpoint: str, deployed_model_id: str, *, since: datetime
    ) -> ServerLog:
        """See `weightdrop.ports.Platform.server_log`."""
        return self._logs.tail(last(endpoint), deployed_model_id, since)

    def ask(self, endpoint: Endpoint, prompt: str, *, model: str) -> Answer:
        """See `weightdrop.ports.Platform.ask`."""
        return ask(
            self._clients,
            endpoint=endpoint,
            base=self._endpoint,
            prompt=prompt,
            model=model,
        )

    def labelled(self, region: str) -> tuple[Resource, ...]:
        """See `weightdrop.ports.Platform.labelled`."""
        parent = self._parent(region)
        request = {"parent": parent, "filter": _FILTER}
        with translated(f"list what is ours in {region}"):
            models = self._clients.models(region).list_models(
                request=request, **_calling()
            )
            endpoints = self._clients.endpoints(region).list_endpoints(
                request=request, **_calling()
            )
            return (
                *(self._resource("model", item) for item in models),
                *(
                    self._resource("endpoint", item, _deployed(item))
                    for item in endpoints
                ),
            )

    def _parent(self, region: str) -> str:
        return f"projects/{self._project}/locations/{region}"

    def _resource(
        self, kind: str, found: Any, deployed: tuple[str, ...] = ()
    ) -> Resource:
        return Resource(
            kind=kind,
            name=ours(found.name, self._project),
            deployment_id=found.labels.get(f"{LABEL}-deployment", ""),
            digest=found.labels.get(f"{LABEL}-digest", ""),
            deployed=deployed,
        )

    def _started(self, future: Any) -> Operation:
        name = ours(str(future.operation.name), self._project)
        return Operation(name=name, done=False)

    def _under_way(self, parent: str, message: str) -> Operation:
        """The operation of an earlier call whose answer was lost."""
        found = self._operations.pending(parent, message)
        if found is None:
            raise TransientError(
                f"{last(parent)} is being worked on, and no operation tells how far."
            )
        return found


def _deployed(endpoint: Any) -> tuple[str, ...]:
    return tuple(item.id for item in endpoint.deployed_models)


def _address(found: Any) -> str:
    """Where an endpoint answers: its dedicated name, or its private address."""
    if found.dedicated_endpoint_dns:
        return str(found.dedicated_endpoint_dns).removeprefix("https://")
    made = found.private_service_connect_config.psc_automation_configs
    return next((str(one.ip_address) for one in made if one.ip_address), "")


def _calling() -> dict[str, Any]:
    return {"timeout": _TIMEOUT, "retry": retry()}
