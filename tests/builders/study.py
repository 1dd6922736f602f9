"""A small study in a folder of its own, and scores without a training."""

import yaml

from builders import scored
from builders.whole import MINIMAL
from reid.core.files import write_json
from reid.core.splits import SCORED
from reid.evaluation.queries import write_queries
from reid.studies.jobs import score_path, training_path
from reid.studies.study import read_study

CURVES = {"curves/loss": [2, 1], "curves/valid_mAP": [0.3, 0.5], "speed/images_per_second": [50, 100]}
STUDY = {
    "base": "base.yaml",
    "seeds": [1, 2],
    "axes": [
        {
            "axis": "loss",
            "rows": {"wide": {"loss.triplet.margin": 0.5}, "supcon": {"loss": {"supcon": {"temperature": 0.1}}}},
        },
        {"axis": "metric", "change": {"distances.metric": "cosine"}},
    ],
}


def write_study(folder, content=None, base=MINIMAL):
    """Write ``base.yaml`` and ``some.yaml``; the study's path. ``content`` is on top of :data:`STUDY`."""
    (folder / "base.yaml").write_text(base)
    path = folder / "some.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "base": str(folder / "base.yaml"), **(content or {})}, sort_keys=False))
    return path


def read(folder, content=None):
    """The study and its path."""
    path = write_study(folder, content)
    return read_study(path), path


class Skills:
    """Scores drawn for each row by its skill, with the seed in them; written where a run would leave them.

    Args:
        folder: of the study's results.
        skill: name of a row to how much nearer its true matches are; None where it failed.
        work: a folder for what the queries are made of.
    """

    def __init__(self, folder, skill, work):
        self.folder, self.skill, self.work, self.read = folder, skill, work, {}

    def scores(self, row, seeds, split):
        from reid.studies.scores import read_scores

        if self.skill.get(row.name, "open") in ("open", None):
            return None
        paths = [score_path(self.folder, row, seed, split) for seed in seeds]
        for seed, path in zip(seeds, paths, strict=True):
            if path not in self.read:
                self._make(row, seed, split, path)
        return read_scores(paths, split)

    def _make(self, row, seed, split, path):
        self.work.mkdir(parents=True, exist_ok=True)
        index = scored.make_index(SCORED.index(split), 40)
        table = scored.table_of(index)
        actions, near = scored.make_distances(table, seed, self.skill[row.name])
        scored.write_index(self.work / "index.parquet", table, split, "0" * 64)
        scored.write_distances(self.work / "distances.parquet", table, actions, near)
        ranked = scored.rank(scored.read_distances(self.work / "distances.parquet"))
        match, gallery, query = scored.scored_rows(ranked, table, "distances")
        write_queries(path, scored.query_table(match, ranked.start, gallery, query, table), split, False)
        self.read[path] = True
        folder = training_path(self.folder, row, seed, "")
        write_json(folder / "summary.json", {"parameters": 10, "flops": 20, "seeds": [{"images": 300}]})
        for name, values in CURVES.items():
            (folder / f"{name}.tsv").parent.mkdir(exist_ok=True)
            lines = [f"{step}\t{value}" for step, value in enumerate(values)]
            (folder / f"{name}.tsv").write_text("\n".join([f"step\t{name.split('/')[1]}", *lines, ""]))

    def valid(self, row, seeds):
        return self.scores(row, seeds, "valid")

    def failed(self, row, seeds):
        return row.name in self.skill and self.skill[row.name] is None

    def problem(self, row, seeds):
        return "it broke" if self.failed(row, seeds) else ""
