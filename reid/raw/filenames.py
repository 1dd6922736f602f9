"""The grammar of SoccerNet-ReID file names and folders.

Source: the dev kit (SoccerNet/sn-reid, ``Soccernetv3.extract_sample_info``) and files of the real data. The kit's
README writes ``_`` between the fields; the files have ``-``, and class and UAI contain ``_``.

    <bbox_idx>-<action_idx>-<person_uid>-<frame_idx>-<class>-<ID>-<UAI>-<height>x<width>.png     with labels
    <bbox_idx>-<action_idx>-<height>x<width>.png                                                 without (challenge)
"""

import re
from typing import NamedTuple

from reid.core.splits import SPLITS

ROLES = ("train", "query", "gallery")
LEVELS = ("championship", "season", "game", "action")  # folders below a role; the challenge has none

# The ten classes of the kit's README, spelled as in the files; seven of them occur.
CLASSES = (
    "Player_team_left",
    "Player_team_right",
    "Goalkeeper_team_left",
    "Goalkeeper_team_right",
    "Main_referee",
    "Side_referee",
    "Staff_members",
    "Player_team_unknown_1",
    "Player_team_unknown_2",
    "Goalkeeper_team_unknown",
)

_NUMBER = r"(?:0|[1-9][0-9]{0,8})"  # nine digits fit int32; no leading zeros, so that what is read can be written back
_SIZE = r"[1-9][0-9]{0,4}"
_LABELLED = re.compile(
    rf"(?P<bbox_idx>{_NUMBER})-(?P<action_idx>{_NUMBER})-(?P<person_uid>{_NUMBER})-(?P<frame_idx>{_NUMBER})"
    rf"-(?P<clazz>{'|'.join(CLASSES)})-(?P<id>[0-9]{{1,3}}|[A-Za-z]|None)-(?P<UAI>[A-Za-z0-9_]+)"
    rf"-(?P<height>{_SIZE})x(?P<width>{_SIZE})\.png"
)
_UNLABELLED = re.compile(
    rf"(?P<bbox_idx>{_NUMBER})-(?P<action_idx>{_NUMBER})-(?P<height>{_SIZE})x(?P<width>{_SIZE})\.png"
)


class Thumbnail(NamedTuple):
    """What one file name says. Names are those of ``bbox_info.json``; hidden labels are None.

    ``bbox_idx`` is unique inside (split, role); ``action_idx``, ``frame_idx`` and ``person_uid`` inside a split.
    ``id`` is a jersey number, a letter, or the literal ``"None"`` (seen in no other frame). Height and width are
    pixels.
    """

    bbox_idx: int
    action_idx: int
    person_uid: int | None
    frame_idx: int | None
    clazz: str | None
    id: str | None
    UAI: str | None
    height: int
    width: int


def parse_name(name: str) -> Thumbnail:
    """Read a file name.

    Args:
        name: the last part of the path, with ``.png``.

    Raises:
        ValueError: the name does not follow the grammar; the message says how a name should look.
    """
    if match := _LABELLED.fullmatch(name):
        bbox_idx, action_idx, person_uid, frame_idx, clazz, jersey, uai, height, width = match.groups()
        return Thumbnail(
            int(bbox_idx),
            int(action_idx),
            int(person_uid),
            int(frame_idx),
            clazz,
            jersey,
            uai,
            int(height),
            int(width),
        )
    if match := _UNLABELLED.fullmatch(name):
        numbers = map(int, match.groups())
        return Thumbnail(next(numbers), next(numbers), None, None, None, None, None, *numbers)
    raise ValueError(
        "name is neither <bbox_idx>-<action_idx>-<person_uid>-<frame_idx>-<class>-<ID>-<UAI>-<height>x<width>.png "
        "nor <bbox_idx>-<action_idx>-<height>x<width>.png"
    )


def format_name(thumbnail: Thumbnail) -> str:
    """Write the file name of a thumbnail: the inverse of :func:`parse_name`."""
    t = thumbnail
    if t.person_uid is None:
        return f"{t.bbox_idx}-{t.action_idx}-{t.height}x{t.width}.png"
    return (
        f"{t.bbox_idx}-{t.action_idx}-{t.person_uid}-{t.frame_idx}-{t.clazz}-{t.id}-{t.UAI}-{t.height}x{t.width}.png"
    )


def split_roles(split: str) -> tuple[str, ...]:
    """Roles of a split, in the order of the index: ``("train",)`` or ``("query", "gallery")``."""
    return ("train",) if split == "train" else ("query", "gallery")


def locate(name: str, split: str) -> tuple[str, list[str], str]:
    """Say where a member belongs.

    Args:
        name: as :func:`reid.raw.members.normalise` gives it; the leading split folder may be missing.
        split: which split the zip is of.

    Returns:
        (role, levels, file): role of the member; its folders below the role; its last part.

    Raises:
        ValueError: it is not in a folder of this split.
    """
    *folders, file = name.removeprefix(f"{split}/").split("/")
    if split == "train":
        role = "train"
        if folders and folders[0] in SPLITS + ROLES:
            raise ValueError(f"lies in {folders[0]}/, which is no championship")
    elif folders and folders[0] in ("query", "gallery"):
        role = folders.pop(0)
    else:
        raise ValueError(f"is not below {split}/query or {split}/gallery")
    depth = 0 if split == "challenge" else len(LEVELS)
    if len(folders) != depth:
        below = "directly in its role's folder" if depth == 0 else "in <championship>/<season>/<game>/<action>"
        raise ValueError(f"lies {len(folders)} folders deep, not {below}")
    return role, folders, file


_CLUTTER = {"thumbs.db", "desktop.ini", ".ds_store", ".localized", ".directory", ".apdisk"}
_CLUTTER_FOLDERS = {"__MACOSX", "@eaDir", ".AppleDouble", ".git", ".Spotlight-V100", ".fseventsd", ".TemporaryItems"}


def is_clutter(path: str) -> bool:
    """Whether a path is what a packer, a file browser or Git leaves behind (``__MACOSX``, ``.DS_Store``, ...)."""
    parts = path.split("/")
    return parts[-1].lower() in _CLUTTER or parts[-1].startswith("._") or not _CLUTTER_FOLDERS.isdisjoint(parts)
