"""The ablation's tables as Markdown."""

import io

import numpy as np
from ruamel.yaml import YAML

from ablation_rows import HEIGHT, IMAGES, LONGER, WIDTH


def _points(value):
    return f"{100 * value:.1f}"


def _signed(value):
    return f"{'+' if value >= 0 else ''}{_points(value)}"


def page(result, data):
    """Both tables as Markdown.

    Args:
        result: of ``ablation.run``, with ``machine``.
        data: split to its number of thumbnails.
    """
    machine, longer, seeds = result["machine"], result["longer"], len(result["rows"][0]["seeds"])
    settings = {part: changes for part, changes in longer["settings"].items() if changes}
    sizes = ", ".join(f"{split} {count:,}" for split, count in data.items())
    return f"""Made by `make ablation`: ResNet-18 from scratch, {HEIGHT} x {WIDTH}, {IMAGES:,} images seen by
each training, {seeds} seeds, on {sum(data.values()):,} synthetic thumbnails ({sizes}). mAP in per cent, mean over
the seeds; intervals from a bootstrap over the actions of test. A row is compared with the last row above it that
stays; it stays if it raises the mean mAP of valid. CPU seconds of a training on one thread. {machine["cpu"]}, Python
{machine["python"]}, torch {machine["torch"]}, torchvision {machine["torchvision"]}.

{_table(result)}

The same with {LONGER:,} images seen by each training:

{_table(longer)}

What stays of the second table, on top of `recipes/dev-kit-baseline.yaml`:

```yaml
{_yaml(settings)}```
"""


def _yaml(content):
    text = io.StringIO()
    YAML().dump(content, text)
    return text.getvalue()


def _table(result):
    full, kit, pace = result["full"], result["rows"][0], result["paces"]
    gains = [b - a for a, b in zip(kit["seeds"], full["seeds"], strict=True)]
    lines = [
        "| | valid mAP | test mAP | 95 % | seeds | change | 95 % | CPU seconds | stays |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        change = ["", ""]
        if "change" in row:
            change = [_signed(row["change"]), " to ".join(map(_signed, row["change_interval"]))]
        cells = [
            row["row"],
            _points(row["valid"]),
            _points(row["test"]),
            " to ".join(map(_points, row["interval"])),
            ", ".join(map(_points, row["seeds"])),
            *change,
            f"{np.mean(row['seconds']):.0f}",
            "yes" if row["stays"] else "no",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return f"""{chr(10).join(lines)}

**Full recipe against the dev kit's: {_signed(full["change"])} points of test mAP
({" to ".join(map(_signed, full["change_interval"]))}); {", ".join(map(_signed, gains))} for each seed.
A training step, both in turns in one process: {pace["kit"]:.1f} and {pace["full"]:.1f} ms an image, so
{pace["full"] / pace["kit"]:.2f} of the training time.**"""
