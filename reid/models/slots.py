"""GPUs of their own for jobs that run side by side: each takes the next free ones, and has them until it ends.

A slot is a file that its holder has locked (flock), so that it is free again however the holder ends. Its name is the
device's UUID: jobs may see different devices, and number them differently. A job takes all that it needs at once or
none, so that two which need several never wait for each other. Of jobs that see the same devices one waits for some at
a time, and the others for their turn to wait.
"""

import fcntl
import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from reid.core import environment
from reid.core.cli import log
from reid.core.errors import ReidError
from reid.core.forms import Number
from reid.core.private import private_folder

JOBS_PER_GPU = "REID_JOBS_PER_GPU"  # environment variable: how many jobs share a device
_JOBS = Number(1, 64, whole=True)
_RANK = Number(0, 1023, whole=True)  # of a process on this machine
_PAUSE = 0.2  # seconds between two looks
_held: list[Any] = []  # files that stay locked until this process ends


def take(count: int = 1) -> list[int]:
    """Take so many GPUs, and wait for them where other jobs of this user have them.

    The device becomes the current one of this process. Several are for processes that it will start, which see these
    alone: one that torchrun has started uses the device of its local rank.

    Args:
        count: how many.

    Returns:
        their numbers in this process; none without a GPU

    Raises:
        ReidError: the machine has fewer of them, or ``REID_JOBS_PER_GPU`` or ``LOCAL_RANK`` is no such number.
    """
    uuids, jobs = _uuids(), environment.number(JOBS_PER_GPU, _JOBS, "leave it out for one") or 1
    rank = environment.number("LOCAL_RANK", _RANK, environment.OF_TORCHRUN)
    needed = count if rank is None else rank + 1
    if not uuids:
        return []
    if needed > len(uuids):
        raise ReidError(f"devices: must be {len(uuids)} at the most, as many GPUs as there are, not {needed}")
    numbers = [rank] if rank is not None else _wait(uuids, count, jobs)
    if len(numbers) == 1:
        _use(numbers[0])
    else:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(number) for number in range(len(uuids))]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[number].strip() for number in numbers)
    return numbers


def _uuids() -> list[str]:
    """The UUID of each GPU, by its number in this process."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())]


def _use(number: int) -> None:
    import torch

    torch.cuda.set_device(number)


def _folder() -> Path:
    """This user's folder of locks."""
    return private_folder(Path(tempfile.gettempdir()) / f"reid-gpus-{os.getuid()}")


def _wait(uuids: list[str], count: int, jobs: int) -> list[int]:
    folder = _folder()
    seen = hashlib.sha256(",".join(sorted(uuids)).encode()).hexdigest()[:16]
    with open(folder / f"turn-{seen}.lock", "w") as turn:
        if _lock(turn) and (numbers := _free(folder, uuids, count, jobs)):
            return numbers
        log.info("waits for %s: other jobs have them", "a GPU" if count == 1 else f"{count} GPUs")
        fcntl.flock(turn, fcntl.LOCK_EX)
        while not (numbers := _free(folder, uuids, count, jobs)):
            time.sleep(_PAUSE)
        return numbers


def _free(folder: Path, uuids: list[str], count: int, jobs: int) -> list[int]:
    """Numbers of so many devices, which are held from now on, those with the fewest jobs first; none if too few."""
    held: dict[int, Any] = {}
    for place in range(jobs):
        for number, uuid in enumerate(uuids):
            if len(held) == count or number in held:
                continue
            file = open(folder / f"{uuid}.{place}.lock", "w")  # noqa: SIM115 - held until the process ends
            if _lock(file):
                held[number] = file
            else:
                file.close()
    if len(held) < count:
        for file in held.values():
            file.close()
        return []
    _held.extend(held.values())
    return sorted(held)


def _lock(file: Any) -> bool:
    """Whether a file could be locked, at once."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
