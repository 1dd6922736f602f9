#!/bin/sh
# Makes the environment inside an image, of the two lists beside it: run by Dockerfile and by apptainer.def.
# All of it is pinned and hashed; PyTorch's build for CUDA runs on machines without a GPU too.
set -eu
cd "$(dirname "$0")"
python="$(command -v python3)"
"$python" -m pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r bootstrap.txt
"$python" -m uv pip install --quiet --no-cache --compile-bytecode --python "$python" --break-system-packages \
  --require-hashes -r requirements.txt
