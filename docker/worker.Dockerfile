# Trainer, sampler and preparer: one program, told its role. TORCH_INDEX names the index that torch comes from,
# as in the Makefile: the CPU builds or those of a CUDA version; left empty, it is pip's default index.
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore HOME=/tmp

# The uid is that of redis:7's own user: whichever container mounts the volume first leaves it writable for all.
RUN groupadd --system --gid 999 dcgan \
 && useradd --system --uid 999 --gid 999 --no-create-home --home-dir /tmp dcgan \
 && install --directory --owner dcgan --group dcgan /data

# By far the largest layer, and the one that changes least.
WORKDIR /source
COPY constraints.txt ./
ARG TORCH_INDEX=""
RUN pip install --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch

# Dependencies for a project that has no code yet: this layer outlives every change of ours.
COPY pyproject.toml ./
RUN touch README.md && pip install --constraint constraints.txt '.[worker,onnx]'

COPY contract/ contract/
COPY models/ models/
COPY worker/ worker/
COPY dcgan/ dcgan/
RUN pip install --no-deps --force-reinstall . && rm -r /source

# -P and an empty working directory: nothing that lies about is importable.
WORKDIR /
USER dcgan
ENV DCGAN_DATA_ROOT=/data
ENTRYPOINT ["python", "-P", "-m", "worker"]
CMD ["--role", "train"]
