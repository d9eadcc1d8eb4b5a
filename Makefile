# demo   trains, evaluates and uses a small model
# test   lint, then the tests, under each backend; of the slow ones, PyTorch's alone
# test-slow  the slow ones that test leaves out
# test-fast  lint, then what depends on the backend, under one; BACKEND=jax for another
# docs   builds the site of the documentation in build/docs
# bench  compares with other libraries; make bench BENCH="training --sizes base"
# Add --keep-going to see every backend even after one has failed.

VENV ?= .venv
PYTHON ?= $(shell python3.11 --version >/dev/null 2>&1 && echo python3.11 || echo python3)
BACKENDS := tensorflow jax torch
BENCH ?= decoding
BACKEND ?= torch
# Most of a test is compiling, which takes one core.
PROCESSES ?= 2

bin := $(VENV)/bin
installed := $(VENV)/installed
installed_for_tests := $(VENV)/installed-for-tests
installed_for_docs := $(VENV)/installed-for-docs
installed_for_bench := $(VENV)/installed-for-bench
pytest := $(bin)/python -m pytest --numprocesses $(PROCESSES) --dist worksteal --durations 25

export TF_CPP_MIN_LOG_LEVEL ?= 2
# Idle threads of one library would otherwise spin on the cores another one needs.
export OMP_WAIT_POLICY ?= PASSIVE
# Where it is set, as in images of Docker, every process would compile the Python of all
# libraries anew: of TensorFlow alone, ten seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow test-fast docs bench lint test-once $(BACKENDS:%=test-%)

demo: $(installed)
	$(bin)/keras-encdec demo --overwrite

test: lint $(BACKENDS:%=test-%)

test-fast: lint test-$(BACKEND)

lint: $(installed_for_tests)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

docs: $(installed_for_docs)
	$(bin)/sphinx-build --fail-on-warning --keep-going --quiet --conf-dir docs \
		--doctree-dir build/doctrees . build/docs

bench: $(installed_for_bench)
	$(bin)/python tests/benchmarks/run.py $(BENCH)

test-once: $(installed_for_tests)
	KERAS_BACKEND=tensorflow $(pytest) -m "once and not slow"

# What is slow is so for what it compiles, which PyTorch does not.
test-torch: $(installed_for_tests)
	KERAS_BACKEND=torch $(pytest) -m "not once"

test-tensorflow: $(installed_for_tests)
	KERAS_BACKEND=tensorflow $(pytest) -m "not slow"

test-jax: $(installed_for_tests)
	KERAS_BACKEND=jax $(pytest) -m "not once and not slow"

test-slow: $(installed_for_tests)
	KERAS_BACKEND=tensorflow $(pytest) -m slow
	KERAS_BACKEND=jax $(pytest) -m "slow and not once"

$(installed): pyproject.toml constraints.txt | $(bin)/python
	$(bin)/python -m pip install --no-compile --constraint constraints.txt --editable ".[demo]"
	touch $@

$(installed_for_tests): pyproject.toml constraints.txt | $(bin)/python
	$(bin)/python -m pip install --no-compile --constraint constraints.txt --editable ".[demo,jax,torch,test]"
	touch $@ $(installed)

$(installed_for_docs): pyproject.toml constraints.txt | $(bin)/python
	$(bin)/python -m pip install --no-compile --constraint constraints.txt --editable ".[docs]"
	touch $@

$(installed_for_bench): pyproject.toml constraints.txt | $(bin)/python
	$(bin)/python -m pip install --no-compile --constraint constraints.txt --editable ".[bench]"
	touch $@

$(bin)/python:
	$(PYTHON) -m venv $(VENV)
