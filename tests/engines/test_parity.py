"""The two engines resolve the same pipeline: rules, commands, inputs, outputs, parameters, code."""

import copy
import json
import os
import re
import shutil
import subprocess
from modulefinder import ModuleFinder
from pathlib import Path

import pytest
import yaml
from dvc.fs import localfs
from dvc.repo import Repo
from snakemake.api import SnakemakeApi
from snakemake.settings.types import DAGSettings, ResourceSettings

from builders import ROOT
from reid.core.splits import RANKED, SPLITS
from reid.engines import outside
from reid.engines import workflow as engine
from reid.engines.outside import RECORDS
from reid.engines.stage import INPUTS, command
from reid.lineage.lock import declared
from reid.params import check_params, extensions

TRAINABLE = [
    f"{kind}/{split}.{end}"
    for kind, end in (("index", "parquet"), ("thumbnails", "npy"))
    for split in ("train", "valid", "test")
]
OUTSIDE = {"file", "files", "folder"}  # parameters of rules that say what lies outside; DVC's records do for stages
EXTERNAL = {"elsewhere": {"folder": "embeddings/elsewhere"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The project with a model that is trained and one whose embeddings are made elsewhere."""
    folder = tmp_path_factory.mktemp("parity")
    for name in ("Snakefile", "dvc.yaml", ".dvc/config", ".dvcignore"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in ("workflow", "scripts", "reid", "extensions", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["external_models"] = EXTERNAL
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    for split in RANKED:
        (folder / EXTERNAL["elsewhere"]["folder"]).mkdir(parents=True, exist_ok=True)
        (folder / EXTERNAL["elsewhere"]["folder"] / f"{split}.npy").write_bytes(b"any")
    return folder


@pytest.fixture(scope="module")
def params(folder):
    return yaml.safe_load((folder / "params.yaml").read_text())


@pytest.fixture(scope="module")
def stages(folder):
    """DVC's stages but the one that looks outside, resolved: name with model to stage."""
    subprocess.run(["git", "init", "-q", folder], check=True)
    return {stage.name: stage for stage in Repo(str(folder)).index.stages if stage.name != INPUTS}


@pytest.fixture(scope="module")
def workflow(folder, stages):
    """Snakemake's workflow with the whole graph of jobs: for its target, and for all that DVC's stages make."""
    before, environment = Path.cwd(), dict(os.environ)
    with SnakemakeApi() as api:
        found = api.workflow(
            resource_settings=ResourceSettings(cores=8), snakefile=folder / "Snakefile", workdir=folder
        )
        made = {out.def_path for stage in stages.values() for out in stage.outs if Path(out.def_path).suffix}
        found.dag(DAGSettings(targets={"submission", *made}, forceall=True))
        found._workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        found._workflow._build_dag()
        yield found._workflow
    os.chdir(before)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="module")
def rules(workflow):
    """Snakemake's rules by name."""
    return {rule.name: rule for rule in workflow.rules}


@pytest.fixture(scope="module")
def files(workflow):
    """Snakemake's outputs, resolved: path to (rule, inputs, parameters, all outputs of its job)."""
    return {
        str(path): (
            job.rule.name,
            {str(i) for i in job.input},
            [value for name, value in job.params.items() if name not in OUTSIDE],
            frozenset(map(str, job.output)),
        )
        for job in workflow.dag.jobs
        for path in job.output
    }


def outputs_of(files, stage):
    rule, _, model = stage.partition("@")
    return {
        path for path, (name, *_) in files.items() if name == rule and (not model or model in re.split("[/.-]", path))
    }


def test_every_rule_is_a_stage_and_every_stage_a_rule(rules, stages):
    assert {name.split("@")[0] for name in stages} == set(rules) - {"submission"}
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert {name.split("@")[0] for name in stages} <= scripts


def test_there_is_a_stage_for_every_model(stages, params):
    for rule in ("weights", "train", "embed", "curves"):
        assert {name.split("@")[1] for name in stages if name.startswith(f"{rule}@")} == set(params["models"])
    assert {name.split("@")[1] for name in stages if name.startswith("external@")} == set(EXTERNAL)


def test_the_stages_that_lineage_finds_are_those_of_dvc(stages, folder):
    assert declared(folder) == {name: [out.def_path for out in stage.outs] for name, stage in stages.items()}


def test_a_stage_has_its_rules_outputs(stages, files):
    for name, stage in stages.items():
        outputs = {re.sub(r"^(results/browse/\w+)/.*", r"\1", path) for path in outputs_of(files, name)}  # as folders
        assert {out.def_path for out in stage.outs} == outputs, name


def test_a_stage_runs_its_rule_for_its_outputs(stages, files, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in stages:
        rule, _, model = name.partition("@")
        words = command(rule, model)
        assert words[:6] == ["snakemake", "--cores", "8", "--allowed-rules", rule, "--"]
        # together they make the outputs of all of the rule's jobs, and nothing else
        jobs = {files[path][3] for path in outputs_of(files, name)}
        assert {files[path][3] for path in words[6:]} == jobs, name


def by_folder(path):
    """Code is declared by the package to DVC, and so are the embeddings of all models."""
    return re.sub(r"^(reid/\w+|extensions|results/embeddings)/.*", r"\1", path)


def test_a_stage_has_its_rules_inputs(stages, files, rules):
    for name, stage in stages.items():
        inputs = {by_folder(path) for path in set().union(*(files[path][1] for path in outputs_of(files, name)))}
        rule_file = Path(rules[name.split("@")[0]].snakefile)
        declared = {dep.def_path for dep in stage.deps} - {"params.yaml"}
        if name.startswith("train@"):  # DVC cannot choose: all that train.splits and validation may name
            inputs |= {f"data/{kind}" for kind in TRAINABLE}
        if name == "provenance":  # all that train.splits may name; embeddings stand for what they were made of
            inputs |= {f"data/{kind}" for kind in TRAINABLE} | {f"data/raw/{split}.json" for split in SPLITS}
            inputs = {path for path in inputs if not path.startswith(("results/models/", "data/weights/"))}
        declared -= {"extensions"} - inputs  # there may be none
        declared -= records_of(name)
        assert declared == inputs | {f"workflow/rules/{rule_file.name}"}, f"{name}: correct its deps in dvc.yaml"


def records_of(stage):
    """What a stage depends on in data/inputs."""
    rule, _, model = stage.partition("@")
    parts = {"download": "download", "weights": f"weights/{model}", "external": "external_models", "embed": "embed"}
    return {f"{RECORDS}/{parts[rule]}.json"} if rule in parts else set()


def test_what_lies_outside_is_an_input_in_both_engines(stages, workflow):
    for name, stage in stages.items():
        records = {dep.def_path for dep in stage.deps if dep.def_path.startswith(f"{RECORDS}/")}
        assert records == records_of(name), name
    for name, body in rule_bodies().items():
        looks = name in ("download", "weights", "external")
        assert re.findall(r"outside\.(download|weights|external),", body) == ([name] if looks else [])


def test_what_extensions_may_change_depends_on_them_in_both_engines(stages, workflow):
    extended = {
        name.split("@")[0] for name, stage in stages.items() if "extensions" in {d.def_path for d in stage.deps}
    }
    assert extended == {name for name, body in rule_bodies().items() if "extended=True" in body}
    assert {"weights", "train", "embed", "distances"} == extended


def test_the_files_of_extensions_are_one_list_for_both_engines(tmp_path):
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    names = ["a.py", "README.md", ".a.py.swp", ".cache/x", "scale.csv", "__pycache__/a.pyc"]
    for name in [*names, *(f"helpers/{name}" for name in names), "helpers/deep/b.csv"]:
        (tmp_path / "extensions" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "extensions" / name).write_text("any")
    ignore = Repo.init(str(tmp_path), no_scm=True).dvcignore
    seen = sorted(ignore.find(localfs, str(tmp_path / "extensions")))
    assert [str(path) for path in extensions.files(tmp_path / "extensions")] == seen
    assert [os.path.relpath(path, tmp_path / "extensions") for path in seen] == [
        *("a.py", "helpers/README.md", "helpers/a.py", "helpers/deep/b.csv", "helpers/scale.csv", "scale.csv")
    ]


def rule_bodies():
    """Name of each rule to its text."""
    text = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    return dict(zip(*[iter(re.split(r"^rule (\w+):", text, flags=re.MULTILINE)[1:])] * 2, strict=True))


def test_a_stage_has_its_rules_parameters(stages, files, params, folder, monkeypatch):
    monkeypatch.chdir(folder)

    def value(key):
        found = params
        for part in key.split("."):
            found = found[part]
        return found

    outside.record(check_params(params), params)
    for name, stage in stages.items():
        rule = name.partition("@")[0]
        keys = [key for dep in stage.deps for key in getattr(dep, "params", [])]
        values = [value(key) for key in keys]
        if rule in ("weights", "embed"):  # these stand in their records
            assert not keys
            record = json.loads(Path(*records_of(name)).read_text())
            values = [record["network"], record["input"]] if rule == "weights" else [record]
        for path in outputs_of(files, name):
            assert files[path][2] == values, name


def test_values_that_dvc_holds_for_equal_have_one_text(tmp_path, monkeypatch):
    """Snakemake compares the text of parameters, DVC their values: what reruns in one engine must in the other."""
    monkeypatch.chdir(tmp_path)
    contents = [
        "a: {input: {height: 64, width: 32}, epochs: 2, list: [{x: 1, y: 0.5}, 1]}",
        "a: {epochs: 2.0, list: [{y: 0.5, x: 1.0}, 1.0], input: {width: 32, height: 64}}",
        "a: {input: {height: 64, width: 32}, epochs: 2, list: [1, {x: 1, y: 0.5}]}",
    ]
    forms = []
    for content in contents:
        Path("params.yaml").write_text(content)
        config = {"yes": 1}
        engine.read_as_we_do(config)
        assert config == yaml.safe_load(content)
        forms.append(repr(config))
    assert forms[0] == forms[1] != forms[2]  # a list is in an order


def test_a_ranking_is_made_of_its_split_and_of_those_that_fused_models_saw(params):
    params = copy.deepcopy(params)
    params["train"]["splits"] = ["train", "test"]
    for model in params["models"].values():
        model["epochs"] = 0
        model["network"]["weights"] = "w.pth"
        model.pop("averaging", None)
        model.pop("precise_bn", None)
    assert engine.used(check_params(params), "valid") == ["train", "valid", "test"]  # others may have seen these
    params["distances"]["models"] = dict.fromkeys(params["models"], 1.0)
    assert engine.used(check_params(params), "valid") == ["valid"]


def test_a_ranking_is_made_of_the_models_that_fused_ones_start_from(params):
    params = copy.deepcopy(params)
    params["train"]["splits"] = ["train", "test"]
    (first,) = params["models"]
    later = copy.deepcopy(params["models"][first]) | {"epochs": 0}
    later["network"]["weights"] = f"results/models/{first}/last.safetensors"
    later.pop("averaging", None)
    later.pop("precise_bn", None)
    params["models"]["later"] = later
    params["distances"]["models"] = {"later": 1.0}
    params = check_params(params)
    assert engine.used(params, "valid") == ["train", "valid", "test"]
    assert engine.checkpoints(params) == {
        "results/models/later/model.safetensors": "later",
        f"results/models/{first}/last.safetensors": first,
    }


def test_embeddings_of_every_fused_model_go_into_the_distances(files, params):
    for split in RANKED:
        inputs = files[f"results/distances/{split}.parquet"][1]
        for model in [*params["models"], *EXTERNAL]:
            assert f"results/embeddings/{model}/{split}.npy" in inputs


@pytest.mark.parametrize("rule", sorted(rule_bodies()))
def test_declared_code_is_what_a_script_imports(rule):
    """Every file that the script imports is in a package that its rule names, and no package is named in vain."""
    finder = ModuleFinder(path=[str(ROOT)])  # nothing but the project's own modules is found
    finder.run_script(str(ROOT / "scripts" / f"{rule}.py"))
    imported = {Path(m.__file__).relative_to(ROOT) for m in finder.modules.values() if m.__file__}
    packages = {path.parts[1] for path in imported if path.parts[0] == "reid" and len(path.parts) > 2}
    call = re.search(r"engine\.code\((.*?)\)", rule_bodies()[rule], re.DOTALL)[1]
    script, *named = re.findall(r'"(\w+)"', call)
    assert script == rule and set(named) == packages
    assert Path(f"scripts/{rule}.py") in imported


def test_code_is_every_file_of_its_packages_and_nothing_that_python_makes_of_it():
    files = engine.code("browse", "core", "page")
    assert "scripts/browse.py" in files and "reid/core/errors.py" in files
    assert any(path.endswith("browse.html") for path in files)
    assert not any("__pycache__" in path for path in files)


def test_the_package_itself_holds_no_code_that_would_have_to_be_declared():
    tree = compile((ROOT / "reid/__init__.py").read_text(), "reid", "exec", flags=1024)  # ast.PyCF_ONLY_AST
    assert len(tree.body) == 1


def test_the_graph_in_the_readme_is_the_workflow(workflow):
    drawn = re.search(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    dag = workflow.dag
    (submission,) = [job for job in dag.jobs if job.rule.name == "submission"]
    edges = {
        (d.rule.name, job.rule.name)
        for job in dag.bfs(dag.dependencies, submission)  # a rule of one's own need not be part of it
        for d in dag.dependencies[job]
        if "external" not in (d.rule.name, job.rule.name)
    }
    assert len(edges) > 10
    assert set(re.findall(r"(\w+) --> (\w+)", drawn)) == edges
