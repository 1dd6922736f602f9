"""Messages of many problems."""

from reid.core.errors import summarise


def test_problems_are_cut_at_the_limit_and_all_counted():
    assert summarise(["a: x"], "it") == "it: 1 problem\n  - a: x"
    assert summarise(["a", "b"], "it") == "it: 2 problems\n  - a\n  - b"
    lines = summarise([f"<{i}>" for i in range(25)], "it").splitlines()
    assert lines[0] == "it: 25 problems" and lines[1:21] == [f"  - <{i}>" for i in range(20)]
    assert lines[21:] == ["  ... and 5 more"]
    assert summarise(["a", "b", "c"], "it", limit=1) == "it: 3 problems\n  - a\n  ... and 2 more"
