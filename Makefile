# make run: an encrypting server for development. make test: everything that must pass. make help: the rest.

PYTHON ?= python3
GO ?= go
VENV := .venv
TOOLS := .tools
BIN := $(VENV)/bin
LOCK := requirements.lock
TOOLS_LOCK := tools/requirements.lock
DATA ?= ./data
PYTEST_FLAGS ?= -n auto

# Go programs that the tests drive; the go.mod in each directory pins one.
GO_PROGRAMS := tools/go/mc tools/go/restic tools/go/minio tools/go/versitygw tests/clients/miniogo bench/load

.PHONY: help run setup tools lint test test-oldest test-large bench format lock clean

help:
	@echo 'make run     start an encrypting server for development on $(DATA)'
	@echo 'make test    set up all that the tests need, and run them'
	@echo 'make lint    formatting, lint, types, import contracts'
	@echo 'make test-large  the load tests with their full sizes (three minutes, 10 GB of disk)'
	@echo 'make test-oldest  the tests with the oldest libraries that are admitted'
	@echo 'make bench   measure beside MinIO and versitygw, into bench/RESULTS.md (half an hour; BENCH_FLAGS=--quick: some minutes)'
	@echo 'make format  format the code'
	@echo 'make tools   install the client programs that the tests drive, below $(TOOLS)'
	@echo 'make lock    choose the newest versions of all dependencies, and lock them'
	@echo 'make clean   remove what was installed'

# -- the server ---------------------------------------------------------------------------------------------------

run: $(VENV)/.installed
	$(BIN)/strongroom server --dev $(DATA)

$(VENV)/.installed: pyproject.toml $(LOCK)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(LOCK) --editable .
	touch $@

# -- the tests ----------------------------------------------------------------------------------------------------

setup: $(VENV)/.installed-dev

$(VENV)/.installed-dev: pyproject.toml $(LOCK)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(LOCK) --editable '.[dev]'
	touch $(VENV)/.installed $@

tools: $(TOOLS)/.python $(TOOLS)/.go

$(TOOLS)/.python: $(TOOLS_LOCK)
	test -x $(TOOLS)/venv/bin/python || $(PYTHON) -m venv $(TOOLS)/venv
	$(TOOLS)/venv/bin/python -m pip install --quiet --requirement $(TOOLS_LOCK)
	touch $@

$(TOOLS)/.go: Makefile tools/go-install.sh $(wildcard $(GO_PROGRAMS:=/*))
	mkdir -p $(TOOLS)/bin
	GO=$(GO) sh tools/go-install.sh $(TOOLS)/bin $(GO_PROGRAMS)
	touch $@

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test: setup tools lint
	$(BIN)/pytest $(PYTEST_FLAGS)

# With the oldest release of each library that pyproject.toml admits. What is generated is of the locked botocore's model.
test-oldest: tools
	rm -rf $(VENV)-oldest && $(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet uv
	$(VENV)-oldest/bin/uv pip compile --quiet --resolution lowest-direct --output-file $(VENV)-oldest/oldest.txt pyproject.toml
	$(VENV)-oldest/bin/uv pip install --quiet --python $(VENV)-oldest --constraint $(VENV)-oldest/oldest.txt --editable '.[dev]'
	$(VENV)-oldest/bin/pytest $(PYTEST_FLAGS) --ignore tests/s3/test_generated.py

test-large: setup
	$(BIN)/pytest -m large -rP --durations=0

# -- the benchmark ------------------------------------------------------------------------------------------------

BENCH_PROGRAMS := tools/go/minio tools/go/versitygw bench/load
BENCH_FLAGS ?=

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --constraint $(LOCK) --editable '.[bench]'
	touch $@

$(TOOLS)/.bench: Makefile tools/go-install.sh $(wildcard $(BENCH_PROGRAMS:=/*))
	mkdir -p $(TOOLS)/bin
	CI=1 GO=$(GO) sh tools/go-install.sh $(TOOLS)/bin $(BENCH_PROGRAMS)
	touch $@

bench: $(VENV)/.installed-bench $(TOOLS)/.bench $(TOOLS)/.python
	$(BIN)/python -m bench $(BENCH_FLAGS)

# -- keeping house ------------------------------------------------------------------------------------------------

lock:
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet '.[dev,bench]'
	$(VENV)-lock/bin/python -m pip freeze --exclude strongroom --exclude pip --exclude setuptools > $(LOCK)
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet --requirement tools/requirements.in
	$(VENV)-lock/bin/python -m pip freeze --exclude pip --exclude setuptools > $(TOOLS_LOCK)
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) $(VENV)-oldest $(TOOLS) dist
