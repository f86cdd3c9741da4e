# Throng. `make help` lists the verbs; `make run` and `make test` are all that a newcomer needs.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup run cluster test test-quick check lint types protos web chaos bench bench-cluster chart-server docs clean

help: ## List the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: .venv/.installed ## Make .venv with everything that Throng needs to run

.venv/.installed: setup.cfg pyproject.toml constraints.txt
	@echo "== Python environment (.venv)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Throng needs Python 3.11 or newer as $(PYTHON); install it, or name another: make run PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	  echo "Python cannot make an environment here; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "== Packages, about a minute"
	@$(BIN)/python -m pip install --quiet --progress-bar on -c constraints.txt -e .
	@touch $@

.venv/.developer: .venv/.installed
	@echo "== Packages for tests"
	@$(BIN)/python -m pip install --quiet --progress-bar on -c constraints.txt -e '.[dev]'
	@touch $@

edge/static/index.html: .venv/.installed $(shell find web/src web/public web/index.html web/package-lock.json protos/throng -type f 2>/dev/null)
	@$(BIN)/python web/build.py

web: edge/static/index.html ## Build the page into edge/static

run: setup web ## Start everything on this machine: `make run ARGS="--port 8090 --edges 1"`
	@exec $(BIN)/throng up $(ARGS)

cluster: setup web ## Start Kafka, MariaDB, Redis and 2 edges, 2 routers, 2 group services here: `make cluster ARGS="--edges 3"`
	@exec $(BIN)/throng cluster --install $(ARGS)

protos: .venv/.developer ## Generate throng/api from protos/
	@$(BIN)/python protos/generate.py

lint: .venv/.developer ## Style, layers
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --config setup.cfg

types: .venv/.developer ## mypy
	@$(BIN)/mypy

check: lint types ## Style, layers, types

test: .venv/.developer web ## Set up all that tests need and run all of them against real servers
	@$(BIN)/python tests/support/run_all.py $(ARGS)

test-quick: .venv/.developer ## Unit and protocol tests only, without servers
	@$(BIN)/python -m pytest -q -n 2 tests/unit tests/protos tests/architecture

chaos: .venv/.developer web ## Break a whole cluster under load at random: `make chaos ARGS="--minutes 10 --seed 7"`
	@$(BIN)/python tests/chaos/run_chaos.py $(ARGS)

bench: .venv/.developer web ## Measure on this machine: the hub beside plain loops, Throng beside other servers (docs/peers.md)
	@$(BIN)/python tests/load/bench_fan_out.py
	@$(BIN)/python tests/load/peers/bench_peers.py $(ARGS)

bench-cluster: .venv/.developer ## Measure what a whole cluster persists and ACKs, judged, beside Kafka and MariaDB alone
	@$(BIN)/python tests/load/bench_persist.py $(ARGS)

chart-server: .venv/.developer ## Install the chart on a real Kubernetes API server, which is built with Go the first time
	@$(BIN)/python tests/helm/api_server.py $(ARGS)

docs: .venv/.developer ## Generate docs/configuration.md, docs/metrics.md, the tables of docs/protocol.md, the chart's README and dashboards
	@$(BIN)/python docs/generate.py
	@$(BIN)/python helm/dashboards/generate.py

clean: ## Remove what was built; data folders stay
	@rm -rf .venv build dist *.egg-info edge/static web/node_modules web/src/gen .mypy_cache .ruff_cache .pytest_cache artifacts
