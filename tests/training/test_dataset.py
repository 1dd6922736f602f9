"""Rows to train on, of one split and of several, and their images."""

import numpy as np
import pyarrow as pa
import pytest

from builders.training import HEIGHT, WIDTH, league
from reid.core.errors import ReidError
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
