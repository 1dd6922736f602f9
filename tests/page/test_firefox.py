"""The gallery page in Firefox: what its own screenshots show (Debian's cannot be driven by playwright)."""

import os
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from builders import thorough
from builders.gallery import make_index, write_split
from builders.page import data_of, make_page
from reid.data.actions import group_actions
from reid.data.index import read_index

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")

pytestmark = [thorough, pytest.mark.skipif(FIREFOX is None, reason="there is no Firefox here")]


def screenshot(page, fragment, folder, width):
    """What Firefox shows of an address: uint8 array H x W x 3."""
    image = folder / f"{width}.png"
    command = [FIREFOX, "--headless", "--no-remote", "--profile", folder, f"--window-size={width},800"]
    command += ["--screenshot", image, page.as_uri() + fragment]
    subprocess.run(command, env=os.environ | {"HOME": str(folder)}, capture_output=True, timeout=120, check=True)
    return np.asarray(Image.open(image).convert("RGB")).astype(int)


def shows(picture, colour):
    """Whether a picture has more than a few pixels of about a colour (JPEG changes it a little)."""
    return (np.abs(picture - colour).max(axis=2) <= 6).sum() > 200


@pytest.mark.parametrize("width", [360, 1280])
def test_an_address_shows_one_query_and_both_its_rankings(tmp_path, width):
    table = make_index([(1, 2), (1, 3)])
    paths = write_split(tmp_path, table)
    colours = np.array(
        [(230, 20, 20), (20, 20, 230), (230, 230, 20), (20, 230, 230), (230, 20, 230), (20, 160, 20), (120, 60, 0)]
    )
    store = np.tile(colours[:, None, None].astype(np.uint8), (1, 16, 8, 1))
    np.save(paths["thumbnails"], store)
    before = write_split(tmp_path / "before", table, seed=1)["distances"]
    page = make_page(paths, tmp_path / "two.html", before)
    (tmp_path / "profile").mkdir()
    actions = group_actions(read_index(paths["index"])[0])
    query = data_of(page)["queries"]["bbox"][1]
    picture = screenshot(page, f"#q={query}", tmp_path / "profile", width)
    own = {*actions[1].query.tolist(), *actions[1].gallery.tolist()}
    assert [shows(picture, colour) for colour in colours] == [row in own for row in range(len(table))]
