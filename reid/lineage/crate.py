"""A Workflow Run RO-Crate of a finished run: what was computed from what, by content, for archives and other tools.

Profile: Provenance Run Crate 0.5 (https://w3id.org/ro/wfrun/provenance/0.5): the workflow, its steps, the program of
each, and what each run of it took and made. Small texts lie in the crate; what is large or holds images of the data
set, which must not be handed on, is named by its hashes alone. Everything comes from ``dvc.lock`` and the provenance
of the submissions. Studies are no part of the run: they are none of the workflow's steps, and of a time of their own.
"""

import hashlib
import importlib.metadata
import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reid.core.errors import ReidError
from reid.core.files import read_json, replacing
from reid.lineage.lock import Item, Stage, declared, read_lock
from reid.raw.archive import write_members

MOST = 1 << 23  # bytes of a file that lies in the crate
_TEXTS = (".csv", ".json", ".md", ".svg", ".tsv")  # no images of people
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
_DONE = "http://schema.org/CompletedActionStatus"
_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
_ALWAYS = ("README.md", "LICENSE", "params.yaml", "dvc.lock", "dvc.yaml")
_ENCODING = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tsv": "text/tab-separated-values",
    ".yaml": "application/yaml",
    ".zip": "application/zip",
}


def write_crate(path: Path | str, folder: Path | str = ".") -> tuple[int, int]:
    """Write the crate of the run in a folder, as a zip; the same run gives the same bytes.

    Args:
        path: the ``.zip`` to make.
        folder: where the run was made: that of ``dvc.lock``.

    Returns:
        (int, int): how many files lie in it, and how many are only named

    Raises:
        ReidError: rocrate is not installed; the run is not recorded, or a file is not what is recorded of it.
    """
    maker = _Maker(Path(folder))
    content = maker.content()
    members = sorted({**maker.files, "ro-crate-metadata.json": content}.items())
    with replacing(path) as partial:
        write_members(partial, members)
    return len(members), maker.named


