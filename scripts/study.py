"""Run a study: studies/NAME.yaml becomes rows, trainings, and a table that says what stays.

    python scripts/study.py NAME --dry-run         its rows, what each changes, how many trainings that is
    python scripts/study.py NAME                   runs what is missing; goes on where it was killed
    python scripts/study.py NAME --resources gpu=2

Results lie in results/studies/NAME: index.html, table.md, table.csv, study.json, provenance.json, and of each row its
trainings and scores.
"""

import argparse
import json
from pathlib import Path

from reid.core import cli
from reid.core.files import put_table, replacing, table_place, write_csv, write_json
from reid.engines import studies
from reid.lineage import provenance
from reid.studies.jobs import RESULTS
from reid.studies.page import write_page
from reid.studies.plan import Plan, check, check_files
from reid.studies.result import result
from reid.studies.side_by_side import add_images
from reid.studies.study import read_study, study_path
from reid.studies.table import HEADER, RULES, csv_rows, markdown


def show(plan: Plan) -> None:
    """Print the rows of all axes, as if nothing but ``always`` rows stayed."""
    print(f"base: {plan.study.base}" + "".join(f"\n  {k}: {json.dumps(v)}" for k, v in plan.study.change.items()))
    seen: set[str] = set()
    counted = len(plan.axes[0].seeds)  # the base
    for part in plan.axes:
        counted += len(part.own_trainings())
        print(f"\n{part.axis.axis} (seeds {', '.join(map(str, part.seeds))}; {RULES[part.stays]})")
        for row in [part.reference, *part.rows]:
            new = {row.jobs(seed).training for seed in part.seeds} - seen
            seen |= new
            count = f"{len(new)} training{'s' if len(new) != 1 else ''}" if new else "no further training"
            print(f"  {row.name if row is not part.reference else f'on top of {row.name}'}: {count}")
            for place, value in row.changes.items() if row is not part.reference else ():
                print(f"      {place}: {json.dumps(value)}")
    print(f"\n{len(seen)} trainings, if no row stays but those that always do;")
    print(f"{counted}, at the most, if each axis changes what the next is put on top of")


def main(args: argparse.Namespace) -> None:
    path = study_path(args.study)
    study = read_study(path)
    plan = check(study, path)
    if args.dry_run:
        show(plan)
    check_files(plan, path)
    if args.dry_run:
        return
    if args.into:
        table_place(args.into, path.stem)  # refused now, not when all is trained
    folder = RESULTS / path.stem
    # now, for these files may be edited while the study runs
    made_of = {"study": provenance.content(path), "base": provenance.content(Path(study.base))}
    where = {"code": provenance.commit(), "machine": provenance.machine()}
    plan, scored = studies.run(study, path, folder, args.cores, studies.gpus(args.resources))
    found = result(path.stem, plan, scored, folder)
    write_json(folder / "study.json", found)
    write_csv(folder / "table.csv", HEADER, csv_rows(found))
    text = markdown(found)
    with replacing(folder / "table.md") as partial:
        partial.write_text(text, encoding="utf-8")
    add_images(found, plan, folder)
    write_page(folder / "index.html", found)
    write_json(folder / "provenance.json", {**made_of, **where})
    if args.into:
        put_table(args.into, path.stem, text)
    cli.log.info("%s: %d trainings; %s stays", folder / "index.html", found["trainings"], found["kept"])


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("study", help="its name, or its file")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and run nothing")
    parser.add_argument("--cores", default="all", help="of this machine, as snakemake takes them")
    parser.add_argument("--resources", nargs="+", default=[], metavar="gpu=N", help="GPUs to use; all by default")
    parser.add_argument("--into", type=Path, help="a Markdown file that has a place for the table")
    cli.run(main, parser)
