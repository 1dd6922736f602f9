"""What a run says on the terminal when it ends: what came of it and where to look, or what failed and what to do.

Snakemake's own account of a failed job is 25 lines, of which two help. They stay in its log (``.snakemake/log``); with
``--verbose`` or ``--show-failed-logs`` the terminal has them too.
"""

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from reid.core.errors import ReidError
from reid.core.splits import RANKED, SCORED, SUBMITTED
from reid.engines import ending
from reid.params.schema import Params

UPLOAD = "https://www.soccer-net.org/tasks/re-identification"
_SHOWN = ("mAP", "rank-1")
_MOST = 5  # failed jobs that are told in full
_OF_JOBS = ("RuleException:\nCalledProcessError", "Exiting because a job execution failed")
_AT_END = ("Complete log(s):", "Elapsed time:", "WorkflowError:\nAt least one job did not complete")


class Failure(NamedTuple):
    """A job that failed: its rule, and the files that it logs to."""

    rule: str
    logs: list[str]


class Summary(logging.Filter):
    """Keeps Snakemake's account of failed jobs off the terminal, and remembers them for our own."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Failure] = []
        self.begun = time.time()
        self.said = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the terminal shows this."""
        event, text = getattr(record, "event", None), str(record.msg)
        if event == LogEvent.JOB_ERROR:
            self._remember(record.__dict__)
        elif event == LogEvent.GROUP_ERROR:
            for job in record.__dict__.get("job_error_info", ()):
                self._remember(job)
        elif not text.startswith(_OF_JOBS):
            return not (self.said and text.startswith(_AT_END))
        return False

    def _remember(self, job: dict[str, Any]) -> None:
        self.failures.append(Failure(job["rule_name"], list(job.get("log") or ())))


_summary = Summary()


def prepare(workflow: Any) -> None:
    """Let the terminal be quiet about what the end of the run will tell."""
    settings = workflow.output_settings
    if settings.verbose or settings.show_failed_logs:
        return
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(_summary)


def succeeded(workflow: Any, params: Params) -> None:
    """Tell what a run made, of what it was asked for: scores, pages, files to submit."""
    if workflow.touch:
        return
    made = {str(path) for job in workflow.dag.jobs for path in [*job.output, *job.input]}
    try:
        _say("\n".join(results(made, params)))
    except ReidError as error:  # the run has done its work
        logger.warning(str(error))


def results(made: set[str], params: Params) -> Iterator[str]:
    """Lines about the results among files.

    Args:
        made: paths as the rules name them.
        params: what they were made with.

    Raises:
        ReidError: metrics cannot be read.
    """
    metrics = [path for split in SCORED if (path := f"results/metrics/{split}.json") in made]
    if metrics:
        yield "Scores, with 95 % intervals over actions, and what a random order gets:"
        for path in metrics:
            yield _scores(path)
    if pages := [path for split in RANKED if (path := f"results/browse/{split}.html") in made]:
        yield f"To look at, in a browser: {', '.join(pages)}"
    rankings = [path for split in SUBMITTED if (path := f"results/submission/{split}.json") in made]
    if rankings:
        yield f"To submit: {', '.join(rankings)}"
        yield (
            "  of synthetic matches: for the challenge, set download.source in params.yaml (README, The real data)"
            if params.download.source == "synthetic"
            else f"  upload to the evaluation server that {UPLOAD} names"
        )


def _scores(path: str) -> str:
    from reid.reports.scorecard import read_scores  # at the end of a run, not at its start

    split, trained_on, scores = read_scores(path)
    parts = []
    for name in (name for name in _SHOWN if name in scores):
        interval = scores["interval"].get(name)  # none of one action
        within = f"{interval[0]:.3f} to {interval[1]:.3f}; " if interval else ""
        parts.append(f"{name} {scores[name]:.3f} ({within}random {scores['chance'][name]:.3f})")
    return f"  {split}{', trained on: not a valid result' if trained_on else ''}: {', '.join(parts)}"


def failed(logs: list[str]) -> None:
    """Tell what failed and why, where the rest stands, and what to do.

    Args:
        logs: of Snakemake itself.
    """
    failures = _summary.failures
    lines = [line for failure in failures[:_MOST] for line in _reason(failure)]
    if len(failures) > _MOST:
        lines.append(f"... and {len(failures) - _MOST} more jobs failed")
    if logs:
        lines.append(f"the whole run: {', '.join(map(os.path.relpath, logs))}")
    if ending.under_way():
        lines = ["Stopped. Run the same command again: it goes on from here."]
    else:
        lines.append("Put that right and run the same command again: it goes on from here.")
    _say("\n".join(lines))


def _reason(failure: Failure) -> Iterator[str]:
    """The line with what failed, and the error that its log ends with."""
    for log in failure.logs:
        if (said := last_error(Path(log), _summary.begun)) is not None:
            yield f"{failure.rule} failed; all that it said: {log}"
            yield said
            return
    yield (
        f"{failure.rule} failed, and its log has no error: it was killed (for want of memory, see dmesg; by a time "
        "limit), or the disk is full (see df), and what it said stands above"
    )


def last_error(log: Path, since: float) -> str | None:
    """The error that a log ends with; None if it is older or has none.

    Args:
        log: what a program of ours wrote with ``--log``.
        since: seconds since the epoch; a log that was last written before is of an earlier run.
    """
    return error_of(lines_since(log, since) or [])


def error_of(lines: list[str]) -> str | None:
    """The error that lines of a log end with; None without one. As :func:`last_error` gives it."""
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].startswith("error: "):
            return "\n".join(lines[number:])
    return lines[-1] if lines and any(line.startswith("Traceback") for line in lines) else None


def lines_since(log: Path, since: float) -> list[str] | None:
    """What a program said in this run; None if the log is older or there is none. As :func:`last_error` takes them."""
    try:
        if log.stat().st_mtime < since - 1:
            return None
        return log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None


def _say(text: str) -> None:
    if text:
        logger.info(f"\n{text}")
        _summary.said = True
