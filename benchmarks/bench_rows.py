"""Rows of the benchmark's table, and the sizes at which its parts are measured."""

WIDTH = 512  # of an embedding
BATCH = 32
INPUT = (256, 128)


def line(part, ours, aim, met, reference=None, memory=None, note=""):
    """One row of the table: times in seconds, memory in bytes; ``met`` is a bool, or None where nothing was run."""
    return {
        "part": part,
        "reference": reference,
        "ours": ours,
        "ratio": reference / ours if reference else None,
        "memory": memory,
        "aim": aim,
        "met": met,
        "note": note,
    }


def against(part, reference, ours, aim, memory=None, note=""):
    """A row whose aim is a ratio."""
    return line(part, ours, f"{aim:g} x", reference / ours >= aim, reference, memory, note)


def _time(value):
    if value is None:
        return ""
    return f"{1000 * value:.1f} ms" if value < 0.1 else f"{value:.2f} s" if value < 10 else f"{value:,.0f} s"


def cells(row):
    """A row of the table as texts."""
    met = {None: "", True: "met", False: "not met"}[row["met"]]
    return [
        row["part"],
        _time(row["reference"]),
        _time(row["ours"]),
        f"{row['ratio']:,.3g} x" if row["ratio"] else "",
        f"{row['memory'] / 1e6:,.0f} MB" if row["memory"] else "",
        row["aim"],
        met,
        row["note"],
    ]


def table(rows):
    """The table as Markdown."""
    head = ["part", "dev kit's way", "here", "ratio", "memory", "aim", "", "note"]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *map(cells, rows)])
