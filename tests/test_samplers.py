"""What stands in a batch: both samplers against invariants counted by hand."""

import random
from collections import Counter

import numpy as np
import pytest

from reid.samplers import action_batches, identity_batches

SEEDS = range(12)


def crowd(seed, people=23, most=9):
    """Rows (neither sorted nor contiguous) and the person of each; people have 1 to ``most`` pictures."""
    rng = np.random.default_rng(1000 + seed)
    ids = rng.choice(500, people, replace=False)
    person = rng.permutation(np.repeat(ids, rng.integers(1, most + 1, people)))
    rows = rng.permutation(3 * len(person))[: len(person)]
    return rows, person


def league(seed, actions=9, most=7):
    """Rows, person and action of each; ids of people are not shared between actions; some actions have no pair."""
    rng = np.random.default_rng(2000 + seed)
    person, action = [], []
    for number in rng.choice(100, actions, replace=False):
        for uid in range(rng.integers(1, most + 1)):
            pictures = 1 if rng.random() < 0.5 else int(rng.integers(2, 7))
            person += [100 * number + uid] * pictures
            action += [number] * pictures
    order = rng.permutation(len(person))
    rows = rng.permutation(2 * len(person))[: len(person)]
    return rows, np.array(person)[order], np.array(action)[order]


