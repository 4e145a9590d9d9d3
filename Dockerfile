# The command rvq with its model, on a CPU.
#
#   docker build -t rvq .
#   docker run --rm -v "$PWD:/audio" --user "$(id -u):$(id -g)" rvq encode talk.wav

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/rvq
# PyTorch first, from the index of its CPU builds: the layer stays when the source changes.
RUN /opt/rvq/bin/pip install --index-url "${TORCH_INDEX}" "torch>=2.6,<2.14"
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY rvqcodec rvqcodec
RUN /opt/rvq/bin/pip install ".[fast]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/rvq /opt/rvq
RUN useradd --create-home --uid 1000 rvq \
    && mkdir /audio /models \
    && chown rvq:rvq /audio /models
# Any user may run it (--user): caches of numba go where everyone may write.
ENV PATH=/opt/rvq/bin:$PATH PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/tmp/numba RVQ_MODELS=/models
USER 1000
WORKDIR /audio
ENTRYPOINT ["rvq"]
CMD ["--help"]
