"""Both engines killed at random moments, again and again: the run that goes through ends in the same bytes.

Slow: each engine is killed eight times.
"""

import os
import random
import signal
import time

import pytest

from builders import thorough
from builders.clone import Clone

pytestmark = [pytest.mark.slow, thorough]
KILLS = 8
COMMANDS = {"snakemake": ("snakemake", "--cores", "8", "submission"), "dvc": ("dvc", "repro")}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    clone = Clone(tmp_path_factory.mktemp("unbroken"))
    clone.run(*COMMANDS["snakemake"])
    return clone.outputs()


@pytest.mark.parametrize("what", ["everything", "the engine alone"])
@pytest.mark.parametrize("engine", COMMANDS)
def test_an_engine_killed_at_random_moments_ends_in_the_same_bytes(engine, what, unbroken, tmp_path):
    clone, rng = Clone(tmp_path), random.Random(f"{engine} {what}")
    for _ in range(KILLS):
        run = clone.start(*COMMANDS[engine])
        time.sleep(rng.uniform(0.5, 25))
        if what == "everything":
            os.killpg(run.pid, signal.SIGKILL)
        else:
            os.kill(run.pid, signal.SIGKILL)
        run.wait()
        if what != "everything":
            time.sleep(3)  # the rest ends by itself
        lock = clone.folder / ".dvc/tmp/rwlock"
        if lock.exists() and not lock.read_bytes():  # DVC's own fault; the README says what to do
            lock.unlink()
    clone.run(*COMMANDS[engine])
    assert clone.outputs() == unbroken
