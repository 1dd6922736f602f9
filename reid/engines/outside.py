"""What params.yaml and studies name outside of the pipeline's own files: zips, weights, embeddings made elsewhere.

Both engines depend on the content of what is named. Snakemake takes :func:`download`, :func:`weights` and
:func:`external` as parameters of its rules, so that no path of a user's is one of its patterns; DVC depends on the
records that its stage ``inputs`` makes of the same.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from reid.core.checksums import sums_path
from reid.core.errors import ReidError, summarise
from reid.core.files import read_json, regular, sha256, write_json
from reid.core.splits import RANKED, SPLITS, split_folders
from reid.params.files import missing_files
from reid.params.schema import Params
from reid.raw.directory import directory_bytes
from reid.raw.tree import walk
from reid.studies.study import read_study, study_path

Content = dict[str, Any]

RECORDS = Path("data/inputs")
WEIGHTS = RECORDS / "weights"
STUDIES = RECORDS / "studies"
MEMORY = Path(".snakemake/outside.json")


def check(params: Params) -> None:
    """Check that everything that is named is there.

    Raises:
        ReidError: it is not; all in one message.
    """
    if problems := missing_files(params):
        raise ReidError(summarise(problems, "params.yaml"))


def record(params: Params, content: Mapping[str, Any]) -> None:
    """Write what DVC depends on: data/inputs/{download,external_models,embed}.json, data/inputs/weights/{model}.json.

    They hold also the sections of params.yaml that the stages ``weights`` and ``embed`` depend on: DVC parses the
    whole file once for each stage that has parameters, which with many models is most of its time.

    Args:
        params: the parameters.
        content: the file as it is written, which is what Snakemake's rules depend on.

    Raises:
        ReidError: something that is named is missing.
    """
    check(params)
    records: dict[Path, Any] = {
        RECORDS / "download.json": {split: download(params, split) for split in SPLITS},
        RECORDS / "external_models.json": {
            model: {split: external(params, model, split) for split in RANKED} for model in params.external_models
        },
        RECORDS / "embed.json": content["embed"],
    }
    for name in params.models:
        model = content["models"][name]
        sections = {"network": model["network"], "input": model["input"]}
        records[WEIGHTS / f"{name}.json"] = {**sections, "file": weights(params, name)}
    for folder in (WEIGHTS, STUDIES):  # outputs of the stage, with or without something in them
        folder.mkdir(parents=True, exist_ok=True)
    _keep(records, {path for path in RECORDS.rglob("*.json") if path.parent != STUDIES})


def record_studies(names: Iterable[str]) -> None:
    """Write what DVC's stages of studies depend on: data/inputs/studies/{study}.json.

    The rows are those that are checked before a study runs: what stays as it runs changes nothing here. Of a study
    that cannot be, or that names what is missing, the record is the reason: its own stage is then run again and says
    so, and no other waits for it.

    Args:
        names: of the studies that are stages.
    """
    records: dict[Path, Content] = {}
    for name in names:
        try:
            records[STUDIES / f"{name}.json"] = study(study_path(name))
        except ReidError as error:
            records[STUDIES / f"{name}.json"] = {"problem": str(error)}
    _keep(records, set(STUDIES.glob("*.json")))


def _keep(records: Mapping[Path, Any], present: set[Path]) -> None:
    """Write records that do not hold, and remove those of models or studies that are no longer named."""
    for path in present - set(records):
        path.unlink()
        sums_path(path).unlink(missing_ok=True)
    for path, found in records.items():
        if not _holds(path, found):
            write_json(path, found)


def _holds(path: Path, content: Content) -> bool:
    try:
        return bool(read_json(path) == content)
    except ReidError:  # it is not there, or damaged
        return False


def download(params: Params, split: str) -> Content | None:
    """Content of the user's own zip or folder of one split; None where the zips come from elsewhere.

    Raises:
        ReidError: neither is there, or the zip is none.
    """
    folder = params.download.folder()
    if params.download.source != "local" or folder is None:
        return None
    places = split_folders(folder)
    for path in [place / f"{split}.zip" for place in places]:
        if os.path.lexists(path):
            return _remembered(regular(path), _of_zip)
    for path in [place / split for place in places]:
        if path.is_dir():
            return _of_tree(path)
    raise ReidError(f"download.path: {folder} holds neither {split}.zip nor {split}/; put it there or correct this")


def weights(params: Params, model: str) -> Content | None:
    """Content of the file that a model starts from; None without one, and for a checkpoint that a run here makes."""
    path = params.models[model].network.file()
    return None if path is None or params.made_here(model) else _remembered(Path(path), _of_file)


def external(params: Params, model: str, split: str) -> Content:
    """Content of the embeddings of one split that were made elsewhere, by the ending of their file.

    Raises:
        ReidError: there are none.
    """
    folder = params.external_models[model].place()
    paths = [path for ending in ("npy", "parquet") if (path := folder / f"{split}.{ending}").is_file()]
    if not paths:
        raise ReidError(
            f"external_models.{model}.folder: {folder} holds neither {split}.npy nor {split}.parquet; put the "
            "embeddings there, or correct the folder"
        )
    return {path.suffix[1:]: _remembered(path, _of_file) for path in paths}


def study(path: Path) -> Content:
    """Content of a study's base, and of the zips and weights that its rows name, by the names of their jobs.

    Args:
        path: of the study file.

    Raises:
        ReidError: the study cannot be, or something that it names is missing.
    """
    from reid.studies import plan  # with its tables, which Snakemake needs not wait for

    file = read_study(path)
    rows = plan.check(file, path)
    plan.check_files(rows, path)
    zips: dict[str, Content] = {}
    files: Content = {}
    for row, seed in rows.runs():
        jobs, params = row.jobs(seed), row.params
        (model,) = params.models
        known = zips.setdefault(jobs.source, {})
        for split in sorted({*file.splits, *params.trained_on(model)} - set(known)):
            known[split] = download(params, split)
        if jobs.weights not in files:
            files[jobs.weights] = weights(params, model)
    return {"base": sha256(file.base), "download": zips, "weights": files}


def _of_file(path: Path) -> Content:
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def _of_zip(path: Path) -> Content:
    """Size and directory of a zip, which has the CRC of every member: 12 GB need not be read."""
    directory = directory_bytes(path)
    return {"bytes": path.stat().st_size, "sha256_of_directory": hashlib.sha256(directory).hexdigest()}


def _of_tree(path: Path) -> Content:
    """Names, sizes and times of all files below a folder: hundreds of thousands, whose content is not read."""
    lines: list[str] = []
    for name, entry, _ in walk(path):
        if not entry.is_dir():
            status = entry.stat(follow_symlinks=entry.is_file())
            lines.append(f"/{name}\0{status.st_size}\0{status.st_mtime_ns}")
    listing = "\0\0".join(sorted(lines)).encode("utf-8", "surrogateescape")
    return {"files": len(lines), "sha256_of_listing": hashlib.sha256(listing).hexdigest()}


def _remembered(path: Path, content: Callable[[Path], Content]) -> Content:
    """``content(path)``, worked out again only when the file has another size, time or place on its disk."""
    status = path.stat()
    seen = [content.__name__, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]
    key = os.path.abspath(path)
    memory = _memory()
    if key in memory and memory[key].get("seen") == seen:
        found: Content = memory[key]["content"]
        return found
    found = content(path)
    if abs(time.time() - status.st_ctime) > 2:  # a later change within a tick of the clock would not be seen
        partial = MEMORY.with_name(f"outside.{os.getpid()}.json")
        with contextlib.suppress(OSError):  # it will be worked out once more
            partial.write_text(json.dumps({**memory, key: {"seen": seen, "content": found}}), encoding="utf-8")
            os.replace(partial, MEMORY)
    return found


def _memory() -> dict[str, Any]:
    try:
        memory = json.loads(MEMORY.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return memory if isinstance(memory, dict) else {}
