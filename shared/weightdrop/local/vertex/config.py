"""What the stand-in is told at its start, and the choices where Vertex is unknown."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Probing:
    """How servers are watched; Vertex AI's own numbers in brackets.

    Attributes:
        starting_seconds: Between health checks until the first good one [10].
        running_seconds: Between health checks after that [10].
        timeout_seconds: What one health check may take [10].
        liveness_seconds: Between connections that show a server to be alive [10];
            0 makes none.
        failures: Bad checks in a row that take a server out of rotation, or have
            it restarted [4].
        start_attempts: Exits before the first good check that end a deployment.
        restart_seconds: First wait before a dead server is started again;
            doubles up to 30 s.
        stop_seconds: Between SIGTERM and SIGKILL.
    """

    starting_seconds: float = 0.5
    running_seconds: float = 2.0
    timeout_seconds: float = 10.0
    liveness_seconds: float = 10.0
    failures: int = 4
    start_attempts: int = 2
    restart_seconds: float = 0.5
    stop_seconds: float = 4.0


@dataclass(frozen=True, slots=True)
class Scaling:
    """How replicas follow the load.

    Attributes:
        requests_per_replica: Requests under way that one replica should have.
        window_seconds: Over which metrics of the load are taken.
        up_seconds: How long the load must last before a replica is added.
        down_seconds: How long a replica must be spare before it goes.
        idle_factor: Divides a scale-to-zero's idle period, so that an hour on
            Vertex AI is a minute here.
    """

    requests_per_replica: int = 16
    window_seconds: float = 10.0
    up_seconds: float = 2.0
    down_seconds: float = 30.0
    idle_factor: float = 60.0


@dataclass(frozen=True, slots=True)
class Choices:
    """Behaviour of Vertex AI that is not documented, each to be switched.

    Attributes:
        first_takes_traffic: A first model that is deployed without a traffic
            split takes all traffic (the protos say it takes none).
        chat_request_format: chat/completions adds "@requestFormat" to the body
            that reaches the container, as Google's own server expects.
        chat_refused: chat/completions is not served at all, as it may be for a
            container that is not Google's own.
        container_spec_ignored: `:deploy` of custom weights takes its own container
            whatever the request's `container_spec` says.
        listed_only: `:deploy` refuses weights of no base model that is documented.
        failed_deploy_stays: A `:deploy` that fails leaves the model and the empty
            endpoint that it made.
        shared_dns_refused: A dedicated endpoint answers predictions on its
            dedicated name only.
        deployment_timeout: Seconds a deployment may take when the model's
            container does not say.
        inference_timeout: Seconds a prediction may take on a dedicated
            endpoint that does not say.
    """

    first_takes_traffic: bool = False
    chat_request_format: bool = True
    chat_refused: bool = False
    container_spec_ignored: bool = False
    listed_only: bool = False
    failed_deploy_stays: bool = False
    shared_dns_refused: bool = False
    deployment_timeout: float = 1800.0
    inference_timeout: float = 3600.0


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the stand-in is told.

    Attributes:
        home: Folder of its state and of the servers' logs.
        port: Port on 127.0.0.1; 0 takes a free one.
        project: The one project id it answers for.
        storage_endpoint: Base URL of the bucket server, or empty.
        tls_port: Second port, with TLS; 0 takes a free one.
        tls_certificate: PEM file of the certificate; no TLS without it.
        tls_key: PEM file of its key.
        gpus: Accelerators each pretended region has.
        dedicated_dns: Name that dedicated endpoints get; empty for our address.
        probing: How servers are watched.
        scaling: How replicas follow the load.
        choices: Behaviour that is not documented.
    """

    home: Path
    port: int = 8472
    project: str = "local"
    storage_endpoint: str = ""
    tls_port: int = 0
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    gpus: int = 64
    dedicated_dns: str = ""
    probing: Probing = Probing()
    scaling: Scaling = Scaling()
    choices: Choices = Choices()

    @property
    def project_number(self) -> str:
        """The number that resource names carry, as Vertex AI's do."""
        digest = hashlib.sha256(self.project.encode()).hexdigest()
        return str(10**11 + int(digest[:12], 16) % (9 * 10**11))

    @property
    def managed_bucket(self) -> str:
        """Where uploaded models are copied to."""
        return f"vertex-managed-{self.project}"
