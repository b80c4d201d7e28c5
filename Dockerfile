# Serves the shipped weights on port 8000. Without a GPU, spare the image the CUDA packages:
#   docker build --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu -t vae-service .
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
ARG TORCH_INDEX_URL=
WORKDIR /build
RUN python -m venv /venv
COPY constraints.txt ./
RUN /venv/bin/pip install --no-cache-dir ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$(grep -i '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY service service
RUN /venv/bin/pip install --no-cache-dir --constraint constraints.txt '.[onnx,pgvector]'

FROM ${BASE}
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 VAE_HOST=0.0.0.0
RUN mkdir /data && chown 10001:10001 /data
VOLUME /data
ENV VAE_STORE=/data/latents.db
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --start-interval=1s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('VAE_PORT') or 8000}/health/ready\", timeout=2)"]
CMD ["python", "-m", "service"]
