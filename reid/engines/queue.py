"""Jobs that an earlier run left in a cluster's queue: the next run must not start them a second time.

A controller that is killed leaves its jobs behind, and they go on. Nothing in the folder need be trusted to know of
them: Slurm is asked for this user's jobs that work in this folder and that Snakemake has submitted.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from reid.core.errors import ReidError

PREFIX = "reid_"  # of the names of jobs, by profiles/*/profile.yaml
_BY_SNAKEMAKE = ("rule_", "group_")  # comments that the Slurm plugin gives its jobs
_LOGS = Path(".snakemake/slurm_logs")  # there once this folder has run on Slurm
_SECONDS = 30  # that Slurm may take for an answer
_FORMAT = "%i|%T|%j|%Z|%k"  # id, state, name, folder, comment


class Job(NamedTuple):
    """A job in the queue: its id, its state as Slurm calls it, and what it works at."""

    id: str
    state: str
    what: str


def refuse_jobs_left() -> None:
    """Refuse to run beside jobs of an earlier run.

    Raises:
        ReidError: some are in the queue, or Slurm does not say although this folder has run there.
    """
    if jobs := jobs_left():
        told = "\n".join(f"  {job.id} {job.state} {job.what}" for job in jobs)
        raise ReidError(
            f"jobs of an earlier run are in Slurm's queue and work in this folder ({Path.cwd()}):\n{told}\n"
            "wait for them to end, and run again: it takes over what they made; or end them, a training keeps its "
            f"state: scancel {' '.join(job.id for job in jobs)}"
        )


def jobs_left() -> list[Job]:
    """This user's jobs that Snakemake has submitted from this folder and that have not ended; none without Slurm.

    Raises:
        ReidError: Slurm does not answer, although this folder has run there.
    """
    if not shutil.which("squeue"):
        return []
    try:
        done = subprocess.run(
            ["squeue", "--me", "--noheader", "--format", _FORMAT],
            capture_output=True,
            timeout=_SECONDS,
        )
        problem = os.fsdecode(done.stderr).strip() if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem and not _LOGS.is_dir():  # Slurm's programs are here, and nobody has set them up
        return []
    if problem:
        raise ReidError(f"squeue fails ({problem}), so jobs of an earlier run may be at work here; try again later")
    lines = os.fsdecode(done.stdout).split("\n")  # names of folders hold other ends of lines
    return [job for job in map(_job, lines) if job]


def _job(line: str) -> Job | None:
    number, state, name, rest = (line.split("|", 3) + [""] * 4)[:4]
    folder, _, comment = rest.rpartition("|")  # a folder's name may hold one too
    ours = name.startswith(PREFIX) or comment.startswith(_BY_SNAKEMAKE)
    if not ours or os.path.realpath(folder) != os.path.realpath(Path.cwd()):
        return None
    what = comment.replace("_wildcards_", " ").removeprefix("rule_") if comment.startswith(_BY_SNAKEMAKE) else name
    return Job(number, state, what)
