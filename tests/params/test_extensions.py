"""Files of extensions/: loaded once, all or nothing, with errors that name file and line; their sections checked."""

import re
import subprocess
import sys

import pytest

from builders import ROOT
from builders.model import MODEL, changed
from reid.core.errors import ReidError
from reid.params import WeightedLoss, backbones, check_params, extensions
from reid.params.registries import ALL, BACKBONES, LOSSES
from reid.params.schema import section_class

BACKBONE = '''
from reid.params import BACKBONES, Field, Section


class Tiny(Section):
    """A small one."""

    width: int = Field({width}, ge=1)
    ratio: float = Field(1.0, alias="lambda")


@BACKBONES.register("{name}", Tiny)
def build(params, size):
    raise NotImplementedError
'''
PARAMS = {
    "download": {"source": "soccernet"},
    "thumbnails": {"height": 32, "width": 16},
    "train": {"splits": ["train"]},
    "embed": {"batch_size": 4},
    "distances": {"metric": "cosine"},
    "evaluate": {"ranks": [1], "resamples": 100, "seed": 1},
}


@pytest.fixture
def folder(tmp_path):
    """A folder for extensions, which are forgotten after the test."""
    registries, modules = [registry.snapshot() for registry in ALL], set(sys.modules)
    folder = tmp_path / "extensions"
    folder.mkdir()
    yield folder
    for registry, state in zip(ALL, registries, strict=True):
        registry.restore(state)
    for name in set(sys.modules) - modules:
        if name.startswith("reid_extensions."):
            del sys.modules[name]


def add(folder, name="tiny", width=8, file=None):
    (folder / f"{file or name}.py").write_text(BACKBONE.format(name=name, width=width))


def check(backbone):
    """The section ``network.backbone`` of a whole parameter file."""
    whole = {**PARAMS, "models": {"one": changed(MODEL, {"network.backbone": backbone})}}
    return check_params(whole).models["one"].network.backbone


def test_every_file_is_run_once_and_new_ones_when_they_come(folder):
    mark = folder / "runs"
    (folder / "a.py").write_text(f"with open({str(mark)!r}, 'a') as file:\n    file.write('a')\n")
    extensions.load(folder)
    extensions.load(folder)
    assert mark.read_text() == "a"
    add(folder)
    extensions.load(folder)
    assert mark.read_text() == "a" and "tiny" in BACKBONES


def test_without_the_folder_there_are_none(tmp_path):
    assert extensions.files(tmp_path / "extensions") == []
    extensions.load(tmp_path / "extensions")


def test_files_are_all_below_the_folder_and_those_of_the_folder_itself_are_run(folder):
    names = ["a.py", "helpers/b.py", "helpers/deep/c.csv", "scale.csv", "helpers/README.md"]
    others = ["README.md", ".#a.py", ".cache/x", "__pycache__/a.pyc", "helpers/__pycache__/b.pyc", "helpers/.b.py.swp"]
    for name in names + others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("" if name == "a.py" else "no Python")
    assert [str(path.relative_to(folder)) for path in extensions.files(folder)] == sorted(names)
    before = set(sys.modules)
    extensions.load(folder)
    assert set(sys.modules) - before == {"reid_extensions.a"}


@pytest.mark.parametrize(
    "text, words",
    [
        ("x = 1\n1 / 0\n", ["bad.py, line 2:", "ZeroDivisionError"]),
        ("def f(:\n", ["bad.py, line 1:", "SyntaxError"]),
        ("\nimport no_such_module\n", ["bad.py, line 2:", "no_such_module"]),
        (
            "from reid.params import LOSSES, WeightedLoss\nclass Mine(WeightedLoss):\n    '''Mine.'''\n"
            "LOSSES.declare('mine')(Mine)\nLOSSES.declare('triplet')(Mine)\n",
            ["bad.py, line 5:", "there is a loss triplet already"],
        ),
    ],
)
def test_file_that_cannot_be_run_is_one_error_and_leaves_nothing_behind(folder, text, words):
    (folder / "bad.py").write_text(text)
    before = list(LOSSES)
    with pytest.raises(ReidError) as caught:
        extensions.load(folder)
    for word in [str(folder), *words]:
        assert word in str(caught.value)
    assert list(LOSSES) == before
    (folder / "bad.py").write_text("good = True\n")  # put right, it is run
    extensions.load(folder)
    assert sys.modules["reid_extensions.bad"].good


