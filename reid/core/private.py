"""Folders of one user among the temporary files of all."""

import contextlib
import os
import stat
from pathlib import Path

from reid.core.errors import ReidError


def private_folder(folder: Path) -> Path:
    """Make a folder that nobody else can write to: others can put files into /tmp under names that we would take.

    It may be gone again afterwards, where other processes of the user remove it.

    Returns:
        Path: ``folder``

    Raises:
        ReidError: what is there is no folder, another user's, or open to others.
    """
    with contextlib.suppress(FileExistsError):  # not Path.mkdir, which looks again: it may just have gone
        os.mkdir(folder, 0o700)
    with contextlib.suppress(FileNotFoundError):
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise ReidError(
                f"{folder} is not a folder of this user alone; remove it, or set TMPDIR to a folder of your own"
            )
    return folder
