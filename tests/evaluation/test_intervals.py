"""Intervals against plain loops, SciPy, and the truth in a simulation."""

import math
import tracemalloc

import numpy as np
import pytest
from scipy.special import ndtr, stdtrit

from reid.evaluation.intervals import Resamples, action_codes, mean_intervals, ratio_intervals, tail


def simulated(rng, actions, mean=0.6):
    """AP-like scores whose expected ratio of sums is ``mean``: actions differ in size and in how hard they are."""
    size = rng.integers(1, 16, actions)
    hard = np.clip(mean + 0.2 * rng.normal(size=actions), mean - 0.35, mean + 0.35)
    action = np.repeat(np.arange(actions), size)
    return action, rng.random(len(action)) < hard[action]


@pytest.mark.parametrize("actions", [12, 150])
def test_intervals_cover_the_truth_about_95_times_in_100(actions):
    trials, rng = 1500, np.random.default_rng(7)
    weights = Resamples(actions, 1000, 1)  # the same draws for all trials, whose data are independent
    total, count = np.zeros((actions, trials)), np.zeros((actions, trials))
    for trial in range(trials):
        action, hit = simulated(rng, actions)
        total[:, trial], count[:, trial] = np.bincount(action, hit, actions), np.bincount(action, minlength=actions)
    intervals = ratio_intervals(total, count, weights)
    covered = np.mean([low <= 0.6 <= high for low, high in intervals])
    # 95 of 100, within four standard errors of the binomial and 1 %, as much as resampling 12 actions is wrong by
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials) + 0.01


def test_intervals_over_queries_would_cover_the_truth_too_seldom():
    """The simulation can fail: with queries for actions the same 95 % intervals are much too narrow."""
    trials, rng, covered = 150, np.random.default_rng(7), 0
    for trial in range(trials):
        size = rng.integers(5, 16, 60)
        hit = np.repeat(rng.random(60) < 0.6, size)  # the queries of an action succeed or fail together
        weights = Resamples(len(hit), 200, trial)
        ((low, high),) = ratio_intervals(hit[:, None].astype(float), np.ones((len(hit), 1)), weights)
        covered += low <= 0.6 <= high
    assert covered / trials < 0.7


def drawn(*of):
    return np.concatenate(list(Resamples(*of)))


def test_resamples_are_as_many_actions_as_there_are_and_their_seeds_alone_decide(monkeypatch):
    weights = drawn(23, 700, 5)
    assert weights.shape == (700, 23)
    assert (weights.sum(axis=1) == 23).all() and (weights == np.floor(weights)).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(23), abs=0.2)
    assert np.array_equal(weights, drawn(23, 700, 5))
    assert not np.array_equal(weights, drawn(23, 700, 6))
    monkeypatch.setattr("reid.evaluation.intervals._BLOCK", 64)
    assert np.array_equal(weights, drawn(23, 700, 5))


def test_resamples_that_would_be_large_are_drawn_anew_and_give_the_same_intervals(monkeypatch):
    rng = np.random.default_rng(3)
    action, scores = rng.permutation(np.repeat(np.arange(31), 4)), {"x": rng.random(124), "y": rng.random(124) < 0.4}
    kept = Resamples(31, 500, 2)
    monkeypatch.setattr("reid.evaluation.intervals._KEPT", 1000)
    monkeypatch.setattr("reid.evaluation.intervals._BLOCK", 1000)
    anew = Resamples(31, 500, 2)
    assert len(list(kept)) == 1 and max(map(len, anew)) < 50
    assert np.array_equal(np.concatenate(list(anew)), *kept)
    assert mean_intervals(action, scores, anew) == mean_intervals(action, scores, kept)


def test_memory_of_the_largest_resampling_is_bounded():
    """100,000 resamples of as many actions as there are in all splits would take ten gigabytes at once."""
    tracemalloc.start()
    resamples = iter(Resamples(14_000, 100_000, 1))
    for _ in range(3):
        next(resamples)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


def test_interval_equals_a_plain_loop_over_resampled_queries():
    rng = np.random.default_rng(3)
    action, score = np.repeat(np.arange(9), rng.integers(1, 7, 9)), rng.random(100)
    score = score[: len(action)]
    weights = Resamples(9, 300, 2)
    means = []
    for row in next(iter(weights)).astype(int).tolist():
        again = [s for i, times in enumerate(row) for _ in range(times) for s in score[action == i]]
        means.append(sum(again) / len(again))
    wanted = np.quantile(means, [tail(9), 1 - tail(9)])
    intervals = mean_intervals(action, {"x": score, "y": 1 - score}, weights)
    assert intervals["x"] == pytest.approx(wanted, abs=1e-6)
    assert intervals["y"] == pytest.approx(1 - wanted[::-1], abs=1e-6)


def test_tail_is_that_of_students_t_and_nears_two_and_a_half_per_cent():
    for actions in (4, 5, 8, 20, 100, 1751):
        wanted = ndtr(math.sqrt(actions / (actions - 1)) * stdtrit(actions - 1, 0.025))
        assert tail(actions) == pytest.approx(wanted, rel=0.15 if actions == 4 else 0.03)
    assert tail(2) < tail(3) < 1e-6
    assert 0.0248 < tail(1751) < 0.025


def test_one_action_has_no_interval_and_actions_without_queries_do_not_count():
    assert mean_intervals(np.zeros(5, int), {"x": np.arange(5.0)}, Resamples(1, 100, 1)) == {"x": None}
    total, count = np.array([[1.0, 2.0], [0.0, 1.0], [0.0, 3.0]]), np.array([[2.0, 2.0], [0.0, 2.0], [0.0, 4.0]])
    none, some = ratio_intervals(total, count, Resamples(3, 100, 1))
    assert none is None
    assert 0.5 <= some[0] < some[1] <= 1


def test_resamples_that_hold_no_query_of_a_slice_are_passed_over():
    total, count = np.zeros((40, 1)), np.zeros((40, 1))
    total[:2, 0], count[:2, 0] = [1, 3], [4, 4]
    weights = Resamples(40, 400, 1)
    assert (next(iter(weights))[:, :2].sum(axis=1) == 0).any()
    assert ratio_intervals(total, count, weights) == [[0.25, 0.75]]


def test_actions_are_numbered_from_0():
    code, actions = action_codes(np.array([7, 3, 7, 900, 3]))
    assert (code.tolist(), actions) == ([1, 0, 1, 2, 0], 3)
