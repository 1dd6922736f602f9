"""Zips of a team: taken from the shared place (:mod:`reid.core.shared`), or put there."""

from pathlib import Path
from typing import Any

from reid.core import shared
from reid.params.data import Download, Split
from reid.sources.checks import check_members, make_receipt, readable
from reid.sources.soccernet import DATASET


def fetch_zip(place: shared.Place, download: Download, split: Split, path: Path) -> dict[str, Any] | None:
    """Take the zip of a split from the shared place: the pinned one, or what the source gave someone else.

    Args:
        place: the shared place.
        download: parameters.
        split: which split.
        path: the zip to make.

    Returns:
        dict: the receipt that the source would give; None if there is none that fits

    Raises:
        ReidError: the zip cannot be written here.
    """
    pin = download.sha256.get(split)
    with readable(path):
        digest = place.fetch(path, _key(download, split), pin, lambda partial: check_members(partial, split))
        if digest is None:
            return None
        receipt = make_receipt(path, split, digest, check_members(path, split), pin, path)
    return {**receipt, "source": download.source}


def put_zip(place: shared.Place, download: Download, split: Split, path: Path, receipt: dict[str, Any]) -> None:
    """Put the zip of a split there. One from a folder of one's own is found by its pin alone."""
    place.put(path, _key(download, split), receipt["sha256"])


def _key(download: Download, split: Split) -> str | None:
    facts: shared.Facts = {"source": download.source, "split": split}
    if download.source == "soccernet":
        return shared.key("zip", {**facts, "dataset": DATASET})
    if download.source == "synthetic" and download.synthetic:
        drawn = {"seed": download.synthetic.seed, "actions": getattr(download.synthetic.actions, split)}
        by = {"code": shared.code("synthetic", "raw"), "versions": shared.versions("numpy", "pillow")}
        return shared.key("zip", {**facts, **drawn, **by})
    return None
