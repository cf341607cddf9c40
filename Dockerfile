# One image trains, serves, scores and evaluates:
#   docker build -t mcdrop .
#   docker run -v models:/models mcdrop train digits
#   docker run -v models:/models -p 8000:8000 --stop-timeout 30 mcdrop
# Add --gpus all to train on GPUs. Where there are none, an image of a tenth the size:
#   docker build -t mcdrop --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# The dependencies: rebuilt only when these two files or the arguments change.
FROM ${PYTHON_IMAGE} AS dependencies
# An index beside PyPI, for a build of torch of one's own.
ARG TORCH_INDEX=
# Of pyproject.toml's optional dependencies: figures of `mcdrop evaluate`, traces of `mcdrop serve`.
ARG EXTRAS="plots tracing"
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_EXTRA_INDEX_URL=${TORCH_INDEX}
RUN python -m venv /opt/mcdrop
WORKDIR /src
COPY pyproject.toml requirements.lock ./
RUN python -c "import sys, tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *(d for e in sys.argv[1:] for d in p['optional-dependencies'][e]), sep='\n')" ${EXTRAS} > /tmp/dependencies.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/mcdrop/bin/pip install --quiet --constraint requirements.lock --requirement /tmp/dependencies.txt

# The wheel, and the compiler that its native kernel needs, which stays behind.
FROM ${PYTHON_IMAGE} AS wheel
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE hatch_build.py ./
COPY models models
COPY service/mcdrop_service service/mcdrop_service
COPY mcdrop mcdrop
RUN --mount=type=cache,target=/root/.cache/pip python -m pip wheel --quiet --no-deps --wheel-dir /wheel .

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --home-dir /tmp --no-create-home mcdrop && install -d -o 10001 -g 10001 /models
COPY --from=dependencies /opt/mcdrop /opt/mcdrop
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    /opt/mcdrop/bin/pip install --quiet --no-cache-dir --no-index --no-deps /wheel/*.whl
# All that is ever written outside /models goes to /tmp: the root file system may be read-only.
ENV PATH=/opt/mcdrop/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE \
    MCDROP_HOST=0.0.0.0
# A number, by which Kubernetes can tell that it is not root.
USER 10001:10001
# The command line's default repository, ./models, is the volume /models.
WORKDIR /
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
ENTRYPOINT ["mcdrop"]
CMD ["serve"]
