# Serves the shipped weights on port 8000, on the CPU. For a GPU, with the default index's torch, which brings CUDA along:
#   docker build --build-arg TORCH_INDEX_URL= -t vae-service:gpu .
# With more extras of pyproject.toml, separated by spaces, such as `otel` for traces:
#   docker build --build-arg EXTRAS=otel -t vae-service .
# The trainer, with its extras:
#   docker build --target train -t vae-service:train .
# With labels that say what it was made of:
#   docker build --build-arg REVISION=$(git rev-parse HEAD) --build-arg CREATED=$(date -u +%Y-%m-%dT%H:%M:%SZ) -t vae-service .
ARG BASE=python:3.11-slim

FROM ${BASE} AS dependencies
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
WORKDIR /build
RUN python -m venv --without-pip /venv
COPY constraints.txt ./
# torch alone from its own index, what it needs from the default one, in the versions that were tested
RUN grep -i '^torch==' constraints.txt > torch.txt \
    && pip --python /venv/bin/python install --no-cache-dir --no-deps ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} \
        --requirement torch.txt
# Only what is declared there, so that a change of the code leaves these layers alone. Away with what nobody imports here:
# headers, tests, tools, and byte code of packages that torch needs for compiling and the service does not.
COPY pyproject.toml ./
ARG EXTRAS=
RUN python -c 'import os, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; extras = project["optional-dependencies"]; \
wanted = ["onnx", "pgvector", *os.environ.get("EXTRAS", "").split()]; \
print(*project["dependencies"], *(one for name in wanted for one in extras[name]), sep="\n", file=open("serve.txt", "w")); \
print(*extras["report"], *extras["tensorboard"], sep="\n", file=open("train.txt", "w"))' \
    && pip --python /venv/bin/python install --no-cache-dir --requirement serve.txt --constraint constraints.txt \
    && find /venv/lib/python3*/site-packages -depth -type d \
        \( -path '*/torch/include' -o -path '*/torch/test' -o -path '*/onnx/backend/test' \
        -o -path '*/sympy/*/tests' -o -path '*/networkx/*/tests' -o -path '*/mpmath/tests' -o -path '*/sympy/*__pycache__' \
        -o -path '*/networkx/*__pycache__' -o -path '*/mpmath/*__pycache__' -o -path '*/setuptools/*__pycache__' \) \
        -exec rm -rf {} + \
    && find /venv/lib/python3*/site-packages/torch/bin -type f ! -name torch_shm_manager -delete

FROM dependencies AS build
COPY README.md LICENSE ./
COPY models models
COPY service service
RUN pip --python /venv/bin/python install --no-cache-dir --no-build-isolation --no-deps --target /app .

FROM ${BASE} AS runtime
COPY --from=dependencies /venv /venv
# group 0, which is what `--user 12345` gets, may write there too
RUN install --directory --owner 10001 --group 0 --mode 2775 /data /weights /datasets
COPY --from=build /app /app
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:0
WORKDIR /data
ARG BASE REVISION= CREATED=
LABEL org.opencontainers.image.title="VAE service" \
    org.opencontainers.image.description="REST inference microservice for Variational Autoencoders" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="0.2.0" \
    org.opencontainers.image.base.name="$BASE" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.created="$CREATED"

FROM runtime AS train
USER 0
RUN --mount=type=bind,from=dependencies,source=/build,target=/build \
    pip --python /venv/bin/python install --no-cache-dir --requirement /build/train.txt --constraint /build/constraints.txt
USER 10001:0
ENV VAE_DATA_DIR=/datasets MPLCONFIGDIR=/tmp
VOLUME /weights /datasets
ENTRYPOINT ["python", "-m", "models.train"]
CMD ["--data", "mnist", "--out", "/weights/mine"]

FROM runtime AS serve
ENV VAE_HOST=:: VAE_STORE=/data/latents.db
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --start-interval=1s \
    CMD ["python", "-c", "import os, urllib.request; port = next(filter(str.isdecimal, map(os.environ.get, ('VAE_PORT', 'PORT'), ('', ''))), '8000'); urllib.request.urlopen(f\"http://localhost:{port}/health/ready\", timeout=2)"]
CMD ["python", "-m", "service"]
