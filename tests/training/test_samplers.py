"""What stands in a batch: both samplers against invariants counted in loops and odds worked out case by case."""

import math
import random
from collections import Counter
from fractions import Fraction
from itertools import chain, combinations, pairwise, permutations, product

import numpy as np
import pytest

from builders.model import model
from builders.training import league
from reid.core.errors import ReidError
from reid.training.dataset import select_identities
from reid.training.samplers import action_batches, epoch_batches, identity_batches, random_batches

SEEDS = range(12)


def crowd(seed, identities=23, most=9):
    """Rows (neither sorted nor contiguous) and the identity of each, which has 1 to ``most`` images."""
    rng = np.random.default_rng(1000 + seed)
    ids = rng.choice(500, identities, replace=False)
    identity = rng.permutation(np.repeat(ids, rng.integers(1, most + 1, identities)))
    rows = rng.permutation(3 * len(identity))[: len(identity)]
    return rows, identity


def crowds(seed, actions=9, most=7, shared=False):
    """Rows, identity and action of each; some actions have no pair.

    With ``shared`` the identities of every action are numbered from 0, else no two have the same number.
    """
    rng = np.random.default_rng(2000 + seed)
    identity, action = [], []
    for name in rng.choice(100, actions, replace=False):
        for number in range(rng.integers(1, most + 1)):
            images = 1 if rng.random() < 0.5 else int(rng.integers(2, 7))
            identity += [number if shared else 100 * name + number] * images
            action += [name] * images
    order = rng.permutation(len(identity))
    rows = rng.permutation(2 * len(identity))[: len(identity)]
    return rows, np.array(identity)[order], np.array(action)[order]


def images_of(rows, identity, action):
    """{action: {identity: set of rows}}, of the actions in which one has two images."""
    tree = {}
    for row, number, name in zip(rows.tolist(), identity.tolist(), action.tolist(), strict=True):
        tree.setdefault(name, {}).setdefault(number, set()).add(row)
    return {name: own for name, own in tree.items() if any(len(images) > 1 for images in own.values())}


def assert_odds(counts, odds):
    """Every outcome comes about as often as its probability says, and no other comes (chi-square and 5 sigma)."""
    total = sum(counts.values())
    assert sum(odds.values()) == 1
    assert set(counts) <= set(odds)
    off = {outcome: float((counts[outcome] - total * p) ** 2 / (total * p)) for outcome, p in odds.items()}
    assert all(off[outcome] <= 25 * (1 - p) for outcome, p in odds.items())
    assert sum(off.values()) <= 20 + 2 * len(odds)


