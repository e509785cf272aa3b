"""Regions: each has its own accelerators, and one of them may have no room."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from local.vertex.running import JSON, Running

HERE, THERE = "us-central1", "us-east4"
UNDEPLOY: JSON = {"deployedModelId": "1"}
STOCK_OUT = "Machine type temporarily unavailable, please retry."


class Region(Running):
    """The same stand-in, asked in another region."""

    def __init__(self, vertex: Running, location: str) -> None:
        self.client, self.location = vertex.client, location

    def path(self, rest: str, version: str = "v1") -> str:
        """A path below the location."""
        return f"/{version}/projects/local/locations/{self.location}{rest}"


def prepared(vertex: Running, location: str) -> Region:
    """A region that has the model and an empty endpoint."""
    region = Region(vertex, location)
    region.upload()
    region.endpoint()
    return region


def full(vertex: Running, location: str, *, times: int = 1000) -> None:
    """Take all machines of a region away."""
    rule: JSON = {
        "match": f"^deploy_model .*/{location}/",
        "where": "operation",
        "status": "RESOURCE_EXHAUSTED",
        "message": STOCK_OUT,
        "times": times,
    }
    body = {"rules": [rule]}
    vertex.client.put("/weightdrop/faults", json=body).raise_for_status()


def test_a_region_without_room_fails_deployments_and_nothing_else(
    vertex: Running,
) -> None:
    """Uploads and endpoints are made there; another region deploys."""
    full(vertex, HERE)
    here, there = prepared(vertex, HERE), prepared(vertex, THERE)
    failed = here.finish(here.deploy())
    deployed = there.finish(there.deploy())

    assert failed["error"]["code"] == 8
    assert failed["error"]["message"] == STOCK_OUT
    assert "error" not in deployed
    assert here.ask().status_code != 200
    assert there.ask().status_code == 200


def test_nothing_is_left_of_a_deployment_that_found_no_room(
    make: Callable[..., Running],
) -> None:
    """No deployed model, no accelerator in use, and the endpoint can be removed."""
    vertex = make("--gpus", "1")
    full(vertex, HERE, times=1)
    here = prepared(vertex, HERE)
    here.finish(here.deploy())
    again = here.finish(here.deploy())
    here.succeed(here.call("POST", "/endpoints/e:undeployModel", UNDEPLOY))
    gone = here.finish(here.call("DELETE", "/endpoints/e"))

    assert "error" not in again
    assert "error" not in gone


def test_what_is_deployed_can_be_undeployed_where_no_room_is_left(
    vertex: Running,
) -> None:
    """The rule for deploying is not one for undeploying."""
    here = prepared(vertex, HERE)
    here.succeed(here.deploy())
    full(vertex, HERE)

    here.succeed(here.call("POST", "/endpoints/e:undeployModel", UNDEPLOY))

    assert here.call("GET", "/endpoints/e").get("deployedModels", []) == []


def test_every_region_has_accelerators_of_its_own(
    make: Callable[..., Running],
) -> None:
    """A quota is per region: what one of them uses is not missing in another."""
    vertex = make("--gpus", "1")
    here, there = prepared(vertex, HERE), prepared(vertex, THERE)
    here.succeed(here.deploy())
    there.succeed(there.deploy())

    for region in (here, there):
        with pytest.raises(AssertionError, match="1 of 1 in use"):
            region.deploy("2", traffic={})
