"""Shared by the tests of the data side: a tiny split that every test can bend, and the PKU sample."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FIELDS = ("bbox_idx", "action_idx", "person_uid", "frame_idx", "clazz", "id", "UAI", "height", "width")
GAMES = (
    "england_epl/2015-2016/2015-08-08 - 19-30 Bournemouth 0 - 1 Aston Villa",
    "spain_laliga/2016-2017/2016-08-21 - 21-15 Atlético Madrid 1 - 1 Alavés",
)


def picture(height, width, seed, mode="RGB"):
    """Bytes of a PNG of noise."""
    rng = np.random.default_rng(seed)
    channels = {"RGB": (3,), "RGBA": (4,), "L": (), "P": ()}[mode]
    made = Image.fromarray(rng.integers(0, 256, (height, width, *channels), np.uint8))
    if mode == "P":
        made.putpalette(rng.integers(0, 256, 768).tolist())
    buffer = io.BytesIO()
    made.save(buffer, "PNG")
    return buffer.getvalue()


class TinySplit:
    """Two actions of two games; in each two queries with a match and one gallery box without.

    ``boxes`` are the records of bbox_info.json and ``role``; a test changes them before it writes the zip. ``labels``
    is the content of bbox_info.json; without a change it follows from ``boxes``.
    """

    def __init__(self, split):
        self.split, self.boxes, self.labels = split, [], None
        roles = {"train": 5} if split == "train" else {"query": 2, "gallery": 3}
        for role, per_action in roles.items():
            for bbox_idx in range(2 * per_action):
                action, number = divmod(bbox_idx, per_action)
                person = number % 3 + 10 * action
                self.boxes.append(
                    {
                        "role": role,
                        "bbox_idx": bbox_idx,
                        "action_idx": action,
                        "person_uid": person,
                        "frame_idx": 100 * action + number,
                        "clazz": ("Player_team_left", "Main_referee", "Staff_members")[number % 3],
                        "id": ("7", "None", "A")[number % 3],
                        "UAI": f"{action:03}r{number:03}_{person:012}",
                        "height": 20 + number,
                        "width": 9 + action,
                        "relative_path": f"{GAMES[action]}/{action}",
                    }
                )

    def box(self, role, bbox_idx):
        return next(b for b in self.boxes if (b["role"], b["bbox_idx"]) == (role, bbox_idx))

    def name(self, box):
        """Path of a box inside the split's folder."""
        size = f"{box['height']}x{box['width']}.png"
        if self.split == "challenge":
            return f"{box['role']}/{box['bbox_idx']}-{box['action_idx']}-{size}"
        folder = "" if self.split == "train" else box["role"] + "/"
        fields = "-".join(str(box[field]) for field in FIELDS[:7])
        return f"{folder}{box['relative_path']}/{fields}-{size}"

    def make_labels(self):
        """What bbox_info.json holds."""
        records = {}
        for box in self.boxes:
            record = {key: value for key, value in box.items() if key != "role"}
            records.setdefault(box["role"], {})[str(box["bbox_idx"])] = record
        return records["train"] if self.split == "train" else records

    def members(self, leading=True, labels=True):
        """Name to content, as they lie in the zip."""
        prefix = f"{self.split}/" if leading else ""
        content = {
            prefix + self.name(box): picture(box["height"], box["width"], i) for i, box in enumerate(self.boxes)
        }
        if labels and self.split != "challenge":
            name = f"{prefix}{'train_' if self.split == 'train' else ''}bbox_info.json"
            content[name] = json.dumps(self.labels or self.make_labels(), ensure_ascii=False).encode()
        return content


def write_zip(path, members, method=zipfile.ZIP_STORED):
    """Write a zip with ``zipfile`` itself; ``members`` is a dictionary or pairs of name and content."""
    pairs = members.items() if isinstance(members, dict) else members
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in pairs:
            archive.writestr(name, content)
    return path


@pytest.fixture
def tiny_split():
    return TinySplit


@pytest.fixture
def make_zip(tmp_path):
    """``make_zip(members, name=..., method=...)`` writes a zip into the test's own folder and returns its path."""

    def make(members, name="split.zip", method=zipfile.ZIP_STORED):
        return write_zip(tmp_path / name, members, method)

    return make


@pytest.fixture(scope="session")
def make_png():
    return picture


@pytest.fixture(scope="session")
def pku():
    """Folder of the PKU sample: 560 real crops under made-up games, one zip a split."""
    folder = Path(__file__).parents[2] / "shared/data/pku"
    if not folder.is_dir():
        pytest.skip("the PKU sample is not beside the repository (../shared/data/pku)")
    return folder


@pytest.fixture(scope="module")
def one_thread():
    """Networks of the size that tests have are slower on several threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def torch_as_it_was():
    """A training sets threads and determinism for its whole process."""
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)
