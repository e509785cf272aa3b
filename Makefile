# Everything a person does with this checkout. `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
TORCH := 2.13.0
TORCH_INDEX := https://download.pytorch.org/whl/cpu
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.weightdrop-setup
CHECKOV := .venv-checkov
HADOLINT := .venv-hadolint
CLIENTS := .venv-clients
export PROJECT REGION

# The benchmarks that `make bench` runs, in turn.
BENCH ?= plan check cold control bucket serving start people

.PHONY: bench simulate help setup demo test quick lint requirements clean bench-plan bench-check fuzz \
  bench-serving bench-start families bench-cold bench-control bench-bucket bench-people storm \
  functions-zip deploy image checkov hadolint clients clients-env

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## Install all that is needed into .venv (once, about 3.5 GB)

$(STAMP): requirements/all.txt requirements/bootstrap.txt requirements/vision.txt pyproject.toml tools/setup.sh
	@TORCH=$(TORCH) TORCH_INDEX=$(TORCH_INDEX) PYTHON=$(PYTHON) bash tools/setup.sh $(VENV)
	@touch $@

demo: setup ## Drop a model in a bucket and watch it become an endpoint that answers
	@$(BIN)/weightdrop demo

test: setup ## Run every test
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile

quick: setup ## Run the tests that start no vLLM and no emulators
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not vllm and not emulators"

simulate: setup ## Run SEEDS simulated schedules (or show one: SEED=7; RECORD=1 writes the page)
	@PYTHONPATH=tests:tests/simulation $(BIN)/python -m sim --seeds $(or $(SEEDS),20000) $(if $(SEED),--seed $(SEED)) $(if $(RECORD),--record)

lint: setup ## Check form and types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

functions-zip: ## Write build/functions.zip, what all Cloud Functions are made from
	@$(PYTHON) tools/functions_zip.py build/functions.zip

deploy: functions-zip ## Make or change everything in the cloud: PROJECT=… REGION=…
	@bash tools/deploy.sh

image: ## Build and push the serving image with Cloud Build: PROJECT=… REGION=…
	@bash tools/image.sh

checkov: $(CHECKOV)/.installed ## Judge terraform/ with checkov, in an environment of its own
	@$(CHECKOV)/bin/checkov --directory terraform --framework terraform --compact --quiet --skip-download

clients-env: $(CLIENTS)/.installed ## Install LiteLLM, LangChain and run:ai's streamer beside, for their tests

clients: setup $(CLIENTS)/.installed ## Run every client against the stand-ins and write docs/clients.md
	@WEIGHTDROP_CLIENT_TABLE=1 $(BIN)/python -m pytest -q tests/local/vertex tests/local/bucket

.venv-%/.installed: requirements/%.txt
	@$(PYTHON) -m venv $(@D)
	@$(BIN)/uv pip install --quiet --python $(@D)/bin/python --no-deps --require-hashes -r $< 2>/dev/null \
	  || $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

bench: setup ## Run every benchmark (or BENCH="cold control") and write docs/benchmarks/index.md
	@for one in $(BENCH); do $(MAKE) --no-print-directory bench-$$one || exit 1; done

hadolint: $(HADOLINT)/.installed ## Judge serving/Dockerfile with hadolint, in an environment of its own
	@$(HADOLINT)/bin/hadolint serving/Dockerfile

$(HADOLINT)/.installed: requirements/hadolint.txt
	@$(PYTHON) -m venv $(HADOLINT)
	@$(BIN)/uv pip install --quiet --python $(HADOLINT)/bin/python --no-deps --require-hashes -r $< 2>/dev/null \
	  || $(HADOLINT)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

bench-check: setup ## Time validation of 163 shards behind 50 ms a request
	@$(BIN)/python tools/bench_check.py
	@$(BIN)/python tools/bench_page.py

fuzz: setup ## Hold five million mutated headers against the safetensors library
	@$(BIN)/python tools/header_fuzz.py --count 5000000

bench-plan: setup ## Score the hardware planner and write docs/planning.md
	@$(BIN)/python tools/bench_plan.py $(if $(MEASURED),--measured $(MEASURED)) $(if $(CONFIGS),--configs $(CONFIGS))
	@$(BIN)/python tools/bench_page.py

bench-serving: setup ## Measure what the Vertex route costs, beside vLLM itself and a proxy
	@PYTHONPATH=tools $(BIN)/python tools/bench_serving.py
	@$(BIN)/python tools/bench_page.py

bench-start: setup ## Measure time to health beside Google's way and run:ai's streamer
	@PYTHONPATH=tools $(BIN)/python tools/bench_start.py $(if $(STREAMER),--streamer $(STREAMER)) $(if $(CACHE),--cache)
	@$(BIN)/python tools/bench_page.py

families: setup ## Serve a tiny model of every family and write docs/families.md
	@FAMILIES=all FAMILIES_TABLE=docs/families.md $(BIN)/python -m pytest -q tests/serving/test_families.py

bench-cold: setup ## Measure cold starts of the functions and write docs/benchmarks/cold.md
	@PYTHONPATH=tests:tools $(BIN)/python tools/bench_cold.py
	@$(BIN)/python tools/bench_page.py

bench-control: setup ## Measure the warm control plane and write docs/benchmarks/control.md
	@PYTHONPATH=tests:tools:functions $(BIN)/python tools/bench_control.py $(if $(COUNTS),--counts $(COUNTS))
	@$(BIN)/python tools/bench_page.py

bench-bucket: setup ## Measure the local bucket server and write docs/benchmarks/bucket.md
	@PYTHONPATH=tests $(BIN)/python tools/bench_bucket.py $(if $(GIB),--gib $(GIB))
	@$(BIN)/python tools/bench_page.py

bench-people: setup ## Time every command and page to its first output
	@$(BIN)/python tools/bench_people.py
	@$(BIN)/python tools/bench_page.py

storm: setup ## Drop DROPS folders in a minute while functions are killed at random
	@PYTHONPATH=tests:tools $(BIN)/python tools/storm.py --drops $(or $(DROPS),1000) $(if $(SEED),--seed $(SEED))

requirements: ## Write the pinned requirements anew
	@bash tools/requirements.sh $(BIN)

clean: ## Remove what setup and the tests made
	rm -rf $(VENV) $(CHECKOV) $(HADOLINT) $(CLIENTS) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
