# make playground: sets up and starts the bot on a simulated Discord in the browser.
# make test: sets up and runs the tests. Neither does anything twice.
# make coverage: runs them once more, and prints which branches of bot/ none of them takes.
# make audit: asks PyPI whether any of the tested versions is known to be vulnerable.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: playground test coverage lint audit benchmark

playground: .venv/playground.stamp
	$(BIN)/python -m bot playground

test: .venv/dev.stamp
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

coverage: .venv/dev.stamp
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --cov

lint: .venv/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

audit: .venv/audit/bin/pip-audit
	$< --strict --no-deps --disable-pip --requirement constraints.txt

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

# in an environment of its own: it brings packages that the bot has no use for
.venv/audit/bin/pip-audit: | .venv
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet pip-audit==2.10.1

.venv:
	$(PYTHON) -m venv .venv
