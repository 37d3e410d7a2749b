# Everything installs into .venv of this checkout; a fresh machine needs Python 3.11 or newer, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FEAST := .venv-feast
FEAST_READY := $(FEAST)/.ready
DLT := .venv-dlt
DLT_READY := $(DLT)/.ready
CHDB := .venv-chdb
CHDB_READY := $(CHDB)/.ready
# One more than the cores that are asked for: tests wait for processes and servers for a quarter of their time.
WORKERS ?= 3
REV ?= HEAD~1
# Hundreds of processes are started by the tests: where bytecode is not kept, each compiles the platform anew.
export PYTHONDONTWRITEBYTECODE :=

# mypy takes most of the time, on one core: the others run beside it.
LINTS := types floors contracts style

.PHONY: demo test ui bench soak lint $(LINTS) docs install clean

install: $(READY)

# No resolver: the lock is complete, and dbt-core asks for an older pathspec than mypy does (it works with this one).
# Compiled on all cores: pip does it on one, after it has installed everything.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -qq --workers 0 $(VENV)/lib data_platform || true
	touch $(READY)

# A real Feast to compare with, 20 to 40 s. Nothing is compiled ahead: most of it is never imported.
$(FEAST_READY): requirements-feast.lock
	$(PYTHON) -m venv $(FEAST)
	$(FEAST)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --requirement requirements-feast.lock
	touch $(FEAST_READY)

# A real dlt to compare with.
$(DLT_READY): requirements-dlt.lock
	$(PYTHON) -m venv $(DLT)
	$(DLT)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --requirement requirements-dlt.lock
	touch $(DLT_READY)

# ClickHouse in process to compare with, 840 MB.
$(CHDB_READY): requirements-chdb.lock
	$(PYTHON) -m venv $(CHDB)
	$(CHDB)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --requirement requirements-chdb.lock
	touch $(CHDB_READY)

demo: $(READY)
	$(BIN)/data-platform demo

# Without its own log of every look at every sensor: nine lines in ten seconds when nothing happens. The automation is
# evaluated by the code server, which Dagster otherwise gives a minute: enough until thousands of days are due at once.
ui: $(READY)
	@echo "Dagster: http://127.0.0.1:3000 (Ctrl-C ends it)"
	DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS=600 $(BIN)/dagster dev --log-level warning

# A file stays with one worker: each home that its tests share is built once. In the order of conftest, longest first.
test: $(READY)
	@$(MAKE) --no-print-directory --jobs 2 $(LINTS) $(FEAST_READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not soak"

soak: $(READY) $(FEAST_READY)
	$(BIN)/python -m pytest -m soak -v

bench: $(READY) $(FEAST_READY) $(DLT_READY) $(CHDB_READY)
	$(BIN)/python -m benchmarks

lint: $(READY)
	@$(MAKE) --no-print-directory --jobs 2 $(LINTS)

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

floors: $(READY)
	$(BIN)/lint-imports

# Against the commit before; a clone that has none (shallow, no git) is told so and passes.
contracts: $(READY)
	$(BIN)/data-platform contracts diff $(REV) --if-there

docs: $(READY)
	$(BIN)/python -m data_platform.operations.dictionary
	$(BIN)/python -m data_platform.warehouse.schema_file

clean:
	rm -rf $(VENV) $(FEAST) $(DLT) $(CHDB) .data_platform_home
