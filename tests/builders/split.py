"""A split of ten boxes that every test can bend, as a zip or as a folder."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

FIELDS = ("bbox_idx", "action_idx", "person_uid", "frame_idx", "clazz", "id", "UAI", "height", "width")
GAMES = (
    "england_epl/2015-2016/2015-08-08 - 19-30 Bournemouth 0 - 1 Aston Villa",
    "spain_laliga/2016-2017/2016-08-21 - 21-15 Atlético Madrid 1 - 1 Alavés",
)


def png(height, width, seed, mode="RGB"):
    """Bytes of a PNG of noise."""
    rng = np.random.default_rng(seed)
    channels = {"RGB": (3,), "RGBA": (4,), "L": (), "P": ()}[mode]
    image = Image.fromarray(rng.integers(0, 256, (height, width, *channels), np.uint8))
    if mode == "P":
        image.putpalette(rng.integers(0, 256, 768).tolist())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
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
        content = {prefix + self.name(box): png(box["height"], box["width"], i) for i, box in enumerate(self.boxes)}
        if labels and self.split != "challenge":
            name = f"{prefix}{'train_' if self.split == 'train' else ''}bbox_info.json"
            content[name] = json.dumps(self.labels or self.make_labels(), ensure_ascii=False).encode()
        return content


def write_zip(path, members, method=zipfile.ZIP_STORED):
    """Write a zip with ``zipfile`` itself; ``members`` is a dictionary or pairs of name and content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = members.items() if isinstance(members, dict) else members
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in pairs:
            archive.writestr(name, content)
    return path


def members_of(split):
    """Name to content of an unchanged tiny split."""
    return TinySplit(split).members()


def split_zip(path, split="valid", content=None):
    """Write the zip of a tiny split, or of ``content`` in its place."""
    return write_zip(path, content or members_of(split))


def split_folder(folder, split="valid", order=1):
    """Write the folder that the dev kit extracts from a tiny split; ``order`` -1 writes the last file first."""
    for name, content in list(members_of(split).items())[::order]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def content_of(path):
    """Name to content of the files in a zip."""
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}


def digest(path):
    """SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
