"""Where a training was when it was last kept on disk: a killed one resumes there."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from reid.core.checksums import sums_path, verify
from reid.core.cli import log
from reid.core.files import replacing
from reid.training.trainer import Trainer


class TrainingState:
    """The kept state of a training.

    Args:
        path: the file.
        fingerprint: a file of another one (other parameters, code or data) is not picked up.
        every: seconds between two times; when it is kept does not change what the training ends in.
    """

    def __init__(self, path: Path | str, fingerprint: str, every: float = 60.0) -> None:
        self.path, self.fingerprint, self.every = Path(path), fingerprint, every
        self.kept = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state of :meth:`save`, or None if there is none of this fingerprint."""
        try:
            verify(self.path)
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            fingerprint, state = content["fingerprint"], dict(content["state"])
        except FileNotFoundError:
            return None
        except Exception as error:  # the reader raises a dozen kinds; a new start is always right
            log.info("%s: cannot be read (%s), the training starts anew", self.path, error)
            return None
        if fingerprint != self.fingerprint:
            log.info("%s: is of other parameters, code or data, the training starts anew", self.path)
            return None
        return state

    def save(self, trainer: Trainer, finished: Sequence[dict[str, Any]] = (), at_once: bool = False) -> None:
        """Keep the state of ``trainer``, and the results of trainings of other seeds before it, if it is time to."""
        due = at_once or time.monotonic() - self.kept >= self.every
        if due and not trainer.between_updates:
            trainer.means()  # a training that has diverged is not worth keeping
            with replacing(self.path) as partial:
                state = {"trainer": trainer.state(), "finished": list(finished)}
                torch.save({"fingerprint": self.fingerprint, "state": state}, partial)
            self.kept = time.monotonic()

    def remove(self) -> None:
        """Forget the state, once the training has ended and its network is safe."""
        self.path.unlink(missing_ok=True)
        sums_path(self.path).unlink(missing_ok=True)
