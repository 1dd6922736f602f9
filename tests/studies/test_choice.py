"""What stays: by valid alone, by the rule of the file, and only when it is known."""

import numpy as np
import pytest

from builders.study import Skills, read
from reid.core.errors import ReidError
from reid.core.tables import values
from reid.studies.plan import expand, read_base
from reid.studies.scores import difference

BASE, BETTER, WORSE = 0.3, 0.8, 0.0
AXES = [{"axis": "b", "change": {"epochs": 4}}, {"axis": "c", "change": {"epochs": 5}}]


def planned(folder, skills, **changes):
    study, path = read(folder, changes)
    outcomes = Skills(folder / "results", {"base": BASE, **skills}, folder / "work")
    return expand(study, path, read_base(study, path), outcomes), outcomes


def kept(plan):
    return [part.kept and part.kept.name for part in plan.axes]


def test_the_best_row_of_valid_goes_on_and_the_next_axis_is_put_on_top_of_it(tmp_path):
    plan, _ = planned(tmp_path, {"wide": 0.5, "supcon": BETTER, "metric": WORSE})
    assert kept(plan) == ["supcon", "supcon"]
    metric = plan.axes[1].rows[0]
    assert metric.model.loss.supcon and metric.params.distances.metric == "cosine"
    assert plan.axes[1].reference is plan.axes[0].kept


def test_what_stands_stays_where_no_row_is_better(tmp_path):
    plan, _ = planned(tmp_path, {"wide": WORSE, "supcon": WORSE, "metric": BETTER})
    assert kept(plan) == ["base", "metric"]


def test_a_row_like_its_reference_does_not_stay(tmp_path):
    plan, _ = planned(tmp_path, {}, axes=[{"axis": "none", "rows": {"same": {}}}])
    assert plan.axes[0].rows[0].jobs(1) == plan.base.jobs(1)
    plan, _ = planned(tmp_path, {"same": BASE}, axes=[{"axis": "none", "rows": {"same": {}}}])
    assert kept(plan) == ["base"]


def test_test_has_no_say(tmp_path):
    """Scores of test that would choose otherwise."""
    plan, outcomes = planned(tmp_path, {"wide": 0.5, "supcon": BETTER, "metric": WORSE})
    asked = []
    outcomes.scores = lambda row, seeds, split, old=outcomes.scores: asked.append(split) or old(row, seeds, split)
    study, path = plan.study, tmp_path / "some.yaml"
    expand(study, path, read_base(study, path), outcomes)
    assert set(asked) == {"valid"}


def test_axes_wait_for_scores_that_decide(tmp_path):
    plan, _ = planned(tmp_path, {"wide": 0.5})
    assert kept(plan) == [None]
    plan, _ = planned(tmp_path, {}, axes=[{"axis": "a", "stays": "always", "change": {"epochs": 3}}, *AXES])
    assert kept(plan) == ["a", None]
    plan, _ = planned(tmp_path, {}, axes=[{"axis": "a", "stays": "never", "change": {"epochs": 3}}, *AXES])
    assert kept(plan) == ["base", None]


def test_a_failed_row_is_passed_over(tmp_path):
    plan, _ = planned(tmp_path, {"wide": 0.5, "supcon": None, "metric": WORSE})
    assert kept(plan) == ["wide", "wide"]
    plan, _ = planned(tmp_path, {"wide": None, "supcon": None, "metric": WORSE})
    assert kept(plan) == ["base", "base"]


@pytest.mark.parametrize(("skill", "stays"), [(0.9, True), (BASE + 0.001, False)])
def test_by_the_rule_of_intervals_only_what_is_surely_better_stays(tmp_path, skill, stays):
    plan, outcomes = planned(tmp_path, {"b": skill, "c": WORSE}, stays="interval", axes=AXES)
    part = plan.axes[0]
    scores = [outcomes.valid(row, [1, 2]) for row in (part.reference, part.rows[0])]
    low, _ = difference(*scores, part.reference.params.evaluate)["mAP"]["interval"]
    assert (low > 0) == stays and (part.kept is part.rows[0]) == stays
    assert "interval" in part.why


def test_rows_that_were_scored_on_other_queries_have_no_difference(tmp_path):
    plan, outcomes = planned(tmp_path, {"wide": 0.5, "supcon": BETTER, "metric": WORSE})
    a, b = (outcomes.valid(row, [1, 2]) for row in (plan.base, plan.axes[0].rows[1]))
    short = b._replace(queries=b.queries.slice(1), ap=b.ap[:, 1:], first=b.first[:, 1:])
    with pytest.raises(ReidError, match="have not the same queries: 1 are only in the first") as caught:
        difference(a, short, plan.base.params.evaluate)
    assert a.path in str(caught.value) and b.path in str(caught.value)


def test_differences_are_paired_by_query_and_mean_over_seeds(tmp_path):
    plan, outcomes = planned(tmp_path, {"wide": 0.5, "supcon": BETTER, "metric": WORSE})
    a, b = (outcomes.valid(row, [1, 2]) for row in (plan.base, plan.axes[0].rows[1]))
    change = (b.ap[0] + b.ap[1]) / 2 - (a.ap[0] + a.ap[1]) / 2
    found = difference(a, b, plan.base.params.evaluate)
    assert found["rank-1"]["difference"] == pytest.approx(np.mean(b.first) - np.mean(a.first))
    assert found["rank-1"]["interval"][0] > 0  # the second is surely better
    found = found["mAP"]
    assert found["difference"] == pytest.approx(change.mean())
    rng, action = np.random.default_rng(1), values(a.queries, "action_idx")
    names = np.unique(action)
    means = []
    for _ in range(2000):  # a plain bootstrap over actions
        drawn = [np.flatnonzero(action == name) for name in rng.choice(names, len(names))]
        means.append(change[np.concatenate(drawn)].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    assert found["interval"] == pytest.approx([low, high], abs=0.02)
