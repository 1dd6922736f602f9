"""The text of a parameter file: what is read as YAML, and one clear line for whatever is not."""

import os
import time
import tracemalloc

import pytest
import yaml
from dvc.utils.serialize import load_yaml

from builders import ROOT
from builders.hostile import SECONDS
from builders.whole import FULL, MINIMAL, load
from reid.core.errors import ReidError
from reid.params import read_params
from reid.params.reading import read_content

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def read(tmp_path):
    """``read(text or bytes)`` writes a parameter file and reads it."""

    def write_and_read(text, reader=read_params):
        path = tmp_path / "p.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return reader(path)

    return write_and_read


def with_batch(value):
    """A parameter file with another text for a number, on its line 14."""
    return MINIMAL.replace("{batch_size: 100}", f"{{batch_size: {value}}}")


def fails(read, text, words):
    """Check that a text is refused in one line with these words, soon."""
    started = time.process_time()
    with pytest.raises(ReidError) as caught:
        read(text)
    message = str(caught.value)
    assert words in message, message
    assert message.count("\n") == 0 and message.isprintable() and len(message) < 500, message
    assert time.process_time() - started < SECONDS


# ---- what is read


@pytest.mark.parametrize(
    "text",
    [
        "a: 1e-3\nb: 1_000\nc: 0x10\nd: 0o17\ne: 010\nf: -5\ng: +.5\nh: 1.\ni: .inf",
        "a: yes\nb: on\nc: true\nd: ~\ne:\nf: null\ng: 'true'\nh: \"5\"\ni: 1:30",
        "a: !!str 5\nb: !!int '7'\nc: !!float 3\nd: !!bool 'true'\ne: ! 5\nf: !!seq [1]\ng: !!map {a: 1}",
        "a: [1, [2, {b: 3}]]\nb: {c: {d: [e]}}\n? c\n: d",
        "a: |\n  two\n  lines\nb: >-\n  one\n  line\nc: 'it''s'\nd: \"\\u00e9\\x41\"",
        "a: &x {b: 1}\nc: *x\nd: &y [1, 2]\ne: *y",
        "%YAML 1.2\n---\na: yes\nb: 010\nc: 1:30\n...\n",
        "--- {a: 1, b: 2} # comment\n",
        "a: é\nb: 日本\nc: '\U0001f600'",
    ],
)
def test_values_are_those_that_dvc_reads(read, tmp_path, text):
    assert read(text, read_content) == load_yaml(str(tmp_path / "p.yaml"))


def test_another_version_of_yaml_is_refused(read):
    """In which ``yes`` is true and 010 is 8: DVC's parser in C does not know it."""
    with pytest.raises(ReidError, match=r"line 2: %YAML 1\.1: must be left out; a parameter file is YAML 1\.2"):
        read("# mine\n%YAML 1.1\n---\na: yes\n", read_content)


MERGES = {
    "one": "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}",
    "after its own": "a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a}",
    "several": "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b]}\nd: {<<: [*b, *a], x: 9}",
    "of a merged one": "a: &a {x: 1, y: 2}\nb: &b {<<: *a, y: 3}\nc: {<<: *b, z: 4}\nd: {<<: *a, x: 5}",
    "written there": "a: {<<: {x: 1}, y: 2}",
    "none": "a: {'<<': 1}",
    "block": "a: &a\n  x: {u: 1}\nb:\n  <<: *a\n  y: 2",
}


@pytest.mark.parametrize("name", MERGES)
def test_merge_keys_are_read_as_dvc_and_snakemake_read_them(read, tmp_path, name):
    content = read(MERGES[name], read_content)
    assert content == load_yaml(str(tmp_path / "p.yaml")) == yaml.safe_load(MERGES[name])


def test_second_model_like_the_first_but_for_its_seed(read):
    text = MINIMAL.replace("  one:", "  one: &first").replace(
        "\nembed:", "\n  two:\n    <<: *first\n    seed: 2\nembed:"
    )
    models = read(text).models
    assert models["two"] == models["one"].model_copy(update={"seed": 2}) != models["one"]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_byte_order_mark_and_ends_of_lines_change_nothing(read, mark, ends):
    assert read(mark + FULL.replace("\n", ends)) == read(FULL)


