# psp in a container:  docker build -t psp .
#   docker run --rm -v "$PWD/results:/work/results" -v "$HOME/.cache/psp:/data" psp run quickstart
# With GPUs add --gpus all. Ray needs shared memory: --shm-size 4g, or --ipc host.
FROM python:3.12-slim

# Triton compiles its launchers with gcc where there is a GPU.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/psp
COPY pyproject.toml README.md LICENSE ./
COPY psp_core psp_core
COPY study study
COPY analysis analysis
RUN pip install --no-cache-dir .

ENV PSP_DATA=/data
VOLUME /data
WORKDIR /work
ENTRYPOINT ["psp"]
CMD ["--help"]
