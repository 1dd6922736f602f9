# Two commands are enough on a fresh machine with Python 3.11 to 3.13, git, make and gcc:
#   make submission    makes the environment and runs the pipeline on the data set that params.yaml names
#   make test          makes the environment and runs the tests

PYTHON ?= $(shell command -v python3.11 || command -v python3)
ACTIVE := . .venv/bin/activate &&

.PHONY: docs submission test test-cluster lint record adopt verify cards crate fuzz faults tune ablation bench bench-gpu growth profile pictures graph requirements platforms

submission: .venv/ready
	$(ACTIVE) snakemake --cores 8 submission && python scripts/overview.py

test: .venv/ready
	$(ACTIVE) pytest -n 2 --dist loadfile --no-loadscope-reorder

# On a Slurm: of this machine after `sudo tests/cluster/services.sh up`. About a quarter of an hour; skipped without.
test-cluster: .venv/ready
	$(ACTIVE) uv pip install --quiet --python .venv/bin/python --require-hashes -r envs/cluster.txt
	$(ACTIVE) pytest -x tests/cluster

lint: .venv/ready
	$(ACTIVE) ruff check . && ruff format --check .
	$(ACTIVE) snakefmt --check --compact-diff Snakefile workflow
	$(ACTIVE) snakemake --lint
	$(ACTIVE) lint-imports
	$(ACTIVE) mypy

# After `snakemake`: enter what it made into DVC's ledger (dvc.lock) and cache.
record: .venv/ready
	$(ACTIVE) python -m reid.engines.ledger record

# After `dvc pull`, `dvc checkout` or `dvc exp apply`: tell Snakemake that what DVC restored is up to date.
adopt: .venv/ready
	$(ACTIVE) python -m reid.engines.ledger adopt

# Compare everything under data/ and results/ with what was recorded of it.
verify: .venv/ready
	$(ACTIVE) python -m reid.lineage.verify

# The model card of each trained model: results/cards/{model}.md.
cards: .venv/ready
	$(ACTIVE) python scripts/model_card.py

# A Workflow Run RO-Crate of the run that dvc.lock records: results/crate.zip. Needs envs/export.txt.
crate: .venv/ready
	$(ACTIVE) python scripts/crate.py

# Hostile inputs of every kind for an hour (a part of them is in `make test`); MINUTES=5 for less.
MINUTES ?= 60
fuzz: .venv/ready
	$(ACTIVE) FUZZ_MINUTES=$(MINUTES) pytest -n 2 tests/fuzz tests/data/test_hostile_zips.py \
	  tests/ranking/test_hostile_rankings.py

# Kills, full disks, missing rights, two at once, flipped bytes, clocks, signals: about half an hour.
faults: .venv/ready
	$(ACTIVE) FAULTS=all pytest -n 2 --dist loadfile --no-loadscope-reorder tests/faults tests/engines tests/page/test_firefox.py tests/training/test_resume.py \
	  tests/training/test_told_to_end.py tests/training/test_ranks.py tests/training/test_gradients.py tests/test_readme_runs.py \
	  tests/models/test_export.py

# Choose the section `distances` of params.yaml by the mAP of valid.
tune: .venv/ready
	$(ACTIVE) snakemake --cores 8 results/metrics/valid.json
	$(ACTIVE) python scripts/tune.py --index data/index/valid.parquet --embeddings results/embeddings/*/valid.npy --write

# What each part of the recipe is worth on synthetic matches: docs/ablation.md. Half an hour on two cores; goes on where it was
# stopped. What helps on photographs: python scripts/study.py photographs.
ablation: .venv/ready
	$(ACTIVE) python scripts/study.py ablation --into docs/ablation.md

# What the pipeline costs at the true size, next to the dev kit's way: docs/benchmark.md. About ten minutes.
bench: submission
	$(ACTIVE) python benchmarks/bench.py

# How near training and embedding come to the bare network on a GPU: docs/benchmark-gpu.md. Under three minutes.
bench-gpu: .venv/ready
	$(ACTIVE) python benchmarks/bench_gpu.py

# Time and memory at 1/8, 1/4, 1/2 and the whole of the true size: docs/growth.png.
growth: .venv/ready
	$(ACTIVE) python benchmarks/growth.py

# Where the time of the last run and of a training epoch goes: docs/profile.md.
profile: submission
	$(ACTIVE) python benchmarks/profile_run.py

# The pictures of the README, from the finished run; needs a Chromium.
pictures: submission
	$(ACTIVE) python docs/make_pictures.py

# The documentation as a site that opens from disk: site/index.html.
docs: .venv/ready
	$(ACTIVE) uv pip install --quiet --require-hashes -r envs/docs.txt
	$(ACTIVE) NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

# The graph of the rules in the README.
graph: .venv/ready
	$(ACTIVE) python -m reid.engines.graph

# After a change of envs/*.in; pins that still fit stay, UPGRADE=--upgrade takes the newest. One file for all platforms,
# and one for each extra, which moves no pin of the first: all are resolved together before.
EXTRAS = $(basename $(notdir $(filter-out %/requirements.in %/bootstrap.in,$(wildcard envs/*.in))))
requirements: .venv/ready
	$(ACTIVE) cd envs && compile="uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
	  --python-version 3.11 $(UPGRADE)" && \
	  $$compile requirements.in $(EXTRAS:=.in) -o requirements.txt && $$compile requirements.in -o requirements.txt && \
	  for name in bootstrap $(EXTRAS); do $$compile -c requirements.txt $$name.in -o $$name.txt || exit; done

# Whether every pin has a file for Linux (x86-64, arm64) and macOS (arm64), Python 3.11 to 3.13; installs nothing.
platforms: .venv/ready
	$(ACTIVE) python envs/platforms.py

.venv/ready: envs/bootstrap.txt envs/requirements.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r envs/bootstrap.txt
	.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes -r envs/requirements.txt
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	touch $@