def test_files_of_the_repository_are_read_as_by_the_whole_parser(read):
    for path in [ROOT / "params.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))]:
        assert read_content(path) == load(path.read_text(encoding="utf-8"))


def test_file_is_read_as_dvc_reads_it(read, tmp_path):
    """YAML 1.2: 1e-3 is a number, and yes and on are texts."""
    params = read(MINIMAL.replace("learning_rate: 0.001", "learning_rate: 1e-3").replace("  one:", "  yes:"))
    assert params.models["yes"].optimizer.learning_rate == 0.001
    assert load_yaml(str(tmp_path / "p.yaml"))["models"]["yes"]["optimizer"]["learning_rate"] == 0.001
    with pytest.raises(ReidError, match="embed.flip_test: Input should be a valid boolean, not 'yes'"):
        read(MINIMAL.replace("{batch_size: 100}", "{batch_size: 100, flip_test: yes}"))


# ---- what is refused

NO_TEXT = {
    "empty": (b"", "is empty"),
    "comments": (b"# nothing\n", "holds no parameter, comments at most"),
    "blanks": (b"  \n\n", "holds no parameter"),
    "UTF-16": (MINIMAL.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    "UTF-16, big end first": (b"\xfe\xff" + MINIMAL.encode("utf-16-be"), "is UTF-16 text"),
    "UTF-32": (MINIMAL.encode("utf-32"), "is UTF-32 text"),
    "UTF-16 without a mark": (MINIMAL.encode("utf-16-le"), "holds the character U+0000"),
    "Latin-1": (f"{MINIMAL}# é".encode("latin-1"), "line 17: is not UTF-8 text (byte 0xe9)"),
    "NUL": (f"{MINIMAL}x: a\0".encode(), "line 17: holds the character U+0000, which YAML does not allow"),
    "escape": (f"{MINIMAL}x: \x1b[31m".encode(), "line 17: holds the character U+001B"),
    "web page": (b"<!DOCTYPE html>\n<html></html>", "is a web page (HTML), not a parameter file"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git LFS pointer"),
    "pickle": (b"\x80\x04\x95\0", "is a pickle, not a parameter file"),
    "zip": (b"PK\x03\x04\0\0", "is a zip archive"),
    "gzip": (b"\x1f\x8b\x08\0", "is a gzip file"),
    "zeros": (bytes(1000), "is zeros"),
    "too large": (f"{MINIMAL}# {'x' * 10**6}".encode(), "has more than 1,000,000 bytes"),
}


@pytest.mark.parametrize("name", NO_TEXT)
def test_file_that_is_no_such_text_is_called_what_it_is(read, name):
    fails(read, *NO_TEXT[name])


SECTIONS = "keys and values once its aliases are written out"
LAUGHS = "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 30)
)
NO_PARAMETERS = {
    "date that there is not": (with_batch("2024-02-30"), "line 14: '2024-02-30' is a date"),
    "date": (with_batch("2024-02-28"), "line 14: '2024-02-28' is a date, and no parameter is one; put it in quotes"),
    "time": (with_batch("2024-02-28 10:11:12"), "line 14: '2024-02-28 10:11:12' is a date"),
    "date as a key": (MINIMAL.replace("  one:", "  2024-01-01:"), "line 6: '2024-01-01' is a date"),
    "number of letters": (with_batch("!!int abc"), "line 14: 'abc' is not a whole number"),
    "number of nothing": (with_batch("!!int ''"), "line 14: '' is not a whole number"),
    "fraction of letters": (with_batch("!!float x"), "line 14: 'x' is not a number"),
    "truth of letters": (with_batch("!!bool maybe"), "line 14: 'maybe' is not true or false"),
    "number of many digits": (with_batch("9" * 4000), "is too large for a number"),
    "hexadecimal": (with_batch("0x" + "f" * 4000), "is too large for a number"),
    "exponent": (with_batch("1e400"), "line 14: '1e400' is too large for a number"),
    "number of a list": (with_batch("!!int [1]"), "line 14: the tag !!int is none that a list has here"),
    "Python's call": (
        "!!python/object/apply:os.system [x]",
        "line 1: the tag !!python/object/apply:os.system is none",
    ),
    "Python's name": (with_batch("!!python/name:os.system ''"), "line 14: the tag !!python/name:os.system is none"),
    "bytes": (with_batch("!!binary aGk="), "line 14: the tag !!binary is none"),
    "set": (with_batch("!!set {a, b}"), "line 14: the tag !!set is none"),
    "ordered map": (with_batch("!!omap [a: 1]"), "line 14: the tag !!omap is none"),
    "tag of one's own": (with_batch("!mine 1"), "line 14: the tag !mine is none"),
    "key that is a number": (MINIMAL.replace("  one:", "  1:"), 'line 6: the key 1 is no text; write "1"'),
    "no key": (f"{MINIMAL}: 1\n", "line 17: a key is missing before the colon"),
    "key that is null": (MINIMAL.replace("  one:", "  ~:"), 'line 6: the key ~ is no text; write "~"'),
    "key that is true": (MINIMAL.replace("  one:", "  true:"), "line 6: the key true is no text"),
    "key that is a list": (f"{MINIMAL}[a, b]: 1\n", "line 17: a key must be a text, not a section or list"),
    "key that is a section": ("{a: 1}: 2", "line 1: a key must be a text"),
    "long key": (f"{MINIMAL}{'k' * 1000}: 1\n", "line 17: a key of 1,000 characters; 200 is the most"),
    "long text": (f"{MINIMAL}x: {'y' * 900_000}\n", "line 17: a text of 900,000 characters; 4,096 is the most"),
    "long text of escapes": (f'{MINIMAL}x: "{chr(92)}u00e9{"y" * 5000}"\n', "line 17: a text of 5,001 characters"),
    "NUL in quotes": (f'{MINIMAL}x: "a{chr(92)}0"\n', "line 17: 'a\\x00' holds a character that no text can have"),
    "half a character": (f'{MINIMAL}x: "{chr(92)}ud800"\n', "line 17: '\\ud800' holds a character"),
    "no character": (
        f'{MINIMAL}x: "{chr(92)}UFFFFFFFF"\n',
        "is not valid YAML: an escape in quotes (\\U...) names no character",
    ),
    "two documents": (f"{MINIMAL}---\n{MINIMAL}", "line 17: a second document begins (---)"),
    "tab": ("a:\n\tb: 1", "is not valid YAML: line 2: a tab stands where YAML wants spaces"),
    "open bracket": ("a: [1", "is not valid YAML: line 1: expected ',' or ']'"),
    "open quote": ("a: 'x", "is not valid YAML: line 1: found unexpected end of stream"),
    "indentation": ("a:\n  b: 1\n c: 2", "is not valid YAML: line 3: "),
    "two colons": ("a: b: c", "is not valid YAML: line 1: mapping values are not allowed here"),
    "at": ("a: @b", "is not valid YAML: line 1: found character '@'"),
    "unknown alias": ("a: *b", "is not valid YAML: line 1: found undefined alias 'b'"),
    "version": ("%YAML 3.0\n---\na: 1", "line 1: %YAML 3.0: must be left out; a parameter file is YAML 1.2"),
    "anchor twice": ("a: &x 1\nb: &x 2", "line 2: the anchor &x stands twice"),
    "key twice": (f"{MINIMAL}embed: {{}}\n", "line 17: embed stands twice, first on line 14"),
    "key twice in a section": (with_batch("1, batch_size: 2"), "line 14: batch_size stands twice, first on line 14"),
    "key twice beside a merge": (with_batch("1, <<: {threads: 2}, batch_size: 2"), "line 14: batch_size stands twice"),
    "key twice in what is merged": (with_batch("1, <<: {threads: 2, threads: 3}"), "line 14: threads stands twice"),
    "two merges": (with_batch("1, <<: {}, <<: {}"), "line 14: << stands twice in a section; write <<: [*a, *b]"),
    "merge of a number": (with_batch("1, <<: 3"), "line 14: << takes a section or a list of sections"),
    "merge of a list of numbers": (with_batch("1, <<: [3]"), "line 14: << takes a section or a list of sections"),
    "merge as a value": (with_batch("<<"), "line 14: '<<' is YAML's mark for merging; put it in quotes"),
    "equals": (with_batch("="), "line 14: '=' is a mark of YAML's own"),
    "alias of itself": ("a: &a [*a]", "line 1: holds itself, by an alias"),
    "merge of itself": ("a: &a {<<: *a}", "line 1: holds itself, by an alias"),
    "alias of a section around it": ("a: &a\n  b: {c: [*a]}", "line 1: holds itself, by an alias"),
    "laughs": (LAUGHS + MINIMAL, SECTIONS),
    "merged laughs": (
        "m0: &m0 {a: 1, b: 2}\n" + "".join(f"m{n}: &m{n} {{<<: [{f'*m{n - 1}, ' * 9}*m0]}}\n" for n in range(1, 30)),
        SECTIONS,
    ),
    "laughs in pairs": (
        "l0: &l0 {a: 1}\n" + "".join(f"l{n}: &l{n} {{a: *l{n - 1}, b: *l{n - 1}}}\n" for n in range(1, 500)),
        SECTIONS,
    ),
    "chain of aliases": (
        "l0: &l0 [1]\n" + "".join(f"l{n}: &l{n} [*l{n - 1}]\n" for n in range(1, 100)),
        "has more than 32 sections or lists inside each other",
    ),
    "deep list": (f"a: {'[' * 5000}{']' * 5000}", "line 1: more than 32 sections or lists inside each other"),
    "deep list that stays open": ("[" * 500_000, "line 1: more than 32 sections or lists inside each other"),
    "deep section": ("{a: " * 5000, "line 1: more than 32 sections or lists inside each other"),
    "deep list of lines": ("- " * 5000, "line 1: more than 32 sections or lists inside each other"),
    "deep section of lines": (
        "".join(f"{' ' * n}a:\n" for n in range(1000)),
        "line 32: more than 32 sections or lists inside each other",
    ),
    "many numbers": (f"a: [{'1,' * 400_000}]", "line 1: more than 50,000 keys and values"),
    "a list": ("[1, 2]", "holds a list, not sections by their names"),
    "a text": ("download", "holds 'download', not sections by their names"),
    "a number": ("1", "holds 1, not sections by their names"),
    "null": ("~", "holds nothing, not sections by their names"),
    "XML": ("<?xml version='1.0'?>", "not sections by their names"),
}


@pytest.mark.parametrize("name", NO_PARAMETERS)
def test_text_that_holds_no_parameters_is_refused_in_one_line(read, name):
    fails(read, *NO_PARAMETERS[name])


@pytest.mark.parametrize("name", [name for name in NO_PARAMETERS if "laughs" in name])
def test_laughs_take_no_memory(read, name):
    tracemalloc.start()
    try:
        fails(read, *NO_PARAMETERS[name])
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
def test_numbers_that_are_none_are_refused_by_their_place(read, value):
    with pytest.raises(ReidError, match="learning_rate: Input should be a finite number, not "):
        read(MINIMAL.replace("learning_rate: 0.001", f"learning_rate: {value}"))


@pytest.mark.parametrize("key", ["\\e[31mred", "a\\nb", "\\u202e"])
def test_key_cannot_steer_the_terminal(read, key):
    with pytest.raises(ReidError) as caught:
        read(f'{MINIMAL}"{key}": 1\n')
    _, second = str(caught.value).split("\n")
    assert second.startswith("  - ") and "is not a parameter" in second and second.isprintable()


# ---- what is no file


def test_missing_file(tmp_path):
    with pytest.raises(ReidError, match=r"none\.yaml: there is no such file$"):
        read_params(tmp_path / "none.yaml")


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    for name, what in (("pipe", "a named pipe"), ("", "a directory"), ("link", "a link to nothing")):
        with pytest.raises(ReidError, match=f"is {what}, not a file$"):
            read_params(tmp_path / name)
    with pytest.raises(ReidError, match="is a device, not a file$"):
        read_params("/dev/zero")


def test_file_behind_a_link_is_read(tmp_path):
    (tmp_path / "p.yaml").write_text(MINIMAL)
    (tmp_path / "link").symlink_to("p.yaml")
    assert read_params(tmp_path / "link") == read_params(tmp_path / "p.yaml")


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_file_that_must_not_be_read(tmp_path):
    (tmp_path / "p.yaml").write_text(MINIMAL)
    (tmp_path / "p.yaml").chmod(0)
    with pytest.raises(ReidError, match=r"p\.yaml: cannot be read \(Permission denied\)"):
        read_params(tmp_path / "p.yaml")
