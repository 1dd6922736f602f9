"""The first page of a folder of results leads to what is there, and to nothing else."""

import json
import re
import subprocess
import sys
from urllib.parse import unquote

import pytest

from builders import ROOT
from reid.core.errors import ReidError
from reid.page.overview import write_overview

SCORES = {"mAP": 0.6, "rank-1": 0.5, "mINP": 0.4, "queries": 9, "pairs": 90, "actions": 3}
SCORES |= {"chance": {"mAP": 0.2, "rank-1": 0.1}, "interval": {"mAP": [0.5, 0.7], "rank-1": None}}


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    for place in (
        "browse/valid.html",
        "browse/challenge.html",
        "figures/valid-worst.png",
        "figures/a b-training.svg",
        "description/.statistics.json.sums",
        "description/statistics.json",
        "studies/thesis/index.html",
        "models/m/model.safetensors",
        "report.html",
    ):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text("")
    (folder / "metrics").mkdir()
    (folder / "metrics/valid.json").write_text(json.dumps({"split": "valid", **SCORES}))
    (folder / "submission").mkdir()
    provenance = {"code": {"commit": "0123456789abcdef", "clean": False}, "time": "2026-11-26T17:07:43Z"}
    (folder / "submission/challenge.provenance.json").write_text(json.dumps(provenance))
    return folder


def links(page):
    return [unquote(link) for link in re.findall(r'<a href="([^"]*)">', page.read_text())]


def test_it_leads_to_everything_that_is_there(results):
    write_overview(results / "index.html", results)
    assert links(results / "index.html") == [
        "browse/valid.html",
        "figures/valid-worst.png",
        "browse/challenge.html",
        "submission/challenge.provenance.json",
        "description/statistics.json",
        "figures/a b-training.svg",
        "studies/thesis/index.html",
        "report.html",
    ]
    text = (results / "index.html").read_text()
    assert "mAP 0.600 (0.500 to 0.700, chance 0.200)" in text and "rank-1 0.500 (chance 0.100)" in text
    assert "commit 0123456789ab with changes, 2026-11-26T17:07:43Z" in text and "test</h2>" not in text


def test_the_program_writes_it_and_says_what_is_wrong(results):
    command = [sys.executable, ROOT / "scripts/overview.py", "--results", results]
    assert subprocess.run(command, capture_output=True).returncode == 0
    first = (results / "index.html").read_bytes()
    write_overview(results / "index.html", results)
    assert (results / "index.html").read_bytes() == first
    (results / "submission/challenge.provenance.json").write_text("{}")
    with pytest.raises(ReidError, match=r"challenge.provenance.json: is no provenance"):
        write_overview(results / "index.html", results)
    (results / "metrics/valid.json").write_text("{}")
    with pytest.raises(ReidError, match=r"valid.json: has no scores"):
        write_overview(results / "index.html", results)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ReidError, match="holds nothing to look at"):
        write_overview(tmp_path / "index.html", tmp_path)
    assert not (tmp_path / "index.html").exists()


def test_it_fits_a_phone_and_a_desk(browser, results):
    write_overview(results / "index.html", results)
    page = browser.new_page()
    page.goto((results / "index.html").as_uri())
    for width in (360, 390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
    page.close()
