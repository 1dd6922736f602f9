# Two commands are enough on a fresh machine with Python 3.11, git, make and gcc:
#   make submission    makes the environment and runs the pipeline on the data set that params.yaml names
#   make test          makes the environment and runs the tests

PYTHON ?= $(shell command -v python3.11 || command -v python3)
ACTIVE := . .venv/bin/activate &&

.PHONY: submission test lint record adopt requirements

submission: .venv/ready
	$(ACTIVE) snakemake --cores 8 submission

test: .venv/ready
	$(ACTIVE) pytest -n 2 --dist loadfile

lint: .venv/ready
	$(ACTIVE) ruff check . && ruff format --check .
	$(ACTIVE) snakefmt --check --compact-diff Snakefile workflow
	$(ACTIVE) snakemake --lint

# After `snakemake`: enter what it made into DVC's ledger (dvc.lock) and cache.
record: .venv/ready
	$(ACTIVE) python workflow/ledger.py record

# After `dvc pull`, `dvc checkout` or `dvc exp apply`: tell Snakemake that what DVC restored is up to date.
adopt: .venv/ready
	$(ACTIVE) python workflow/ledger.py adopt

# After a change of envs/*.in; pins that still fit stay, UPGRADE=--upgrade takes the newest.
requirements: .venv/ready
	$(ACTIVE) cd envs && compile="uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header \
	  --python-version 3.11 $(UPGRADE)" && \
	  $$compile requirements.in -o requirements.txt && $$compile -c requirements.txt bootstrap.in -o bootstrap.txt

.venv/ready: envs/bootstrap.txt envs/requirements.txt
	$(PYTHON) -m venv --clear .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r envs/bootstrap.txt
	.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes -r envs/requirements.txt
	touch $@
