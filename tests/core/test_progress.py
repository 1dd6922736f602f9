"""Bars count what an earlier run has done, but not for the time left."""

import io
import sys

import pytest

from reid.core.progress import bar, time_left


@pytest.mark.parametrize(
    ("begun_at", "now_at", "seconds", "said"),
    [
        (0.0, 0.5, 30, "about 30 s left"),
        (0.0, 0.25, 600, "about 30 min left"),
        (0.0, 0.1, 3600, "about 9 h 0 min left"),
        (0.8, 0.9, 60, "about 1 min left"),  # of a resumed one: nine tenths in one minute would be 7 s
        (0.0, 0.01, 36.3636, "about 1 h 0 min left"),
        (0.0, 1.0, 60, ""),
        (0.5, 0.5, 0, ""),
        (0.0, 0.0, 10, ""),
    ],
)
def test_time_left_follows_the_pace_of_this_run_alone(begun_at, now_at, seconds, said):
    assert time_left(begun_at, now_at, seconds) == said


def test_a_bar_that_resumes_does_not_count_what_was_done_before_as_its_own_pace(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with bar(1000, "train", "image", done=900) as shown:
        assert shown.n == 900 and shown.initial == 900
        shown.update(10)
        facts = shown.format_dict
    assert facts["n"] - facts["initial"] == 10 and facts["total"] == 1000
