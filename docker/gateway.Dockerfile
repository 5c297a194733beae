# The gateway: HTTP and the store's scripts. It has no torch to import.
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore HOME=/tmp

# The uid is that of redis:7's own user: whichever container mounts the volume first leaves it writable for all.
RUN groupadd --system --gid 999 dcgan \
 && useradd --system --uid 999 --gid 999 --no-create-home --home-dir /tmp dcgan \
 && install --directory --owner dcgan --group dcgan /data

# Dependencies first, for a project that has no code yet: this layer outlives every change of ours.
WORKDIR /source
COPY pyproject.toml constraints.txt ./
RUN touch README.md && pip install --constraint constraints.txt '.[gateway]'

COPY contract/ contract/
COPY service/ service/
COPY dcgan/ dcgan/
RUN pip install --no-deps --force-reinstall . && rm -r /source

# -P and an empty working directory: nothing that lies about is importable.
WORKDIR /
USER dcgan
ENV DCGAN_DATA_ROOT=/data
EXPOSE 8000
CMD ["python", "-P", "-m", "service", "--host", "0.0.0.0", "--port", "8000"]
