# make serve and make test are all that a new machine needs: Python 3.11+ with venv, and make.
# A machine without a GPU can spare itself the CUDA packages: make serve TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
TORCH := $(shell grep -i '^torch==' constraints.txt)

.PHONY: setup serve test lint soak bench bench-client bench-peers bench-overload bench-gpu bench-train clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Say which: make PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,onnx,pgvector,report]' --editable ./client
	touch $(STAMP)

serve: $(STAMP)
	exec $(BIN)/python -m service

# files of tests go to so many processes; each takes about 1 GB
TEST_PROCESSES ?= 2

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

soak: $(STAMP)
	$(BIN)/python -m pytest -m soak

# all need wrk: apt-get install wrk; more with make bench BENCH_ARGS='--rounds 5'
bench: $(STAMP)
	$(BIN)/python -m benchmarks.service $(BENCH_ARGS)

bench-overload: $(STAMP)
	$(BIN)/python -m benchmarks.overload $(BENCH_ARGS)

bench-client: $(STAMP)
	$(BIN)/python -m benchmarks.client $(BENCH_ARGS)

bench-gpu: $(STAMP)
	$(BIN)/python -m benchmarks.gpu $(BENCH_ARGS)

bench-peers: $(STAMP)
	TORCH_INDEX_URL=$(TORCH_INDEX_URL) $(BIN)/python -m benchmarks.peers $(BENCH_ARGS)

# an epoch of training; needs MNIST (VAE_DATA_DIR), and installs pythae in an environment of its own
bench-train: $(STAMP)
	TORCH_INDEX_URL=$(TORCH_INDEX_URL) $(BIN)/python -m benchmarks.train $(BENCH_ARGS)

lint: $(STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/hadolint Dockerfile

clean:
	rm -rf $(VENV) .bench build *.egg-info .mypy_cache .ruff_cache .pytest_cache
