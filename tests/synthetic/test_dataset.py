"""Synthetic matches: layout, labels, the rules of the task, sameness of bytes, counts like those of the real data."""

import collections
import io
import itertools
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reid.core.splits import SPLITS
from reid.params.data import MOST_ACTIONS
from reid.raw.filenames import CLASSES, Thumbnail, parse_name
from reid.raw.png import image_size
from reid.raw.sizes import MOST_DIRECTORY, MOST_MEMBERS
from reid.synthetic.dataset import bbox_info, make_split, plan_split, render
from reid.synthetic.skeleton import extent

ACTIONS, SEED = 2, 7


@pytest.fixture(scope="module", params=SPLITS)
def made(request, tmp_path_factory):
    """(split, {member: content}, labels) of a split of two actions."""
    folder = tmp_path_factory.mktemp(request.param)
    path, hidden = folder / f"{request.param}.zip", folder / "labels.json"
    make_split(path, request.param, ACTIONS, SEED, labels_path=hidden, progress=False)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        members = {name: archive.read(name) for name in archive.namelist()}
    if request.param == "challenge":
        return request.param, members, json.loads(hidden.read_text(encoding="utf-8"))
    assert not hidden.exists()
    (name,) = (name for name in members if name.endswith(".json"))
    return request.param, members, json.loads(members.pop(name))


@pytest.fixture(scope="module")
def plans():
    """Plans of 150 actions: train and valid."""
    return {split: plan_split(split, 150, SEED) for split in ("train", "valid")}


def by_action(records):
    ordered = sorted(records, key=lambda record: record.thumbnail.action_idx)
    groups = itertools.groupby(ordered, key=lambda record: record.thumbnail.action_idx)
    return [list(group) for _, group in groups]


def roles(labels, split):
    return {"train": labels} if split == "train" else labels


def test_members_lie_where_the_dev_kit_puts_them(made):
    split, members, labels = made
    expected = []
    for role, entries in roles(labels, split).items():
        for entry in entries.values():
            size = f"{entry['height']}x{entry['width']}.png"
            name = "-".join(str(entry[k]) for k in list(entry)[:7])
            if split == "challenge":
                expected.append(f"challenge/{role}/{entry['bbox_idx']}-{entry['action_idx']}-{size}")
            elif split == "train":
                expected.append(f"train/{entry['relative_path']}/{name}-{size}")
            else:
                expected.append(f"{split}/{role}/{entry['relative_path']}/{name}-{size}")
            assert len(entry["relative_path"].split("/")) == 4
    assert list(members) == expected


def test_names_parse_and_agree_with_the_labels(made):
    split, members, labels = made
    everything = iter([entry for entries in roles(labels, split).values() for entry in entries.values()])
    for member in members:
        thumbnail, entry = parse_name(member.rsplit("/", 1)[1]), next(everything)
        assert list(entry) == [*Thumbnail._fields[:7], "relative_path", "height", "width"]
        told = {field: value for field, value in thumbnail._asdict().items() if value is not None}
        assert told.items() <= entry.items()
        assert (thumbnail.person_uid is None) == (split == "challenge")


def test_bbox_idx_counts_from_zero_in_each_role(made):
    split, _, labels = made
    for entries in roles(labels, split).values():
        assert [entry["bbox_idx"] for entry in entries.values()] == list(range(len(entries)))
        assert list(entries) == [str(i) for i in range(len(entries))]
        actions = [entry["action_idx"] for entry in entries.values()]
        assert actions == sorted(actions) and set(actions) == set(range(ACTIONS))


def test_images_have_the_size_in_their_name(made):
    _, members, _ = made
    for member, content in members.items():
        thumbnail = parse_name(member.rsplit("/", 1)[1])
        assert image_size(content) == (thumbnail.height, thumbnail.width)
        with Image.open(io.BytesIO(content)) as image:
            assert image.mode == "RGB"
            assert np.asarray(image).std() > 5  # something is drawn


def test_only_challenge_hides_its_labels(made):
    split, members, _ = made
    with_labels = [member for member in members if parse_name(member.rsplit("/", 1)[1]).person_uid is not None]
    assert len(with_labels) == (0 if split == "challenge" else len(members))


def test_challenge_labels_may_be_dropped(tmp_path):
    make_split(tmp_path / "challenge.zip", "challenge", 1, SEED, progress=False)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["challenge.zip"]
    with zipfile.ZipFile(tmp_path / "challenge.zip") as archive:
        assert all(name.endswith(".png") for name in archive.namelist())


