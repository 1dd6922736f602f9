"""Statistics of the data from indexes and thumbnails: JSON, Parquet, plots and a contact sheet of a few actions.

The published counts of the real data stand beside those of these files.
"""

from pathlib import Path

from reid.core import cli
from reid.core.errors import ReidError
from reid.core.files import write_json
from reid.core.tables import write_parquet
from reid.data.index import read_index
from reid.data.thumbnails import open_store
from reid.reports.charts import draw_charts
from reid.reports.contact_sheet import contact_sheet
from reid.reports.statistics import INDEX_COLUMNS, distributions, long_table, statistics


def main(args):
    if len(args.index) != len(args.thumbnails):
        raise ReidError("--thumbnails: needs one file for each of --index, in the same order")
    tables, stores = {}, {}
    for index, store in zip(args.index, args.thumbnails, strict=True):
        table, about = read_index(index, INDEX_COLUMNS)
        if about["split"] in tables:
            raise ReidError(f"{index}: is of {about['split']}, and so is another of --index; give each split once")
        tables[about["split"]], stores[about["split"]] = table, open_store(store, len(table))
    if args.split not in tables:
        raise ReidError(f"--split {args.split}: is none of --index, which are of {', '.join(tables)}")
    counted = {split: distributions(table) for split, table in tables.items()}
    write_json(args.json, statistics(tables, counted, stores))
    write_parquet(args.parquet, long_table(tables, counted))
    draw_charts(counted, args.plots)
    contact_sheet(args.sheet, tables[args.split], stores[args.split], args.split)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--index", required=True, type=Path, nargs="+", help="one file per split")
    parser.add_argument("--thumbnails", required=True, type=Path, nargs="+", help="one file per index")
    parser.add_argument("--json", required=True, type=Path, help="the statistics to make")
    parser.add_argument("--parquet", required=True, type=Path, help="all counts to make, in one long table")
    parser.add_argument("--plots", required=True, type=Path, help="folder of the plots to make (SVG)")
    parser.add_argument("--sheet", required=True, type=Path, help="the contact sheet to make (PNG)")
    parser.add_argument("--split", default="valid", help="of the contact sheet")
    cli.run(main, parser)
