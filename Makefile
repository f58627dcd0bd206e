# Everything runs from the virtual environment in .venv, which `make setup` builds from pinned requirements.
# `make PYTHON=/path/to/python` makes it with another Python than the newest there is.
PYTHON ?=
VENV := .venv
PY := $(VENV)/bin/python
STACK := $(VENV)/.stack
DEV := $(VENV)/.dev
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup unit test mutants check size format fuzz lock replay bench bench-compare faults up screenshots package diff deploy rollback destroy clean forget distclean

help: ## Show this help
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(STACK) ## Prepare the environment (.venv) and nothing else

# An environment that is there keeps its Python; one whose Python is gone is made anew.
$(STACK): requirements-stack.txt pyproject.toml hatch_build.py
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { python=$$(infra/host/find_python.sh "$(PYTHON)") || exit 1; \
		echo "making $(VENV) with $$("$$python" --version), 300 MB when it is done"; \
		"$$python" -m venv --clear $(VENV); }
	$(PIP_INSTALL) --require-hashes --requirement requirements-stack.txt
	$(PIP_INSTALL) --quiet --no-deps --no-build-isolation --editable .
	@touch $(STACK)

# What only tests and linters need.
$(DEV): $(STACK) requirements-dev.txt
	$(PIP_INSTALL) --require-hashes --requirement requirements-dev.txt
	@touch $(DEV)

# Tests in several processes; those of one file stay together and share its servers. In the order of the folders: the files
# that take a minute come first, and the many small ones fill up the rest.
PYTEST = $(PY) -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

unit: $(DEV) ## Run the unit tests: no servers, under two minutes
	$(PYTEST) tests/unit

test: $(DEV) ## Run the whole suite against a real MongoDB and Redis
	$(PYTEST)

mutants: $(DEV) ## Put small faults into the code, one at a time, and see whether tests notice (options: MUTANTS="--area domain --seed 2")
	$(PY) -m infra.mutants $(MUTANTS)

check: $(DEV) ## Lint, formatting and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

size: setup ## Count lines of Python against their ceilings in CONTRIBUTING.md
	$(PY) -m infra.size

format: $(DEV) ## Format the code and fix what can be fixed by itself
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--annotation-style line --custom-compile-command "make lock" $(LOCK)

lock: $(DEV) ## Write requirements*.txt from pyproject.toml (make lock LOCK=--upgrade: with the newest of what is not pinned there)
	$(COMPILE) --group dev --output-file requirements-dev.txt >/dev/null
	for group in stack server observing; do \
		$(COMPILE) --group $$group --constraint requirements-dev.txt --output-file requirements-$$group.txt >/dev/null || exit 1; done
	$(COMPILE) --group app --constraint requirements-dev.txt --output-file requirements.txt >/dev/null

fuzz: $(DEV) ## Try the interface with more than 5,000 cases a server, and raw HTTP with 5,000 mutations (another run: FUZZ_SEED=8)
	FUZZ_EXAMPLES=400 FUZZ_MUTATIONS=5000 $(PY) -m pytest -s tests/e2e/test_contract.py tests/e2e/test_fuzz.py

replay: setup ## Replay a generated workload of 45 users and 10,000 commands and verify every account
	$(PY) -m infra.local.replay --users 45 --commands 10000

bench: $(DEV) ## Measure everything side by side (twenty minutes): a record, docs/performance.md, README (options: BENCH="--rounds 5")
	$(PY) -m infra.bench run --page $(BENCH)

bench-compare: $(DEV) ## Measure, and compare with the last committed record (options: BENCH="--only replay")
	$(PY) -m infra.bench compare $(BENCH)

faults: setup ## Break everything during a replay and judge it (options: make faults FAULTS="--seed 7 --runs 10")
	$(PY) -m infra.faults $(FAULTS)

up: setup ## Run the stack until Ctrl-C (options: make up UP="--port 9000 --workers 2")
	$(PY) -m infra.local up --explain $(UP)

TARGET = $(if $(RUNTIME),--runtime $(RUNTIME)) $(if $(ARCHITECTURE),--architecture $(ARCHITECTURE)) $(if $(CA),--ca $(CA))
CLOUD = $(PY) -m infra.cloud
WISHES = --stage $(or $(STAGE),prod) $(addprefix --set ,$(SET)) $(if $(REGION),--region $(REGION)) $(TARGET)

package: setup ## Make what would be deployed, in .data/cloud
	$(CLOUD) package --stage $(or $(STAGE),prod) $(TARGET)

diff: setup ## Show what a deployment would change (make diff STAGE=prod SET="AlarmEmail=...")
	$(CLOUD) diff $(WISHES)

deploy: setup ## Show what changes in AWS, ask, and change it (make deploy STAGE=prod SET="..." YES=1)
	$(CLOUD) deploy $(WISHES) $(if $(YES),--yes)

rollback: setup ## Go back to what was deployed before, after showing what changes (make rollback STAGE=prod YES=1)
	$(CLOUD) rollback --stage $(or $(STAGE),prod) $(addprefix --set ,$(SET)) $(if $(REGION),--region $(REGION)) $(if $(YES),--yes)

destroy: setup ## Remove the stack from AWS (with UNPROTECT=1); the bucket of audit logs and the pool of people stay
	$(CLOUD) destroy --stage $(or $(STAGE),prod) $(if $(REGION),--region $(REGION)) $(if $(YES),--yes) $(if $(UNPROTECT),--unprotect)

screenshots: $(DEV) ## Take the pictures of the trader's page in docs/images (needs chromium; 5 minutes)
	$(PY) -m infra.browser.screenshots

clean: ## Remove caches; data stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -path ./.data -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

DATA ?= .data
forget: setup ## Remove the data of stacks in .data, unless one runs there (of another folder: make forget DATA=DIR)
	@$(PY) -m infra.local.forget --data "$(DATA)"

distclean: clean ## Remove caches and the environment; data stay
	rm -rf $(VENV)
