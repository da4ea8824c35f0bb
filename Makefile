# Two commands set everything up: `make demo` (the main job on a simulated car) and `make test`.
# They create .venv and install what they need; see tools/setup for what that is and how it says what it cannot do.

SHELL := /bin/bash
BIN := .venv/bin
EXTRAS ?= test
# Three test processes on two processors: much of a test's time is waiting for an answer. A file's tests stay together;
# which files begin stands in tests/durations.toml.
BESIDE := -n 3 --dist loadfile --no-loadscope-reorder
# Hundreds of tests keep real time (buses, browsers, relays), and this machine may be busy with something else: one that
# fails is tried once more, and the summary tells which were (RERUN); what fails then is tried alone when all others are
# through (tools/run_tests.py). A real defect fails each time.
AGAIN := --reruns 1 --reruns-delay 3 -rfEsR
# What every test took, for tools/order_tests.py. Plain tracebacks: pytest's own parse whole modules, in the middle of which
# Python 3.11 runs finalizers that parse too, and then the test process ends with "AST constructor recursion depth mismatch".
TOLD := --tb=native --junitxml=.venv/durations.xml -o junit_family=xunit1
# Hundreds of processes of ours start during the tests: each module is compiled once, not in every one of them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check style types contracts collected bench docs release clean

demo: .venv/.installed-demo
	@$(BIN)/huizhen scan --demo --scenario weak-cell

test: collected
	@$(BIN)/python tools/run_tests.py -q $(BESIDE) $(AGAIN) $(TOLD)

check: .venv/.installed-test
	@$(MAKE) --no-print-directory -j 2 --output-sync=target types style contracts collected
	@$(BIN)/python tools/run_tests.py -q $(BESIDE) $(AGAIN) $(TOLD)

style: .venv/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/.installed-test
	$(BIN)/mypy
	$(BIN)/mypy examples/*.py

contracts: .venv/.installed-test
	$(BIN)/lint-imports --no-logo

# Everything compiled once for all test processes, and a mistake in a test module told before any test runs.
collected: .venv/.installed-test
	@$(BIN)/python -m compileall -q dbc diag casebase virtualbus consult huizhen
	@$(BIN)/pytest -q --collect-only >.venv/collected.txt || { cat .venv/collected.txt; exit 1; }

# Hours: runs the benchmarks and writes what they print into docs/performance.md and docs/case-library.md.
bench: .venv/.installed-test
	$(BIN)/python benchmarks/tables.py

# The documentation as a site, in build/site; nothing in it is fetched from elsewhere.
# Material for MkDocs is kept until May 2027, as it says itself at each start (silenced here); its makers' successor,
# Zensical, is said to read the same mkdocs.yml.
docs: .venv/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/site/index.html (searching needs a server: python3 -m http.server -d build/site)"

release: .venv/.installed-test
	$(BIN)/python tools/release.py

clean:
	rm -rf .venv build dist consult/static consult/page/node_modules

PAGE := $(wildcard consult/page/src/* consult/page/*.json consult/page/*.html consult/page/*.ts)

.venv/.installed-demo: pyproject.toml tools/setup $(PAGE)
	@tools/setup demo ""
	@touch $@

.venv/.installed-docs: pyproject.toml tools/setup
	@tools/setup docs docs
	@touch $@

.venv/.installed-test: pyproject.toml tools/setup $(PAGE)
	@tools/setup test "$(EXTRAS)"
	@touch $@ .venv/.installed-demo
