"""Make a data set of crops of one's own, PNG or JPEG: zips in the layout of SoccerNet-ReID.

Wanted is FOLDER/IDENTITY/IMAGE.jpg, of which every fifth identity goes to valid, or FOLDER/train/IDENTITY/IMAGE.jpg
and the same under valid and test, or the folders and names of SoccerNet-ReID (FOLDER/valid/query/...), where JPEGs
become PNGs. Then set download.source: local and download.path in params.yaml.
"""

from pathlib import Path

from reid.core import cli
from reid.core.cli import log
from reid.sources.own import own_dataset


def main(args):
    for split, (images, identities, actions) in own_dataset(args.images, args.out, args.identities).items():
        path = args.out / f"{split}.zip"
        log.info(
            "%s: %s images of %s identities in %s actions", path, f"{images:,}", f"{identities:,}", f"{actions:,}"
        )
    log.info("set download: {source: local, path: %s} in params.yaml", args.out)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--images", required=True, type=Path, help="the folder of crops")
    parser.add_argument("--out", required=True, type=Path, help="the folder for the zips")
    parser.add_argument(
        "--identities", type=cli.whole(2, 10_000), default=10, help="that are compared with each other (an action)"
    )
    cli.run(main, parser)
