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
compile pyproject.toml --extra functions -o functions/requirements.txt
