"""What is asked of Vertex AI and what it answers, as values of our own."""

from __future__ import annotations

from dataclasses import dataclass

from weightdrop.core.deployment.phases import Reason


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """How the serving container is started.

    Attributes:
        image: Container image.
        args: Arguments, each one word.
        env: Environment, without AIP_ names.
    """

    image: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model to upload.

    `artifact_uri` is a gs:// folder that the platform copies; empty for none.
    """

    region: str
    model_id: str
    display_name: str
    artifact_uri: str
    server: ServerSpec
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """An endpoint to create."""

    region: str
    endpoint_id: str
    display_name: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DeploySpec:
    """A model to deploy on an endpoint.

    Attributes:
        endpoint: Full resource name.
        model: Full resource name.
        deployed_model_id: Ten digits.
        display_name: Shown in Vertex AI's lists.
        machine_type: Compute Engine's name.
        accelerator_type: Vertex AI's enum name; empty for none.
        accelerator_count: GPUs per replica.
        min_replica_count: Replicas kept.
        max_replica_count: Upper bound of autoscaling.
        spot: Whether to use spot capacity.
        traffic: Percent per deployed model id, adding up to 100.
    """

    endpoint: str
    model: str
    deployed_model_id: str
    display_name: str
    machine_type: str
    accelerator_type: str
    accelerator_count: int
    min_replica_count: int
    max_replica_count: int
    spot: bool
    traffic: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an operation failed, in the platform's words."""

    reason: Reason
    message: str
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerLog:
    """What a model server wrote last.

    Attributes:
        lines: Oldest first; few, and none of them long.
        hint: Why there are none, where they could not be read.
    """

    lines: tuple[str, ...]
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """A long-running operation as it is now.

    Attributes:
        name: Full resource name; empty when the work was already done.
        done: Whether it ended.
        stage: The platform's word for how far it is; may be empty.
        fault: Set if it ended badly.
    """

    name: str
    done: bool
    stage: str = ""
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as it is now.

    Attributes:
        name: Full resource name.
        dns: Dedicated DNS name (host or host:port), may be empty.
        deployed: Ids of the models deployed on it.
        traffic: Percent per deployed model id.
    """

    name: str
    dns: str
    deployed: tuple[str, ...]
    traffic: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a deployed model said, and which one it was."""

    deployed_model_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Resource:
    """A labelled resource that exists on the platform.

    Attributes:
        kind: "model" or "endpoint".
        name: Full resource name.
        deployment_id: Of its label; may be empty.
        digest: Of its label, as much of it as a label holds; may be empty.
        deployed: Ids of what is deployed on it, if it is an endpoint.
    """

    kind: str
    name: str
    deployment_id: str
    digest: str
    deployed: tuple[str, ...] = ()
