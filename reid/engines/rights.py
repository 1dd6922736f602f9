"""Whether a run may write where it has to."""

import os
from pathlib import Path

from reid.core.errors import ReidError


def require(*tops: Path, depth: int = 3) -> None:
    """Check that folders can be written to, with those below them to a depth, or can be made.

    Raises:
        ReidError: one cannot.
    """
    for top in tops:
        existing = next(folder for folder in [top, *top.absolute().parents] if folder.exists())
        below = [] if existing != top else [path for n in range(depth) for path in top.glob("*/" * (n + 1))]
        for folder in [existing, *below]:
            if not os.access(folder, os.W_OK | os.X_OK):
                raise ReidError(
                    f"{folder}: this user must not write into this folder, or its disk is read-only; change its "
                    f"rights (it belongs to user {folder.stat().st_uid}, and this is user {os.getuid()}), or clone "
                    "the project elsewhere"
                )
