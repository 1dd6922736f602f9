"""The splits of the data set, where they lie, and what can be done with each."""

from pathlib import Path

SPLITS = ("train", "valid", "test", "challenge")
LABELLED = ("train", "valid", "test")  # the labels of challenge are hidden
RANKED = ("valid", "test", "challenge")  # have queries and a gallery
SCORED = ("valid", "test")  # have queries whose labels are known
SUBMITTED = ("test", "challenge")  # the rankings that the challenge asks for


def split_folders(folder: Path) -> tuple[Path, ...]:
    """Where zips or folders of the splits are looked for: in a folder, and where the dev kit puts them below it."""
    return folder, folder / "reid", folder / "soccernetv3/reid"
