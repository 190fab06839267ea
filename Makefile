# Everything a developer types. `make help` lists it; each target is a line or two, the work is in hack/.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint hack/constraints.txt
PYTEST := $(BIN)/python -m pytest
WORKERS ?= 4
CLUSTERS ?= 2
# Much of a test is waiting for a disk, a process or a socket: four workers keep two cores busy.
SIDE_BY_SIDE = -n $(WORKERS) --dist load --maxschedchunk 4

# Compiled sources are kept: without them each test's driver and engine compile all of the project again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

$(VENV)/.runtime: pyproject.toml hack/constraints.txt
	@echo "mooring: installing into $(VENV) (half a minute the first time)" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "mooring: installing the developer tools into $(VENV)" >&2
	@$(PIP) --editable '.[dev]'
	@touch $@

.PHONY: setup
setup: $(VENV)/.dev ## Make the virtual environment with everything in it

.PHONY: demo
demo: $(VENV)/.runtime ## Run the main job on this machine, without a cluster, and check it
	@$(BIN)/python hack/demo

.PHONY: test
test: $(VENV)/.dev ## Run every test that needs no cluster, csi-sanity included
	@$(BIN)/python hack/capabilities
	@$(PYTEST) $(SIDE_BY_SIDE)

.PHONY: quick
quick: $(VENV)/.dev ## Run only the unit tests that need no root, no disk and no other program
	@$(PYTEST) -q $(SIDE_BY_SIDE) -m 'not needs and not process' tests/unit

.PHONY: test-of
test-of: $(VENV)/.dev ## Run the tests of one source file; FILE=provisioner/binding/matching/match.py
	@$(BIN)/python hack/test-of $(FILE)

.PHONY: sanity
sanity: $(VENV)/.dev ## Run csi-sanity against the real driver, on each backend and filesystem
	@hack/sanity

.PHONY: oracle-test
oracle-test: $(VENV)/.dev ## Hold the matcher against Kubernetes' own code, in 20,000 cases
	@MOORING_SWEEP=full MOORING_ORACLE_EXAMPLES=2600 $(PYTEST) $(SIDE_BY_SIDE) tests/oracle -q

.PHONY: mutants
mutants: $(VENV)/.dev ## Break the decisions in every small way, and list what no test notices; ONLY=PATTERN
	@$(BIN)/python hack/mutants $(if $(ONLY),'$(ONLY)')

.PHONY: cluster
cluster: $(VENV)/.runtime ## Start a real Kubernetes on this machine; NODES=2, MOORING_KUBERNETES=1.37.2
	@hack/cluster/run up --nodes $(or $(NODES),2)

.PHONY: cluster-down
cluster-down: $(VENV)/.runtime ## Take it down and leave nothing behind
	@hack/cluster/run down

.PHONY: cluster-test
cluster-test: $(VENV)/.dev ## Run the tests that need a real Kubernetes, on two of their own; CLUSTERS=0 for the running one
	@hack/cluster/run build >/dev/null
	@$(PYTEST) tests/cluster -p no:randomly -n $(CLUSTERS) --dist loadfile --no-loadscope-reorder

.PHONY: coverage
coverage: $(VENV)/.dev ## Measure the branches of decisions and of the volume manager that their tests take
	@$(PYTEST) -q $(SIDE_BY_SIDE) --cov --cov-report=term tests/unit/provisioner/binding tests/unit/csi tests/property \
		--deselect tests/unit/csi/process/test_who_may_call.py::test_a_driver_with_tls_needs_less_than_60_mib # the measurement needs memory

.PHONY: hooks
hooks: $(VENV)/.dev ## Let git check style and words before each commit
	@$(BIN)/pre-commit install

.PHONY: adoption-soak
adoption-soak: $(VENV)/.dev ## Let 200 rounds of everything happen to StatefulSets on a real Kubernetes, and check their disks
	@hack/cluster/run build >/dev/null
	@MOORING_SOAK_ROUNDS=$(or $(ROUNDS),200) $(PYTEST) tests/cluster/test_adoption_soak.py -p no:randomly

.PHONY: storage-suite
storage-suite: $(VENV)/.dev ## Run Kubernetes' own storage tests against Mooring on a real Kubernetes; BACKEND=directory, FOCUS=PATTERN
	@FOCUS='$(FOCUS)' PROCS=$(PROCS) $(BIN)/python -m hack.storage_suite $(BACKEND)

.PHONY: nightly
nightly: $(VENV)/.dev ## Run all that is long, resume where it was cut off, write one report; ONLY="JOB..."
	@$(BIN)/python hack/nightly $(ONLY)

.PHONY: bench-match
bench-match: $(VENV)/.dev ## Time the matcher against the function that Kubernetes calls
	@$(BIN)/python hack/bench-match

.PHONY: bench-driver
bench-driver: $(VENV)/.dev ## Measure the driver against the bare commands and the filesystem below it
	@$(BIN)/python hack/bench-driver

.PHONY: lint
lint: $(VENV)/.dev ## Check style, types, layers and file sizes
	@hack/lint

.PHONY: format
format: $(VENV)/.dev ## Rewrite the sources in the house's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: proto
proto: $(VENV)/.dev ## Make the stubs in csi/v1 from proto/
	@hack/gen-proto.sh

.PHONY: clean
clean: ## Remove the virtual environment and every cache of the checkout
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache mutants
