"""The ablation's rows can be trained, its intervals cover what they should, and its page tells what it found."""

import json
import re

import numpy as np
import pytest

import ablation
import ablation_page
import ablation_rows
from builders import ROOT
from reid.params import read_params


def test_every_row_is_a_valid_parameter_file_of_the_same_length_and_network():
    settings, seen = {"model": {}, "distances": {}}, []
    kit = ablation_rows.params_of(settings, 1)
    for part in [*ablation_rows.PARTS, *ablation_rows.LONGER_PARTS]:
        for way in part["ways"].values():
            params = ablation_rows.params_of(ablation_rows.merged(settings, way), 7)
            model = params.models["model"]
            assert model.seed == 7 and model.max_images == ablation_rows.IMAGES
            assert model.network.backbone == kit.models["model"].network.backbone
            assert (params.models["model"].model_copy(update={"seed": 1}), params.distances) != (
                kit.models["model"],
                kit.distances,
            )
            assert ablation_rows.params_of({"model": {}, "distances": {}}, 1) == kit  # no row leaves a trace
            seen.append(params)
        settings = ablation_rows.merged(settings, way)
    parts = [*ablation_rows.PARTS, *ablation_rows.LONGER_PARTS]
    assert len(seen) == sum(len(part["ways"]) for part in parts) > 8


def test_default_is_what_stays_of_the_second_table():
    default = read_params(ROOT / "params.yaml")
    model = default.models["resnet18"]
    settings = json.loads((ROOT / "docs/ablation.json").read_text(encoding="utf-8"))["longer"]["settings"]
    kept = ablation_rows.params_of(settings, model.seed)
    for section in ("augmentation", "sampler", "loss", "optimizer", "schedule", "averaging"):
        assert getattr(kept.models["model"], section) == getattr(model, section), section
    assert kept.distances == default.distances
    assert kept.embed.flip_test == default.embed.flip_test


def test_page_is_that_of_the_results():
    result = json.loads((ROOT / "docs/ablation.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs/ablation.md").read_text(encoding="utf-8")
    table = text.partition("<!-- table -->\n")[2].partition("<!-- end -->")[0]
    sizes = dict(re.findall(r"(train|valid|test) ([\d,]+)[,)]", table.partition("|")[0]))
    sizes = {split: int(count.replace(",", "")) for split, count in sizes.items()}
    assert ablation_page.page(result, sizes) == table


def test_interval_of_a_mean_over_queries_covers_it_when_actions_are_drawn_anew():
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(200):
        level = rng.normal(0.5, 0.1, 60)  # queries of an action are alike
        action = np.repeat(np.arange(60), rng.integers(1, 9, 60))
        low, high = ablation.interval(level[action] + rng.normal(0, 0.1, len(action)), action, rng)
        covered.append(low < 0.5 < high)
    assert 0.88 < np.mean(covered) < 0.99


def fake(test, seconds, seeds=3):
    action = [0, 0, 1, 1, 2]
    return [
        {
            "valid": test,
            "test": test + 0.01 * seed,
            "AP": [test + 0.01 * seed] * 5,
            "action": action,
            "seconds": seconds,
            "images": 8000,
        }
        for seed in range(seeds)
    ]


def test_best_way_stays_only_if_it_raises_valid(monkeypatch):
    scores = {"kit": 0.4, "a": 0.5, "b": 0.6, "c": 0.55, "d": 0.3}
    parts = [
        {"name": "first", "ways": {"a": {"model": {"mark": "a"}}, "b": {"model": {"mark": "b"}}}},
        {"name": "second", "ways": {"": {"model": {"mark": "c"}}}},
        {"name": "third", "ways": {"": {"model": {"mark": "d"}}}, "always": True},
    ]

    class Pool:
        def __init__(self, *args, **kwargs):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

        def submit(self, function, settings, seed):
            run = fake(scores[settings["model"].get("mark", "kit")], 10)[seed - 1]
            return type("Future", (), {"result": lambda self: run})()

    monkeypatch.setattr(ablation, "PARTS", parts)
    monkeypatch.setattr(ablation, "make_data", lambda split: None)
    monkeypatch.setattr(ablation, "LONGER_PARTS", [{"name": "fourth", "ways": {"": {"model": {"mark": "b"}}}}])
    monkeypatch.setattr(ablation, "paces", lambda start, settings: {"kit": 20.0, "full": 5.0})
    monkeypatch.setattr(ablation.concurrent.futures, "ProcessPoolExecutor", Pool)
    result = ablation.run(1)
    assert [row["stays"] for row in result["rows"]] == [True, False, True, False, True]
    assert result["settings"]["model"] == {"mark": "d"}
    assert result["rows"][3]["change"] == pytest.approx(0.55 - 0.6)  # against the row that stayed
    assert result["full"]["change"] == pytest.approx(0.3 - 0.4)
    longer = result["longer"]  # on top of what stayed, with more images
    assert [row["stays"] for row in longer["rows"]] == [True, True, True]
    assert [row["change"] for row in longer["rows"][1:]] == pytest.approx([0.3 - 0.4, 0.6 - 0.3])
    assert longer["settings"]["model"] == {"mark": "b", "max_images": ablation.LONGER}
    assert longer["start"]["model"] == {"max_images": ablation.LONGER}
    result |= {"machine": dict.fromkeys(("cpu", "python", "torch", "torchvision"), "x"), "jobs": 1}
    page = ablation_page.page(result, {"train": 5000, "valid": 1000})
    assert "| first: b | 60.0 | 61.0 | 61.0 to 61.0 | 60.0, 61.0, 62.0 | +20.0 | +20.0 to +20.0 | 10 | yes |" in page
    assert "6,000 synthetic thumbnails" in page and "-10.0 points of test mAP" in page
    assert "20.0 and 5.0 ms an image, so\n0.25" in page
