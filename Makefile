# What a person types. `make help` lists it.
SHELL := /bin/bash
PYTHON := .venv/bin/python
LOCAL := $(PYTHON) -m qwen3_local
# Half of the integration tests wait for a server, the other half compute: three at a time keep two
# cores busy. Their conftest knows which files take long; xdist would begin with those of many tests.
TOGETHER := --numprocesses 3 --dist loadfile --no-loadscope-reorder
# The e2e tier leaves half of two cores idle; what runs beside it must not take the other half. Not 19:
# then its processes get a fiftieth of what the pods get, and may hold a lock of the kernel while they wait.
BESIDE := nice -n 10
export PYTHONUNBUFFERED := 1

.PHONY: help
help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/:.*?## /\t/' | expand -t 18

.venv/.synced: pyproject.toml uv.lock */pyproject.toml
	bash .ci/bootstrap
	@touch $@

.PHONY: init
init: .venv/.synced  ## the virtual environment of the workspace

.PHONY: demo
demo: init  ## the whole loop: cluster, images, bucket, chart, training, serving, one question
	$(LOCAL) demo

.PHONY: demo-down
demo-down: init  ## stop and remove everything that the demo started
	$(LOCAL) down

.PHONY: test
test: init  ## every tier: lint, unit, golden, chart, integration, e2e
	$(MAKE) lint types imports verify
	$(PYTHON) -m pytest tests/unit tests/golden --numprocesses 2
	$(LOCAL) prepare
	$(PYTHON) -m pytest tests/chart
	$(MAKE) --jobs 2 e2e integration-beside

# Its output in one piece, when it ends: two tiers that write at once can't be read.
.PHONY: integration-beside
integration-beside: init
	@mkdir -p .test-output; \
	$(BESIDE) $(PYTHON) -m pytest tests/integration $(TOGETHER) > .test-output/integration.log 2>&1; \
	code=$$?; cat .test-output/integration.log; exit $$code

.PHONY: lint
lint: init  ## ruff, and counts of the structure that may not rise
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) tools/house.py --check

.PHONY: house
house: init  ## how far the structure is: counts over the source, with ceilings and goals
	$(PYTHON) tools/house.py

.PHONY: fmt
fmt: init  ## ruff, writing
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

.PHONY: types
types: init  ## mypy, strict
	$(PYTHON) -m mypy

.PHONY: imports
imports: init  ## who may import whom (import-linter)
	.venv/bin/lint-imports

.PHONY: generate
generate: init  ## CRDs, schemas and reference pages from the models
	$(PYTHON) -m qwen3_api generate
	$(PYTHON) helm/generate.py

.PHONY: verify
verify: init  ## fail if something generated is stale
	$(PYTHON) -m qwen3_api check
	$(PYTHON) helm/generate.py --check

.PHONY: unit golden integration e2e chart
unit: init  ## pure parts, seconds
	$(PYTHON) -m pytest tests/unit
golden: init  ## resource and observed world in, manifests out
	$(PYTHON) -m pytest tests/golden
chart: init  ## the Helm chart
	$(PYTHON) -m pytest tests/chart
integration: init  ## against a real API server, S3 server, trainer and vLLM (after `python -m qwen3_local prepare`)
	$(PYTHON) -m pytest tests/integration $(TOGETHER)
e2e: init  ## on the local cluster, every part real
	$(PYTHON) -m pytest tests/e2e

.PHONY: cluster images
cluster: init  ## the local cluster and its S3 server
	$(LOCAL) up
	$(LOCAL) s3
images: init  ## build the images and put them into the local cluster
	$(LOCAL) images

.PHONY: gpu-check
gpu-check:  ## on a GPU machine, without Kubernetes: what trainer and pool do on a real GPU
	bash gpu/check.sh
	bash gpu/serve.sh

.PHONY: bench
bench: init  ## 200 fine-tunes at once beside the API server's ceiling; the evaluator beside a bare client (after `python -m qwen3_local prepare`)
	$(PYTHON) -m benchmarks.control_plane
	$(PYTHON) -m benchmarks.evaluator
