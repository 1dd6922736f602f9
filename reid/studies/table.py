"""The table of a study as Markdown and CSV."""

from collections.abc import Iterator
from typing import Any

HEADER = (
    "axis", "row", "stays", "seeds", "valid mAP", "valid low", "valid high", "valid change", "valid change low",
    "valid change high", "test mAP", "test low", "test high", "test change", "test change low", "test change high",
    "valid rank-1", "test rank-1", "valid seeds", "test seeds", "parameters", "flops", "images", "seconds", "problem",
)  # fmt: skip


def points(value: float) -> str:
    """A share in per cent."""
    return f"{100 * value:.1f}"


def signed(value: float) -> str:
    """A difference of shares in points."""
    return f"{100 * value:+.1f}"


def span(interval: list[float] | None, form: Any = points) -> str:
    """An interval in words."""
    return "" if interval is None else f"{form(interval[0])} to {form(interval[1])}"


def looks(result: dict[str, Any]) -> str:
    """How many comparisons there were, and what that means."""
    count = result["comparisons"]
    unused = "; test was not used to choose" if "test" in result["queries"] else ""
    return (
        f"{count} comparison{'s' if count != 1 else ''} with an interval each. Intervals say what other actions would "
        "change, not what another training would: of rows that change nothing but a training's random numbers, many "
        "more than one in twenty get an interval without zero, so look at the single seeds. The best of several rows "
        f"looks better on valid than it is{unused}."
    )


RULES = {
    "mean": "the best row stays if it raises the mean mAP of valid",
    "interval": "the best row stays if the interval of its difference on valid is above zero",
    "always": "the best row stays whatever its mAP",
    "never": "rows are compared, and none of them goes on",
}


def markdown(result: dict[str, Any]) -> str:
    """The table of each axis, and what stays in the end, as Markdown."""
    sizes = result["queries"].items()
    columns = [name for split in result["queries"] for name in (f"{split} mAP", "change", "95 %")]
    columns += [f"seeds on {[*result['queries']][-1]}", "seconds", "stays"]
    data = ", ".join(f"{split} {size['queries']:,} queries in {size['actions']:,} actions" for split, size in sizes)
    lines = [
        f"Study `{result['study']}` on top of `{result['base']}`: {result['trainings']} trainings. mAP in per cent, "
        f"means over the seeds; 95 % intervals from a bootstrap over actions, paired for changes ({data}). "
        f"{looks(result)}",
        "",
    ]
    for axis in result["axes"]:
        lines += [
            f"**{axis['axis']}** ({RULES[axis['rule']]}; seeds {', '.join(map(str, axis['seeds']))})",
            "",
            f"| | {' | '.join(columns)} |",
            f"|{'---|' * (len(columns) + 1)}",
            *(f"| {' | '.join(_cells(row, [*result['queries']]))} |" for row in axis["rows"]),
            "",
            f"{axis['why'][0].upper()}{axis['why'][1:]}.",
            "",
        ]
    if whole := result["whole"]:
        changes = {split: whole["change"][split]["mAP"] for split in reversed([*result["queries"]])}
        parts = [
            f"{signed(change['difference'])} points of {split} mAP ({span(change['interval'], signed)})"
            for split, change in changes.items()
        ]
        lines += [f"**What stays against the base: {', '.join(parts)}.**", ""]
    if result["difference"]:
        lines += [f"What stays, on top of `{result['base']}`:", "", "```yaml", f"{result['difference']}```", ""]
    return "\n".join(lines)


def _cells(row: dict[str, Any], splits: list[str]) -> list[str]:
    if row["problem"]:
        failed = f"failed: {row['problem'].splitlines()[-1].strip()}".replace("|", "/")
        return [row["row"], failed, *[""] * (3 * len(splits) + 1), "no"]
    cells = [row["row"]]
    for split in splits:
        change = row["change"] and row["change"][split]["mAP"]
        cells += [points(row[split]["mAP"])]
        if change:
            cells += [signed(change["difference"]), span(change["interval"], signed)]
        else:
            cells += ["the same" if row["same"] else "", ""]
    seeds = ", ".join(map(points, row[splits[-1]]["seeds"]))
    return [*cells, seeds, f"{row['seconds']:.0f}", "yes" if row["stays"] else "no"]


def csv_rows(result: dict[str, Any]) -> Iterator[list[Any]]:
    """The values of :data:`HEADER` for each row."""
    for axis in result["axes"]:
        for row in axis["rows"]:
            start = [axis["axis"], row["row"], "yes" if row["stays"] else "no", " ".join(map(str, axis["seeds"]))]
            if row["problem"]:
                yield [*start, *[None] * (len(HEADER) - 5), row["problem"]]
                continue
            values: list[Any] = []
            for split in ("valid", "test"):
                if split not in row:
                    values += [None] * 6
                    continue
                change = row["change"] and row["change"][split]["mAP"]
                values += [row[split]["mAP"], *(row[split]["interval"] or [None, None])]
                values += [change["difference"], *(change["interval"] or [None, None])] if change else [None] * 3
            scored = [row.get(split) for split in ("valid", "test")]
            values += [one and one["rank-1"] for one in scored]
            values += [one and " ".join(map(str, one["seeds"])) for one in scored]
            yield [*start, *values, row["parameters"], row["flops"], row["images"], row["seconds"], None]
