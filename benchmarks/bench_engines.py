"""Part of the benchmark in which the engines find that there is nothing to do."""

from pathlib import Path

from bench_rows import line
from measuring import program

ROOT = Path(__file__).resolve().parents[1]


def nothing_to_do(share, kit, folder):
    """The engines where everything is up to date; a trial does not run the pipeline of this folder."""
    if share != 1:
        return []
    snakemake = ["-m", "snakemake", "--cores", "8", "submission"]
    if not (ROOT / "results/submission/challenge.json").exists():
        return [line("nothing to do", None, "under 2 s, 1.5 s", None, note="no finished run here: `make submission`")]
    program(*snakemake, cwd=ROOT)
    program("-m", "dvc", "repro", cwd=ROOT)
    rows = []
    for name, call, limit in (("snakemake submission", snakemake, 2), ("dvc repro", ["-m", "dvc", "repro"], 1.5)):
        spent, memory = sorted(program(*call, cwd=ROOT) for _ in range(3))[1]
        rows.append(line(f"nothing to do: `{name}`", spent, f"under {limit:g} s", spent < limit, None, memory))
    return rows
