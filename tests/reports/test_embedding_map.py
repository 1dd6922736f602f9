"""The map of embeddings: planted groups stay together, no thumbnail covers another, names are found."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from builders import ROOT, gallery
from reid.core.errors import ReidError
from reid.core.tables import column, is_query
from reid.raw.filenames import CLASSES
from reid.reports.embedding_map import STYLES, _matches, _sizes, draw_map
from reid.reports.leader_lines import route
from reid.reports.named_rows import rows_of_actions, rows_of_game
from reid.reports.projection import arrange, project

SIZES = [(3, 9), (2, 5), (4, 12), (1, 4)]


def groups(count, each, seed=0, noise=0.3):
    """Embeddings around ``count`` directions, of any length: float32 array, and the group of each."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(count), each))
    directions = rng.normal(size=(count, 32))[group] + noise * rng.normal(size=(count * each, 32))
    return (directions * rng.uniform(0.2, 5, (len(group), 1))).astype(np.float32), group


def kept(places, group, neighbours=4):
    """Share of the nearest neighbours that are of the same group."""
    distance = np.linalg.norm(places[:, None] - places, axis=2) + np.diag(np.full(len(places), np.inf))
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :neighbours]
    return (group[nearest] == group[:, None]).mean()


@pytest.mark.parametrize("count, each", [(4, 6), (3, 20), (6, 20)])
def test_groups_stay_together(count, each):
    embeddings, group = groups(count, each)
    places = project(embeddings)
    assert kept(places, group) > 0.95
    _, columns, lines = _sizes(len(places), 2)
    assert kept(arrange(places, columns, lines).astype(float), group) > 0.7
    assert kept(places, np.random.default_rng(1).permutation(group)) < 0.6  # what a random order would keep


@pytest.mark.parametrize("each", [10, 40])
def test_the_same_seed_gives_the_same_places(each):
    embeddings, _ = groups(2, each)
    np.testing.assert_array_equal(project(embeddings, 3), project(embeddings, 3))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("equal", [False, True])
def test_few_or_equal_embeddings_have_places(count, equal):
    embeddings = np.random.default_rng(0).normal(size=(1 if equal else count, 8)).repeat(count if equal else 1, axis=0)
    places = project(embeddings.astype(np.float32))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()


def test_few_embeddings_keep_their_distances():
    """Four points of a plane, as directions near a pole."""
    flat = np.array([[0, 0], [3, 0], [0, 4], [3, 4]]) / 100
    places = project(np.concatenate([flat, np.ones((4, 1))], axis=1).astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(places - places[0], axis=1), [0, 0.03, 0.04, 0.05], atol=1e-4)


@pytest.mark.parametrize("boxes", [1, 2, 20, 600])
@pytest.mark.parametrize("aspect", [1, 2.5])
def test_no_thumbnail_covers_another(boxes, aspect):
    (height, width), columns, lines = _sizes(boxes, aspect)
    cells = arrange(np.random.default_rng(0).normal(size=(boxes, 2)), columns, lines)
    assert len(set(map(tuple, cells.tolist()))) == boxes
    assert (cells >= 0).all() and (cells < (columns, lines)).all()
    assert 64 <= height <= 132 and abs(height / width - aspect) < 0.1
    assert 1.2 * boxes <= columns * lines


def test_points_that_have_cells_of_their_own_stay_there():
    rng = np.random.default_rng(0)
    wanted = np.concatenate([[[0, 0], [8, 5]], rng.permutation(np.argwhere(np.ones((8, 5))))[:15]])
    wanted = np.unique(wanted, axis=0)
    np.testing.assert_array_equal(arrange(wanted * 1.0, 9, 6), wanted)


def test_lines_lead_to_matches_and_to_no_other_box():
    table = gallery.make_index(SIZES)
    rows, _ = rows_of_actions(table, [2, 0])
    links, role, person = set(_matches(table, rows)), is_query(table)[rows], column(table, "person_uid")[rows]
    wanted = {
        (i, j)
        for i in range(len(rows))
        for j in range(len(rows))
        if role[i] and not role[j] and person[i] == person[j]
    }
    assert links == wanted and len(wanted) >= 7
    hidden = gallery.make_index(SIZES, labels=False)
    assert _matches(hidden, rows_of_actions(hidden, [2, 0])[0]) == []


