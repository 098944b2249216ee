# `make help` lists the targets. Each installs what it needs into .venv.

PYTHON ?= python3
# Which MXNet: cu112 if nvidia-smi works, else cpu. `make train MXNET=cpu` overrides it.
MXNET ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo cu112 || echo cpu)
IN_VENV := .venv/bin/python

.PHONY: help train notebook check test test-fast test-cu112

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

train: .venv/installed-$(MXNET) ## install, get the data, train the lecture's net for some minutes
	@$(IN_VENV) -m d2l_alexnet.data fashion-mnist
	@$(IN_VENV) -m d2l_alexnet.train --recipe quick
	@echo "Next, the lecture's own five epochs: $(IN_VENV) -m d2l_alexnet.train"

# A kernel of .venv, even if the user has another one of that name.
notebook: .venv/installed-$(MXNET)-notebook ## open the lecture in JupyterLab
	JUPYTER_PREFER_ENV_PATH=1 $(IN_VENV) -m jupyterlab notebooks/alexnet.ipynb

check: .venv/installed-$(MXNET)-test ## style, types and import contracts; takes seconds
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m ruff format --check .
	$(IN_VENV) -m mypy
	.venv/bin/lint-imports

# Two processes with one thread each: with more threads than cores they would slow each other down.
PYTEST := OMP_NUM_THREADS=1 $(IN_VENV) -m pytest --numprocesses 2 --dist loadfile

test: check ## all checks and all tests
	$(PYTEST)

test-fast: .venv/installed-$(MXNET)-test ## the tests that are not marked slow; under a minute
	$(PYTEST) -m 'not slow'

# Installs 3.7 GB. Needs gcc.
test-cu112: ## whether mxnet-cu112 imports with the libraries that pip installs
	@$(find-python)
	@$(PYTHON) -m venv .venv-cu112
	@.venv-cu112/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[cu112]'
	@.venv-cu112/bin/python tests/runtime/import_cu112.py

# The environment is created anew: the two MXNet packages overwrite each other's files.
.venv/installed-$(MXNET): setup.cfg pyproject.toml
	@$(find-python)
	@echo "Installing MXNet ($(MXNET)) and its dependencies into .venv; takes some minutes the first time"
	@$(PYTHON) -m venv --clear .venv
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check --editable '.[$(MXNET)]'
	@touch $@

.venv/installed-$(MXNET)-test: .venv/installed-$(MXNET)
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check --editable '.[$(MXNET),test]'
	@touch $@

.venv/installed-$(MXNET)-notebook: .venv/installed-$(MXNET)
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check --editable '.[$(MXNET),notebook]'
	@touch $@

# Refuses a Python on which MXNet does not run, and names another one if there is one.
GOOD := import sys; sys.exit(not (3, 8) <= sys.version_info[:2] < (3, 13))
define find-python
$(PYTHON) -c '$(GOOD)' 2>/dev/null || { \
	for good in python3.12 python3.11 python3.10 python3.9 python3.8 ''; do \
		[ -z "$$good" ] || ! $$good -c '$(GOOD)' 2>/dev/null || break; \
	done; \
	echo "$(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1), but Python 3.8 to 3.12 is needed:" \
		"make $(MAKECMDGOALS) PYTHON=$${good:-/path/to/one}" >&2; \
	exit 2; \
}
endef
