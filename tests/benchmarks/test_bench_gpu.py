"""The benchmark of a GPU runs at 1/100 of its size on the CPU, and its page has its table."""

import json
import sys

import pytest
import torch

import bench_gpu
from builders import ROOT
from reid.params.model import Model

pytestmark = pytest.mark.usefixtures("torch_as_it_was")
PAGE = ROOT / "docs/benchmark-gpu.md"


def test_every_case_runs_at_a_hundredth(cpu, tmp_path):
    rows = [bench_gpu.measure(case, 0.01, tmp_path) for case in bench_gpu.CASES]
    for case, row in zip(bench_gpu.CASES, rows, strict=True):
        assert (row["kind"], row["name"], row["note"]) == (*case[:2], "")
        assert row["rate"] > 0 and 0 < row["batch"] <= 8
        assert (row["bare"] is None) == (case.kind == "memory")
        assert row["precision"] == "float32" or case.changes.get("precision") != "fp32"
    text = bench_gpu.table(rows)
    assert all(row["name"] in line for row, line in zip(rows, text.splitlines()[2:], strict=True))


def test_program_writes_nothing_in_a_trial(cpu, monkeypatch, caplog):
    caplog.set_level("INFO", "reid")
    before = {path: path.read_bytes() for path in ROOT.glob("docs/benchmark-gpu*")}
    monkeypatch.setattr(sys, "argv", ["bench_gpu.py", "--share", "0.01", "--cases", "12"])
    bench_gpu.main()
    assert "embedding, with mirror images: ViT-B/16, 256x128" in caplog.text
    assert {path: path.read_bytes() for path in ROOT.glob("docs/benchmark-gpu*")} == before


def test_without_a_gpu_it_says_how_to_try_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["bench_gpu.py"])
    with pytest.raises(SystemExit, match="there is no GPU; --share 0.01 tries everything out without one"):
        bench_gpu.main()


@pytest.mark.parametrize("number", range(len(bench_gpu.CASES)))
def test_cases_at_their_size_are_those_of_the_recipes(number):
    """Networks, sizes and batches as named; nothing else of the recipe is changed but where weights come from."""
    case = bench_gpu.CASES[number]
    model, embed = bench_gpu.params_of(case, 1)
    assert isinstance(model, Model) and model.network.weights is None and model.validation is None
    height, width = map(int, case.name.split(", ")[1].split("x"))
    assert (model.input.height, model.input.width) == (height, width)
    family = {"R": "resnet", "V": "vit", "O": "osnet"}[case.name[0]]
    assert family in model.network.backbone_name
    assert model.precision == embed.precision == case.changes.get("precision", "auto")
    assert model.network.checkpointing == ("checkpointing" in case.name)
    assert model.chunk == (32 if "chunk 32" in case.name else None)
    batch = model.sampler.actions * model.sampler.identities * model.sampler.instances
    assert batch == (128 if (case.kind, case.name[:5]) == ("train", "ViT-L") else 256)


def test_aims_are_those_of_cases_that_there_are():
    known = {(case.kind, case.name, "compile" in case.changes) for case in bench_gpu.CASES}
    assert set(bench_gpu.AIMS) <= known


def test_what_does_not_fit_is_a_row_that_says_so(cpu, tmp_path, monkeypatch):
    def fails(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(bench_gpu, "measure_training", fails)
    row = bench_gpu.measure(bench_gpu.CASES[0], 0.01, tmp_path)
    assert row["rate"] is row["share"] is None and row["note"] == "too little memory"
    assert bench_gpu.cells(row)[-1] == "too little memory"


def test_pace_counts_images_over_time(monkeypatch):
    """Looks at the clock at 0, before each call, and at the end: it calls at 1, 2, 3 and 4, for less than 5 s."""
    clock = iter(range(100))
    monkeypatch.setattr(bench_gpu.time, "perf_counter", lambda: next(clock))
    assert bench_gpu.pace(lambda: 8, 5) == pytest.approx(4 * 8 / 6)


def test_page_has_the_table_of_the_last_run():
    path = PAGE.with_suffix(".json")
    text = PAGE.read_text(encoding="utf-8").partition("<!-- table -->")[2].partition("<!-- end -->")[0]
    if path.exists():
        assert bench_gpu.table(json.loads(path.read_text(encoding="utf-8"))["rows"]) in text
    else:
        assert text == "\nNot measured yet.\n"
