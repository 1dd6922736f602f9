"""Embed a folder of images with a trained model: any PNG or JPEG, whatever its name, also in folders below.

Makes a table (Parquet) with the columns name and embedding. Images are prepared as the pipeline prepares thumbnails,
by the sections thumbnails and embed of params.yaml: those that the model was trained with.
"""

from pathlib import Path

from reid.core import cli
from reid.core.cli import log
from reid.models import slots
from reid.models.folder import embed_folder
from reid.params.reading import read_params


def main(args):
    params = read_params(args.params)
    slots.take()
    count, left_out = embed_folder(
        args.checkpoint, args.images, args.out, params.thumbnails, params.embed, args.skip_broken
    )
    log.info("%s: %s embeddings%s", args.out, f"{count:,}", f"; {left_out:,} images left out" if left_out else "")


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--checkpoint", required=True, type=Path, help="results/models/{model}/model.safetensors")
    parser.add_argument("--images", required=True, type=Path, help="the folder of images")
    parser.add_argument("--out", required=True, type=Path, help="the table to make (.parquet)")
    parser.add_argument("--skip-broken", action="store_true", help="leave out images that do not decode")
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
