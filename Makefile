# `make up`: a running store. `make test`: every test. Both install what they need first (Debian 12; as root also the system packages).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORE ?= $(HOME)/frazil-store
APT_RUN := python3-venv python3-pip
# Where it is set, each process compiles every module anew: half of the time of a start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install install-test system system-test up deb cluster test check s3-table test-clients fuzz bench bench-peers bench-fs bench-cluster clean

# Wheels only, but for pyfuse3, which the mount needs: where that can't be had, all else is installed.
install: system $(VENV)/.installed

# Fuse headers, client programs, a compiler: what the tests need beyond the store.
install-test: install system-test $(VENV)/.installed-test

system:
	@packaging/apt-install $(APT_RUN)

system-test:
	@packaging/apt-install $(APT_RUN) $$(grep -v '^\#' .ci/apt-packages.txt)

$(BIN)/python:
	@echo "installing into $(VENV); it takes a minute or two"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --editable .
	@packaging/install-extras $(BIN)/frazil $(VENV)
	@packaging/install-mount $(BIN)
	@touch $@

.PHONY: mount-helper
# Lets mount(8), umount(8) and /etc/fstab know the type frazil (root).
mount-helper: install
	ln -sf $(abspath packaging/mount.frazil) /sbin/mount.frazil
	ln -sf $(abspath packaging/umount.frazil) /sbin/umount.fuse
	ln -sf $(abspath packaging/umount.frazil) /sbin/umount.fuse.frazil
	ln -sf $(abspath $(BIN)/frazil) /usr/local/bin/frazil

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	@echo "installing what the tests need into $(VENV); it takes some minutes"
	@PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --editable '.[test]'
	@packaging/install-extras $(BIN)/frazil $(VENV)
	@touch $@

up: install
	@$(BIN)/frazil up $(STORE)

# A package for Debian 12, in build/.
deb:
	@packaging/build-deb

# Three hosts on this machine (in network namespaces when root), with ZooKeeper, HAProxy and a prompt to play.
cluster: install-test
	@$(BIN)/python -m tests.support.cluster

# Format, lint, types, layers, fast tests.
check: install-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -q -m 'not slow and not root and not clients' tests/unit tests/component

# All that `check` looks at, and every tier, two processes for each processor (PROCESSES=N), as many tests wait more than they work. Types and
# layers are checked beside the tests.
test: install-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@$(MAKE) --no-print-directory --jobs 2 types tests

.PHONY: types tests
types:
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

tests:
	$(BIN)/pytest --numprocesses $(or $(PROCESSES),$(shell expr 2 \* $$(nproc))) --dist worksteal

# Whether the operation table in s3/README.md is current; WRITE=1 makes it so.
s3-table: install
	$(BIN)/python -m s3.table $(if $(WRITE),--write)

# Client programs and SDKs from their registries (Go, JavaScript, Java, other boto3s, mc): built once in ~/.cache, skipped where a tool chain is missing.
test-clients: install-test
	FRAZIL_TEST_CLIENTS=1 $(BIN)/pytest tests/clients

# Hostile requests for MINUTES (default 5); SEED repeats a run, PROCESSOR=0.2 leaves the machine to others.
fuzz: install-test
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED)) $(if $(PROCESSOR),--processor $(PROCESSOR))

# The cold tier on this machine (as root): a board of loop disks, a lifecycle rule, RestoreObject. DEMO="--spin-up 1 --day 10" hurries.
.PHONY: demo-cold
demo-cold: install-test
	@$(BIN)/python -m tests.support.colddemo $(DEMO)

bench: install-test
	$(BIN)/python -m benchmarks $(if $(S3),--s3 $(S3) --access $(ACCESS) --secret $(SECRET)) $(BENCH)

bench-peers: install-test
	$(BIN)/python -m benchmarks.peers $(BENCH)

bench-fs: install-test
	$(BIN)/python -m benchmarks.fs $(BENCH)

bench-cluster: install-test
	$(BIN)/python -m benchmarks.cluster $(BENCH)

clean:
	rm -rf $(VENV) build *.egg-info