def test_threads_do_not_change_the_bytes_but_the_seed_does(tmp_path):
    for name, seed, threads in (("one", SEED, 1), ("two", SEED, 2), ("other", SEED + 1, 1)):
        make_split(tmp_path / name, "test", 1, seed, threads=threads, progress=False)
    one, two, other = ((tmp_path / name).read_bytes() for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_a_thumbnail_is_drawn_without_the_others():
    records = plan_split("valid", 1, SEED)
    alone = render(records[-1])
    for record in records[:3]:
        render(record)
    assert render(records[-1]) == alone


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(SPLITS), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_rules_of_the_task_hold_for_any_seed(split, actions, seed):
    records = plan_split(split, actions, seed)
    groups = by_action(records)
    assert [group[0].thumbnail.action_idx for group in groups] == list(range(actions))
    owners, frames = {}, {}
    for number, group in enumerate(groups):
        assert len({record.relative_path for record in group}) == 1
        by_person = collections.defaultdict(list)
        for record in group:
            by_person[record.thumbnail.person_uid].append(record)
            assert owners.setdefault(record.thumbnail.person_uid, number) == number  # a new uid in each action
            frame = (number, record.thumbnail.UAI.split("_")[0])
            assert frames.setdefault(record.thumbnail.frame_idx, frame) == frame
        assert len({record.thumbnail.UAI for record in group}) == len(group)
        check_ids(by_person)
        check_roles(split, by_person)
    assert len(frames) == len(set(frames.values()))
    for record in records:
        assert 30 <= record.thumbnail.height <= 700
        assert parse_name(record.member.rsplit("/", 1)[1]).bbox_idx == record.thumbnail.bbox_idx
    assert len({record.member for record in records}) == len(records)


def check_ids(by_person):
    """A number or letter of one's own for whoever is seen twice, else None; never twice in one frame."""
    names = []
    for boxes in by_person.values():
        assert len({(record.thumbnail.clazz, record.thumbnail.id) for record in boxes}) == 1
        assert len({record.thumbnail.frame_idx for record in boxes}) == len(boxes)
        clazz, name = boxes[0].thumbnail.clazz, boxes[0].thumbnail.id
        assert (name == "None") == (len(boxes) == 1)
        if name != "None":
            names.append((clazz, name))
            assert not name.isdigit() or int(name) == boxes[0].person.look.number
    assert len(names) == len(set(names))


def check_roles(split, by_person):
    """Query: a box of the action frame that a replay matches. Gallery: all other boxes."""
    queries = 0
    for boxes in by_person.values():
        replayed = any("r000_" not in record.thumbnail.UAI for record in boxes)
        for record in boxes:
            asks = "r000_" in record.thumbnail.UAI and replayed
            assert record.role == ("train" if split == "train" else "query" if asks else "gallery")
            queries += asks
    assert queries >= 1


def test_splits_share_neither_persons_nor_games():
    persons, games = [], []
    for split in SPLITS:
        records = plan_split(split, 12, SEED)
        persons.append({record.thumbnail.person_uid for record in records})
        games.append({record.relative_path.rsplit("/", 1)[0] for record in records})
    for sets in (persons, games):
        assert len(set.union(*sets)) == sum(map(len, sets))


def test_a_game_has_several_actions_of_the_same_squad(plans):
    games = collections.defaultdict(list)
    for group in by_action(plans["train"]):
        games[group[0].relative_path.rsplit("/", 1)[0]].append({record.person for record in group})
    counts = [len(actions) for actions in games.values()]
    assert 3 <= np.mean(counts) <= 5
    for actions in games.values():
        assert len(set.union(*actions)) <= 2 * 11 + 3 + 4
    assert any(not game.isascii() for game in games)
    assert len({game.split("/")[0] for game in games}) == 6


def test_counts_are_like_those_of_the_real_splits(plans):
    """Real: 27 boxes an action; 55, 33, 3 % of ids with 1, 2, 4+ boxes; 6.6 queries, 19.6 gallery, 1.4 positives."""
    boxes = collections.Counter(record.thumbnail.person_uid for record in plans["train"])
    count = np.array(list(boxes.values()))
    assert 24 <= len(plans["train"]) / 150 <= 30
    assert 0.48 <= (count == 1).mean() <= 0.62
    assert 0.27 <= (count == 2).mean() <= 0.40
    assert 0.005 <= (count >= 4).mean() <= 0.05
    assert count.max() <= 10
    groups = by_action(plans["valid"])
    queries = np.array([sum(record.role == "query" for record in group) for group in groups])
    gallery = np.array([len(group) for group in groups]) - queries
    assert 5.5 <= queries.mean() <= 8 and 3 <= queries.std() <= 6
    assert 17 <= gallery.mean() <= 23 and 6 <= gallery.std() <= 12
    matches = collections.Counter(record.thumbnail.person_uid for record in plans["valid"] if record.role == "gallery")
    positives = [matches[record.thumbnail.person_uid] for record in plans["valid"] if record.role == "query"]
    assert min(positives) >= 1 and 1.2 <= np.mean(positives) <= 1.6
    assert {record.thumbnail.clazz for record in plans["train"]} == set(CLASSES[:7])


def test_a_zip_of_the_most_actions_is_within_the_limits_of_zips(plans):
    for records in plans.values():
        size = MOST_ACTIONS / 150
        assert 1.2 * size * len(records) < MOST_MEMBERS
        assert 1.2 * size * sum(46 + len(record.member.encode()) for record in records) < MOST_DIRECTORY


def test_sizes_are_like_those_of_broadcast_thumbnails(plans):
    height, width = np.array([record.thumbnail[-2:] for record in plans["train"]]).T
    assert 90 <= np.median(height) <= 180
    assert np.percentile(height, 95) > 300
    assert 1.6 <= np.median(height / width) <= 2.6


def test_persons_are_framed_as_loosely_as_by_a_detector(plans):
    """A detection counts as right from an IoU of 0.5 with the tight box on; one drawn with care has 0.8 and more."""
    overlap = []
    for record in plans["train"]:
        crop, tight = record.box, extent(record.person.look, record.stance, record.view.pitch)
        shared = area((*np.maximum(crop[:2], tight[:2]), *np.minimum(crop[2:], tight[2:])))
        overlap.append(shared / (area(crop) + area(tight) - shared))
    assert 0.65 <= np.median(overlap) <= 0.75
    assert 0.02 <= np.mean(np.array(overlap) < 0.5) <= 0.1


def area(box):
    left, bottom, right, top = box
    return max(right - left, 0) * max(top - bottom, 0)


def test_bbox_info_of_train_is_flat():
    assert set(bbox_info(plan_split("train", 1, 0))["0"]) >= {"bbox_idx", "relative_path"}
    assert list(bbox_info(plan_split("test", 1, 0))) == ["query", "gallery"]
