"""A section of a parameter file rewritten: the values are the new ones, and all else keeps its bytes."""

import json

import pytest
import yaml

from builders import ROOT
from reid.core.errors import ReidError
from reid.params.reading import read_content, read_params
from reid.params.section_writer import write_section

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
SIMPLEST = {"metric": "euclidean", "scale": "mean"}


def content_of(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def split_at_distances(text):
    """What stands before the section, the section, and what stands behind it."""
    begin, end = text.index("\ndistances:") + 1, text.index("\nevaluate:") + 1
    return text[:begin], text[begin:end], text[end:]


@pytest.mark.parametrize("source", RECIPES, ids=lambda path: path.stem)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_section_is_written_and_all_else_keeps_its_bytes(source, ends, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(source.read_text(encoding="utf-8"), encoding="utf-8", newline=ends)
    before, content = path.read_bytes().decode(), content_of(path)
    section = {
        "metric": "euclidean",
        "models": dict.fromkeys(content["models"], 0.5),
        "scale": "mean",
        "postprocessing": {
            "query_expansion": {"neighbours": 2, "alpha": 3.0},
            "reranking": {"k1": 4, "k2": 2, "lambda": 0.3},
            "sinkhorn": {"temperature": 0.05, "iterations": 5},
        },
    }
    write_section(path, "distances", section)
    assert content_of(path) == {**content, "distances": section}
    read_params(path)
    after = path.read_bytes().decode()
    (head, old, tail), (new_head, new, new_tail) = (split_at_distances(text) for text in (before, after))
    assert (new_head, new_tail) == (head, tail) and "null" not in new
    comments = [line.partition("#")[2] for line in old.splitlines() if "#" in line]
    assert [line.partition("#")[2] for line in new.splitlines() if "#" in line] == comments
    assert after.count("\n") == after.count(ends)
    write_section(path, "distances", section)
    assert path.read_bytes().decode() == after
    write_section(path, "distances", content["distances"])
    assert content_of(path) == content
    write_section(path, "distances", {"metric": "cosine"})
    assert content_of(path) == {**content, "distances": {"metric": "cosine"}}
    assert [p.name for p in tmp_path.iterdir()] == ["params.yaml"]


BLOCK = """distances: # after the embeddings
    # which angle
    metric:   cosine   # of the angle
    scale: "mean" # in quotes
    postprocessing: # inside an action
        # repaired queries
        query_expansion:
            neighbours: 2 # boxes
            alpha: 1.0
        # whose neighbours are mutual
        reranking: {k1: 3,   lambda: 0.5} # Zhong
        dual_softmax:
            # in units of distance
            temperature: 0.1 # a tenth "of" it
            weight: 0.5

# of the next section

"""


def with_section(tmp_path, section, last=False, name="params.yaml"):
    """A parameter file with this text for its section, in its place or at its end."""
    head, _, tail = split_at_distances(RECIPES[0].read_text(encoding="utf-8"))
    path = tmp_path / name
    path.write_text(head + tail + "\n" + section if last else head + section + tail, encoding="utf-8")
    return path


EXPANSION = {"neighbours": 2, "alpha": 1.0}
RERANKING = {"k1": 3, "lambda": 0.5}
SOFTMAX = {"temperature": 0.1, "weight": 0.5}
WHOLE = {
    "metric": "cosine",
    "scale": "mean",
    "postprocessing": {"query_expansion": EXPANSION, "reranking": RERANKING, "dual_softmax": SOFTMAX},
}


def steps(**changes):
    """The section with other steps, or without those that are None."""
    changed = {**WHOLE["postprocessing"], **changes}
    return {**WHOLE, "postprocessing": {name: step for name, step in changed.items() if step}}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "section, replacements",
    [
        (WHOLE, []),
        (
            {**steps(query_expansion={"neighbours": 3, "alpha": 1.0}), "metric": "euclidean"},
            [("metric:   cosine ", "metric:   euclidean "), ("neighbours: 2 #", "neighbours: 3 #")],
        ),
        (steps(reranking={"k1": 5, "lambda": 0.3}), [("{k1: 3,   lambda: 0.5} #", "{k1: 5,   lambda: 0.3} #")]),
        (
            steps(reranking={"k1": 5, "k2": 2, "lambda": 0.3}),
            [("{k1: 3,   lambda: 0.5} #", "{k1: 5, k2: 2, lambda: 0.3} #")],
        ),
        (steps(query_expansion={"neighbours": 2}), [("            alpha: 1.0\n", "")]),
        (
            {"metric": "cosine", "models": {"resnet18": 2.0}, **WHOLE},
            [("# of the angle\n", "# of the angle\n    models: {resnet18: 2.0}\n")],
        ),
        (steps(reranking=None), [("reranking: {k1: 3,   lambda: 0.5} # Zhong", "# Zhong")]),
        (
            steps(query_expansion=None),
            [("query_expansion:\n            neighbours: 2 # boxes\n            alpha: 1.0\n", "# boxes\n")],
        ),
        (
            steps(dual_softmax=None, sinkhorn={"temperature": 0.2, "iterations": 5}),
            [
                ("dual_softmax:\n            #", "sinkhorn: {temperature: 0.2, iterations: 5}\n        #"),
                ("            temperature: 0.1 # a", "        # a"),
                ("            weight: 0.5\n", ""),
            ],
        ),
    ],
)
def test_what_is_equal_keeps_its_form_and_no_comment_is_lost(tmp_path, section, replacements, last):
    path = with_section(tmp_path, BLOCK, last)
    assert content_of(path)["distances"] == WHOLE
    wanted = BLOCK
    for old, new in replacements:
        assert wanted.count(old) == 1
        wanted = wanted.replace(old, new)
    write_section(path, "distances", section)
    whole = with_section(tmp_path, wanted, last, "wanted.yaml").read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8") == whole
    assert content_of(path)["distances"] == section


def test_file_that_a_link_leads_to_stays_there_and_keeps_its_rights(tmp_path):
    kept, link = tmp_path / "real.yaml", tmp_path / "params.yaml"
    kept.write_text(RECIPES[0].read_text(encoding="utf-8"), encoding="utf-8")
    kept.chmod(0o640)
    link.symlink_to("real.yaml")
    write_section(link, "distances", SIMPLEST)
    assert link.is_symlink() and content_of(kept)["distances"] == SIMPLEST and kept.stat().st_mode & 0o777 == 0o640


def test_section_without_steps_keeps_their_comments_and_gets_others_again(tmp_path):
    path = with_section(tmp_path, BLOCK)
    write_section(path, "distances", {"metric": "cosine"})
    text = split_at_distances(path.read_text(encoding="utf-8"))[1]
    kept = ["after the embeddings", "which angle", "of the angle", "in quotes", "inside an action", "repaired queries"]
    kept += ["boxes", "whose neighbours are mutual", "Zhong", "in units of distance", 'a tenth "of" it']
    kept += ["of the next section"]
    assert [line.partition("# ")[2] for line in text.splitlines() if "#" in line] == kept
    write_section(path, "distances", WHOLE)
    text = split_at_distances(path.read_text(encoding="utf-8"))[1]
    new = "    scale: mean\n    postprocessing:\n      query_expansion: {neighbours: 2, alpha: 1.0}\n"
    assert new in text and content_of(path)["distances"] == WHOLE
    assert [line.partition("# ")[2] for line in text.splitlines() if "#" in line] == kept


def test_first_step_goes_above_the_comment_on_the_next_one(tmp_path):
    section = "distances:\n  metric: cosine\n  postprocessing:\n{}    # a\n    sinkhorn: "
    section += "{{temperature: 1.0, iterations: 2}}\n\n"
    path = with_section(tmp_path, section.format(""))
    content = content_of(path)["distances"]
    content["postprocessing"] = {"reranking": RERANKING, **content["postprocessing"]}
    write_section(path, "distances", content)
    wanted = section.format("    reranking: {k1: 3, lambda: 0.5}\n")
    assert split_at_distances(path.read_text(encoding="utf-8"))[1] == wanted


def test_last_line_without_an_end(tmp_path):
    path = with_section(tmp_path, BLOCK.split("\n# of the next")[0].rstrip("\n"), last=True)
    for section in (steps(sinkhorn={"temperature": 0.2, "iterations": 5}, dual_softmax=None), SIMPLEST, WHOLE):
        write_section(path, "distances", section)
        assert content_of(path)["distances"] == section
        assert not path.read_bytes().endswith(b"\n")


def test_section_in_brackets_stays_in_brackets(tmp_path):
    path = with_section(tmp_path, "distances: {metric: cosine, scale: none} # short\n\n")
    write_section(path, "distances", {"metric": "euclidean", "scale": "mean"})
    assert "\ndistances: {metric: euclidean, scale: mean} # short\n" in path.read_text(encoding="utf-8")
    write_section(path, "distances", {"metric": "cosine", "postprocessing": {"reranking": RERANKING}})
    wanted = "\ndistances: {metric: cosine, postprocessing: {reranking: {k1: 3, lambda: 0.5}}} # short\n"
    assert wanted in path.read_text(encoding="utf-8")


def refused(path, section):
    before = path.read_bytes()
    with pytest.raises(
        ReidError, match=r"params\.yaml: the section distances cannot be rewritten; put the one printed"
    ):
        write_section(path, "distances", section)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_value_that_leans_on_another_is_left_as_it_is(tmp_path):
    path = with_section(tmp_path, BLOCK.replace("neighbours: 2", "neighbours: *one"))
    path.write_text(path.read_text("utf-8").replace("seed: 1\n", "seed: &one 1\n", 1), encoding="utf-8")
    refused(path, steps(query_expansion={"neighbours": 3, "alpha": 1.0}))
    write_section(path, "distances", SIMPLEST)  # of this nothing leans on another
    assert content_of(path)["distances"] == SIMPLEST


def test_value_that_another_leans_on_is_left_as_it_is(tmp_path):
    path = with_section(tmp_path, BLOCK.replace("neighbours: 2", "neighbours: &two 2").replace("k1: 3", "k1: *two"))
    refused(path, steps(query_expansion=None, reranking={"k1": 2, "lambda": 0.5}))


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_byte_order_mark_stays(tmp_path, ends):
    path = with_section(tmp_path, BLOCK)
    text = path.read_text(encoding="utf-8")
    path.write_text(f"\ufeff{text}", encoding="utf-8", newline=ends)
    section = {**WHOLE, "metric": "euclidean"}
    write_section(path, "distances", section)
    wanted = text.replace("metric:   cosine", "metric:   euclidean").replace("\n", ends)
    assert path.read_bytes() == f"\ufeff{wanted}".encode()
    assert read_content(path)["distances"] == section


def test_section_beside_models_that_are_merged(tmp_path):
    path = with_section(tmp_path, BLOCK)
    text = path.read_text(encoding="utf-8")
    name = next(iter(content_of(path)["models"]))
    text = text.replace(f"  {name}:\n", f"  {name}: &first\n").replace("\nembed:", "\n  second: {<<: *first}\nembed:")
    path.write_text(text, encoding="utf-8")
    write_section(path, "distances", {**WHOLE, "metric": "euclidean"})
    assert path.read_text(encoding="utf-8") == text.replace("metric:   cosine", "metric:   euclidean")


def test_parameter_file_in_another_form_is_left_as_it_is(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(content_of(RECIPES[0])), encoding="utf-8")
    refused(path, SIMPLEST)


def test_section_that_does_not_stand_the_check_is_not_written(tmp_path):
    refused(with_section(tmp_path, BLOCK), {"metric": "manhattan"})


def test_file_that_is_wrong_already_says_so(tmp_path):
    path = with_section(tmp_path, "distances: {metric: manhattan}\n")
    with pytest.raises(ReidError, match=r"distances\.metric"):
        write_section(path, "distances", SIMPLEST)
