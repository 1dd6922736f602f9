"""The pipeline on a real Slurm: `make test-cluster`, after `sudo tests/cluster/services.sh up`.

A quarter of an hour, mostly waiting. Tests of one file, in order: the later ones change a model of the clone that the
first has run.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from builders.clone import Clone
from reid.engines.profiles import PROFILE

CHECKPOINT = "results/models/small/model.safetensors"
LOG = Path("logs/train/small.log")
ON_SLURM = ("snakemake", "--workflow-profile", "profiles/slurm")


def _reason():
    """Why the tests cannot run here; None if they can."""
    if not shutil.which("sbatch"):
        return "Slurm is not installed (tests/cluster/services.sh says how)"
    if subprocess.run(["sinfo", "-h"], capture_output=True, timeout=30).returncode:
        return "no Slurm answers (sudo tests/cluster/services.sh up)"
    try:
        import snakemake_executor_plugin_slurm  # noqa: F401
    except ImportError:
        return "snakemake-executor-plugin-slurm is not installed (envs/cluster.in)"
    return None


pytestmark = pytest.mark.skipif(bool(_reason()), reason=str(_reason()))


class Cluster(Clone):
    """A clone with two models whose runs go to Slurm."""

    def __init__(self, folder):
        super().__init__(folder)
        self.params["models"]["other"] = {**self.params["models"]["small"], "seed": 5}
        self.write_params()

    def epochs(self, number):
        """Change the training of one model, so that it has to run again."""
        self.params["models"]["small"]["epochs"] = number
        self.write_params()
        (self.folder / LOG).unlink(missing_ok=True)

    def begun(self, epoch, process):
        """Return once the training has done an epoch."""
        self.until(lambda: f"epoch {epoch} of" in self.said() or process.poll() is not None, f"epoch {epoch}")
        assert process.poll() is None

    def said(self):
        path = self.folder / LOG
        return path.read_text() if path.exists() else ""

    def queue(self):
        found = subprocess.run(["squeue", "--me", "-h", "-o", "%i|%Z"], capture_output=True, text=True, check=True)
        return [line.split("|")[0] for line in found.stdout.splitlines() if line.endswith(f"|{self.folder}")]

    def trainings(self):
        """Processes that train in this folder: the only node of the cluster is this machine."""
        found = [process for process in psutil.process_iter(["cmdline", "cwd"]) if process.info["cmdline"]]
        at_work = [p for p in found if p.info["cwd"] == str(self.folder) and "scripts/train.py" in p.info["cmdline"]]
        assert at_work
        return at_work

    def until(self, condition, what, seconds=600):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds} s for {what}"
            time.sleep(0.2)


def accounting(since, *fields):
    """Rows of sacct, of jobs that began after a time."""
    call = ["sacct", "-X", "-n", "-P", "-S", since, "-o", ",".join(fields)]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    return [line.split("|") for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A finished run on this machine."""
    clone = Cluster(tmp_path_factory.mktemp("here"))
    clone.run("snakemake", "--cores", "2", "submission")
    return clone


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The same on Slurm."""
    clone = Cluster(tmp_path_factory.mktemp("cluster"))
    clone.since = time.strftime("%Y-%m-%dT%H:%M:%S")
    clone.run(*ON_SLURM, "submission")
    yield clone
    if jobs := clone.queue():
        subprocess.run(["scancel", *jobs], check=True)


@pytest.fixture
def expected(here, cluster, request):
    """``expected(epochs)``: the outputs of a local training of so many epochs."""

    def make(epochs):
        here.epochs(epochs)
        here.run("snakemake", "--cores", "2", CHECKPOINT)
        return _training(here)

    return make


def _training(clone):
    names = (CHECKPOINT, "results/training/small/summary.json", "results/training/small/curves/loss.tsv")
    return [(clone.folder / name).read_bytes() for name in names]


def test_a_run_on_slurm_has_the_bytes_of_a_local_one(here, cluster):
    assert cluster.outputs() == here.outputs()
    assert cluster.would_run() == {}  # under the default profile too


def test_trainings_lie_side_by_side(cluster):
    rows = accounting(cluster.since, "Start", "End", "AllocTRES", "Comment")
    trainings = [row for row in rows if row[3].startswith("rule_train") and "gres/gpu=1" in row[2]]
    assert len(trainings) == 2
    assert max(row[0] for row in trainings) < min(row[1] for row in trainings)


def test_what_a_killed_controller_left_is_named_and_goes_on_after_scancel(cluster, expected):
    cluster.epochs(400)  # it must outlast two starts of snakemake
    controller = cluster.start(*ON_SLURM, CHECKPOINT)
    cluster.begun(2, controller)
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    (job,) = cluster.queue()
    for words in (ON_SLURM, ("snakemake", "--cores", "2")):
        said = cluster.run(*words, CHECKPOINT, fails=True)
        assert f"{job} RUNNING train small" in said and f"scancel {job}" in said
    assert cluster.queue() == [job]
    subprocess.run(["scancel", job], check=True)
    cluster.until(lambda: not cluster.queue(), "the job to end")
    assert "told to end" in cluster.said()
    cluster.run(*ON_SLURM, CHECKPOINT)
    assert "resumes in epoch" in cluster.said()
    assert _training(cluster) == expected(400)


def test_a_training_that_ends_without_its_controller_is_taken_over(cluster, expected):
    cluster.epochs(20)
    controller = cluster.start(*ON_SLURM, CHECKPOINT)
    cluster.begun(1, controller)
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    cluster.until(lambda: not cluster.queue(), "the job to end")
    made = (cluster.folder / CHECKPOINT).stat().st_mtime_ns
    assert "Nothing to be done" in cluster.run(*ON_SLURM, CHECKPOINT)
    assert (cluster.folder / CHECKPOINT).stat().st_mtime_ns == made
    assert _training(cluster) == expected(20)
    cluster.epochs(21)  # it was recorded with its parameters
    assert cluster.would_run(CHECKPOINT) == {"train": 1, "total": 1}


def test_a_requeued_training_ends_in_the_same_bytes(cluster, expected):
    cluster.epochs(41)
    controller = cluster.start(*ON_SLURM, CHECKPOINT)
    cluster.begun(2, controller)
    (job,) = cluster.queue()
    subprocess.run(["scontrol", "requeue", job], check=True)
    cluster.until(lambda: "told to end" in cluster.said(), "the training to keep its state")
    assert controller.wait(timeout=900) == 0
    assert "resumes in epoch" in cluster.said()
    assert _training(cluster) == expected(41)


def test_a_training_out_of_time_goes_on_with_the_next_run(cluster, expected):
    cluster.epochs(42)
    since = time.strftime("%Y-%m-%dT%H:%M:%S")
    controller = cluster.start(*ON_SLURM, "--set-resources", "train:runtime=1", "--", CHECKPOINT)
    cluster.begun(2, controller)
    trainings = cluster.trainings()
    for process in trainings:  # however fast this machine is, the minute is over first
        process.suspend()
    cluster.until(lambda: ["TIMEOUT"] in accounting(since, "State"), "the time limit")
    for process in trainings:
        process.resume()  # within the 30 seconds that Slurm gives it
    assert controller.wait(timeout=300) != 0
    assert "told to end" in cluster.said()
    cluster.run(*ON_SLURM, CHECKPOINT)
    assert "resumes in epoch" in cluster.said()
    assert _training(cluster) == expected(42)


@pytest.mark.parametrize(("epochs", "number"), [(43, signal.SIGTERM), (44, signal.SIGINT)])
def test_a_controller_that_is_told_to_end_takes_its_jobs_with_it(cluster, epochs, number):
    cluster.epochs(epochs)
    controller = cluster.start(*ON_SLURM, CHECKPOINT)
    cluster.begun(2, controller)
    controller.send_signal(number)
    assert controller.wait(timeout=10) != 0
    cluster.until(lambda: not cluster.queue(), "the job to end", seconds=30)
    assert "told to end" in cluster.said() and (cluster.folder / CHECKPOINT).with_name(".training.pt").exists()


def test_a_stage_of_dvc_runs_where_the_environment_says(cluster):
    cluster.epochs(6)
    since = time.strftime("%Y-%m-%dT%H:%M:%S")
    environment = {**cluster.environment, PROFILE: "slurm"}
    (cluster.folder / "results/metrics/valid.json").unlink()
    done = subprocess.run(cluster.command("dvc", "repro", "-s", "evaluate"), cwd=cluster.folder, env=environment)
    assert done.returncode == 0
    assert any(row[0].startswith("rule_evaluate") for row in accounting(since, "Comment"))
