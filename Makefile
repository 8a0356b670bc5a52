# Two commands set everything up: `make demo` runs the main job, `make test` passes the tests.
# Both make a virtual environment in .venv first; set PYTHON for another Python 3.11 or newer.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo-output
STAMP := $(VENV)/.installed
# The open data sets, where they are; tests and figures that need them look here.
DATA ?= ../shared/data
# Rows of events of the benchmark of features, and where benchmarks append their figures.
SIZES ?= 1e6 1e7
FIGURES ?= build/benchmarks.jsonl

.PHONY: help demo test check results bench bundle fuzz chaos guide sbom audit clean

help:
	@echo "make demo     three models of one simulated hospital, against the truth (about 2 minutes)"
	@echo "make test     run the tests"
	@echo "make check    ruff and mypy"
	@echo "make results  run the studies on open data and write docs/results.md"
	@echo "make sbom     write build/sbom.cdx.json (CycloneDX); make audit asks for known vulnerabilities"
	@echo "make bench    run the performance benchmarks (SIZES='1e6 1e7 5e7 2e8' for larger ones)"
	@echo "make bundle   train the shipped bundle again, byte for byte (about 10 minutes)"
	@echo "make fuzz     a million inputs for readers, loader and API (about 40 minutes)"
	@echo "make guide    follow the integration guide on a bare machine, to a card in Chromium (about 5 minutes)"
	@echo "make chaos    kill and break it 200 times, and see that nothing is lost (about 20 minutes)"

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "Python not found: install Python 3.11 or newer, or set PYTHON=..."; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "$(PYTHON) is older than Python 3.11: install a newer one, or set PYTHON=..."; exit 1; }
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/magml demo --out $(OUT)

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

results: $(STAMP)
	$(BIN)/python benchmarks/results.py --data $(DATA) --out docs/results.md

bench: $(STAMP)
	mkdir -p build
	set -e; for rows in $(SIZES); do \
	  $(BIN)/python benchmarks/features.py --rows $$rows --events build/events --json $(FIGURES); done
	$(BIN)/python benchmarks/training.py --rows 1e5 --json $(FIGURES)
	$(BIN)/python benchmarks/scoring.py --json $(FIGURES)
	$(BIN)/python benchmarks/one_patient.py --json $(FIGURES)
	$(BIN)/python benchmarks/explaining.py --rows 1e4 --json $(FIGURES)
	$(BIN)/python benchmarks/engines.py --rows 1e5 --json $(FIGURES)
	$(BIN)/python benchmarks/service.py bundles/low_body_status --seconds 20 --json $(FIGURES)

bundle: $(STAMP)
	$(BIN)/python benchmarks/shipped_bundle.py

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --executions 1000000 --cases 10000

chaos: $(STAMP)
	$(BIN)/python -m tests.chaos --runs 200

# Word for word, in a clone with nothing beside it, an empty home and a new virtual environment.
guide:
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "Python not found: install Python 3.11 or newer, or set PYTHON=..."; exit 1; }
	$(PYTHON) -m tests.guide

# A software bill of materials (CycloneDX) of what is installed, and its known vulnerabilities. The
# audit asks an advisory database on the network; offline it can only list what could not be asked.
sbom: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[audit]'
	mkdir -p build
	$(BIN)/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --of JSON --output-reproducible -o build/sbom.cdx.json
	@echo "build/sbom.cdx.json"

audit: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[audit]'
	$(BIN)/pip-audit --skip-editable --progress-spinner off

clean:
	rm -rf $(OUT) .pytest_cache .ruff_cache .mypy_cache build dist
