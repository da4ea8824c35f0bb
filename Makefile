# Two commands set everything up: `make demo` (the main job on a simulated car) and `make test`.
# They create .venv and install what they need; see tools/setup for what that is and how it says what it cannot do.

SHELL := /bin/bash
BIN := .venv/bin
EXTRAS ?= test
# Two test processes: much of a test's time is waiting for an answer. A file's tests stay together.
BESIDE := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test check bench clean

demo: .venv/.installed-demo
	@$(BIN)/huizhen scan --demo --scenario weak-cell

test: .venv/.installed-test
	$(BIN)/pytest -q $(BESIDE)

check: .venv/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -q $(BESIDE)

bench: .venv/.installed-test
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv build dist consult/static consult/page/node_modules

.venv/.installed-demo: pyproject.toml tools/setup
	@tools/setup demo ""
	@touch $@

.venv/.installed-test: pyproject.toml tools/setup
	@tools/setup test "$(EXTRAS)"
	@touch $@ .venv/.installed-demo
