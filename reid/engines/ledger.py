"""Keep DVC's ledger and Snakemake in step.

record: after `snakemake`, enter what it made into dvc.lock and DVC's cache. Refused while Snakemake would still run
something: an outdated file beside new parameters would be a false record. Studies are not its business: Snakemake's
target says nothing of their tables, which `dvc repro study@NAME` brings up to date and enters.

adopt: after `dvc pull`, `dvc checkout` or `dvc exp apply`, tell Snakemake that what DVC restored is up to date. The
files have the times of their copying, and Snakemake has no record of them; what the ledger confirms is touched in the
order of the workflow. Nothing is run. What DVC does not keep (zips, stores, pretrained weights) may be missing: no
result needs it.
"""

import contextlib
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.scm import SCMError
from dvc.utils.serialize import modify_yaml

from reid.core import cli, dvc_lock
from reid.core.errors import ReidError
from reid.engines import holder, outside
from reid.engines.stage import INPUTS, STUDY, check, refuse_links
from reid.engines.workflow import forget_other_models
from reid.params.reading import check_params, read_content


@contextlib.contextmanager
def ledger() -> Iterator[Repo]:
    """DVC's view of this folder, which nobody else changes meanwhile.

    Raises:
        ReidError: DVC does not know this folder, or is at work in it, or a folder of outputs is a link.
    """
    try:
        repo = Repo(".")
        with lock_repo(repo):
            refuse_links()
            yield repo
    except LockError as error:
        raise ReidError("a snakemake or dvc run is at work in this folder; wait for it to end") from error
    except (DvcException, SCMError) as error:
        raise ReidError(
            f"DVC: {str(error).strip()}. It needs a clone of the project, with its .dvc folder and its Git history"
        ) from error


def snakemake(*options: str) -> str:
    """Run Snakemake for the target ``submission``; returns what it said."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *options, "--", "submission"]
    environment = holder.on_behalf_of(psutil.Process())
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    if done.returncode:
        raise ReidError(f"snakemake {' '.join(options)} failed:\n{done.stdout}")
    return done.stdout


def differing(repo: Repo, absent: Collection[str] = ()) -> str:
    """Names of the stages that differ from dvc.lock, without studies; the one that always runs is none of them.

    Args:
        repo: the ledger.
        absent: files that may be missing, as :func:`not_here` gives them.
    """
    always = {f"workflow/inputs/dvc.yaml:{INPUTS}": ["always changed"]}
    status = {
        name: [why for why in reasons if not _only_absent(why, absent)] for name, reasons in repo.status().items()
    }
    changed = (name for name, why in status.items() if why and always.get(name) != why)
    return ", ".join(sorted(name for name in changed if not _is_study(name)))


def _is_study(stage: str) -> bool:
    return stage.partition("@")[0] == STUDY


def _only_absent(reason: Any, absent: Collection[str]) -> bool:
    """Whether all that a reason says is that files are missing that may be."""
    changes = [change for what in reason.values() for change in what.items()] if isinstance(reason, dict) else [None]
    return all(change and change[0] in absent and change[1] == "deleted" for change in changes)


def keep_nothing_twice(repo: Repo) -> None:
    """Keep zips and stores out of DVC's cache of runs, which takes what ``cache: false`` keeps out of the other one.

    `dvc repro` leaves stages with such outputs out of it, `dvc commit` (3.67) does not: 57 GB would lie there twice.
    """
    save = repo.stage_cache.save

    def save_small(stage: Any) -> None:
        if all(out.use_cache or out.is_metric or out.is_plot for out in stage.outs):
            save(stage)

    repo.stage_cache.save = save_small


def not_here(repo: Repo) -> list[str]:
    """Files that DVC does not keep and that are missing, where all stages that read them mean the recorded content."""
    outs = {str(out): out for out in repo.index.outs if not out.use_cache and not out.exists and out.hash_info}
    other = {str(dep) for dep in repo.index.deps if str(dep) in outs and dep.hash_info != outs[str(dep)].hash_info}
    return sorted(set(outs) - other)


@contextlib.contextmanager
def standing_in(absent: Iterable[str]) -> Iterator[None]:
    """Let Snakemake, which touches all files or none, find something where files are missing."""
    paths = [Path(name) for name in absent]
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_STAND_IN, encoding="ascii")
        yield
    finally:
        _remove_stand_ins(paths)


_STAND_IN = "Not the file, but what `make adopt` puts here for a moment; run it again.\n"


def _remove_stand_ins(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_file() and path.stat().st_size == len(_STAND_IN) and path.read_bytes() == _STAND_IN.encode("ascii"):
            path.unlink()
            with contextlib.suppress(OSError):  # something else is in it
                path.parent.rmdir()


def commit(repo: Repo) -> None:
    """Enter what lies here as what the stages made, but for studies; drop entries of stages that there are no more."""
    for file, group in groupby(repo.index.stages, key=lambda stage: stage.dvcfile):
        stages = [stage for stage in group if not _is_study(stage.name)]
        for stage in stages:
            stage.save()
            stage.commit()
        file.dump_stages(stages, update_pipeline=False)  # once a file: with many models it takes a second
    lock = Path("dvc.lock")
    if gone := set(dvc_lock.stages(lock.read_bytes())) - {stage.name for stage in repo.index.stages}:
        with modify_yaml(lock) as content:
            for name in gone:
                del content["stages"][name]


def record() -> None:
    """Enter a finished run into dvc.lock."""
    with ledger() as repo:
        content = read_content()
        params = check_params(content)
        check(params)
        if "Nothing to be done" not in snakemake("--dry-run"):
            raise ReidError("Snakemake would still run something: `snakemake --cores 8 submission` first, then record")
        outside.record(params, content)
        keep_nothing_twice(repo)
        commit(repo)
        if changed := differing(repo):
            raise ReidError(f"these stages still differ from dvc.lock: {changed}; see `dvc status`")
        studies = [stage.name for stage in repo.index.stages if _is_study(stage.name)]
    print("dvc.lock holds this run" + (f"; studies enter it by `dvc repro {' '.join(studies)}`" if studies else ""))


def adopt() -> None:
    """Let Snakemake take what DVC confirms for up to date."""
    with ledger() as repo:
        content = read_content()
        params = check_params(content)
        check(params)
        forget_other_models([*params.models, *params.external_models])
        outside.record(params, content)
        _remove_stand_ins(Path(str(out)) for out in repo.index.outs if not out.use_cache)  # of one that was killed
        absent = not_here(repo)
        if changed := differing(repo, absent):
            raise ReidError(
                f"these stages differ from dvc.lock: {changed}. `dvc repro` brings them up to date (what DVC keeps is "
                "taken from its cache); `dvc status` says what differs"
            )
        with standing_in(absent):
            snakemake("--touch", "--forceall")
    print("Snakemake takes all files for up to date")
    if absent:
        print(
            f"{len(absent)} files that DVC does not keep are not here, such as {absent[0]}. Results do not need them; "
            "before you change anything: `dvc repro`, which brings them, then adopt again"
        )


if __name__ == "__main__":
    commands = {"record": record, "adopt": adopt}
    parser = cli.parser(__doc__)
    parser.add_argument("command", choices=commands)
    cli.run(lambda args: commands[args.command](), parser)
