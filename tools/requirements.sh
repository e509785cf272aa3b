#!/usr/bin/env bash
# Compile the pinned requirements from pyproject.toml.
set -euo pipefail
uv=$1/uv
compile() {
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header "$@"
}
compile requirements/bootstrap.in -o requirements/bootstrap.txt
compile --override requirements/overrides.txt pyproject.toml requirements/torch.in \
  --extra functions --extra local --extra test --extra lint -o requirements/all.txt
# The versions that the tests run with, and none of what the command line needs.
compile functions/requirements.in --constraint requirements/all.txt -o functions/requirements.txt
compile requirements/checkov.in -o requirements/checkov.txt
compile --override requirements/overrides.txt requirements/clients.in -o requirements/clients.txt
compile --no-deps requirements/vision.in -o requirements/vision.txt
compile requirements/hadolint.in -o requirements/hadolint.txt
compile serving/inventory.in -o serving/inventory.txt
