"""Make the thumbnail store of one split: every image of its zip decoded and resized once (uint8, N x H x W x 3).

A team's shared place (REID_SHARED) is looked into first, and gets what was not there.
"""

from pathlib import Path

from reid.core import cli, shared
from reid.data.index import read_index
from reid.data.thumbnails import build_store, content_facts, layout, open_store
from reid.params.reading import read_params


def main(args):
    section = read_params(args.params).thumbnails
    table, about = read_index(args.index)
    shared.obtain(
        args.out,
        "thumbnails",
        lambda: content_facts(table, about["sha256"], section),
        lambda: build_store(args.zip, table, args.out, section, args.threads),
        lambda path: open_store(path, len(table)),
        layout(len(table), section.height, section.width)[1],
    )


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--zip", required=True, type=Path)
    parser.add_argument("--index", required=True, type=Path, help="the zip's index")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--threads", type=cli.THREADS, default=1)
    cli.run(main, parser)
