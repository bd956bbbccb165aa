# make demo   shows the main job, end to end, on a temporary playground
# make test   passes the tests
# make check  is what a reviewer runs
# make bench  measures for ten minutes and writes docs/benchmarks.md; make bench QUICK=1 is a glance, in one minute
# make soak   is the long form of the fault suites; make mutants breaks the program on purpose and sees whether they notice
# make docs   writes the reference pages, the man page and docs/openrpc.json from the declarations
# make fuzz   feeds every reader of foreign bytes for a minute each, with atheris; where that does not install it says so
.PHONY: demo test check soak mutants fuzz docs format bench clean
BIN := .venv/bin
PYTHON ?= $(firstword $(foreach v,python3.11 python3.12 python3.13 python3.14 python3,$(shell command -v $(v))))

# Tests wait for disks and other processes now and then: half as many again as there are processors.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n + n / 2)))

demo: .venv/ready
	@$(BIN)/python docs/demo.py

test: .venv/ready-to-test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: .venv/ready-to-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generate --check
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

soak: .venv/ready-to-test
	THRUM_SOAK=1 $(BIN)/python -m pytest tests/faults -n auto --timeout 3600

mutants: .venv/ready-to-test
	@$(BIN)/python -m tests.mutants

fuzz: .venv/ready-to-test
	@$(BIN)/python -m pip install -q '.[fuzz]' || true
	@$(BIN)/python -m tests.fuzz

docs: .venv/ready
	@$(BIN)/python -m docs.generate

format: .venv/ready-to-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/ready-to-test
	@$(BIN)/python -m bench $(if $(QUICK),--quick)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/ready: pyproject.toml
	@.ci/make-venv "$(PYTHON)" .
	@touch $@

.venv/ready-to-test: .venv/ready
	@.ci/make-venv "$(PYTHON)" '.[dev]'
	@touch $@
