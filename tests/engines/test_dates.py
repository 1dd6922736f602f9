"""Files dated in the future get the present time, in an order in which no later change is hidden."""

import os
import time

import pytest

from reid.core.errors import ReidError
from reid.engines import dates

DAY = 86_400


@pytest.fixture
def dated(tmp_path):
    """``dated(name, seconds)`` makes a file of so many seconds from now."""

    def make(name, seconds):
        path = tmp_path / name
        path.write_text(name)
        os.utime(path, (time.time() + seconds, time.time() + seconds))
        return path

    return make


def test_files_of_the_past_stay_as_they_are(dated):
    paths = [dated("a", -DAY), dated("b", -1), dated("c", 0)]
    before = [path.stat().st_mtime_ns for path in paths]
    assert dates.mend(paths[:2], paths[2:]) == []
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_code_of_the_future_gets_the_present_time_and_outputs_stay(dated):
    old, code, late = dated("old", -DAY), dated("code", -5), dated("late", DAY)
    times = old.stat().st_mtime_ns, code.stat().st_mtime_ns
    assert dates.mend([old], [code, late]) == [late]
    assert abs(late.stat().st_mtime - time.time()) < 5
    assert (old.stat().st_mtime_ns, code.stat().st_mtime_ns) == times


def test_outputs_of_the_future_keep_their_order_after_those_of_the_past_and_before_the_code(dated):
    made = [dated("third", 3 * DAY), dated("first", DAY), dated("past", -60), dated("second", DAY + 10)]
    code = [dated("code", -DAY), dated("edited", -30)]
    assert len(dates.mend(made, code)) == 3
    ordered = sorted([*made, *code], key=lambda path: path.stat().st_mtime_ns)
    assert [path.name for path in ordered[:4]] == ["past", "first", "second", "third"]
    assert all(path.stat().st_mtime <= time.time() for path in ordered)


def test_a_link_and_a_file_that_vanishes_do_no_harm(dated, tmp_path):
    target = dated("target", DAY)
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to("nowhere")
    dates.mend([tmp_path / "link", tmp_path / "dangling", tmp_path / "none"], [])
    assert target.stat().st_mtime < time.time() + 1


def test_a_file_whose_time_cannot_be_changed_is_one_clear_error(dated, monkeypatch):
    path = dated("a", DAY)

    def refuse(*args, **named):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    with pytest.raises(ReidError, match=r"a: is dated 20..-..-.. ..:.., which is in the future, and cannot be given"):
        dates.mend([], [path])
