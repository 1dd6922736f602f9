"""Numbers on the command line: out of their range they are refused before anything is read, in one line."""

import pytest

from builders.program import run_here

NAMED = ["--index", "i", "--thumbnails", "t", "--distances", "d", "--out", "o"]
MAP = ["--index", "i", "--thumbnails", "t", "--embeddings", "e", "--out", "o"]
COUNTS = {  # program: the other arguments, and options whose value is a whole number from 1 on
    "evaluate.py": (["--index", "i", "--distances", "d", "--out", "o", "--cmc", "c"], ["--length"]),
    "score_ranking.py": (["r", "--labels", "i"], ["--ranks"]),
    "browse.py": (NAMED, ["--threads"]),
    "explain.py": ([*NAMED, "--checkpoint", "c"], ["--worst", "--matches", "--threads"]),
    "download.py": (["--split", "valid", "--out", "o", "--receipt", "r"], ["--threads"]),
    "thumbnails.py": (["--zip", "z", "--index", "i", "--out", "o"], ["--threads"]),
    "trace.py": (["f"], ["--show"]),
}
FROM_0 = {  # from 0 on
    "compare.py": (["a", "b"], ["--show"]),
    "explain.py": ([*NAMED, "--checkpoint", "c"], ["--queries"]),
    "embedding_map.py": (MAP, ["--action"]),
}
NO_NUMBERS = ["-1", "1.5", "1e3", "x", "", "nan", "inf", "1_0", "١", "9" * 30, "9" * 5000]


def run(capsys, program, words):
    status = run_here(program, words)
    out, err = capsys.readouterr()
    assert out == "" and len(err) < 400
    return status, err


@pytest.mark.parametrize("number", [*NO_NUMBERS, "0"], ids=lambda number: number[:8])
@pytest.mark.parametrize("program, option", [(name, option) for name, (_, all) in COUNTS.items() for option in all])
def test_count_out_of_its_range_is_refused(capsys, program, option, number):
    status, err = run(capsys, program, [*COUNTS[program][0], f"{option}={number}"])
    assert status == 2 and err.startswith(f"error: argument {option}: ")
    assert " is not a whole number from 1 to " in err and err.endswith(" (see --help)\n")


@pytest.mark.parametrize("number", NO_NUMBERS, ids=lambda number: number[:8])
@pytest.mark.parametrize("program, option", [(name, option) for name, (_, all) in FROM_0.items() for option in all])
def test_number_out_of_its_range_is_refused(capsys, program, option, number):
    status, err = run(capsys, program, [*FROM_0[program][0], f"{option}={number}"])
    assert status == 2 and err.startswith(f"error: argument {option}: ")
    assert " is not a whole number from 0 to " in err


@pytest.mark.parametrize("seed", ["-1", str(2**32), "x"])
def test_seed_out_of_its_range_is_refused(capsys, seed):
    status, err = run(capsys, "embedding_map.py", [*MAP, "--action", "1", f"--seed={seed}"])
    assert status == 2 and " is not a whole number from 0 to 4,294,967,295 (see --help)\n" in err


@pytest.mark.parametrize("weight", ["0", "-1", "1e-7", "1e7", "nan", "inf", "1e400", "5e-324", "x", ""])
def test_weight_out_of_its_range_is_refused(capsys, weight):
    """Weights of other sizes would be lost in the sum, or make it infinite, and distances 0."""
    words = ["--index", "i", "--embeddings", "a/e", "b/e", "--out", "o", "--weights", "1", weight]
    status, err = run(capsys, "distances.py", words)
    assert status == 2 and " is not a number from 1e-06 to 1,000,000 (see --help)\n" in err


@pytest.mark.parametrize("seconds", ["nan", "-inf", "inf", "-1", "1e7", "x"])
def test_seconds_out_of_their_range_are_refused(capsys, seconds):
    """With nan a killed training would begin anew."""
    folders = ["--curves", "c", "--speed", "s"]
    words = ["--model", "m", "--init", "i", "--out", "o", "--last", "l", "--summary", "s.json", *folders]
    status, err = run(capsys, "train.py", [*words, f"--keep-every={seconds}"])
    assert status == 2 and " is not a number from 0 to 1,000,000 (see --help)\n" in err


@pytest.mark.parametrize("split", ["train", "challenge", "../valid", ""])
def test_split_that_has_no_scores_is_not_compared(capsys, split):
    status, err = run(capsys, "compare.py", ["a", "b", "--split", split])
    assert status == 2 and err.startswith("error: argument --split: invalid choice")
