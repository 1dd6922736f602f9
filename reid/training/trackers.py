"""Live curves of a training in TensorBoard, MLflow or W&B, beside the files that the pipeline itself writes.

Who watches a training, and where, is not part of an experiment: it stands in the environment variable REID_TRACKING,
not in params.yaml, where it would be committed for everybody. No result depends on it, so nothing runs again when it
changes. All is written below one folder (REID_TRACKING_FOLDER, by default ``tracking/``), which Git and DVC ignore;
nothing goes over the network unless the tracker's own variables say so (MLFLOW_TRACKING_URI, WANDB_MODE=online), and
keys are the tracker's own affair (``wandb login``).
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from reid.core.cli import log
from reid.core.errors import ReidError

VARIABLE, FOLDER = "REID_TRACKING", "REID_TRACKING_FOLDER"
PROJECT = "soccernet-reid"
_AT_ONCE = 100  # parameters or metrics that MLflow takes in a call


class Run(NamedTuple):
    """One training. The same training has the same ``key``, also when it is resumed: its curves replace the old ones.

    ``params`` are by dotted names; ``folder`` is where trackers write.
    """

    model: str
    key: str
    params: dict[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.model}-{self.key}"


class Tracker(Protocol):
    """What shows a training while it goes on; made of a :class:`Run`."""

    def add(self, step: int, values: dict[str, float]) -> None:
        """Add a point to each curve; ``step`` is an epoch from 0."""

    def end(self, metrics: dict[str, float], status: str) -> None:
        """Add final numbers; ``status`` is ``finished``, ``failed`` or ``killed``."""


class TensorBoard:
    """An event file in ``tensorboard/NAME``; shown by ``tensorboard --logdir tracking/tensorboard``."""

    package = "tensorboard"

    def __init__(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard" / run.name
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self.params = {key: _plain(value) for key, value in run.params.items()}
        self.writer = SummaryWriter(str(folder))
        self.writer.add_text("parameters", "\n".join(f"    {key}: {value}" for key, value in self.params.items()))
        self.writer.flush()

    def add(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def end(self, metrics: dict[str, float], status: str) -> None:
        if metrics:
            self.writer.add_hparams(self.params, {f"summary/{k}": v for k, v in metrics.items()}, run_name=".")
        self.writer.close()


class MLflow:
    """A run of an experiment in the folder ``mlflow``, or where MLFLOW_TRACKING_URI says."""

    package = "mlflow"

    def __init__(self, run: Run) -> None:
        # a server that is gone must not hold up a training
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow asks for it; a folder needs no server
            uri = (run.folder / "mlflow").absolute().as_uri()
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.client = MlflowClient(tracking_uri=uri)
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self.client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self.client.create_experiment(experiment)
        for old in self.client.search_runs([number], filter_string=f"tags.training = '{run.key}'"):
            self.client.delete_run(old.info.run_id)
        tags = {"training": run.key, "model": run.model}
        self.run_id = self.client.create_run(number, run_name=run.name, tags=tags).info.run_id
        params = [Param(key, str(_plain(value))) for key, value in run.params.items()]
        for start in range(0, len(params), _AT_ONCE):
            self.client.log_batch(self.run_id, params=params[start : start + _AT_ONCE])

    def add(self, step: int, values: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(self.run_id, [Metric(name, value, now, step) for name, value in values.items()])

    def end(self, metrics: dict[str, float], status: str) -> None:
        self.add(0, {f"summary/{name}": value for name, value in metrics.items()})
        self.client.set_terminated(self.run_id, status.upper())


class WandB:
    """A run of W&B, offline in the folder ``wandb`` unless WANDB_MODE says otherwise; ``wandb sync`` sends it."""

    package = "wandb"

    def __init__(self, run: Run) -> None:
        import wandb

        folder = Path(os.environ.get("WANDB_DIR") or run.folder)
        folder.mkdir(parents=True, exist_ok=True)
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        for old in folder.glob(f"wandb/offline-run-*-{run.name}"):
            shutil.rmtree(old)
        self.run = wandb.init(
            mode=mode,
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=folder,
            id=run.name,
            name=run.name,
            config=run.params,
            settings=wandb.Settings(silent=True, console="off", init_timeout=30),
        )

    def add(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)

    def end(self, metrics: dict[str, float], status: str) -> None:
        self.run.summary.update({f"summary/{name}": value for name, value in metrics.items()})
        self.run.finish(exit_code=0 if status == "finished" else 1)


KINDS: dict[str, Any] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}


def chosen() -> list[str]:
    """The trackers that REID_TRACKING names, separated by commas or spaces; brackets of a list may stand around them.

    Raises:
        ReidError: it names one that there is not, or whose package is not installed.
    """
    words = os.environ.get(VARIABLE, "").strip().removeprefix("[").removesuffix("]").replace(",", " ").split()
    names = list(dict.fromkeys(word.strip("'\"").lower() for word in words))
    if unknown := [name for name in names if name not in KINDS]:
        raise ReidError(f"{VARIABLE}: {unknown[0]!r} is no tracker; there are {', '.join(KINDS)}")
    for name in names:
        if importlib.util.find_spec(KINDS[name].package) is None:
            raise ReidError(
                f"{VARIABLE}: {name} is not installed; `pip install --require-hashes -r envs/tracking.txt` in this "
                f"environment brings the trackers, and `unset {VARIABLE}` goes without"
            )
    return names


def flat(content: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested sections with its dotted name; parts that are off (None) are left out."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}.")
        elif value is not None:
            yield f"{before}{key}", value


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value, default=str)


def begin(model: str, fingerprint: str, params: dict[str, Any], first: bool = True) -> "Tracking":
    """The chosen trackers of one training.

    Args:
        model: its name.
        fingerprint: of :func:`reid.training.fingerprint.fingerprint`; its digest is the run's key.
        params: sections of parameters by name.
        first: whether this is the process that writes; of several that train together the others track nothing.

    Raises:
        ReidError: as :func:`chosen`.
    """
    key = hashlib.sha256(fingerprint.encode()).hexdigest()[:8]
    run = Run(model, key, dict(flat(params)), Path(os.environ.get(FOLDER) or "tracking"))
    return Tracking(chosen() if first else [], run)


def final(summary: dict[str, Any]) -> dict[str, float]:
    """Numbers of a summary (:func:`reid.training.train.summary`): size, cost, data, the best mAP of valid."""
    numbers = {key: float(summary[key]) for key in ("parameters", "flops", "thumbnails", "identities")}
    best = [seed["best"]["mAP"] for seed in summary["seeds"] if seed["best"]]
    return {**numbers, **({"valid_mAP": max(best)} if best else {})}


class Tracking:
    """All chosen trackers of one training, as a context. One that fails is told of once and left out.

    Args:
        names: of KINDS.
        run: the training.
    """

    def __init__(self, names: list[str], run: Run) -> None:
        self.trackers: dict[str, Tracker] = {}
        self.metrics: dict[str, float] = {}
        for name in names:
            with self._left_out_if_it_fails(name):
                self.trackers[name] = KINDS[name](run)
                log.info("tracked by %s as %s", name, run.name)

    def add(self, step: int, values: dict[str, float]) -> None:
        """Add a point to each curve; ``step`` is an epoch from 0."""
        for name, tracker in list(self.trackers.items()):
            with self._left_out_if_it_fails(name):
                tracker.add(step, values)

    def finish(self, metrics: dict[str, float]) -> None:
        """Numbers to keep when the context ends."""
        self.metrics = metrics

    def __enter__(self) -> "Tracking":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        status = "finished" if kind is None else "killed" if issubclass(kind, KeyboardInterrupt) else "failed"
        for name, tracker in list(self.trackers.items()):
            with self._left_out_if_it_fails(name):
                tracker.end(self.metrics, status)

    @contextlib.contextmanager
    def _left_out_if_it_fails(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of any library: no training is worth less than its picture
            self.trackers.pop(name, None)
            log.warning("%s fails (%s: %s); the training goes on without it", name, type(error).__name__, error)
