# Everything is made in .venv by the Python that is found; `make` alone lists what there is.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
TORCH_INDEX ?=
PIP_INSTALL_ARGS ?=

.PHONY: help demo test test-all lint format docs serve install lock clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 18
	@echo
	@echo "PYTHON=python3.12 chooses the interpreter, TORCH_INDEX=URL another index for PyTorch (a CPU build is far smaller),"
	@echo "PIP_INSTALL_ARGS=... any other arguments of pip install."

demo: install ## train a small Inception on handwritten digits, test it, draw it, classify image files
	@scripts/demo.sh

test: install ## lint, types, import contracts and tests, in minutes
	@scripts/check.sh test

test-all: install ## the same with the exhaustive tests, as CI does
	@scripts/check.sh test-all

lint: install ## the same without the tests
	@scripts/check.sh lint

format: install ## format the code and mend what ruff can mend
	@.venv/bin/ruff check --fix --quiet
	@.venv/bin/ruff format

docs: install ## build the documentation into site/, its links checked
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
	@echo "The documentation is in site/; 'make serve' shows it."

serve: install ## show the documentation on this machine while it is written
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs serve --strict

install: .venv/installed ## make .venv with everything in it; does nothing when nothing has changed

lock: install ## resolve the newest versions into requirements.lock
	@.venv/bin/python scripts/lock.py

clean: ## remove .venv, caches and builds; runs/ stays
	rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: pyproject.toml requirements.lock | .venv/bin/python
	@echo "Installing PyTorch and the rest into .venv, which takes minutes: on Linux PyTorch comes with CUDA, about 3 GB to download and"
	@echo "6 GB on disk. Without a GPU stop here and say 'make TORCH_INDEX=URL ...' with the URL for 'CPU' on https://pytorch.org/get-started."
	@PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --quiet $(PIP_INSTALL_ARGS) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c requirements.lock -e '.[all,test]'
	@touch $@

.venv/bin/python:
	@for python in $(PYTHON); do \
	    $$python -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && exec $$python -m venv --clear .venv; \
	done; \
	echo "no Python 3.11 or newer with its venv module among: $(PYTHON); install one (Debian: python3-venv) or say make PYTHON=/path" >&2; exit 1
