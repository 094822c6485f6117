# `make run` and `make test` each work as the first command on a fresh clone.
#   make run             start the embedded fleet in the foreground; Ctrl-C stops it
#   make run PROBE=1     start it, make one real SSH visit, print one JSON object, stop
#   make run LOAD=1      start it, with scripted attackers that visit it
#   make test            all tests that this machine allows; names what it could not run
#   make test-system     all tests that need systemd and cgroup v2, in a VM (20 minutes)
#   make check           lint, format and types
#   make docs            the pages of docs/ as a site, in build/docs
#   make man             manual pages, in build/man; they are in the wheel, too
#   make screenshots     the pictures in docs/pictures, from a running fleet
#   make bench           the benchmarks behind README's figures
#   PYTHON=/path/python  use that interpreter (3.11 to 3.14) for .venv
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
export PYTHON
PROBE ?=
LOAD ?=
TESTS ?= tests/unit tests/integration

.DEFAULT_GOAL := help
.PHONY: help setup run test test-system check format bench screenshots docs man clean

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@.ci/setup

run: setup
	@exec .venv/bin/python -m decnet.run $(if $(filter-out 0 no,$(PROBE)),--probe) $(if $(filter-out 0 no,$(LOAD)),--load)

test: setup
	@.ci/test $(TESTS)

test-system: setup
	@LONG=1 REQUIRE_VM=1 RESULTS=tests/system/RESULTS.md VM_TIMEOUT=$${VM_TIMEOUT:-1200} tests/system/run.sh

check: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@! grep -n '://' requirements.lock
	@.venv/bin/python benchmarks/readme.py --check
	@.venv/bin/python .ci/links.py

format: setup
	@.venv/bin/ruff check --fix-only -q .
	@.venv/bin/ruff format -q .

bench: setup
	@mkdir -p benchmarks/results
	@.venv/bin/python benchmarks/spawn.py --json > benchmarks/results/spawn.json || test $$? -eq 1 # 1: a goal is missed, and said
	@.venv/bin/python benchmarks/blanks.py --json > benchmarks/results/blanks.json || test $$? -eq 1
	@.venv/bin/python benchmarks/bake.py --json > benchmarks/results/bake.json || test $$? -eq 1
	@.venv/bin/python benchmarks/floor.py --json --plot docs/floor.png > benchmarks/results/floor.json
	@.venv/bin/python benchmarks/fleet.py --json > benchmarks/results/fleet.json
	@.venv/bin/python benchmarks/tree.py --json > benchmarks/results/tree.json
	@.venv/bin/python benchmarks/reload.py --json > benchmarks/results/reload.json
	@new=benchmarks/results/regression.json.new; .venv/bin/python benchmarks/regression.py --json > $$new; s=$$?; \
	if [ $$s -le 1 ]; then mv $$new benchmarks/results/regression.json; else rm -f $$new; fi; \
	[ $$s -eq 0 ] || [ $$s -eq 2 ] # 2: this Python ships no tests
	@.venv/bin/python benchmarks/plots.py
	@.venv/bin/python benchmarks/readme.py
	@echo "results are in benchmarks/results/, and in README.md" >&2
	@echo "not run, for they take long: peers.py, load.py, drift.py, chaos.py, thousand.py in benchmarks/" >&2

screenshots: setup
	@.ci/clients
	@.venv/bin/python benchmarks/screenshots.py

docs: setup
	@.venv/bin/mkdocs build -q --strict -f .ci/mkdocs.yml
	@echo "build/docs/index.html" >&2

man: setup
	@.venv/bin/python -m zygote.cli.manual build/man
	@.venv/bin/python -c 'from decnet.cli.app import manual; manual("build/man")'

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
