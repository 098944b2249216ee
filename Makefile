# `make train`, `make test` and `make notebook`. Each installs what it needs into .venv.

PYTHON ?= python3
# Which MXNet: cu112 where an NVIDIA driver answers, else cpu. `make train MXNET=cpu` overrides it.
MXNET ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo cu112 || echo cpu)
IN_VENV := .venv/bin/python

.PHONY: train test notebook test-cu112

train: .venv/installed-$(MXNET)
	@$(IN_VENV) -m d2l_alexnet.data fashion-mnist
	@$(IN_VENV) -m d2l_alexnet.train --recipe quick
	@echo "Next, the lecture's own five passes: $(IN_VENV) -m d2l_alexnet.train"

# Two processes of a thread each: with a thread for each core they would get in each other's way.
test: .venv/installed-$(MXNET)-test
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m ruff format --check .
	OMP_NUM_THREADS=1 $(IN_VENV) -m pytest --numprocesses 2 --dist loadfile

# A kernel of .venv, even where the user has another one of that name.
notebook: .venv/installed-$(MXNET)-notebook
	JUPYTER_PREFER_ENV_PATH=1 $(IN_VENV) -m jupyterlab notebooks/alexnet.ipynb

# 3.7 GB: whether mxnet-cu112 can be imported from pip's libraries alone. Needs gcc.
test-cu112:
	@$(find-python)
	@$(PYTHON) -m venv .venv-cu112
	@.venv-cu112/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[cu112]'
	@.venv-cu112/bin/python tests/runtime/import_cu112.py

# The virtual environment is made anew, as the two MXNets must not be installed side by side.
.venv/installed-$(MXNET): setup.cfg pyproject.toml
	@$(find-python)
	@echo "Installing MXNet ($(MXNET)) and what else is needed into .venv, some minutes the first time"
	@$(PYTHON) -m venv --clear .venv
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check --editable '.[$(MXNET)]'
	@touch $@

.venv/installed-$(MXNET)-test: .venv/installed-$(MXNET)
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check --editable '.[$(MXNET),test]'
	@touch $@

.venv/installed-$(MXNET)-notebook: .venv/installed-$(MXNET)
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check --editable '.[$(MXNET),notebook]'
	@touch $@

# Refuses a Python that MXNet does not run on, and names one that it does run on if there is one.
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
