# The bot as an image: docs/deploy.md says how it is built and run.
#
#   docker build --tag fluxbot:cuda .
#   docker build --tag fluxbot:cpu --build-arg VARIANT=cpu .
#
# The base is pinned by version. Where a registry can be asked, pin it by digest, too:
#   docker buildx imagetools inspect python:3.11.14-slim-bookworm

# cuda or cpu
ARG VARIANT=cuda


FROM python:3.11.14-slim-bookworm AS dependencies

ARG VARIANT
# Where the PyTorch of the CPU variant comes from: the one on PyPI is built for CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Those of pyproject.toml, with commas between them: `ray` is needed for EXECUTOR=ray.
ARG EXTRAS=playground

WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

# Only what names the dependencies: their layer, of gigabytes, stays while the code changes.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bot/__init__.py bot/__init__.py
RUN if [ "$VARIANT" = cpu ]; then \
        pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" \
            --constraint constraints.txt torch; \
    fi \
    && pip install --no-cache-dir --constraint constraints.txt ".${EXTRAS:+[$EXTRAS]}"


FROM dependencies AS wheel

COPY bot bot
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .


FROM python:3.11.14-slim-bookworm AS runtime-cpu


FROM python:3.11.14-slim-bookworm AS runtime-cuda

# Triton compiles the kernels for 8 bits where the bot runs. Python's headers are in the base.
# Debian's mirrors drop old versions, so a pinned one could not be installed for long.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
# The container toolkit of NVIDIA mounts the driver by these.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility


# hadolint ignore=DL3006
FROM runtime-${VARIANT} AS final

ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="FLUX bot" \
      org.opencontainers.image.description="A self-hosted Discord bot for the FLUX.1 image tools" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11.14-slim-bookworm"

# The folders are made here, so that new volumes belong to the user from the start.
RUN groupadd --gid 10001 fluxbot \
    && useradd --no-log-init --uid 10001 --gid 10001 --no-create-home \
        --home-dir /var/lib/fluxbot --shell /usr/sbin/nologin fluxbot \
    && install --directory --owner=fluxbot --group=fluxbot --mode=0750 \
        /var/lib/fluxbot /var/lib/fluxbot/weights /var/cache/huggingface

COPY --from=dependencies /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --no-deps --force-reinstall /wheels/*.whl

# Whatever is written goes below these two folders and to /tmp: all else may be read-only.
ENV HOME=/var/lib/fluxbot \
    DATA_DIR=/var/lib/fluxbot \
    HF_HOME=/var/cache/huggingface \
    METRICS_PORT=9464 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
VOLUME ["/var/lib/fluxbot", "/var/lib/fluxbot/weights", "/var/cache/huggingface"]
WORKDIR /var/lib/fluxbot
USER 10001:10001

# Past any proxy that the environment names, which urllib would ask.
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['METRICS_PORT']), timeout=5); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]

# SIGTERM is what it stops by, gently.
ENTRYPOINT ["fluxbot"]
CMD ["run"]
