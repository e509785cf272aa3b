"""From a record to what the platform is asked for; every id is derived."""

from __future__ import annotations

from urllib.parse import quote

from weightdrop.core.artifacts.manifest import encode
from weightdrop.core.deployment import naming
from weightdrop.core.deployment.record import Deployment, Revision
from weightdrop.core.planning.plan import Plan
from weightdrop.ports import DeploySpec, EndpointSpec, ModelSpec, ServerSpec
from weightdrop.settings import Settings, Weights


def model_id(deployment: Deployment, revision: Revision) -> str:
    """The id of the revision's Vertex AI model."""
    return naming.model_id(deployment.id, revision.digest)


def model(deployment: Deployment, revision: Revision, settings: Settings) -> ModelSpec:
    """The model to upload: the folder as it was validated, and how to serve it."""
    options = revision.options
    direct = settings.weights is Weights.DIRECT
    return ModelSpec(
        region=deployment.region,
        model_id=model_id(deployment, revision),
        display_name=options.model_display_name or deployment.id,
        artifact_uri="" if direct else _folder(deployment, deployment.prefix),
        server=ServerSpec(
            image=settings.serving_image,
            args=(*plan(revision).vllm_args, "--served-model-name", options.model_id),
            env=_validated(deployment, revision, direct=direct),
        ),
        labels=_labels(deployment, revision),
    )


def _validated(
    deployment: Deployment, revision: Revision, *, direct: bool
) -> tuple[tuple[str, str], ...]:
    """What the container serves, and nothing else.

    It refuses bytes of another digest, in Vertex AI's copy as in the bucket
    itself. There it reads the generations that were validated; a revision that
    comes back after its record forgot them finds its bytes by the digest, as
    long as they are what lies in the folder.
    """
    pinned = (("WEIGHTDROP_DIGEST", revision.content or revision.digest),)
    if not direct:
        return pinned
    source = ("WEIGHTDROP_SOURCE", _folder(deployment, quote(deployment.prefix)))
    files = (("WEIGHTDROP_FILES", encode(revision.files)),) if revision.files else ()
    return (*pinned, source, *files)


def _folder(deployment: Deployment, prefix: str) -> str:
    return "/".join(part for part in (f"gs://{deployment.bucket}", prefix) if part)


def endpoint(deployment: Deployment, revision: Revision) -> EndpointSpec:
    """The endpoint of the deployment; it outlives its revisions."""
    return EndpointSpec(
        region=deployment.region,
        endpoint_id=deployment.endpoint_id,
        display_name=revision.options.endpoint_display_name or deployment.id,
        labels=tuple(naming.labels(deployment.id, "", revision.options.labels).items()),
    )


def deploy(deployment: Deployment, revision: Revision) -> DeploySpec:
    """The deployed model: without traffic where another one serves."""
    planned = plan(revision)
    options = revision.options
    new = naming.deployed_model_id(revision.digest)
    serving = deployment.serving
    traffic: tuple[tuple[str, int], ...] = ((new, 100),)
    if serving:
        traffic = ((new, 0), (naming.deployed_model_id(serving.digest), 100))
    fewest = 0 if options.scale_to_zero else options.min_replica_count
    return DeploySpec(
        endpoint=deployment.endpoint_name,
        model=revision.model_name,
        deployed_model_id=new,
        display_name=options.model_display_name or deployment.id,
        machine_type=planned.machine_type,
        accelerator_type=planned.accelerator_type,
        accelerator_count=planned.accelerator_count,
        min_replica_count=fewest,
        max_replica_count=max(options.max_replica_count, options.min_replica_count),
        spot=options.spot,
        traffic=traffic,
    )


def plan(revision: Revision) -> Plan:
    """The revision's plan; LookupError for one that has none."""
    if revision.plan is None:
        raise LookupError(f"revision {revision.number} has no plan")
    return revision.plan


def _labels(deployment: Deployment, revision: Revision) -> tuple[tuple[str, str], ...]:
    labels = naming.labels(deployment.id, revision.digest, revision.options.labels)
    return tuple(labels.items())