def test_failure_of_a_part_names_its_file_and_line_and_one_of_our_own_stays(folder):
    add(folder)
    extensions.load(folder)
    builder = BACKBONES.builder("tiny")
    assert extensions.source(builder) == " (extensions/tiny.py)"
    assert extensions.source(check_params) == extensions.source(None) == ""
    with (
        pytest.raises(ReidError, match=r"^network\.backbone: tiny \(extensions/tiny\.py, line 14\) fails: NotImpl"),
        extensions.named(builder, "network.backbone: tiny"),
    ):
        builder(None, None)
    with pytest.raises(ZeroDivisionError), extensions.named(check_params, "anything"):
        1 / 0  # noqa: B018


def test_loss_cannot_have_the_name_of_a_curve_beside_it():
    (curves,) = re.findall(r"^CURVES = \((.*?)\)", (ROOT / "scripts/train.py").read_text(), re.MULTILINE)
    for name in [*re.findall(r'"(\w+)"', curves), "images_per_second"]:
        with pytest.raises(ReidError, match=rf"^loss {name}: this name stands for something else"):
            LOSSES.declare(name)(WeightedLoss)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("given", ["tiny", {"kind": "tiny"}, {"kind": "tiny", "width": 8, "lambda": 1.0}])
def test_registered_backbone_is_a_section_with_its_kind(folder, count, given):
    for name in ("tiny", "other")[:count]:
        add(folder, name)
    extensions.load(folder)
    section = check(given)
    assert (section.kind, section.width, section.ratio) == ("tiny", 8, 1.0)
    assert check("resnet18") == "resnet18"


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "given, line",
    [
        ({"kind": "tiny", "widht": 4}, r"backbone\.widht: is not a parameter; did you mean width\?"),
        ({"kind": "tiny", "width": 0}, r"backbone\.width: Input should be greater than or equal to 1, not 0"),
        ({"kind": "tinny"}, r"backbone\.kind: (there is no tinny; did you mean tiny\?|.*'tiny', not 'tinny')"),
        ({"width": 3}, r"backbone(: has no kind; there are other, tiny|\.kind: is missing)"),
        (3, r"backbone: Input should be a valid dictionary or .*, not 3"),
        ("tinny", r"backbone: neither torchvision nor timm nor an extension has tinny; did you mean .*tiny.*"),
    ],
)
def test_wrong_section_of_a_registered_backbone_is_one_clear_line(folder, count, given, line):
    for name in ("tiny", "other")[:count]:
        add(folder, name)
    extensions.load(folder)
    with pytest.raises(ReidError, match=rf"^params\.yaml: 1 problem\n  - models\.one\.network\.{line}$"):
        check(given)


@pytest.mark.filterwarnings("error")
def test_model_with_a_registered_backbone_is_dumped_as_it_was_chosen(folder):
    add(folder)
    extensions.load(folder)
    network = section_class("Network")
    for backbone in ("resnet18", {"kind": "tiny", "width": 3, "lambda": 0.5}):
        params = network.model_validate({"backbone": backbone})
        content = params.model_dump(by_alias=True, exclude_none=True)
        assert content["backbone"] == backbone
        assert network.model_validate(content) == params


def test_registered_backbone_is_known_by_name_and_must_have_its_own(folder):
    add(folder)
    add(folder, "resnet18", file="mine")
    extensions.load(folder)
    assert backbones.resolve("tiny") == ("extension", "tiny")
    assert backbones.problem("tiny") is None
    assert "an extension registers resnet18, which is torchvision's already" in backbones.problem("resnet18")
    assert backbones.problem("tini").partition("did you mean ")[2].startswith("tiny")


def test_parameters_with_extensions_are_checked_without_pytorch(folder):
    add(folder)
    program = (
        "import sys; from pathlib import Path; from reid.params import extensions; from reid.params.schema import "
        f"section_class; extensions.load(Path({str(folder)!r})); "
        "print(section_class('Network').model_validate({'backbone': 'tiny'}).backbone_name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tiny", "False"]
