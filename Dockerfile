# Training on NVIDIA GPUs, as nobody's root, going on by itself after interruptions:
#
#     docker build -t linguabridge .
#     docker run --gpus all --shm-size=8g --stop-timeout 300 --restart on-failure \
#         -v "$PWD/data:/app/data" -v "$PWD/models:/app/models" \
#         -v "$PWD/my.yaml:/app/my.yaml:ro" linguabridge teacher --supervise --config my.yaml
#
# docs/docker.md explains every part of that line. No secret is in the image or belongs there: keys
# come by --env or --env-file when a container starts.

# CUDA 12.6 as in requirements-gpu.txt. `base` holds the driver's counterpart only: the libraries
# (cuBLAS, cuDNN, NCCL …) come as dependencies of Paddle's wheel and would be there twice.
ARG CUDA_IMAGE=nvidia/cuda:12.6.3-base-ubuntu22.04

# ---- The packages, made where there is a compiler: crcmod's C extension makes uploads fast.
FROM ${CUDA_IMAGE} AS packages
# Ubuntu removes superseded versions from its archive, so that a pinned one soon cannot be built.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
# Another index, e.g. --build-arg PIP_INDEX_URL=https://mirrors.aliyun.com/pypi/simple/
ARG PIP_INDEX_URL=https://pypi.org/simple
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_INDEX_URL=${PIP_INDEX_URL}
COPY requirements-gpu.txt /tmp/requirements-gpu.txt
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --requirement /tmp/requirements-gpu.txt

# ---- What runs.
FROM ${CUDA_IMAGE}
# libgomp1: Paddle's threads. tini: passes signals on, and buries processes that lost their parents.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin linguabridge \
    && install --directory --owner linguabridge --group linguabridge \
        /app /app/data /app/models /app/runs
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY LICENSE NOTICE run.py config.yaml requirements.txt requirements-gpu.txt ./
COPY configs configs
COPY deploy deploy
COPY src src

# Downloaded models belong on the volume, and so outlive the container.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PPNLP_HOME=/app/models/downloads \
    HF_HOME=/app/models/downloads/huggingface
USER 10001:10001
RUN mkdir -p "$PPNLP_HOME"
VOLUME ["/app/data", "/app/models", "/app/runs"]

# Unhealthy: a run that has reported nothing for twenty times as long as it usually takes.
# Starting, data preparation and finished runs are healthy.
HEALTHCHECK --interval=2m --timeout=30s --start-period=10m --retries=3 \
    CMD ["python", "deploy/docker/health.py", "models"]

# Without arguments: the teacher, from its newest checkpoint, until it is done.
ENTRYPOINT ["tini", "--", "python", "run.py"]
CMD ["teacher", "--supervise"]
