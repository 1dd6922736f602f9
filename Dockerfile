# The environment of the pipeline, for machines where it cannot be installed: docs/team.md, Containers.
#
#   docker build -t soccernet-reid .
#   docker run --rm --gpus all --shm-size 2g --user "$(id -u):$(id -g)" -e HF_TOKEN -v "$PWD:/pipeline" soccernet-reid \
#     snakemake --cores 8 submission
#
# The code is that of the clone, which is mounted; so an image serves until envs/requirements.txt changes.
FROM python:3.11-slim-bookworm

# git: DVC and the provenance; make: the README's commands; gcc: torch.compile
RUN apt-get update \
  && apt-get install -y --no-install-recommends gcc git libc6-dev make \
  && rm -rf /var/lib/apt/lists/*

COPY envs/container.sh envs/bootstrap.txt envs/requirements.txt /opt/soccernet-reid/
RUN sh /opt/soccernet-reid/container.sh

# a user without a name or home: whoever runs it
ENV HOME=/tmp USER=reid PYTHONPATH=/pipeline DVC_NO_ANALYTICS=1
WORKDIR /pipeline
CMD ["snakemake", "--cores", "8", "submission"]
