"""Draw how the training of one model went: loss, learning rate and mAP of valid in each epoch, its size and cost."""

from pathlib import Path

from reid.core import cli
from reid.reports.curves import draw_curves, read_curve, read_summary


def main(args):
    curves = [
        read_curve(path, name)
        for path, name in ((args.loss, "loss"), (args.learning_rate, "learning_rate"), (args.valid, "valid_mAP"))
    ]
    draw_curves(args.out, *curves, read_summary(args.summary))


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--loss", required=True, type=Path, help="TSV of scripts/train.py, as are the next two")
    parser.add_argument("--learning-rate", required=True, type=Path)
    parser.add_argument("--valid", required=True, type=Path, help="mAP of valid; a header alone without validation")
    parser.add_argument("--summary", required=True, type=Path, help="JSON of scripts/train.py")
    parser.add_argument("--out", required=True, type=Path, help="the figure to make (SVG)")
    cli.run(main, parser)
