"""Which profile the ``snakemake`` of a DVC stage or a study takes: the environment variable REID_PROFILE.

``profiles/default`` is Snakemake's own choice in this folder. Another one, as of a cluster, is named by the user's
shell and not by a stage, so that a run there is the same to DVC as one here.
"""

import os
from pathlib import Path

from reid.core.errors import ReidError

PROFILE = "REID_PROFILE"  # environment: a folder of profiles/, or a path of one's own
_FILES = ("profile.yaml", "config.yaml")


def chosen() -> Path | None:
    """The folder of the profile that the user has chosen; None for the default one.

    Raises:
        ReidError: there is none of this name.
    """
    name = os.environ.get(PROFILE, "")
    if name in ("", "default"):
        return None
    for folder in (Path("profiles", name), Path(os.path.expanduser(name))):
        if any((folder / file).is_file() for file in _FILES):
            return folder
    known = ", ".join(sorted(path.parent.name for path in Path("profiles").glob("*/profile.yaml")))
    raise ReidError(
        f"{PROFILE}: {name} is no profile; name one of profiles/ ({known}) or a folder with a profile.yaml"
    )
