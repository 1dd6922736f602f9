"""CITATION.cff has what its format asks for, and the version of the package."""

import tomllib

import yaml

from builders import ROOT


def test_the_citation_is_of_this_version_and_has_the_fields_that_its_format_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    for authors in (citation["authors"], *(item["authors"] for item in citation["references"])):
        assert authors and all("name" in author or "family-names" in author for author in authors)
