# `make help` lists the targets. Each installs what it needs into .venv.

PYTHON ?= python3
# Which MXNet: cu112 if nvidia-smi works, else cpu. `make train MXNET=cpu` overrides it.
MXNET ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo cu112 || echo cpu)
# The versions that were tested. `make train LOCK=` installs the newest instead.
LOCK ?= constraints.txt
IN_VENV := .venv/bin/python
PIP := $(IN_VENV) -m pip install --quiet --disable-pip-version-check $(LOCK:%=--constraint %)
# What `make train` computes in: results/README.md compares three seeds of each.
BFLOAT16 := $(if $(filter cpu,$(MXNET)),$(shell grep -qsw avx512_bf16 /proc/cpuinfo && echo --dtype bfloat16))
INSTALLED := .venv/installed-$(MXNET)$(LOCK:%=-locked)

.PHONY: help install train notebook check test test-fast test-pythons test-cu112 benchmark lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED) ## install MXNet and the package into .venv; the other targets do it too

train: $(INSTALLED) ## install, get the data, train the lecture's net for some minutes
	@$(IN_VENV) -m d2l_alexnet.data fashion-mnist
	$(IN_VENV) -m d2l_alexnet.train --recipe quick $(BFLOAT16)
	@echo "Next, the lecture's own five epochs: $(IN_VENV) -m d2l_alexnet.train"

# A kernel of .venv, even if the user has another one of that name. JupyterLab's root is this folder,
# because the notebooks link to files outside of notebooks/.
notebook: $(INSTALLED)-notebook ## open the lecture in JupyterLab
	JUPYTER_PREFER_ENV_PATH=1 $(IN_VENV) -m jupyterlab --ServerApp.root_dir=. notebooks/alexnet.ipynb

check: $(INSTALLED)-test ## check style, types and import contracts; takes seconds
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m ruff format --check .
	$(IN_VENV) -m mypy
	.venv/bin/lint-imports

# Two processes with one thread each: with more threads than cores they would slow each other down.
PYTEST := OMP_NUM_THREADS=1 $(IN_VENV) -m pytest --numprocesses 2 --dist loadfile

test: check ## run all checks and all tests
	$(PYTEST)

test-fast: $(INSTALLED)-test ## run the tests that are not marked slow; takes under a minute
	$(PYTEST) -m 'not slow'

# Installs each Python's packages anew.
test-pythons: ## install, train, kill and resume with every Python from 3.8 on, and write a table
	$(PYTHON) tests/pythons.py --out results/pythons.txt

# Installs 3.7 GB. Needs gcc.
test-cu112: ## test whether mxnet-cu112 imports with the libraries that pip installs
	@$(check-python)
	@$(PYTHON) -m venv .venv-cu112
	@.venv-cu112/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[cu112]'
	@.venv-cu112/bin/python -m pip install --quiet --disable-pip-version-check --no-deps mxnet-cu112==1.9.1
	@.venv-cu112/bin/python tests/runtime/import_cu112.py

# $(call measure,SCRIPT AND FLAGS,NAME) writes NAME.json, and NAME.txt when the script has ended.
MEASURED := results/benchmarks
define measure
@echo '$$ python benchmarks/$(1)' | tee $(MEASURED)/$(2).partial
@$(IN_VENV) benchmarks/$(1) --out $(MEASURED)/$(2).json >> $(MEASURED)/$(2).partial
@mv $(MEASURED)/$(2).partial $(MEASURED)/$(2).txt
endef

# One measurement of step.py takes some seconds: small nets get more batches.
benchmark: $(INSTALLED) ## measure the speeds again on an idle machine; takes one to two hours
	$(call measure,step.py training,training)
	$(call measure,step.py evaluation --batches 4,evaluation)
	$(call measure,step.py training --recipe quick --batches 6,training-quick)
	$(call measure,step.py training --recipe quick --batch-size 16 --batches 12,training-quick-16)
	$(call measure,step.py training --recipe cifar10-alexnet --batches 5,training-cifar10-alexnet)
	$(call measure,step.py evaluation --recipe cifar10-alexnet --batches 8,evaluation-cifar10-alexnet)
	$(call measure,step.py training --recipe cifar10-convnet --batches 15,training-cifar10-convnet)
	$(call measure,step.py evaluation --recipe cifar10-convnet --batches 20,evaluation-cifar10-convnet)
	$(if $(BFLOAT16),$(call measure,bfloat16.py,bfloat16))
	$(call measure,loader.py,loader)
	$(call measure,scaling.py,scaling)
	$(call measure,startup.py,startup)
	$(IN_VENV) benchmarks/chart.py
	$(IN_VENV) results/report.py

lock: ## renew the versions that the other targets install
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lock/bin/uv pip compile setup.cfg --all-extras --universal --python-version 3.8 --upgrade \
		--quiet --no-annotate --custom-compile-command 'make lock' --output-file constraints.txt

# From Python 3.13 on, setup.cfg leaves MXNet out, because MXNet demands NumPy 1. There the last line
# installs it, without its dependencies. On older Pythons it finds MXNet installed.
# The environment is created anew: the two MXNet packages overwrite each other's files.
$(INSTALLED): setup.cfg pyproject.toml $(LOCK)
	@$(check-python)
	@echo "Installing MXNet ($(MXNET)) and its dependencies into .venv; takes some minutes the first time"
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) --editable '.[$(MXNET)]'
	@$(PIP) --no-deps $(if $(filter cpu,$(MXNET)),mxnet,mxnet-$(MXNET))==1.9.1
	@$(IN_VENV) d2l_alexnet/runtime/arm.py
	@touch $@

$(INSTALLED)-test: $(INSTALLED)
	@$(PIP) --editable '.[$(MXNET),test]'
	@touch $@

$(INSTALLED)-notebook: $(INSTALLED)
	@$(PIP) --editable '.[$(MXNET),notebook]'
	@touch $@

# Says why MXNet does not run here. If it is the Python, names another one if there is one.
SUPPORTED := d2l_alexnet/runtime/supported.py
define check-python
reason=$$($(PYTHON) $(SUPPORTED) 2>&1) || { \
	for good in python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8; do \
		! $$good $(SUPPORTED) 2>/dev/null || { reason="$$reason: make $(MAKECMDGOALS) PYTHON=$$good"; break; }; \
	done; \
	echo "$$reason" >&2; \
	exit 2; \
}
endef
