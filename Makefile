# make playground: sets up and starts the bot on a simulated Discord in the browser.
# make test: sets up and runs the tests. Neither does anything twice.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: playground test lint benchmark

playground: .venv/playground.stamp
	$(BIN)/python -m bot playground

test: .venv/dev.stamp
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: .venv/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

benchmark: .venv/playground.stamp
	$(BIN)/python -m benchmarks.corridor
	$(BIN)/python -m benchmarks.pictures
	$(BIN)/python -m benchmarks.tools
	$(BIN)/python -m benchmarks.queue
	$(BIN)/python -m benchmarks.load
	$(BIN)/python -m benchmarks.storage

.venv/playground.stamp: pyproject.toml constraints.txt | .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[playground]'
	touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[playground,dev]'
	touch $@

.venv:
	$(PYTHON) -m venv .venv
