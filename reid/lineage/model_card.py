"""The model card of a trained model, in Markdown: data, pretraining, scores, limits and origin (Mitchell 2019).

It is made of files of a finished run alone, and holds no time: the same run gives the same bytes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from reid.core.errors import ReidError
from reid.core.files import read_json
from reid.lineage.provenance import checkpoint, content
from reid.params.reading import model_params, read_params
from reid.params.registries import POSTPROCESSING
from reid.params.schema import CHECKPOINTS, Params, parts

_SOURCES = {
    "synthetic": "synthetic matches that the pipeline draws itself",
    "soccernet": "SoccerNet-ReID, as its owners distribute it; used under the terms of SoccerNet",
    "local": "files of the user's own, in the layout of SoccerNet-ReID",
}


class Run(NamedTuple):
    """The files of a finished run that a card is made of."""

    data: Path
    results: Path

    def zip_receipt(self, split: str) -> dict[str, Any]:
        """Of the zip of a split: SHA-256, bytes, images."""
        return _mapping(self.data / f"raw/{split}.json", "scripts/download.py")

    def summary(self, model: str) -> dict[str, Any]:
        """Of a training: splits, size, cost, best epochs."""
        return _mapping(self.results / f"training/{model}/summary.json", "scripts/train.py")

    def metrics(self) -> Iterator[dict[str, Any]]:
        """Scores of every split that has some."""
        for path in sorted((self.results / "metrics").glob("*.json")):
            yield _mapping(path, "scripts/evaluate.py")

    def commit_of(self, digest: str) -> str | None:
        """The commit that a submission of this checkpoint was made at, if its provenance lies here."""
        for path in sorted((self.results / "submission").glob("*.provenance.json")):
            record = _mapping(path, "scripts/provenance.py")
            if any(item.get("sha256") == digest for item in record.get("checkpoints", [])):
                code = record.get("code", {})
                if code.get("commit"):
                    return f"{code['commit']}{'' if code.get('clean') else ', with changes'}"
        return None


def _mapping(path: Path, maker: str) -> dict[str, Any]:
    found = read_json(path, maker=maker)
    if not isinstance(found, dict):
        raise ReidError(f"{path}: must be a JSON object; make it with {maker}")
    return found


def model_card(model: str, params_path: Path | str, data: Path | str, results: Path | str) -> str:
    """Write the card of a trained model as Markdown.

    Args:
        model: its name in the parameter file.
        params_path: the parameter file of the run.
        data, results: folders of the run.

    Raises:
        ReidError: a file of the run is missing or another, or the checkpoint was trained with other parameters than
            the file has now.
    """
    params, run = read_params(params_path), Run(Path(data), Path(results))
    section = model_params(params, model)
    made = checkpoint(run.results / f"models/{model}/model.safetensors")
    if made["parameters"] != section.model_dump(by_alias=True, exclude_none=True, mode="json"):
        raise ReidError(
            f"{made['path']}: was trained with other parameters than models.{model} of {params_path} has now; run the "
            "pipeline, or put back the parameters of that run"
        )
    summary = run.summary(model)
    for name in (model, *params.ancestors(model)):
        splits = run.summary(name).get("trained_on")
        if splits != params.trained_on(name):
            raise ReidError(
                f"{run.results}: {name} was trained on {splits}, and {params_path} says {params.trained_on(name)}; "
                "run the pipeline, or put back the parameters of that run"
            )
    try:
        sections = [
            [f"# {model}: a model for the re-identification of soccer players"],
            _what(params, made, summary),
            _training_data(params, run, summary, model),
            _pretraining(params, run, model),
            _scores(params, run, model),
            _limits(params, model),
            _origin(run, made),
            ["## Parameters", "", "```yaml", yaml.safe_dump(made["parameters"], sort_keys=False).strip(), "```"],
        ]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ReidError(f"{results}: a file of the run is not of this version ({error!r}); run again") from error
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _what(params: Params, made: dict[str, Any], summary: dict[str, Any]) -> list[str]:
    size = made["parameters"]["input"]
    return [
        f"From the thumbnail of one person ({size['height']} x {size['width']} pixels) to an embedding. Boxes of one "
        f"action are ranked by the {params.distances.metric} distance of their embeddings to that of the query.",
        "",
        f"- Network: {summary['backbone']}, {summary['parameters']:,} parameters, {summary['flops']:,} floating point "
        "operations for an image",
        "- Task: the SoccerNet ReID challenge. It is not meant to say who a person is.",
    ]


def _training_data(params: Params, run: Run, summary: dict[str, Any], model: str) -> list[str]:
    lines = ["## Training data", "", f"Source: {_SOURCES[params.download.source]}.", ""]
    seen = params.seen_by(model)
    if not seen:
        return [*lines, "**Trained on no split**: the pretrained weights are used as they come."]
    lines += ["| split trained on | images | SHA-256 of the zip |", "|---|---|---|"]
    for split in seen:
        receipt = run.zip_receipt(split)
        lines.append(f"| {split} | {receipt['images']:,} | `{receipt['sha256']}` |")
    if not summary["trained_on"]:
        trained = ", ".join(name for name in params.ancestors(model) if params.trained_on(name))
        return [*lines, "", f"By the training of {trained}, whose weights are used as they come."]
    used = f"{summary['thumbnails']:,} thumbnails of {summary['identities']:,} identities"
    classes = f", of the classes {', '.join(params.train.classes)}" if params.train.classes else ""
    return [*lines, "", f"Used of them: {used}{classes}."]


def _pretraining(params: Params, run: Run, model: str) -> list[str]:
    weights = params.models[model].network.weights
    head = ["## Public pretraining", ""]
    if weights is None:
        return [*head, "None: trained from random weights."]
    if made := next(iter(params.ancestors(model)), None):
        return [
            *head,
            f"That of {made}, which is trained here too; this model starts from its checkpoint `{weights}`.",
        ]
    kept = content(run.data / f"weights/{model}.safetensors")
    return [
        *head,
        f"`network.weights: {weights}` for the backbone {params.models[model].network.backbone_name}. What was used "
        f"of it has the SHA-256 `{kept['sha256']}`.",
        "",
        "The rules of the challenge ask to name public data behind these weights: see where they come from.",
    ]


def _scores(params: Params, run: Run, model: str) -> list[str]:
    lines = ["## Scores", ""]
    fused = params.fused()
    others = ", ".join(name for name in fused if name != model)
    if model not in fused:
        lines += [f"Of {others} alone: **this model has no part in them** (`distances.models`).", ""]
    elif others:
        lines += [f"Of the fusion of this model with {others}, not of this model alone.", ""]
    lines += ["| split | score | | 95 % interval | at random | |", "|---|---|---|---|---|---|"]
    notes, invalid = [], []
    for found in run.metrics():
        split, trained_on = found["split"], bool(found.get("trained_on"))
        scores = found["of_training_data"] if trained_on else found
        invalid += [split] * trained_on
        for name in ("mAP", *(key for key in scores if key.startswith("rank-")), "mINP"):
            interval = scores["interval"][name]  # none where all queries are of one action
            within = "" if interval is None else "{:.1f} to {:.1f} %".format(*(100 * end for end in interval))
            chance = scores["chance"].get(name)
            lines.append(
                f"| {split} | {name} | {100 * scores[name]:.1f} % | {within} | "
                f"{'' if chance is None else f'{100 * chance:.1f} %'} | {'**trained on**' if trained_on else ''} |"
            )
        notes.append(f"{split}: {scores['queries']:,} queries in {scores['actions']:,} actions")
    if not notes:
        return [*lines[:-2], "None: no split was scored."]
    lines += ["", f"Intervals: bootstrap over actions, whose queries share a gallery. {'; '.join(notes)}."]
    if invalid:
        lines += ["", f"**The scores of {' and '.join(invalid)} mean nothing: the model was trained on this data.**"]
    return lines


def _limits(params: Params, model: str) -> list[str]:
    lines = ["## Limits", ""]
    for split in params.seen_by(model):
        if split != "train":
            lines.append(f"- Trained on {split}: its scores of {split} mean nothing, and must not be reported.")
    if params.download.source == "synthetic":
        lines.append("- Trained on drawn matches: its scores say nothing about photographs.")
    selected = [model, *(name for name, path in params.ancestors(model).items() if path.endswith(CHECKPOINTS[0]))]
    for name in filter(params.validated, selected):
        validation = params.models[name].validation
        if validation is not None and validation.select == "best":
            lines.append(
                f"- The checkpoint of {name} was chosen by the mAP of valid, "
                "whose scores are a little too good for it."
            )
    if parts(params.distances.postprocessing, POSTPROCESSING):
        lines.append("- Scores are those after post-processing, which may have been chosen on valid (`make tune`).")
    return [
        *lines,
        "- Identities hold inside an action: it was never asked to tell people of two games apart.",
        "- The challenge's labels are hidden: of that split nothing is known.",
        "- Images of another kind (other cameras, sports, resolutions) were not tried.",
    ]


def _origin(run: Run, made: dict[str, Any]) -> list[str]:
    commit = run.commit_of(made["sha256"])
    return [
        "## Origin",
        "",
        f"- Checkpoint: SHA-256 `{made['sha256']}`, {made['bytes']:,} bytes",
        f"- Code: {f'commit `{commit}`' if commit else 'no provenance of a submission lies beside it'}",
        "- `python scripts/trace.py FILE` finds what made it; `make verify` compares files with their records.",
    ]
