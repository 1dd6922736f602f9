#!/usr/bin/env bash
# Run by Snakemake inside a conda environment that it has just made from environment.yaml.
set -euo pipefail
pip install --require-hashes -r envs/requirements.txt
pip install --no-deps --no-build-isolation --editable .
