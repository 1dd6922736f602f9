"""Write a trained model for programs without this pipeline: ONNX, or PyTorch's exported program (torch.export).

It takes uint8 images (batch x height x width x 3, RGB), any number at a time, and gives embeddings; normalising is
inside. Before a file is there it is run and compared with PyTorch, on thumbnails of a store or else on noise.
"""

from pathlib import Path

import numpy as np

from reid.core import cli
from reid.core.cli import log
from reid.core.errors import ReidError
from reid.data.thumbnails import open_store
from reid.models.export import Export


def main(args):
    targets = {"onnx": args.onnx, "pt2": args.pt2}
    if not any(targets.values()):
        raise ReidError("nothing to write; name a file by --onnx or --pt2")
    images = None
    if args.thumbnails:
        store = open_store(args.thumbnails)
        images = store[np.linspace(0, len(store) - 1, min(args.count, len(store))).astype(int)]
    export = Export(args.checkpoint, images, args.flip_test)
    shown = f"{len(export.images)} {'thumbnails' if args.thumbnails else 'images of noise'}"
    for kind, path in targets.items():
        if path:
            difference = getattr(export, kind)(path)
            log.info("%s: differs from PyTorch by %.1e at the most, on %s", path, difference, shown)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--checkpoint", required=True, type=Path, help="results/models/{model}/model.safetensors")
    parser.add_argument("--onnx", type=Path, help="the ONNX model to make; needs envs/export.txt")
    parser.add_argument("--pt2", type=Path, help="the program for torch.export.load to make")
    parser.add_argument("--thumbnails", type=Path, help="store to compare on, whose size the model then takes")
    parser.add_argument("--count", type=cli.whole(1, 4096), default=64, help="thumbnails to compare on")
    parser.add_argument("--flip-test", action="store_true", help="build embed.flip_test into it")
    cli.run(main, parser)
