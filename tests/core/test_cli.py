"""Programs that end with a clear error, and with their engine."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = '''
"""Says what is wrong."""
import time
from pathlib import Path
from reid.core import cli
from reid.core.errors import ReidError

def main(args):
    cli.log.info("it begins")
    {}

parser = cli.parser(__doc__)
parser.add_argument("--number", type=int, default=1)
parser.add_argument("ranking", type=Path, nargs="?")
for name in ("--out", "--cmc"):
    parser.add_argument(name, type=Path)
for name in ("--index", "--validation"):
    parser.add_argument(name, type=Path, nargs="*")
parser.add_argument("--params", default="params.yaml")
cli.run(main, parser)
'''


def run(start_program, body, *arguments, **environment):
    process = start_program(PROGRAM.format(body), *arguments, **environment)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def test_program_that_ends_well(tmp_path, start_program):
    log = tmp_path / "logs" / "new" / "a.log"
    code, out, err = run(start_program, "cli.log.info('Atlético %d', args.number)", "--number", "7", "--log", log)
    assert (code, out, err) == (0, "", "it begins\nAtlético 7\n")
    assert log.read_text(encoding="utf-8") == err


def test_a_program_says_what_it_wrote_and_counts_many(tmp_path, start_program):
    body = """
    from pathlib import Path
    from reid.core.files import write_json
    for number in range(6):
        write_json(Path("many", f"{number}.json"), number)
    write_json(Path("gone.json"), 1)
    Path("gone.json").unlink()
    for _ in range(2):
        write_json(Path("one.json"), 1)"""
    code, out, err = run(start_program, f"import os; os.chdir({str(tmp_path)!r}){body}")
    assert (code, out, err) == (0, "", "it begins\nwrote many/ (6 files), one.json\n")


def test_users_error_has_no_traceback(tmp_path, start_program):
    log = tmp_path / "a.log"
    log.write_text("of another run")
    code, out, err = run(start_program, "raise ReidError('a.zip: is cut short; fetch it again')", "--log", log)
    assert (code, out, err) == (1, "", "it begins\nerror: a.zip: is cut short; fetch it again\n")
    assert log.read_text() == err


@pytest.mark.parametrize(
    "words, names",
    [
        ("--out a.json --cmc a.json", "out and cmc"),
        ("--out a.json --cmc ./b/../a.json", "out and cmc"),
        ("a.json --out b.json --log a.json", "log and ranking"),
        ("--index b.json a.json --out a.json", "index and out"),
        ("--params a.json --log a.json", "params and log"),
    ],
)
def test_a_file_that_two_arguments_name_stays_as_it_was(tmp_path, monkeypatch, start_program, words, names):
    monkeypatch.chdir(tmp_path)
    Path("b").mkdir()
    Path("a.json").write_text("of another run")
    code, out, err = run(start_program, "pass", *words.split())
    named = next(word for word in reversed(words.split()) if word.endswith("a.json"))
    assert (code, out) == (1, "")
    assert err == f"error: {Path(named)}: is named twice, by {names}; name a file for each\n"
    assert Path("a.json").read_text() == "of another run"


@pytest.mark.parametrize(
    "words",
    [
        "--index a.json a.json --validation a.json b.json --out c.json",  # all of them read
        "--out folder --cmc folder",
        "--params name --out name",  # a name of something, not a file
        "--out a.json --cmc link",  # as DVC links two files of one content
    ],
)
def test_what_is_only_read_may_be_named_twice(tmp_path, monkeypatch, start_program, words):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("link").symlink_to("a.json")
    assert run(start_program, "pass", *words.split())[0] == 0


def test_bug_keeps_its_traceback(tmp_path, start_program):
    code, _, err = run(start_program, "{}['missing key']", "--log", tmp_path / "a.log")
    assert code == 2 and "this is a bug in the pipeline" in err
    assert "Traceback (most recent call last)" in err and "KeyError: 'missing key'" in err and "program.py" in err
    assert (tmp_path / "a.log").read_text() == err


def test_what_a_terminal_would_obey_is_escaped_in_messages_and_the_log(tmp_path, start_program):
    body = r"cli.log.info('a\x1b]0;owned\x07'); raise ReidError('\x9b2J:\n  - \tÉtoile')"
    code, _, err = run(start_program, body, "--log", tmp_path / "a.log")
    assert code == 1 and err == "it begins\na\\x1b]0;owned\\x07\nerror: \\x9b2J:\n  - \tÉtoile\n"
    assert (tmp_path / "a.log").read_text(encoding="utf-8") == err


def test_interrupted_program(start_program):
    code, _, err = run(start_program, "raise KeyboardInterrupt")
    assert (code, err) == (130, "it begins\ninterrupted\n")


def test_help_is_the_docstring(start_program):
    code, out, _ = run(start_program, "pass", "--help")
    assert code == 0 and "Says what is wrong." in out and "--log" in out


def test_program_ends_with_its_engine(start_program):
    engine = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = start_program(PROGRAM.format("print(1, flush=True); time.sleep(1000)"), REID_ENGINE_PID=str(engine.pid))
    assert process.stdout.readline() == "1\n" and process.poll() is None
    engine.communicate(b"\n")
    process.communicate(timeout=600)
    assert process.returncode == 1


@pytest.mark.parametrize("engine", ["abc", "0", "-1", "9" * 30])
def test_an_engine_that_is_no_process_is_one_error(start_program, engine):
    code, out, err = run(start_program, "pass", REID_ENGINE_PID=engine)
    assert (code, out) == (1, "") and err.startswith("error: REID_ENGINE_PID: ") and err.count("\n") == 1
    assert " is not a whole number from 1 to 2,147,483,647; the Snakefile sets it" in err


def test_of_several_processes_the_first_alone_says_what_is_no_error(start_program):
    body = "cli.log.warning('odd'); raise ReidError('wrong')"
    whole = "it begins\nodd\nerror: wrong\n"
    assert run(start_program, body, RANK="1")[2] == whole, "a rank among none"
    assert run(start_program, body, RANK="0", WORLD_SIZE="2")[2] == whole
    assert run(start_program, body, RANK="1", WORLD_SIZE="2")[2] == "error: wrong\n"


def test_program_by_hand_has_no_engine_to_wait_for(start_program):
    assert run(start_program, "time.sleep(0.8)", REID_ENGINE_PID="")[0] == 0
