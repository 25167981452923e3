# imagen with its workers and Flower: docker build -t imagen .
# One image for every role; docker-compose.yml says who does what. It holds no secret and no
# configuration: both come at the start, by environment and by /etc/imagen/imagen.yaml.

FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Without pip of its own: what runs later need not be able to install anything.
RUN python -m venv --without-pip /opt/imagen

# What imagen depends on, in a layer of its own: most changes leave it as it is.
COPY pyproject.toml requirements-ci.txt ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['monitoring'], sep='\n')" \
        > wanted.txt \
    && pip --python /opt/imagen/bin/python install \
        --constraint requirements-ci.txt --requirement wanted.txt \
    && pip install --constraint requirements-ci.txt setuptools

COPY README.md LICENSE ./
COPY imagen imagen
COPY workers workers
COPY migrations migrations
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/imagen/bin/python install --no-deps dist/*.whl \
    && /opt/imagen/bin/imagen version


FROM python:3.12-slim
COPY --from=build /opt/imagen /opt/imagen
# Whatever uid it runs as, it can keep its state here; `docker run --user` needs no line in passwd.
RUN install -d -m 1777 /var/lib/imagen && install -d /etc/imagen
ENV PATH=/opt/imagen/bin:$PATH \
    HOME=/var/lib/imagen \
    XDG_STATE_HOME=/var/lib/imagen/state \
    XDG_CONFIG_HOME=/etc/imagen \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/imagen
# No health check here: the image also runs one-shot commands. A worker that hangs loses its leases
# and with them its jobs; one that dies ends its container. Flower has a check in the compose file.
# The list form, without a shell in between: SIGTERM reaches Python itself.
STOPSIGNAL SIGTERM
ENTRYPOINT ["imagen"]
CMD ["--help"]
