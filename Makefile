# NablaHub: `make` lists what there is.
#
# A CPython 3.12 is found by running the candidates: a name on PATH can be a shim that fails.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# Bytecode is compiled once, when an environment is built, and used at every start.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
export UV_COMPILE_BYTECODE := 1
export UV_LINK_MODE ?= copy

PYTHON := .venv/bin/python
UV := .build/bootstrap/bin/uv
ARGS ?=
# Tests run side by side, a file at a time; most of them wait for processes and not for a CPU.
WORKERS ?= auto
# In their own order those files come first that take long: the last to end would be waited for alone.
SIDE_BY_SIDE := -n $(WORKERS) --maxprocesses=4 --dist loadfile --no-loadscope-reorder

.PHONY: help demo up environments test test-slow test-cluster images lint format docs bench lab wheel clean

# Hubs of a test have states that come and go: the environments of their jobs are built once, here.
# `demo` and `up` build them in the state directory, where `nablahub up` looks for them as well.
environments test test-slow bench: export NABLAHUB_ENVIRONMENTS_DIR ?= $(CURDIR)/.build/environments

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo '  ARGS="…" hands words on, as in: make demo ARGS="--exit --json"'

.build/bootstrap/.done:
	@mkdir -p .build
	@sh tools/find-python .build/python
	@"$$(cat .build/python)" -m venv --clear .build/bootstrap
	@.build/bootstrap/bin/python -m pip --disable-pip-version-check -q install 'uv>=0.5'
	@touch $@

# One environment for the hub, the service, the single-user servers and the tools.
.build/venv.done: .build/bootstrap/.done setup.py pyproject.toml
	@echo 'Building the environment, for about a minute …' >&2
	@test -x $(PYTHON) || $(UV) venv -q --python "$$(cat .build/python)" .venv
	@$(UV) pip install -q --python $(PYTHON) -e '.[dev]'
	@touch $@

.build/lab.done: .build/venv.done $(shell find labextension/src labextension/style labextension/schema server_ext/jupyter-config labextension/package.json -type f 2>/dev/null | sed 's/ /\\ /g')
	@$(PYTHON) labextension/build.py
	@touch $@

lab: .build/lab.done ## Build the JupyterLab extension

demo: .build/lab.done ## Bring a hub up and run the showcase, from data to a prediction
	@$(PYTHON) -m nablahub demo $(ARGS)

up: .build/lab.done ## Bring a hub up and keep it up until Ctrl-C
	@$(PYTHON) -m nablahub up $(ARGS)

# Before the tests, whose patience is for what they test.
environments: .build/venv.done
	@$(PYTHON) -m nablahub.core.environments build "$${NABLAHUB_ENVIRONMENTS_DIR:?}"

test: .build/lab.done environments ## Run the tests, those in the browser included
	@$(PYTHON) -m pytest $(SIDE_BY_SIDE) -m 'not slow' --ignore=tests/cluster $(ARGS)

test-slow: .build/lab.done environments ## Run the long soaks
	@$(PYTHON) -m pytest -m slow --ignore=tests/cluster $(ARGS)

# `IMAGES=` says that the pods have them already.
IMAGES ?= images
test-cluster: .build/lab.done $(IMAGES) ## Run the tests on the Kubernetes that KUBECONFIG names
	@test -z '$(IMAGES)' || tools/build-images tests/cluster/postgres
	@$(PYTHON) -m pytest $(SIDE_BY_SIDE) -m 'not slow' tests/cluster tests/helm $(ARGS)

images: wheel ## Build the container images (tools/build-images says how they are named and loaded)
	@tools/build-images

lint: .build/venv.done ## Check types, style and the order of imports
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@.venv/bin/lint-imports
	@$(PYTHON) -m mypy
	@$(PYTHON) labextension/build.py --check

format: .build/venv.done ## Put the sources into shape
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

docs: .build/venv.done ## Build the documentation into docs/_build
	@$(PYTHON) -m sphinx -q -W -b html docs docs/_build/html
	@echo docs/_build/html/index.html

bench: .build/lab.done ## Time the whole path; ARGS="--json" for programs
	@$(PYTHON) tests/benchmarks/whole_path.py $(ARGS)

# The same sources make the same wheel, so that an image's layers are built once.
wheel: export SOURCE_DATE_EPOCH ?= 946684800
wheel: .build/lab.done ## Build the wheel into dist/
	@rm -rf build dist # what an earlier build left there would be packed as well
	@$(PYTHON) -m build --wheel --no-isolation --outdir dist .

clean: ## Remove what was built here
	@rm -rf .venv .build build dist docs/_build labextension/lib labextension/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
