# What people type here. `make help` lists it.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
ROUNDS ?= 5
SOURCES := dispatchd dispatchctl migrations tests bench

help: ## This list.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

venv: $(VENV)/.stamp ## A private environment in .venv, with everything tests need.

$(VENV)/.stamp: pyproject.toml packaging/requirements.sh
	packaging/requirements.sh venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

demo: venv ## The whole loop in a minute: no server, no root, no GitHub.
	packaging/demo.sh $(BIN)

lint: venv
	$(BIN)/ruff format --check --quiet $(SOURCES)
	$(BIN)/ruff check --quiet $(SOURCES)
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache

check: lint ## Format, lint, types, import direction, unit tests: under a minute.
	$(BIN)/python -m pytest -q -n auto -m 'not firmware and not root' \
		tests/domain tests/store tests/dispatcher tests/services tests/faces tests/dispatchctl \
		tests/test_settings.py

test: lint ## Everything. As root on Debian it installs the programs that it needs.
	packaging/requirements.sh test
	$(BIN)/python -m pytest -n auto --hypothesis-profile=thorough -m 'not firmware and not system'
	$(BIN)/python -m pytest -m firmware
	$(BIN)/python -m pytest -m system

bench: venv ## dispatchd beside nginx, in minutes; writes docs/performance.md. ROUNDS=1: a quick look.
	packaging/requirements.sh bench
	$(BIN)/python -m bench --rounds $(ROUNDS)

wheel: venv ## The wheel, in dist/.
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

deb: venv ## The Debian package, in dist/.
	packaging/requirements.sh deb
	packaging/deb.sh $(BIN) dist

clean: ## Remove what was made.
	rm -rf $(VENV) dist build .hypothesis .mypy_cache .pytest_cache .ruff_cache

.PHONY: help venv demo lint check test bench wheel deb clean
