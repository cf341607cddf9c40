# One image trains, serves and scores:
#   docker run -v models:/models mcdrop train digits
#   docker run -v models:/models -p 8000:8000 mcdrop
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# The address of an index with CPU-only builds of torch makes an image a tenth the size.
ARG TORCH_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_EXTRA_INDEX_URL=${TORCH_INDEX}
RUN python -m venv /opt/mcdrop
WORKDIR /src
# Dependencies first: their layer is rebuilt only when these two files change.
COPY pyproject.toml requirements.lock ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > dependencies.txt \
 && /opt/mcdrop/bin/pip install --quiet --constraint requirements.lock --requirement dependencies.txt
COPY README.md LICENSE hatch_build.py ./
COPY models models
COPY service/mcdrop_service service/mcdrop_service
COPY mcdrop mcdrop
RUN /opt/mcdrop/bin/pip install --quiet --no-deps .

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --create-home mcdrop && install -d -o mcdrop -g mcdrop /models
COPY --from=build /opt/mcdrop /opt/mcdrop
ENV PATH=/opt/mcdrop/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE
USER mcdrop
# The command line's default repository, ./models, is the volume /models.
WORKDIR /
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
ENTRYPOINT ["mcdrop"]
CMD ["serve", "--host", "0.0.0.0"]