def test_lines_run_through_no_other_image():
    rng, size, apart = np.random.default_rng(0), (30, 60), 12
    corner = 50 + rng.permutation(np.argwhere(np.ones((6, 5))))[:22] * (np.array(size) + apart)
    covers = np.full((600, 400), -1)  # which image covers a pixel, by (y, x)
    for i, (x, y) in enumerate(corner):
        covers[y : y + size[1], x : x + size[0]] = i
    bent = 0
    for i, j in itertools.permutations(range(22), 2):
        way = route(i, j, corner, size, apart)
        bent += len(way) > 2
        for one, other in itertools.pairwise(way):
            x, y = np.floor(one + np.linspace(0, 1, 1000)[:, None] * (other - one)).astype(int).T
            assert (covers[y, x] == -1).all(), (i, j)
        for place, image in ((way[0], i), (way[-1], j)):
            x, y = np.clip(np.rint(place), corner[image], corner[image] + np.array(size) - 1)
            assert np.abs(place - (x, y)).max() <= 4, (i, j)
    assert 100 < bent < 400


def test_actions_and_games_are_found_by_name():
    table = gallery.make_index(SIZES)
    action = column(table, "action_idx")
    rows, whole = rows_of_actions(table, [3, 1, 3])
    np.testing.assert_array_equal(rows, np.flatnonzero((action == 1) | (action == 3)))
    assert whole == "actions 1, 3" and rows_of_actions(table, [2])[1] == "action 2"
    for name in (gallery.GAMES[1][1], "alavés", "spain_laliga"):
        rows, whole = rows_of_game(table, name)
        np.testing.assert_array_equal(rows, np.flatnonzero(action % 2 == 1))
        assert whole == f"spain_laliga / 2016-2017 / {gallery.GAMES[1][1]}"


def test_what_is_not_there_is_refused_with_names_near_to_it():
    table = gallery.make_index(SIZES)
    with pytest.raises(ReidError, match="no action 7 in this split; near are 0, 1, 2, 3"):
        rows_of_actions(table, [1, 7])
    with pytest.raises(ReidError, match="no such game; near are\n.*Bournemouth"):
        rows_of_game(table, "2015-08-08 - 19-30 Burnmouth 0 - 1 Aston Villa")
    with pytest.raises(ReidError, match="2 games fit; name one of\n.*Bournemouth.*\n.*Alavés"):
        rows_of_game(table, "1")
    with pytest.raises(ReidError, match="games of this split are hidden; use --action"):
        rows_of_game(gallery.make_index(SIZES, labels=False), "Villa")


def test_classes_differ_without_colour():
    assert list(STYLES) == list(CLASSES)
    assert len({style.letters for style in STYLES.values()}) == len(CLASSES)


@pytest.mark.parametrize("labels", [True, False])
def test_a_map_is_drawn_with_and_without_labels(tmp_path, labels):
    table = gallery.make_index([(10, 30)] if labels else [(1, 2)], labels)
    store = np.full((len(table), 32, 16, 3), (10, 200, 30), np.uint8)
    rows = np.arange(len(table))
    draw_map(tmp_path / "map.png", table, rows, np.random.default_rng(0).normal(size=(len(rows), 2)), store, "title")
    with Image.open(tmp_path / "map.png") as image:
        assert image.info == {}
        pixels = np.asarray(image)
    (height, width), *_ = _sizes(len(table), 2)
    seen = (pixels == (10, 200, 30)).all(2).sum()
    assert 0.5 < seen / (len(table) * height * width) <= 1


def test_the_program_writes_what_the_library_draws(tmp_path):
    table = gallery.make_index(SIZES)
    files, embeddings = gallery.write_split(tmp_path, table), np.random.default_rng(0).normal(size=(40, 8))
    np.save(tmp_path / "e.npy", embeddings.astype(np.float32))
    command = [sys.executable, ROOT / "scripts/embedding_map.py", "--index", files["index"]]
    command += ["--thumbnails", files["thumbnails"]]
    command += ["--embeddings", tmp_path / "e.npy", "--action", "0", "2", "--out", tmp_path / "a.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and re.fullmatch(r"wrote [^\n]+\n", done.stderr), done.stderr
    rows, name = rows_of_actions(table, [0, 2])
    places = project(embeddings.astype(np.float32)[rows])
    title = f"valid: {name}, 28 boxes"
    draw_map(tmp_path / "b.png", table, rows, places, np.load(files["thumbnails"]), title)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
