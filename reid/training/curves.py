"""Curves of a training, a tab-separated file each: what ``dvc plots`` and scripts/curves.py draw."""

import csv
from collections.abc import Iterable
from pathlib import Path

from reid.core.checksums import sum_file, sums_path, write_sums
from reid.core.errors import named


class Curves:
    """Curves that grow with every epoch; those of an earlier training in the same folder are gone from the start.

    Args:
        folder: where NAME.tsv is written, with the columns ``step`` (epochs from 0) and NAME.
        names: curves that are there even without a point; a header alone then.
    """

    def __init__(self, folder: Path, names: Iterable[str] = ()) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.tsv"):
            old.unlink()
            sums_path(old).unlink(missing_ok=True)
        for name in names:
            self._write(name, "w", ["step", name])

    def add(self, step: int, values: dict[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            if not (self.folder / f"{name}.tsv").exists():
                self._write(name, "w", ["step", name])
            self._write(name, "a", [step, value])

    def end(self) -> None:
        """Write the digests of the curves, which grow no more."""
        for path in self.folder.glob("*.tsv"):
            with named(path):
                write_sums(path, sum_file(path))

    def _write(self, name: str, mode: str, row: list[object]) -> None:
        path = self.folder / f"{name}.tsv"
        if mode == "w":
            sums_path(path).unlink(missing_ok=True)  # engines remove a curve of before, and not its digests
        with named(path), open(path, mode, encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerow(row)
