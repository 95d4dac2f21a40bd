# Every target does its own set-up. The two that a newcomer needs: make demo, make test.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: help demo test build dev lint fmt type unit e2e soak bench bench-tunnel docs ci clean system-test system-bench system-bench-tunnel

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUST := $(shell find crates -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PATH := $(CURDIR)/$(BIN):$(PATH)

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: build ## build, run the NJet example and a tunnel, change them live, show every answer
	@tools/system-packages "the demo's redirection" iptables:iptables ip:iproute2
	@$(BIN)/qanat demo && echo "make demo: ok" || { echo "make demo: FAILED"; exit 1; }

build: $(VENV)/.built ## the optimised gateway at .venv/bin/qanat

test: build system-test ## all tests: Rust, Python, end to end
	@echo "== cargo test"; cargo test --workspace --locked --quiet
	@echo "== pytest"; $(BIN)/pytest -n 2 --dist loadfile tests
	@echo "make test: ok"

unit: build ## the fast tests
	cargo test --workspace --locked --quiet && $(BIN)/pytest -n 2 tests/unit tests/conformance

e2e: build system-test ## tests that run the gateway
	$(BIN)/pytest -n 2 --dist loadfile tests/e2e tests/netns

soak: build ## 100,000 sessions through all phases: memory stays as it was
	QANAT_SOAK_SESSIONS=100000 $(BIN)/pytest -s tests/soak

lint: $(VENV)/.installed ## style and boundaries, nothing changed
	@echo "== rustfmt"; cargo fmt --all --check
	@echo "== clippy"; cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	@echo "== ruff"; $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "== import-linter"; PYTHONPATH=python $(BIN)/lint-imports --no-cache
	@echo "make lint: ok"

fmt: $(VENV)/.installed ## format everything
	cargo fmt --all
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

type: build ## mypy --strict, and the stub of the extension against the extension
	@echo "== mypy"; $(BIN)/mypy
	@echo "== stubtest"; MYPYPATH=python $(BIN)/python -m mypy.stubtest qanat._native
	@echo "make type: ok"

bench: build system-bench ## measure beside nginx and haproxy; writes bench/results.md
	cargo build --release --locked --package qanat-load
	$(BIN)/python -m bench.run --out bench/results.md
	$(BIN)/python -m bench.handlers --append bench/results.md
	$(BIN)/python -m bench.stuck --append bench/results.md
	$(BIN)/python -m bench.content --append bench/results.md

bench-tunnel: build system-bench-tunnel ## measure tunnels beside rathole and frp; adds to bench/results.md
	cargo build --release --locked --package qanat-load
	$(BIN)/python -m bench.tunnel_install
	$(BIN)/python -m bench.tunnel --append bench/results.md

docs: build ## generate what the documentation takes from tables, routes and docstrings
	$(BIN)/python -m tools.generate_docs

ci: lint type test ## what .ci/run does

clean: ## remove everything that was built
	rm -rf target $(VENV)

system-test:
	@tools/system-packages "the tests of redirection, stores, the page, the chat and DNS" iptables:iptables ip:iproute2 chromium:chromium redis-server:redis-server etcd:etcd-server telnet:telnet dig:bind9-dnsutils

system-bench:
	@tools/system-packages "the comparison" nginx:nginx haproxy:haproxy taskset:util-linux
	@[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || tools/system-packages "the comparison" no-such-command:libnginx-mod-stream

system-bench-tunnel:
	@tools/system-packages "the comparison of tunnels" pkg-config:pkg-config
	@pkg-config --exists openssl 2>/dev/null || tools/system-packages "rathole's build" no-such-command:libssl-dev

# The environment: one virtual environment with everything pinned in requirements.lock.
$(VENV)/.installed: requirements.lock
	@command -v cargo >/dev/null || { echo "make: no Rust toolchain (cargo) on PATH; see README, Prerequisites"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than 3.11; set PYTHON=…"; exit 1; }
	@echo "== python environment"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@touch $@

# --locked: what is in Cargo.lock is what is built.
$(VENV)/.built: $(VENV)/.installed $(RUST) pyproject.toml
	@echo "== building the data plane (optimised; a few minutes the first time)"
	@PIP_QUIET=1 PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/maturin develop --release --locked
	@touch $@
