"""What the README names is there: files, targets, options, parameters. Its blocks run in test_readme_runs.py."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from builders import ROOT
from builders.readme import blocks, commands, text

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
RULES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
SNAKEFILE = (ROOT / "Snakefile").read_text(encoding="utf-8")
DVC = {"repro", "metrics", "params", "exp", "plots", "queue", "pull", "push", "commit", "status", "checkout"}


def of(program):
    found = [shlex.split(command) for command in commands()]
    return [words for words in found if words[0] == program]


def is_made(path):
    """Whether a rule makes this file: its output, or what it writes beside one."""
    if path == "data/raw/challenge_bbox_info.json":
        return True
    made = [re.escape(name) for name in re.findall(r'"((?:data|results)/[^"]+)"', RULES)]
    made = [re.sub(r"\\{+[a-z]+\\}+", "[^/]+", name) for name in made]
    return any(re.fullmatch(f"(?:.*/)?{name}", path) for name in made)


def test_the_commands_are_those_that_this_test_knows():
    programs = {words[0] for words in map(shlex.split, commands())}
    assert programs <= {"make", "snakemake", "dvc", "python", "git"}
    assert len(commands()) > 20


def test_targets_of_make_are_there():
    for words in of("make"):
        assert re.search(rf"^{words[1]}:", MAKEFILE, re.MULTILINE), words
    for target in re.findall(r"`make ([a-z-]+)`", text()):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_targets_of_snakemake_are_rules_or_files_that_rules_make():
    calls = of("snakemake") + [shlex.split(found) for found in re.findall(r"`(snakemake --cores [^`]*)`", text())]
    for words in calls:
        for target in words[3:]:
            assert f"rule {target}:" in SNAKEFILE or is_made(target), target


def test_scripts_take_the_options_that_they_are_given():
    for words in of("python"):
        source = (ROOT / words[1]).read_text(encoding="utf-8")
        for option in (word for word in words if word.startswith("--")):
            assert f'"{option}"' in source or option == "--log", (words[1], option)


def test_files_that_commands_name_are_in_the_repository_or_made_by_a_rule_or_by_themselves():
    written = {"results/mine.npy", "results", "../other/results", "HEAD"}  # the reader's own
    for words in of("python"):
        written |= {after for word, after in pairwise(words) if word in ("--out", "--queries")}
        for word in words[2:]:
            if "/" in word and word not in written:
                assert (ROOT / word).exists() or is_made(word), word


def test_dvc_is_called_as_it_is_and_experiments_change_something():
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    changes = 0
    for words in of("dvc"):
        assert words[1] in DVC, words
        for place, _, value in (word.partition("=") for word in words if "=" in word):
            section = params
            for key in place.split("."):
                section = section[key]
            assert section != yaml.safe_load(value), f"{place} is {value} already"
            changes += 1
    assert changes >= 2


def test_links_lead_somewhere():
    headings = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall("^#+ (.*)", text(), re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", text()):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("http"):
            assert (ROOT / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("language", ["yaml", "python"])
def test_other_blocks_can_be_read(language):
    for block in blocks(language):
        assert yaml.safe_load(block) if language == "yaml" else compile(block, "README.md", "exec")


def test_recipes_and_programs_of_the_tables_are_there():
    for name in re.findall(r"^\| `([a-z0-9-]+)` \| [A-Zt]", text(), re.MULTILINE):
        if name not in ("synthetic", "soccernet", "local"):
            assert (ROOT / f"recipes/{name}.yaml").exists(), name
    for path in re.findall(r"`((?:scripts|recipes|docs|envs|profiles|reid)/[A-Za-z0-9_./-]*)`", text()):
        assert Path(ROOT / path).exists(), path
