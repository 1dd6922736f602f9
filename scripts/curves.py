"""Draw how the training of one model went: loss, learning rate and mAP of valid in each epoch, its size and cost."""

from pathlib import Path

from reid.core import cli
from reid.reports.curves import draw_curves, read_curve, read_summary


def main(args):
    files = {
        "loss": args.loss,
        "learning_rate": args.learning_rate,
        "valid_mAP": args.valid,
        "valid_mAP_averaged": args.averaged,
    }
    draw_curves(args.out, *(read_curve(path, name) for name, path in files.items()), read_summary(args.summary))


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--loss", required=True, type=Path, help="TSV of scripts/train.py, as are the next three")
    parser.add_argument("--learning-rate", required=True, type=Path)
    parser.add_argument("--valid", required=True, type=Path, help="mAP of valid; a header alone without validation")
    parser.add_argument("--averaged", required=True, type=Path, help="the same of averaged weights")
    parser.add_argument("--summary", required=True, type=Path, help="JSON of scripts/train.py")
    parser.add_argument("--out", required=True, type=Path, help="the figure to make (SVG)")
    cli.run(main, parser)