class _Maker:
    """Puts the entities of one crate together.

    Attributes:
        files: path to content of what lies in the crate.
        named: how many files and folders are only named.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from rocrate.rocrate import ROCrate
        except ImportError as error:
            raise ReidError(
                "a crate needs the package rocrate; install it: pip install --require-hashes -r envs/export.txt"
            ) from error
        self.folder, self.files, self.named = folder, dict[str, bytes](), 0
        recorded, present = read_lock(folder / "dvc.lock"), declared(folder)
        self.stages = [stage for stage in recorded if stage.name in present and stage.rule != "study"]
        self.records = _records(folder)
        lock = (folder / "dvc.lock").read_bytes()
        self.base = f"arcp://uuid,{uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(lock).hexdigest())}/"
        self.crate: Any = ROCrate(version="1.1")  # what the profiles extend
        self.items: dict[str, Any] = {}

    def content(self) -> bytes:
        """The metadata of the crate, JSON-LD."""
        time = self.records[-1]["time"].replace("Z", "+00:00")
        self._describe_root(time)
        for name in _ALWAYS:
            if (self.folder / name).is_file():
                self._include(name, (self.folder / name).read_bytes())
        workflow = self._workflow()
        run = self._run(workflow, time)
        self.crate.root_dataset["mentions"] = [run, *self._steps(time)]
        found = self.crate.metadata.generate()
        found["@graph"] = [{key: _compact(value) for key, value in entity.items()} for entity in found["@graph"]]
        return (json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()

    def _describe_root(self, time: str) -> None:
        root = self.crate.root_dataset
        splits = " and ".join(record["split"] for record in self.records)
        self.crate.name = f"SoccerNet player re-identification: submissions of {splits}"
        self.crate.description = (
            "One run of a DVC and Snakemake pipeline: what every stage took and made, by content. What is larger than "
            f"{MOST >> 20} MiB or holds images is named by its hashes and does not lie in the crate."
        )
        root["datePublished"] = time
        root["license"] = {"@id": "LICENSE"}
        root["conformsTo"] = [self._entity(uri, "CreativeWork", name=name) for uri, name in _PROFILES.items()]
        for uri in _PROFILES:
            self.crate.get(uri)["version"] = uri.rsplit("/", 1)[1]
        self.crate.metadata.extra_contexts.append(_TERMS)

    def _entity(self, id_: str, kind: str, **properties: Any) -> Any:
        from rocrate.model.contextentity import ContextEntity

        return self.crate.add(ContextEntity(self.crate, id_, {"@type": kind, **properties}))

    def _include(self, path: str, content: bytes, *kinds: str, **properties: Any) -> Any:
        """A file that lies in the crate; ``kinds``: what it is beside a file."""
        self.files[path] = content
        known: dict[str, Any] = {
            "name": path,
            "contentSize": str(len(content)),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        if (ending := Path(path).suffix) in _ENCODING:
            known["encodingFormat"] = _ENCODING[ending]
        if kinds:
            known["@type"] = ["File", *kinds]
        made = self.crate.add_file(str(self.folder / path), path, properties={**known, **properties})
        self.items[path] = made
        return made

    def _item(self, item: Item) -> Any:
        """A file or folder that a stage took or made."""
        if item.path in self.items:
            return self.items[item.path]
        packed = not item.folder and item.size <= MOST and item.path.endswith(_TEXTS)
        if packed and (content := self._read(item)) is not None:
            return self._include(item.path, content, md5=item.md5)
        from rocrate.model.data_entity import DataEntity

        self.named += 1
        kind = {"@type": "Dataset"} if item.folder else {"@type": "File", "contentSize": str(item.size)}
        described = {**kind, "name": item.path, "md5": item.md5.removesuffix(".dir")}
        described["description"] = "is not in the crate" + ("; the MD5 is that of DVC's list" if item.folder else "")
        ending = Path(item.path).suffix
        if not item.folder:
            described["encodingFormat"] = _ENCODING.get(ending, "application/octet-stream")
        made = self.crate.add(DataEntity(self.crate, self.base + item.path, described))
        self.items[item.path] = made
        return made

    def _read(self, item: Item) -> bytes | None:
        """Content of a file, which must be what is recorded; None if it is not here."""
        path = self.folder / item.path
        if not path.is_file():
            return None
        content = path.read_bytes()
        if hashlib.md5(content).hexdigest() != item.md5:
            raise ReidError(f"{path}: is not what dvc.lock records; after a run, `make record` first")
        return content

    def _workflow(self) -> Any:
        """The main workflow: the Snakefile, with its rule files and the programs of its steps."""
        language = self._entity(
            "https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
            "ComputerLanguage",
            name="Snakemake",
            identifier={"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
            url={"@id": "https://snakemake.github.io"},
            version=importlib.metadata.version("snakemake"),
        )
        workflow = self._include(
            "Snakefile",
            (self.folder / "Snakefile").read_bytes(),
            *("SoftwareSourceCode", "ComputationalWorkflow", "HowTo"),
            name="SoccerNet player re-identification",
            programmingLanguage=language,
            **self._version(),
        )
        for path in sorted((self.folder / "workflow/rules").glob("*.smk")):
            self._include(str(path.relative_to(self.folder)), path.read_bytes())
        rules = list(dict.fromkeys(stage.rule for stage in self.stages))
        workflow["hasPart"] = [self._program(rule) for rule in rules]  # and nothing else, by the profile
        workflow["step"] = [
            self._entity(
                f"#step/{rule}", "HowToStep", name=rule, position=str(position), workExample=self._program(rule)
            )
            for position, rule in enumerate(rules)
        ]
        self.crate.root_dataset["mainEntity"] = workflow
        return workflow

    def _version(self) -> dict[str, str]:
        """The commit of the code, if the run was made in a repository."""
        commit = self.records[-1]["code"].get("commit")
        return {"version": commit} if commit else {}

    def _program(self, rule: str) -> Any:
        name = f"scripts/{rule}.py"
        if name in self.items:
            return self.items[name]
        kinds = "SoftwareSourceCode", "SoftwareApplication"
        return self._include(name, (self.folder / name).read_bytes(), *kinds, name=rule, **self._version())

    def _run(self, workflow: Any, time: str) -> Any:
        """The run as a whole: from what no stage made to what no stage took."""
        made = {item.path: item for stage in self.stages for item in stage.outputs}
        taken = {item.path: item for stage in self.stages for item in stage.inputs}
        first = [item for path, item in taken.items() if path not in made and not _inside(path, made)]
        last = [item for path, item in made.items() if path not in taken and not _inside(path, taken)]
        machine = self.records[-1]["machine"]
        return self._entity(
            "#run",
            "CreateAction",
            name="The run of the pipeline",
            description=f"on {machine['processor']}, {machine['system']}, Python {machine['python']}",
            instrument=workflow,
            object=[self.items["params.yaml"], *map(self._item, first)],
            result=[self._item(item) for item in last],
            endTime=time,
            actionStatus=_DONE,
        )

    def _steps(self, time: str) -> list[Any]:
        """The run of each stage, and what says that the engine ran it."""
        actions, controls = [], []
        for stage in self.stages:
            action = self._entity(
                f"#run/{stage.name}",
                "CreateAction",
                name=f"Run of {stage.name}",
                description=f"The stage {stage.name} of dvc.yaml, as dvc.lock records it",
                instrument=self.items[f"scripts/{stage.rule}.py"],
                object=[*map(self._item, stage.inputs), *self._parameters(stage)],
                result=[self._item(item) for item in stage.outputs],
                actionStatus=_DONE,
            )
            actions.append(action)
            step = self.crate.get(f"#step/{stage.rule}")
            named = f"Control of {stage.name}"
            controls.append(
                self._entity(f"#control/{stage.name}", "ControlAction", name=named, instrument=step, object=action)
            )
        engine = self._entity(
            "https://snakemake.github.io",
            "SoftwareApplication",
            name="Snakemake",
            softwareVersion=importlib.metadata.version("snakemake"),
            url={"@id": "https://snakemake.github.io"},
        )
        organized = self._entity(
            "#engine",
            "OrganizeAction",
            name="Snakemake runs the pipeline",
            instrument=engine,
            object=controls,
            result=self.crate.get("#run"),
            endTime=time,
        )
        return [*actions, organized]

    def _parameters(self, stage: Stage) -> Iterable[Any]:
        for key, value in stage.parameters.items():
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            yield self._entity(f"#parameter/{stage.name}/{key}", "PropertyValue", name=key, value=text)


def _compact(value: Any) -> Any:
    """A list of one as the one, which RO-Crate recommends."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _inside(path: str, others: Iterable[str]) -> bool:
    """Whether one of the others is a folder around ``path``."""
    return any(path.startswith(f"{other}/") for other in others)


def _records(folder: Path) -> list[dict[str, Any]]:
    """Provenance of the submissions, the earliest first."""
    paths = sorted((folder / "results/submission").glob("*.provenance.json"))
    if not paths:
        raise ReidError(
            f"{folder / 'results/submission'}: holds no provenance; `snakemake --cores 8 submission` makes it"
        )
    records = [read_json(path, maker="scripts/provenance.py") for path in paths]
    for path, record in zip(paths, records, strict=True):
        if not isinstance(record, dict) or not {"split", "time", "code", "machine"} <= set(record):
            raise ReidError(f"{path}: is not the provenance of a submission; make it with scripts/provenance.py")
    return sorted(records, key=lambda record: (record["time"], record["split"]))
