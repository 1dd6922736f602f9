"""Rows to train on, of one split and of several, and their images."""

import numpy as np
import pyarrow as pa
import pytest

from builders.training import HEIGHT, WIDTH, league
from reid.core.errors import ReidError
from reid.raw.filenames import CLASSES
from reid.training.dataset import Images, select_identities


@pytest.mark.parametrize("subset, actions", [(1.0, 5), (0.4, 2), (0.41, 3), (0.01, 1)])
def test_subset_is_a_prefix_of_the_actions(subset, actions):
    table, _ = league()
    identities = select_identities([table], subset)
    wanted = [row for row, action in enumerate(table["action_idx"].to_pylist()) if action < actions]
    assert identities.rows.tolist() == wanted
    assert identities.action.tolist() == [table["action_idx"][row].as_py() for row in wanted]
    assert identities.game.tolist() == [table["action_idx"][row].as_py() // 2 for row in wanted]
    uids = sorted({table["person_uid"][row].as_py() for row in wanted})
    assert identities.identity.tolist() == [uids.index(table["person_uid"][row].as_py()) for row in wanted]
    assert identities.count == 4 * actions


def test_splits_stay_apart_and_a_game_in_both_is_one_game():
    tables = [league(2)[0], league(3)[0], league(2, game="another")[0]]
    identities = select_identities(tables, 1.0)
    assert identities.rows.tolist() == list(range(16 + 24 + 16))
    assert len(np.unique(identities.identity)) == identities.count == 8 + 12 + 8
    assert len(np.unique(identities.action)) == 2 + 3 + 2
    assert len(np.unique(identities.game)) == 2 + 1  # "game 0" and "game 1", and "another 0"
    for row, (split, place) in enumerate((k, i) for k, table in enumerate(tables) for i in range(len(table))):
        same = identities.identity == identities.identity[row]
        wanted = [
            k == split and uid == tables[split]["person_uid"][place].as_py()
            for k, table in enumerate(tables)
            for uid in table["person_uid"].to_pylist()
        ]
        assert same.tolist() == wanted


def test_subset_is_one_of_each_split():
    tables = [league(2)[0], league(3)[0], league(2, game="another")[0]]
    part = select_identities(tables, 0.5)  # the first action of two, the first two of three, the first of two
    wanted, first = [], 0
    for table, actions in zip(tables, (1, 2, 1), strict=True):
        wanted += [first + row for row, action in enumerate(table["action_idx"].to_pylist()) if action < actions]
        first += len(table)
    assert part.rows.tolist() == wanted and len(wanted) == 8 + 16 + 8


def test_images_of_several_stores_are_those_of_their_rows():
    stores = [league(2)[1], league(3)[1]]
    images = Images(stores)
    rows = np.array([17, 3, 39, 0, 16, 15])
    np.testing.assert_array_equal(images[rows], np.concatenate(stores)[rows])
    assert images.shape == (40, HEIGHT, WIDTH, 3)


def test_index_without_labels_or_with_an_empty_subset_is_refused():
    table, _ = league()
    hidden = table.set_column(2, "person_uid", pa.nulls(len(table), pa.int32()))
    with pytest.raises(ReidError, match="no labels"):
        select_identities([hidden], 1.0)
    late = table.set_column(1, "action_idx", pa.array(np.arange(len(table)) + 50, pa.int32()))
    with pytest.raises(ReidError, match="subset: there is no action"):
        select_identities([late], 0.1)


OF_CLASS = {
    "player": ["Player_team_left", "Player_team_right", "Player_team_unknown_1", "Player_team_unknown_2"],
    "goalkeeper": ["Goalkeeper_team_left", "Goalkeeper_team_right", "Goalkeeper_team_unknown"],
    "referee": ["Main_referee", "Side_referee"],
    "staff": ["Staff_members"],
}


@pytest.mark.parametrize("classes", [[], ["player"], ["goalkeeper", "player"], ["staff"], ["referee", "staff"]])
def test_only_rows_of_the_chosen_classes_are_trained_on(classes):
    assert sorted(name for names in OF_CLASS.values() for name in names) == sorted(CLASSES)
    tables = [with_classes(league(5)[0]), with_classes(league(4, game="another")[0])]
    identities = select_identities(tables, 0.9, classes)
    whole = select_identities(tables, 0.9)
    names = [name for table in tables for name in table["clazz"].to_pylist()]
    wanted = [name for one in classes or OF_CLASS for name in OF_CLASS[one]]
    kept = [row for row in whole.rows.tolist() if names[row] in wanted]
    assert identities.rows.tolist() == kept and (len(kept) < len(whole.rows)) == bool(classes)
    assert identities.count == len(np.unique(identities.identity)) == len(set(people(whole, kept)))


def with_classes(table):
    """An index whose persons have the ten classes in turn."""
    names = [CLASSES[person % len(CLASSES)] for person in table["person_uid"].to_pylist()]
    return table.append_column("clazz", pa.array(names))


def people(identities, rows):
    number = dict(zip(identities.rows.tolist(), identities.identity.tolist(), strict=True))
    return [number[row] for row in rows]


def test_nobody_of_the_chosen_classes_is_refused():
    table = league()[0]
    table = table.append_column("clazz", pa.array(["Staff_members"] * len(table)))
    with pytest.raises(ReidError, match="^train.classes: there is nobody of player, referee"):
        select_identities([table], 1.0, ["player", "referee"])
