# syntax=docker/dockerfile:1
# One image for worker, API and the one-shot commands: `docker run freshet worker`. With `--build-arg LOCK=requirements-batch.lock` it
# also has what `freshet batch` needs (TensorFlow: about 2 GB more).
ARG PYTHON=3.13
ARG LOCK=requirements.lock

FROM python:${PYTHON}-slim AS build
ARG LOCK
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# faust-streaming has Linux wheels for x86-64 only; every other package has wheels for both.
RUN test "$(uname -m)" = x86_64 || { \
    apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; }
RUN python -m venv /opt/freshet
ENV PATH=/opt/freshet/bin:$PATH
WORKDIR /src
COPY ${LOCK} ./
RUN pip install --quiet --require-hashes --requirement ${LOCK}
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY feature_store feature_store
COPY freshet_client freshet_client
COPY stream_workers stream_workers
COPY serving serving
COPY batch batch
COPY evaluation evaluation
COPY ops ops
RUN pip install --quiet --no-deps --no-compile .

# Compile the kernels now, so that a worker starts at once. Numba compares the sources' times to the nanosecond, which a layer does not
# keep: whole seconds survive. (On a CPU of another kind than the builder's they are compiled again, once per container.)
ENV NUMBA_CACHE_DIR=/var/cache/freshet
WORKDIR /
RUN cd "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && find schemas feature_store stream_workers serving batch evaluation ops -name '*.py' -exec touch -d @1700000000 {} + \
    && python -m compileall -q schemas feature_store stream_workers serving batch evaluation ops \
    && cd / && python -c "from stream_workers.handlers.settings import ModelSettings; \
from stream_workers.warm_up import compile_kernels; compile_kernels(ModelSettings())" \
    && python -m stream_workers.compiling

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/freshet freshet \
    && install -d -o freshet -g nogroup /models /lake
COPY --from=build /opt/freshet /opt/freshet
COPY --from=build --chown=freshet:freshet /var/cache/freshet /var/cache/freshet
ENV PATH=/opt/freshet/bin:$PATH NUMBA_CACHE_DIR=/var/cache/freshet PYTHONUNBUFFERED=1
USER freshet
WORKDIR /var/lib/freshet
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["freshet"]
CMD ["--help"]
