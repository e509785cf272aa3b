"""Account, key and network, which Terraform sets, reach Vertex AI's requests."""

from __future__ import annotations

import pytest
from google.cloud import aiplatform_v1 as vertex

from fakes.builders import make_deploy_spec
from weightdrop.adapters.vertex import Safeguards, messages, platform
from weightdrop.adapters.vertex.asking import _private
from weightdrop.bootstrap import App
from weightdrop.errors import UsageError
from weightdrop.ports import EndpointSpec, ModelSpec, ServerSpec
from weightdrop.settings import load, variable

KEY = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
NETWORK = "projects/p/global/networks/n"
CHOSEN = {
    "serving_account": "weightdrop-serving@p.iam.gserviceaccount.com",
    "kms_key": KEY,
    "private_projects": "one,two",
    "private_network": NETWORK,
}
ENDPOINT = EndpointSpec("us-central1", "wd-e", "e", (("weightdrop", "true"),))
MODEL = ModelSpec(
    "us-central1", "wd-m", "m", "gs://b/p", ServerSpec("image", ("--x",), ()), ()
)
DEPLOY = make_deploy_spec(
    "projects/p/locations/us-central1/endpoints/wd-e",
    "projects/p/locations/us-central1/models/wd-m",
)


@pytest.fixture
def safeguards() -> Safeguards:
    """What the settings that Terraform writes come to."""
    settings = load({variable(name): value for name, value in CHOSEN.items()})
    found = App(settings).platform
    assert isinstance(found, platform.VertexPlatform)
    return found._safeguards


def test_containers_run_as_the_account_that_reads_only_weights(
    safeguards: Safeguards,
) -> None:
    """The deployed model names the serving account."""
    body = vertex.DeployedModel(messages.deployed_model(DEPLOY, safeguards=safeguards))

    assert body.service_account == CHOSEN["serving_account"]


def test_direct_reads_need_an_account_that_may_read() -> None:
    """Said before a GPU is paid for; a stand-in asks nobody for an account."""
    direct = {variable("weights"): "direct"}
    local = direct | {variable("vertex_endpoint"): "http://127.0.0.1:1"}

    with pytest.raises(UsageError, match="WEIGHTDROP_SERVING_ACCOUNT"):
        _ = App(load(direct)).platform
    assert App(load(local)).platform


def test_models_and_endpoints_are_under_the_key(safeguards: Safeguards) -> None:
    """Both name the key as Google's own messages hold it."""
    model = vertex.Model(
        messages.model(MODEL, deploy_seconds=60, safeguards=safeguards)
    )
    endpoint = vertex.Endpoint(
        messages.endpoint(ENDPOINT, project="p", safeguards=safeguards)
    )

    assert model.encryption_spec.kms_key_name == KEY
    assert endpoint.encryption_spec.kms_key_name == KEY


def test_private_endpoints_have_no_public_name(safeguards: Safeguards) -> None:
    """They are open to the named projects, with an address in the network."""
    body = vertex.Endpoint(
        messages.endpoint(ENDPOINT, project="p", safeguards=safeguards)
    )
    config = body.private_service_connect_config

    assert not body.dedicated_endpoint_enabled
    assert config.enable_private_service_connect
    assert list(config.project_allowlist) == ["one", "two"]
    made = [(one.project_id, one.network) for one in config.psc_automation_configs]
    assert made == [("p", NETWORK)]


def test_by_default_nothing_is_said_of_them() -> None:
    """Without settings the endpoint is dedicated, and keys are Google's."""
    endpoint = vertex.Endpoint(messages.endpoint(ENDPOINT, project="p"))
    model = vertex.Model(messages.model(MODEL, deploy_seconds=60))

    assert endpoint.dedicated_endpoint_enabled
    assert "private_service_connect_config" not in endpoint
    assert "encryption_spec" not in endpoint
    assert "encryption_spec" not in model
    assert "service_account" not in messages.deployed_model(DEPLOY)


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        (vertex.Endpoint(dedicated_endpoint_dns="https://e.goog"), "e.goog"),
        (
            vertex.Endpoint(
                private_service_connect_config={
                    "psc_automation_configs": [{}, {"ip_address": "10.1.2.3"}]
                }
            ),
            "10.1.2.3",
        ),
        (vertex.Endpoint(), ""),
    ],
)
def test_an_endpoint_is_asked_where_it_answers(
    endpoint: vertex.Endpoint, address: str
) -> None:
    """By its dedicated name, or by the address that Vertex AI made."""
    assert address == platform._address(endpoint)


@pytest.mark.parametrize(
    ("dns", "private"),
    [("10.1.2.3", True), ("8.8.8.8", False), ("e.goog", False), ("", False)],
)
def test_only_a_private_address_may_sign_for_itself(dns: str, *, private: bool) -> None:
    """Wherever there is a name, or a public address, the certificate is checked."""
    assert private == _private(dns)
