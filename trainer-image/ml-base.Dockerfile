# The layer that trainer and server share: Python packages that are large and change rarely.
#   docker build -f trainer-image/ml-base.Dockerfile -t qwen3-ml-base .
ARG BASE=python:3.11-slim-bookworm

# A stage of its own, so that uv is no part of the image; a local build puts its own uv here.
FROM ${BASE} AS uv
RUN pip install --no-cache-dir --prefix /install uv==0.13.9 && cp /install/bin/uv /uv

FROM ${BASE}
# gcc is for Triton, which compiles its launchers at run time: GPU images need it, CPU ones not.
ARG COMPILER="gcc libc6-dev"
RUN dpkg -s libgomp1 libnuma1 ca-certificates ${COMPILER} > /dev/null 2>&1 \
 || (apt-get update \
  && apt-get install -y --no-install-recommends libgomp1 libnuma1 ca-certificates ${COMPILER} \
  && rm -rf /var/lib/apt/lists/*)
# Libraries look their user up (torch names its cache after it): the id needs a name.
RUN groupadd --gid 65532 nonroot \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin nonroot
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    VIRTUAL_ENV=/opt/venv
# The lock is complete (--no-deps); uv's cache is in the layer's own file system, so that uv links
# the files instead of copying gigabytes.
RUN --mount=type=bind,from=uv,source=/uv,target=/bin/uv \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=bind,source=trainer-image/ml-base.txt,target=/requirements.txt \
    export UV_CACHE_DIR=/opt/uv-cache UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 \
 && uv venv --python python3 /opt/venv \
 && uv pip install --compile-bytecode --require-hashes --no-deps -r /requirements.txt \
 && rm -rf /opt/uv-cache
USER 65532:65532