def naive_identity_count(person, people, images, rng):
    """How many batches the same procedure gives, written with lists and the standard library's random."""
    left = {uid: max(1, number // images) for uid, number in Counter(person).items()}
    batches = 0
    while len(left) >= people:
        for uid in rng.sample(sorted(left), people):
            left[uid] -= 1
            if left[uid] == 0:
                del left[uid]
        batches += 1
    return batches


@pytest.mark.parametrize("images", [1, 2, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_identity_batches_hold_different_people_with_exactly_so_many_pictures(seed, images):
    rows, person = crowd(seed)
    of_row = dict(zip(rows.tolist(), person.tolist(), strict=True))
    batches = identity_batches(rows, person, 5, images, np.random.default_rng(seed))
    assert batches
    for batch in batches:
        assert batch.shape == (5 * images,)
        counts = Counter(of_row[row] for row in batch.tolist())
        assert sorted(counts.values()) == [images] * 5


@pytest.mark.parametrize("seed", SEEDS)
def test_identity_never_repeats_a_picture_of_people_who_have_enough(seed):
    rows, person = crowd(seed)
    of_row, number = dict(zip(rows.tolist(), person.tolist(), strict=True)), Counter(person.tolist())
    used = np.concatenate(identity_batches(rows, person, 4, 3, np.random.default_rng(seed))).tolist()
    twice = {of_row[row] for row, times in Counter(used).items() if times > 1}
    assert all(number[uid] < 3 for uid in twice)
    assert any(number[of_row[row]] >= 3 for row in used)
    assert any(number[of_row[row]] < 3 for row in used)


@pytest.mark.parametrize("images", [2, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_identity_uses_every_group_but_those_of_too_few_people_for_a_batch(seed, images):
    rows, person = crowd(seed)
    of_row = dict(zip(rows.tolist(), person.tolist(), strict=True))
    groups = {uid: max(1, number // images) for uid, number in Counter(person.tolist()).items()}
    batches = identity_batches(rows, person, 6, images, np.random.default_rng(seed))
    used = Counter(of_row[row] for row in np.concatenate(batches).tolist())
    left = {uid: total - used[uid] // images for uid, total in groups.items()}
    assert min(left.values()) >= 0
    assert sum(total > 0 for total in left.values()) < 6


def test_identity_gives_as_many_batches_as_a_naive_sampler():
    _, person = crowd(0, people=15, most=12)
    rows = np.arange(len(person))
    own = [len(identity_batches(rows, person, 4, 2, np.random.default_rng(seed))) for seed in range(300)]
    plain = random.Random(5)
    naive = [naive_identity_count(person.tolist(), 4, 2, plain) for _ in range(300)]
    assert np.mean(own) == pytest.approx(np.mean(naive), abs=5 * np.std(naive) * (2 / 300) ** 0.5)
    assert np.std(naive) < 2  # else the line above says little


def test_identity_draws_everybody_equally_often_into_the_first_batch():
    person = np.repeat(np.arange(8), 2)
    first = Counter()
    for seed in range(1200):
        batch = identity_batches(np.arange(16), person, 2, 2, np.random.default_rng(seed))[0]
        first.update(set(person[batch].tolist()))
    assert all(abs(first[uid] - 300) < 5 * (1200 * 0.25 * 0.75) ** 0.5 for uid in range(8))


def test_identity_leaves_out_another_picture_each_time():
    person = np.repeat([0, 1], [5, 4])
    left_out = set()
    for seed in range(60):
        (batch,) = identity_batches(np.arange(9), person, 2, 4, np.random.default_rng(seed))
        left_out |= set(range(9)) - set(batch.tolist())
    assert left_out == {0, 1, 2, 3, 4}


def test_identity_draws_with_replacement_where_pictures_are_too_few():
    person = np.array([0, 0, 1, 1, 1, 1])
    mixes = set()
    for seed in range(60):
        (batch,) = identity_batches(np.arange(6), person, 2, 4, np.random.default_rng(seed))
        mixes.add(tuple(sorted(batch[person[batch] == 0].tolist())))
    assert mixes == {(0,) * 4, (0, 0, 0, 1), (0, 0, 1, 1), (0, 1, 1, 1), (1,) * 4}


def test_identity_without_enough_people_gives_no_batch():
    assert identity_batches(np.arange(6), np.repeat([1, 2, 3], 2), 4, 2, np.random.default_rng(0)) == []


@pytest.mark.parametrize("kind", ["identity", "actions"])
def test_the_same_seed_gives_the_same_batches_and_another_seed_others(kind):
    rows, person, action = league(3)

    def draw(seed):
        rng = np.random.default_rng(seed)
        if kind == "identity":
            return [batch.tolist() for batch in identity_batches(rows, person, 4, 2, rng)]
        return [batch.tolist() for batch in action_batches(rows, person, action, 2, 4, 2, rng)]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


@pytest.mark.parametrize("images", [2, 3])
@pytest.mark.parametrize("people", [2, 4, 20])
@pytest.mark.parametrize("seed", SEEDS)
def test_action_batches_pick_people_with_pairs_first_and_different_pictures(seed, people, images):
    rows, person, action = league(seed)
    person_of, action_of = (dict(zip(rows.tolist(), key.tolist(), strict=True)) for key in (person, action))
    number = Counter(person.tolist())
    used = np.concatenate(
        action_batches(rows, person, action, 3, people, images, np.random.default_rng(seed))
    ).tolist()
    assert len(set(used)) == len(used)
    picked = {}
    for row in used:
        picked.setdefault(action_of[row], Counter())[person_of[row]] += 1
    for name, counts in picked.items():
        there = {uid for uid, where in zip(person.tolist(), action.tolist(), strict=True) if where == name}
        pairs = {uid for uid in there if number[uid] > 1}
        assert len(counts) == min(people, len(there))
        assert all(counts[uid] == min(images, number[uid]) for uid in counts)
        assert pairs <= set(counts) if len(pairs) <= people else set(counts) <= pairs
    with_pairs = {where for uid, where in zip(person.tolist(), action.tolist(), strict=True) if number[uid] > 1}
    assert set(picked) == with_pairs


@pytest.mark.parametrize("seed", SEEDS)
def test_action_batches_hold_whole_picks_and_each_action_once(seed):
    rows, person, action = league(seed)
    action_of = dict(zip(rows.tolist(), action.tolist(), strict=True))
    batches = action_batches(rows, person, action, 2, 3, 2, np.random.default_rng(seed))
    inside = [{action_of[row] for row in batch.tolist()} for batch in batches]
    assert sum(map(len, inside)) == len(set().union(*inside))
    assert [len(names) for names in inside[:-1]] == [2] * (len(inside) - 1)
    assert len(inside[-1]) in (1, 2)
    assert all(len(batch) <= 2 * 3 * 2 for batch in batches)


def test_some_leagues_of_these_tests_have_an_action_without_a_pair():
    def lonely(seed):
        _, person, action = league(seed)
        number = Counter(person.tolist())
        return {*action.tolist()} - {a for p, a in zip(person.tolist(), action.tolist(), strict=True) if number[p] > 1}

    assert any(lonely(seed) for seed in SEEDS)


def test_action_batches_reach_every_person_picture_and_order():
    person = np.repeat([1, 2, 3, 9], [4, 2, 2, 1])  # 9 has one picture and must wait for the others
    people, pictures, first = set(), set(), set()
    for seed in range(80):
        rng = np.random.default_rng(seed)
        batch = np.concatenate(action_batches(np.arange(9), person, np.zeros(9, int), 1, 2, 2, rng))
        people.add(tuple(sorted(set(person[batch].tolist()))))
        pictures |= set(batch.tolist())
        both = action_batches(np.arange(4), np.array([0, 0, 1, 1]), np.array([5, 5, 6, 6]), 1, 2, 2, rng)
        first.add(int(both[0].min()))
    assert people == {(1, 2), (1, 3), (2, 3)}
    assert pictures == set(range(8))
    assert first == {0, 2}


def test_action_batches_without_any_pair_are_none():
    assert action_batches(np.arange(4), np.arange(4), np.array([0, 0, 1, 1]), 2, 2, 2, np.random.default_rng(0)) == []
