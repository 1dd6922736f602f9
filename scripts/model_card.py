"""Write the model card of a trained model: data, public pretraining, scores with intervals, limits, origin (Markdown).

It is made of the files of a finished run: checkpoint, summary, metrics, receipts of the zips, provenance.
"""

from pathlib import Path

from reid.core import cli
from reid.core.files import replacing
from reid.lineage.model_card import model_card
from reid.params.reading import read_params


def main(args):
    for model in args.model or read_params(args.params).models:
        text, path = model_card(model, args.params, args.data, args.results), args.out / f"{model}.md"
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--model", nargs="+", help="names in params.yaml; all models that are trained by default")
    parser.add_argument("--data", type=Path, default="data", help="folder of the run")
    parser.add_argument("--results", type=Path, default="results", help="folder of the run")
    parser.add_argument("--out", type=Path, default="results/cards", help="folder for the cards")
    parser.add_argument("--params", default="params.yaml")
    cli.run(main, parser)