def naive_identity_count(identity, identities, instances, rng):
    """How many batches the same procedure gives, written with lists and the standard library's random."""
    left = {uid: max(1, count // instances) for uid, count in Counter(identity).items()}
    batches = 0
    while len(left) >= identities:
        for uid in rng.sample(sorted(left), identities):
            left[uid] -= 1
            if left[uid] == 0:
                del left[uid]
        batches += 1
    return batches


@pytest.mark.parametrize("instances", [1, 2, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_identity_batches_hold_different_identities_with_exactly_so_many_images(seed, instances):
    rows, identity = crowd(seed)
    of_row = dict(zip(rows.tolist(), identity.tolist(), strict=True))
    batches = identity_batches(rows, identity, 5, instances, np.random.default_rng(seed))
    assert batches
    for batch in batches:
        assert batch.shape == (5 * instances,)
        counts = Counter(of_row[row] for row in batch.tolist())
        assert sorted(counts.values()) == [instances] * 5


@pytest.mark.parametrize("seed", SEEDS)
def test_identity_never_repeats_an_image_of_identities_that_have_enough(seed):
    rows, identity = crowd(seed)
    of_row, number = dict(zip(rows.tolist(), identity.tolist(), strict=True)), Counter(identity.tolist())
    used = np.concatenate(identity_batches(rows, identity, 4, 3, np.random.default_rng(seed))).tolist()
    twice = {of_row[row] for row, times in Counter(used).items() if times > 1}
    assert all(number[uid] < 3 for uid in twice)
    assert any(number[of_row[row]] >= 3 for row in used)
    assert any(number[of_row[row]] < 3 for row in used)


@pytest.mark.parametrize("instances", [2, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_identity_uses_every_group_but_those_of_too_few_identities_for_a_batch(seed, instances):
    rows, identity = crowd(seed)
    of_row = dict(zip(rows.tolist(), identity.tolist(), strict=True))
    groups = {uid: max(1, number // instances) for uid, number in Counter(identity.tolist()).items()}
    batches = identity_batches(rows, identity, 6, instances, np.random.default_rng(seed))
    used = Counter(of_row[row] for row in np.concatenate(batches).tolist())
    left = {uid: total - used[uid] // instances for uid, total in groups.items()}
    assert min(left.values()) >= 0
    assert sum(total > 0 for total in left.values()) < 6


def test_identity_gives_as_many_batches_as_a_naive_sampler():
    _, identity = crowd(0, identities=15, most=12)
    rows = np.arange(len(identity))
    own = [len(identity_batches(rows, identity, 4, 2, np.random.default_rng(seed))) for seed in range(300)]
    plain = random.Random(5)
    naive = [naive_identity_count(identity.tolist(), 4, 2, plain) for _ in range(300)]
    assert np.mean(own) == pytest.approx(np.mean(naive), abs=5 * np.std(naive) * (2 / 300) ** 0.5)
    assert np.std(naive) < 2  # else the line above says little


def odds_of_epochs(left, identities):
    """{batches of one epoch, each a frozenset of identities: its probability}, by going through all draws."""
    names = [uid for uid, groups in left.items() if groups]
    if len(names) < identities:
        return {(): Fraction(1)}
    draws = list(combinations(names, identities))
    odds = {}
    for draw in draws:
        after = {uid: groups - (uid in draw) for uid, groups in left.items()}
        for epoch, p in odds_of_epochs(after, identities).items():
            odds[(frozenset(draw), *epoch)] = p / len(draws)
    return odds


@pytest.mark.parametrize(
    ("groups", "identities"), [([1] * 6, 2), ([3, 1, 1, 1], 2), ([1, 2, 2, 1], 3), ([2, 2, 1], 2), ([3, 2, 1], 1)]
)
def test_identity_draws_every_epoch_as_often_as_the_kit(groups, identities):
    identity = np.repeat(np.arange(len(groups)), 2 * np.array(groups))
    rng = np.random.default_rng(11)
    counts = Counter()
    for _ in range(800):
        batches = identity_batches(np.arange(len(identity)), identity, identities, 2, rng)
        counts[tuple(frozenset(identity[batch].tolist()) for batch in batches)] += 1
    assert_odds(counts, odds_of_epochs(dict(enumerate(groups)), identities))


def test_identity_cuts_the_images_of_one_into_any_groups():
    identity = np.repeat([0, 1], 4)
    rng = np.random.default_rng(12)
    epochs = [identity_batches(np.arange(8), identity, 2, 2, rng) for _ in range(800)]
    assert {len(batches) for batches in epochs} == {2}
    first = Counter(tuple(sorted(batches[0][identity[batches[0]] == 1].tolist())) for batches in epochs)
    assert_odds(first, {pair: Fraction(1, 6) for pair in combinations([4, 5, 6, 7], 2)})


def test_identity_leaves_out_another_image_each_time():
    identity = np.repeat([0, 1], [5, 4])
    left_out = set()
    for seed in range(60):
        (batch,) = identity_batches(np.arange(9), identity, 2, 4, np.random.default_rng(seed))
        left_out |= set(range(9)) - set(batch.tolist())
    assert left_out == {0, 1, 2, 3, 4}


def test_identity_draws_with_replacement_where_images_are_too_few():
    identity = np.array([0, 0, 1, 1, 1, 1])
    rng = np.random.default_rng(13)
    mixes = Counter()
    for _ in range(800):
        (batch,) = identity_batches(np.arange(6), identity, 2, 4, rng)
        mixes[tuple(sorted(batch[identity[batch] == 0].tolist()))] += 1
    draws = Counter(tuple(sorted(draw)) for draw in product([0, 1], repeat=4))
    assert_odds(mixes, {mix: Fraction(number, 16) for mix, number in draws.items()})


def test_identity_without_enough_identities_gives_no_batch():
    assert identity_batches(np.arange(6), np.repeat([1, 2, 3], 2), 4, 2, np.random.default_rng(0)) == []


def test_no_rows_give_no_batch():
    none, rng = np.zeros(0, dtype=int), np.random.default_rng(0)
    assert random_batches(none, 2, rng) == []
    assert identity_batches(none, none, 2, 2, rng) == []
    assert action_batches(none, none, none, 2, 2, 2, rng) == []
    assert action_batches(none, none, none, 2, None, None, rng, game=none) == []


@pytest.mark.parametrize("kind", ["identity", "actions", "game"])
def test_the_same_seed_gives_the_same_batches_and_another_seed_others(kind):
    rows, identity, action = crowds(3)

    def draw(seed):
        rng = np.random.default_rng(seed)
        if kind == "identity":
            batches = identity_batches(rows, identity, 4, 2, rng)
        else:
            batches = action_batches(rows, identity, action, 2, 4, 2, rng, game=action % 3 if kind == "game" else None)
        return [batch.tolist() for batch in batches]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


@pytest.mark.parametrize("by_game", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("instances", [2, 3, None])
@pytest.mark.parametrize("identities", [2, 4, 20, None])
def test_action_batches_pick_identities_with_pairs_first_and_different_images(identities, instances, shared, by_game):
    for seed in SEEDS:
        rows, identity, action = crowds(seed, shared=shared)
        game = action % 4 if by_game else None
        rng = np.random.default_rng(seed)
        batches = action_batches(rows, identity, action, 3, identities, instances, rng, game=game)
        used = np.concatenate(batches).tolist()
        assert len(set(used)) == len(used)
        there = images_of(rows, identity, action)
        counts = {
            name: {uid: len(images & set(used)) for uid, images in own.items() if images & set(used)}
            for name, own in there.items()
        }
        assert sum(sum(picked.values()) for picked in counts.values()) == len(used)  # nothing from other actions
        for name, picked in counts.items():
            own = there[name]
            pairs = {uid for uid in own if len(own[uid]) > 1}
            assert len(picked) == min(identities or len(own), len(own))
            assert all(picked[uid] == min(instances or len(own[uid]), len(own[uid])) for uid in picked)
            assert pairs <= set(picked) or set(picked) <= pairs


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_whole_actions_hold_all_their_images_once(seed, shared):
    rows, identity, action = crowds(seed, shared=shared)
    batches = action_batches(rows, identity, action, 1, None, None, np.random.default_rng(seed))
    whole = [set().union(*own.values()) for own in images_of(rows, identity, action).values()]
    assert sorted(sorted(batch.tolist()) for batch in batches) == sorted(map(sorted, whole))


@pytest.mark.parametrize("by_game", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_action_batches_keep_identities_and_actions_side_by_side(seed, by_game):
    rows, identity, action = crowds(seed, shared=True)
    key = dict(zip(rows.tolist(), zip(action.tolist(), identity.tolist(), strict=True), strict=True))
    game = action % 4 if by_game else None
    for batch in action_batches(rows, identity, action, 3, 4, 3, np.random.default_rng(seed), game=game):
        keys = [key[row] for row in batch.tolist()]
        for part in (keys, [name for name, _ in keys]):
            assert 1 + sum(a != b for a, b in pairwise(part)) == len(set(part))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("actions", [1, 2, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_action_batches_hold_whole_picks_and_each_action_once(seed, actions, shared):
    rows, identity, action = crowds(seed, shared=shared)
    action_of = dict(zip(rows.tolist(), action.tolist(), strict=True))
    batches = action_batches(rows, identity, action, actions, 3, 2, np.random.default_rng(seed))
    inside = [{action_of[row] for row in batch.tolist()} for batch in batches]
    assert sum(map(len, inside)) == len(set().union(*inside))
    assert set().union(*inside) == set(images_of(rows, identity, action))
    assert [len(names) for names in inside[:-1]] == [actions] * (len(inside) - 1)
    assert 1 <= len(inside[-1]) <= actions
    assert all(len(batch) <= actions * 3 * 2 for batch in batches)


@pytest.mark.parametrize("actions", [1, 2, 3, 5, 50])
@pytest.mark.parametrize("seed", SEEDS)
def test_batches_by_game_hold_one_game_as_long_as_it_has_actions(seed, actions):
    rows, identity, action = crowds(seed, actions=40, shared=True)
    game_of = {name: 70 - name % 5 if name % 7 else name for name in action.tolist()}  # some games have one action
    action_of = dict(zip(rows.tolist(), action.tolist(), strict=True))
    game = np.array([game_of[name] for name in action.tolist()])
    batches = action_batches(rows, identity, action, actions, 3, 2, np.random.default_rng(seed), game=game)
    inside = [{action_of[row] for row in batch.tolist()} for batch in batches]
    drawn = [name for names in inside for name in names]
    wanted = set(images_of(rows, identity, action))
    assert len(drawn) == len(wanted)
    assert set(drawn) == wanted
    sizes = sorted(map(len, inside))
    assert sizes[1:] == [actions] * (len(sizes) - 1)

    full, rests = Counter(), []
    for names in inside:
        games = Counter(game_of[name] for name in names)
        if max(games.values()) == actions:
            full.update(games.keys())
        else:
            rests.append(games)
    number = Counter(game_of[name] for name in wanted)
    assert full == +Counter({name: total // actions for name, total in number.items()})
    left = {name: total % actions for name, total in number.items() if total % actions}
    assert sum(rests, Counter()) == left
    # end to end: the rest of a game is cut at most once, and a batch has no more than two of the cut ones
    parts = {name: sum(name in games for games in rests) for name in left}
    assert all(times <= 2 for times in parts.values())
    assert all(sum(parts[name] == 2 for name in games) <= 2 for games in rests)


def epochs_by_game(games, actions):
    """Every epoch that the description of ``game`` allows, as often as it comes up; ``games`` are lists of actions."""
    for own in product(*(list(permutations(names)) for names in games)):
        for order in permutations(own):
            whole, rest = [], []
            for names in order:
                while len(names) >= actions:
                    whole.append(names[:actions])
                    names = names[actions:]
                rest += names
            while rest:
                whole.append(rest[:actions])
                rest = rest[actions:]
            yield from permutations(whole)


def epochs_of_any(games, actions):
    for order in permutations(chain(*games)):
        yield [order[k : k + actions] for k in range(0, len(order), actions)]


@pytest.mark.parametrize(
    ("games", "actions", "letters"),
    [
        (["A1 A2 A3", "B1", "C1"], 2, 2),
        (["A1 A2 A3 A4", "B1 B2", "C1"], 3, 1),
        (["A1", "B1", "C1"], 1, 2),
    ],
)
@pytest.mark.parametrize("by_game", [False, True])
def test_every_epoch_of_actions_comes_as_often_as_it_should(games, actions, letters, by_game):
    games = [names.split() for names in games]
    names = np.array([*chain(*games)])

    def show(epoch):  # with one letter only the game of each action
        return tuple(" ".join(sorted(name[:letters] for name in batch)) for batch in epoch)

    ways = Counter(show(epoch) for epoch in (epochs_by_game if by_game else epochs_of_any)(games, actions))
    rows = np.arange(2 * len(names))  # each identity has two instances, each action one identity
    game = np.array([ord(names[row // 2][0]) for row in rows]) if by_game else None
    rng = np.random.default_rng(21)
    counts = Counter()
    for _ in range(1000):
        batches = action_batches(rows, rows // 2, rows // 2, actions, 2, 2, rng, game=game)
        counts[show([names[np.unique(batch // 2)] for batch in batches])] += 1
    assert_odds(counts, {epoch: Fraction(times, ways.total()) for epoch, times in ways.items()})


@pytest.mark.parametrize(
    ("sizes", "identities", "instances"),
    [([3, 2, 1, 1], 3, 2), ([2, 2, 2, 1], 2, 2), ([4, 1, 1, 1], 3, None), ([4, 2], None, 2), ([3, 2, 2, 1], 2, 2)],
)
def test_identities_and_images_of_an_action_are_left_to_chance(sizes, identities, instances):
    identity = np.repeat(np.arange(len(sizes)), sizes)
    rows, action = np.arange(len(identity)), np.zeros_like(identity)
    odds, orders = Counter(), list(permutations(range(len(sizes))))
    for order in orders:
        chosen = sorted(order, key=lambda uid: sizes[uid] == 1)[:identities]
        own = [np.flatnonzero(identity == uid).tolist() for uid in chosen]
        draws = list(product(*(combinations(images, min(instances or 9, len(images))) for images in own)))
        for draw in draws:
            odds[frozenset(chain(*draw))] += Fraction(1, len(orders) * len(draws))
    rng = np.random.default_rng(22)
    counts = Counter()
    for _ in range(800):
        (batch,) = action_batches(rows, identity, action, 3, identities, instances, rng)
        counts[frozenset(batch.tolist())] += 1
    assert_odds(counts, odds)


def test_some_crowds_of_these_tests_have_an_action_without_a_pair():
    several = [crowds(seed) for seed in SEEDS]
    assert any(set(action.tolist()) - set(images_of(rows, identity, action)) for rows, identity, action in several)


@pytest.mark.parametrize("game", [None, np.zeros(4, dtype=int)])
def test_action_batches_without_any_pair_are_none(game):
    rng = np.random.default_rng(0)
    assert action_batches(np.arange(4), np.arange(4), np.array([0, 0, 1, 1]), 2, 2, 2, rng, game=game) == []
    assert action_batches(np.arange(4), np.zeros(4, dtype=int), np.arange(4), 2, 2, 2, rng, game=game) == []


@pytest.mark.parametrize(("count", "images"), [(10, 4), (12, 4), (3, 5), (4, 3), (10, 3), (9, 2), (41, 40)])
def test_random_batches_hold_every_image_once_and_are_about_equal(count, images):
    rows = np.random.default_rng(0).choice(1000, count, replace=False)
    batches = random_batches(rows, images, np.random.default_rng(1))
    sizes = [len(batch) for batch in batches]
    assert sorted(np.concatenate(batches).tolist()) == sorted(rows.tolist())
    assert len(batches) == math.ceil(count / images)
    assert max(sizes) <= images and max(sizes) - min(sizes) <= 1 and (images == 2 or min(sizes) > 1)


def test_one_image_is_no_random_batch():
    assert random_batches(np.array([7]), 3, np.random.default_rng(1)) == []


def test_random_batches_are_of_any_images():
    rng = np.random.default_rng(2)
    counts = Counter(frozenset(random_batches(np.arange(4), 2, rng)[0].tolist()) for _ in range(800))
    assert_odds(counts, {frozenset(pair): Fraction(1, 6) for pair in combinations(range(4), 2)})


# ---- the model's sampler


def drawn(sampler, images=2):
    """One epoch of :func:`builders.training.league` as lists of rows."""
    identities = select_identities([league(images=images)[0]], 1.0)
    params = model({"sampler": sampler}).sampler
    return [batch.tolist() for batch in epoch_batches(identities, params, np.random.default_rng(0))]


def test_epoch_batches_are_those_of_the_models_sampler():
    assert {len(batch) for batch in drawn({"kind": "identity", "identities": 3, "instances": 2})} == {6}
    some = drawn({"kind": "actions", "actions": 2, "identities": 4, "instances": 2})
    assert [len(batch) for batch in some] == [16, 16, 8]
    assert [len(batch) for batch in drawn({"kind": "random", "images": 9})] == [8] * 5
    everything = drawn({"kind": "actions", "actions": 1}, images=3)
    assert [len(batch) for batch in everything] == [12] * 5
    assert sorted(row for batch in everything for row in batch) == list(range(60))


def test_epoch_batches_keep_to_a_game_when_asked():
    table, _ = league()
    batches = drawn({"kind": "actions", "actions": 2, "neighbours": "game"})
    games = [{table["game"][row].as_py() for row in batch} for batch in batches]
    assert sorted(map(len, games)) == [1, 1, 1] and set().union(*games) == {"game 0", "game 1", "game 2"}


@pytest.mark.parametrize(
    "images, sampler",
    [
        (2, {"kind": "identity", "identities": 21, "instances": 2}),
        (1, {"kind": "actions", "actions": 2, "identities": 4, "instances": 2}),
    ],
)
def test_too_few_identities_are_one_clear_error(images, sampler):
    with pytest.raises(ReidError, match=r"sampler: 20 identities in 5 actions are too few .*subset"):
        drawn(sampler, images)
