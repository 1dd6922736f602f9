"""The two engines resolve the same pipeline: rules, commands, inputs, outputs, parameters, code."""

import re
from modulefinder import ModuleFinder
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from snakemake.api import SnakemakeApi
from snakemake.settings.types import DAGSettings, ResourceSettings

import engine

ROOT = Path(__file__).resolve().parents[1]
TRAINABLE = [
    f"{kind}/{split}.{end}"
    for kind, end in (("index", "parquet"), ("thumbnails", "npy"))
    for split in ("train", "valid", "test")
]
RUN = "snakemake --cores 8 --allowed-rules"


@pytest.fixture(scope="module")
def stages():
    """DVC's stages, resolved: name with model to stage."""
    return {stage.addressing: stage for stage in Repo(str(ROOT)).index.stages}


@pytest.fixture(scope="module")
def workflow():
    """Snakemake's workflow with the whole graph of jobs for the target ``submission``."""
    with SnakemakeApi() as api:
        found = api.workflow(resource_settings=ResourceSettings(cores=8), snakefile=ROOT / "Snakefile", workdir=ROOT)
        models = yaml.safe_load((ROOT / "params.yaml").read_text())["models"]
        embeddings = {f"results/embeddings/{m}/{s}.npy" for m in models for s in ("valid", "test", "challenge")}
        found.dag(DAGSettings(targets={"submission", *embeddings}, forceall=True))
        found._workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        found._workflow._build_dag()
        return found._workflow


@pytest.fixture(scope="module")
def rules(workflow):
    """Snakemake's rules by name."""
    return {rule.name: rule for rule in workflow.rules}


@pytest.fixture(scope="module")
def files(workflow):
    """Snakemake's outputs, resolved: path to (rule, inputs, parameters, all outputs of its job)."""
    return {
        str(path): (job.rule.name, {str(i) for i in job.input}, list(job.params), frozenset(map(str, job.output)))
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


def test_there_is_a_stage_for_every_model(stages):
    models = yaml.safe_load((ROOT / "params.yaml").read_text())["models"]
    for rule in ("weights", "train", "embed"):
        assert {name.split("@")[1] for name in stages if name.startswith(f"{rule}@")} == set(models)


def test_a_stage_has_its_rules_outputs(stages, files):
    for name, stage in stages.items():
        outputs = {re.sub(r"^(results/browse)/.*", r"\1", path) for path in outputs_of(files, name)}  # as a folder
        assert {out.def_path for out in stage.outs} == outputs, name


def test_a_stage_runs_its_rule_for_its_outputs(stages, files):
    for name, stage in stages.items():
        rule, _, targets = stage.cmd.removeprefix(RUN).strip().partition(" -- ")
        assert stage.cmd.startswith(RUN) and rule == name.split("@")[0]
        targets = targets.split()
        # one target for each of the rule's jobs, and together they make all outputs
        jobs = {files[path][3] for path in outputs_of(files, name)}
        assert {files[path][3] for path in targets} == jobs and len(targets) == len(jobs), name


def test_a_stage_has_its_rules_inputs(stages, files, rules):
    for name, stage in stages.items():
        inputs = set().union(*(files[path][1] for path in outputs_of(files, name)))
        inputs = {re.sub(r"^(results/embeddings)/.*", r"\1", path) for path in inputs}  # DVC takes the folder
        rule_file = Path(rules[name.split("@")[0]].snakefile).relative_to(ROOT)
        declared = {dep.def_path for dep in stage.deps} - {"params.yaml"}
        if name.startswith("train@"):  # DVC cannot choose: all that train.splits and watch may name
            inputs |= {f"data/{kind}" for kind in TRAINABLE}
        assert declared == inputs | {str(rule_file)}, f"{name}: correct its deps in dvc.yaml"


def test_a_stage_has_its_rules_parameters(stages, files):
    content = yaml.safe_load((ROOT / "params.yaml").read_text())

    def value(key):
        found = content
        for part in key.split("."):
            found = found[part]
        return found

    for name, stage in stages.items():
        keys = [key for dep in stage.deps for key in getattr(dep, "params", [])]
        for path in outputs_of(files, name):
            assert files[path][2] == [value(key) for key in keys], name


def test_embeddings_of_every_fused_model_go_into_the_distances(files):
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    fused = content["distances"]["models"] or content["models"]
    for split in ("valid", "test", "challenge"):
        inputs = files[f"results/distances/{split}.parquet"][1]
        for model in fused:
            assert f"results/embeddings/{model}/{split}.npy" in inputs


SCRIPTS = ["download", "index", "thumbnails", "describe", "weights", "train", "embed", "distances", "evaluate", "rank"]
SCRIPTS += ["browse", "figures", "curves"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_declared_code_is_all_that_a_script_imports(script):
    finder = ModuleFinder(path=[str(ROOT / "scripts")])  # nothing but the project's own modules is found
    finder.run_script(str(ROOT / "scripts" / f"{script}.py"))
    imported = {str(Path(m.__file__).relative_to(ROOT)) for m in finder.modules.values() if m.__file__}
    assert set(engine.code(script)) == imported
    assert f"scripts/{script}.py" in imported and "scripts/reid/errors.py" in imported


def test_the_graph_in_the_readme_is_the_workflow(workflow):
    drawn = re.search(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    edges = {(d.rule.name, job.rule.name) for job in workflow.dag.jobs for d in workflow.dag.dependencies[job]}
    assert len(edges) > 10
    assert set(re.findall(r"(\w+) --> (\w+)", drawn)) == edges
