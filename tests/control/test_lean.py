"""One service of a generated client is imported without the others."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from weightdrop.adapters.vertex import lean
version = "google.cloud.{version}"
found = lean.service(version, "{service}")
few = len([name for name in sys.modules if name.startswith(version + ".services.")])
assert version not in sys.modules, "a stand-in was left behind"
from google.cloud import {version} as whole
assert found.{client} is whole.{client}
assert lean.service(version, "{service}") is found
many = len([name for name in sys.modules if name.startswith(version + ".services.")])
assert few * 5 < many, (few, many)
print("ok")
"""


@pytest.mark.parametrize(
    ("version", "service", "client"),
    [
        ("aiplatform_v1", "endpoint_service", "EndpointServiceClient"),
        ("aiplatform_v1", "model_service", "ModelServiceClient"),
        ("aiplatform_v1beta1", "endpoint_service", "EndpointServiceClient"),
    ],
)
def test_a_service_comes_alone_and_is_the_same(
    version: str, service: str, client: str
) -> None:
    """A fraction is loaded, and whoever wants the rest later gets the same."""
    program = PROGRAM.format(version=version, service=service, client=client)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.returncode) == ("ok\n", 0), done.stderr


def test_a_version_that_is_missing_is_named() -> None:
    """The message is that of an ordinary import."""
    program = (
        "from weightdrop.adapters.vertex import lean\n"
        "lean.service('google.cloud.aiplatform_v0', 'endpoint_service')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert "No module named 'google.cloud.aiplatform_v0'" in done.stderr
