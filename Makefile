# Two commands: `make run` serves the arcade example, `make test` proves the whole suite.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
# One more than there are cores: tests also wait, for servers that start and for clocks.
WORKERS ?= $(shell expr `getconf _NPROCESSORS_ONLN` + 1)
BIN := $(VENV)/bin

# pyright's wheel holds the checker and its extra holds Node; without this it would still ask for a newer version.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: run test explore lint bench golden docs clean

# Each stamp is newer than what it installed, so nothing is installed twice.
$(VENV)/.core: pyproject.toml requirements/core.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@UV_COMPILE_BYTECODE=1 $(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements/core.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core requirements/dev.txt
	@UV_COMPILE_BYTECODE=1 $(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements/dev.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.core requirements/bench.txt
	@UV_COMPILE_BYTECODE=1 $(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements/bench.txt
	@touch $@

run: $(VENV)/.core ## serve the arcade example with data
	@cd examples/arcade && BIN=../../$(BIN) PORT=$(PORT) sh run.sh

test: $(VENV)/.dev ## set up and pass the whole suite
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet .
	@$(BIN)/pyright --warnings
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -q -m 'not alone'
	@$(BIN)/pytest -n 0 -q -m alone

explore: $(VENV)/.dev ## search further than `make test`, with other draws each time; a find is printed with its blob
	@LEAKS_EXAMPLES=$${LEAKS_EXAMPLES:-100} $(BIN)/pytest -n $(WORKERS) --dist worksteal -q --hypothesis-profile explore \
		tests/property $(ARGS)

lint: $(VENV)/.dev ## fix what can be fixed, then report
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format . ; $(BIN)/pyright --warnings

bench: $(VENV)/.bench ## the workload against the ceiling and the peers
	@$(BIN)/python -m benchmarks $(ARGS)

golden: $(VENV)/.dev ## rewrite the golden request→SQL→JSON files
	@GOLDEN_REWRITE=1 $(BIN)/pytest -q -n 0 tests/golden

docs: $(VENV)/.core ## rewrite the generated reference pages
	@$(BIN)/python docs/generate.py

clean: ## remove what make made
	@rm -rf $(VENV) .data examples/*/.data
