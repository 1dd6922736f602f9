"""The raw zips from every source: whole or not at all, and one clear error for whatever a user can meet."""

import base64
import errno
import hashlib
import http.server
import json
import logging
import os
import shutil
import threading
import urllib.error
import warnings
import zipfile
from pathlib import Path

import pytest

from reid import soccernet as soccernet_module
from reid import sources
from reid.archive import pack
from reid.errors import ReidError

PKU = Path(__file__).parents[2] / "shared/data/pku"
GAME = "england_epl/2015-2016/2015-08-08 - 19-30 Bournemouth 0 - 1 Aston Villa"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))


def members(split):
    """A split with two actions; the pictures differ, and no test decodes them."""
    if split == "challenge":
        names = [f"challenge/{role}/{i}-0-20x10.png" for role in ("query", "gallery") for i in range(3)]
        return {name: PNG + name.encode() for name in names}
    roles = ["train"] if split == "train" else [f"{split}/query", f"{split}/gallery"]
    names = [
        f"{role}/{GAME}/{action}/{i}-{action}-{i}-0-Player_team_left-7-{action:03}r000_00-20x10.png"
        for role in roles
        for action in range(2)
        for i in range(3)
    ]
    content = {name: PNG + name.encode() for name in names}
    return {**content, f"{split}/{'train_' if split == 'train' else ''}bbox_info.json": b"{}"}


def make_zip(path, split="valid", content=None):
    pack(path, (content or members(split)).items())
    return path


def make_tree(folder, split="valid", order=1):
    for name, content in list(members(split).items())[::order]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def content_of(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# ---- the check


@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
def test_receipt(tmp_path, split):
    path = make_zip(tmp_path / "a.zip", split)
    assert sources.check_zip(path, split, pin=digest(path)) == {
        "split": split,
        "sha256": digest(path),
        "bytes": path.stat().st_size,
        "pictures": sum(name.endswith(".png") for name in members(split)),
    }


@pytest.mark.parametrize("split", ["train", "valid", "challenge"])
def test_leading_folder_may_be_missing_and_system_files_do_not_count(tmp_path, split):
    content = {name.removeprefix(f"{split}/"): data for name, data in members(split).items()}
    pictures = sum(name.endswith(".png") for name in content)
    content |= {f"__MACOSX/{split}/._a.png": b"", ".DS_Store": b"", f"{split}/query/.DS_Store": b""}
    assert sources.check_zip(make_zip(tmp_path / "a.zip", content=content), split)["pictures"] == pictures


@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
@pytest.mark.parametrize("other", ["train", "valid", "test", "challenge"])
def test_zip_of_another_split_is_refused(tmp_path, split, other):
    if split != other:
        with pytest.raises(ReidError, match=f"a.zip: is not the {split} split"):
            sources.check_zip(make_zip(tmp_path / "a.zip", other), split)


def test_role_without_pictures(tmp_path):
    content = {name: data for name, data in members("valid").items() if "/gallery/" not in name}
    with pytest.raises(ReidError, match="a.zip: holds no picture for gallery"):
        sources.check_zip(make_zip(tmp_path / "a.zip", content=content), "valid")


def test_wrong_pin_names_both(tmp_path):
    path = make_zip(tmp_path / "a.zip")
    with pytest.raises(ReidError, match="correct download.sha256") as caught:
        sources.check_zip(path, "valid", pin="0" * 64)
    assert digest(path) in str(caught.value) and "0" * 64 in str(caught.value) and str(path) in str(caught.value)


def test_every_cut_at_the_end_is_found(tmp_path):
    whole = make_zip(tmp_path / "whole.zip").read_bytes()
    path = tmp_path / "a.zip"
    for size in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ReidError, match="a.zip: is not a complete zip"):
            sources.check_zip(path, "valid")


@pytest.mark.parametrize("patch", ["removed", "inserted", "zeroed"])
def test_patch_in_the_middle_is_found(tmp_path, patch):
    path = make_zip(tmp_path / "a.zip")
    data = path.read_bytes()
    middle = len(data) // 3
    filling = {"removed": b"", "inserted": data[middle : middle + 900] * 2, "zeroed": bytes(900)}[patch]
    path.write_bytes(data[:middle] + filling + data[middle + 900 :])
    with pytest.raises(ReidError, match="a.zip: is not a complete zip .* fetch it again"):
        sources.check_zip(path, "valid")


def test_encrypted_zip_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag "encrypted" of the first entry of the directory
    path.write_bytes(data)
    with pytest.raises(ReidError, match="a.zip: .* is encrypted"):
        sources.check_zip(path, "valid")


def test_missing_file_and_folder_in_its_place(tmp_path):
    with pytest.raises(ReidError, match="none.zip: cannot be read"):
        sources.check_zip(tmp_path / "none.zip", "valid")
    with pytest.raises(ReidError, match="cannot be read"):
        sources.check_zip(tmp_path, "valid")


# ---- the SoccerNet package


@pytest.fixture
def soccernet(tmp_path, monkeypatch):
    """Replaces the downloader: ``soccernet(action)`` lets ``action(kept)`` do what the download does."""
    real_usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real_usage(path)._replace(free=10**12))

    class World:
        path, work, calls = tmp_path / "raw/valid.zip", tmp_path / "work", []
        kept = tmp_path / "work/reid/valid.zip"

        def __call__(self, action, pin=None, split="valid"):
            class Downloader:
                def __init__(self, LocalDirectory):
                    self.folder = Path(LocalDirectory)

                def downloadDataTask(self, task, split):
                    assert task == "reid" and len(split) == 1
                    World.calls.append(split[0])
                    (self.folder / task).mkdir(parents=True, exist_ok=True)
                    action(self.folder / task / f"{split[0]}.zip")

            monkeypatch.setattr("SoccerNet.Downloader.SoccerNetDownloader", Downloader)
            return soccernet_module.from_soccernet(split, self.path, self.work, pin=pin, progress=False)

        def fails(self, action, match, **arguments):
            with pytest.raises(ReidError, match=match) as caught:
                self(action, **arguments)
            assert "valid.zip" in str(caught.value)
            assert not self.path.parent.exists() or not list(self.path.parent.iterdir())
            return str(caught.value)

    World.calls = []
    return World()


def raises(error):
    def action(kept):
        raise error

    return action


def test_download_is_published_as_a_link(soccernet):
    receipt = soccernet(make_zip)
    assert receipt["source"] == "soccernet" and receipt["sha256"] == digest(soccernet.path)
    assert soccernet.path.samefile(soccernet.kept)
    assert os.listdir(soccernet.path.parent) == ["valid.zip"]


def test_kept_download_is_used_again(soccernet):
    first = soccernet(make_zip)
    os.utime(soccernet.kept, (1, 1))
    soccernet.path.unlink()  # as a workflow engine does before a rerun
    assert soccernet(raises(AssertionError("network"))) == first
    assert soccernet.path.stat().st_mtime > 1  # what is made of it is older
    assert soccernet(raises(AssertionError("network"))) == first  # the link is there already
    assert os.listdir(soccernet.path.parent) == ["valid.zip"]
    assert soccernet.calls == ["valid"]


def test_without_hard_links_it_is_copied(soccernet, monkeypatch):
    def link(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    soccernet(make_zip)
    assert not soccernet.path.samefile(soccernet.kept) and digest(soccernet.path) == digest(soccernet.kept)
    assert os.listdir(soccernet.path.parent) == ["valid.zip"]


def half(kept):
    make_zip(kept)
    os.truncate(kept, kept.stat().st_size // 2)


def test_interrupted_download_goes_on(soccernet, caplog):
    caplog.set_level("INFO", "reid")

    def interrupted(kept):
        half(kept)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        soccernet(interrupted)
    assert not soccernet.path.exists()

    def completes(kept):
        assert not kept.exists()  # a downloader would take what is there for the file
        make_zip(kept)

    soccernet(completes)
    assert "is not complete, it is removed" in caplog.text
    assert content_of(soccernet.path) == members("valid")


def test_truncated_download_is_an_error(soccernet):
    soccernet.fails(half, "reid/valid.zip: is not a complete zip")


def test_pin_of_a_download(soccernet):
    soccernet.fails(make_zip, "correct download.sha256", pin="0" * 64)
    assert soccernet.kept.exists()  # the pin may be what is wrong: 12 GB are not thrown away
    soccernet(raises(AssertionError("network")), pin=digest(soccernet.kept))


def test_kept_file_that_cannot_be_read_is_not_removed(soccernet):
    soccernet.kept.mkdir(parents=True)
    soccernet.fails(raises(AssertionError("network")), "reid/valid.zip: cannot be read or written")
    assert soccernet.kept.exists()


def test_wrong_split_in_a_complete_download_is_kept(soccernet):
    soccernet.fails(lambda kept: make_zip(kept, "train"), "is not the valid split")
    soccernet.fails(raises(AssertionError("network")), "is not the valid split")


def http_error(status, kind=None):
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    response = httpx2.Response(status, request=httpx2.Request("GET", "https://hub.invalid/api"))
    return (kind or HfHubHTTPError)(f"{status} Client Error", response=response)


def wrapped(error, cause):
    error.__cause__ = cause
    return error


def test_refused_access(soccernet):
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    for error in (
        PermissionError("Could not download"),
        wrapped(PermissionError("Could not download"), http_error(401)),
        wrapped(PermissionError("Could not download"), http_error(403, GatedRepoError)),
        wrapped(LocalEntryNotFoundError("Got: 403"), http_error(403)),  # huggingface_hub's wrapping, seen
        urllib.error.HTTPError("https://x.invalid", 401, "Unauthorized", None, None),
    ):
        message = soccernet.fails(raises(error), "access is refused")
        assert "hf auth login" in message and "download.source: local" in message


def test_server_failure_is_not_called_refusal(soccernet):
    message = soccernet.fails(raises(wrapped(PermissionError("Could not"), http_error(503))), "server answered 503")
    assert "hf auth login" not in message


def test_no_network(soccernet):
    import httpx2
    import requests
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    for error in (
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        requests.exceptions.ConnectionError("no route"),
        httpx2.ConnectError("Name or service not known"),
        httpx2.ReadTimeout("timed out"),
        urllib.error.URLError("Name or service not known"),
        OfflineModeIsEnabled("offline"),
        wrapped(LocalEntryNotFoundError("An error happened"), httpx2.ConnectError("refused")),
    ):
        message = soccernet.fails(raises(error), "there is no connection")
        assert "download.source: local" in message and "HF_HUB_OFFLINE" in message


def test_full_disk(soccernet, monkeypatch):
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        wrapped(RuntimeError("task failed"), OSError(errno.ENOSPC, "No space left on device")),
        RuntimeError("Data processing error: I/O error: No space left on device (os error 28)"),
    ):
        soccernet.fails(raises(error), "the disk is full")

    def warns(kept):  # huggingface_hub: hours before the disk is full
        warnings.warn("Not enough free disk space to download the file.", stacklevel=1)

    soccernet.fails(warns, "the disk is full")


def test_too_little_space_is_found_before_the_download(soccernet, monkeypatch):
    usage = shutil.disk_usage(soccernet.work.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**9))
    message = soccernet.fails(make_zip, r"needs 2\.35 GB, and 1\.00 GB are free")
    assert str(soccernet.work) in message and soccernet.calls == []
    # What can be gone on from counts; what a killed process left is of no use and goes.
    cache = soccernet.work / "reid/.cache/huggingface/download"
    cache.mkdir(parents=True)
    name = base64.urlsafe_b64encode(hashlib.sha1(b"valid.zip.metadata").digest()).decode()
    useful, useless = cache / f"{name}.{'e' * 64}.incomplete", cache / f"{name}.{'e' * 64}.01234567.incomplete"
    useful.touch()
    useless.touch()
    os.truncate(useful, 2 * 10**9)  # sparse
    soccernet(make_zip)
    assert useful.exists() and not useless.exists()


def test_leftover_names_are_those_of_huggingface_hub(tmp_path):
    from huggingface_hub._local_folder import get_local_download_paths

    partial = get_local_download_paths(tmp_path, "valid.zip").incomplete_path("etag")
    assert partial.parent == tmp_path / ".cache/huggingface/download"
    assert partial.name.startswith(base64.urlsafe_b64encode(hashlib.sha1(b"valid.zip.metadata").digest()).decode())


def test_silent_failures(soccernet):
    message = soccernet.fails(lambda kept: None, "valid.zip: is not there after the download")  # SoccerNet 0.1.62
    assert "hf auth login" in message and "download.source: local" in message
    soccernet.fails(lambda kept: make_zip(kept.with_name("valid-1.zip")), "is not there after the download")

    def says(text):
        return lambda kept: logging.getLogger("huggingface_hub.x").warning(f"Returning existing local_dir ({text}).")

    # What huggingface_hub does once any other split lies in the folder.
    assert "hf auth login" in soccernet.fails(says("Client error '401 Unauthorized'"), "401 Unauthorized")
    assert "HF_HUB_OFFLINE" in soccernet.fails(says("Connection refused"), "Connection refused")


def test_other_errors_of_the_downloader(soccernet):
    soccernet.fails(raises(RuntimeError("task join error")), "RuntimeError: task join error")
    soccernet.fails(raises(OSError(errno.EACCES, "Permission denied", "/d/valid.zip")), "/d/valid.zip cannot be read")


@pytest.mark.parametrize("split", ["test_labels", "challenge_labels", "Train", ""])
def test_private_and_unknown_splits_are_refused(soccernet, tmp_path, split):
    with pytest.raises(ReidError, match="private labels are never fetched"):
        soccernet(make_zip, split=split)
    with pytest.raises(ReidError, match="is not a split"):
        sources.from_local(split, tmp_path / "a.zip", tmp_path)
    assert soccernet.calls == []


# ---- the SoccerNet package itself, against a hub on this machine


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Answers as the Hugging Face hub does, for one dataset of one zip; ``hub.status`` other than 200 refuses."""
    content = make_zip(tmp_path / "hub.zip").read_bytes()
    etag = hashlib.sha256(content).hexdigest()
    head = {"ETag": f'"{etag}"', "X-Repo-Commit": "a" * 40, "X-Linked-Size": str(len(content))}

    class Hub(http.server.BaseHTTPRequestHandler):
        status, requests = 200, 0

        def do_GET(self):
            Hub.requests += 1
            body, headers = b"{}", {"Content-Type": "application/json"}
            if Hub.status == 200 and "/resolve/" in self.path:
                body, headers = content, head
            elif "/tree/" in self.path:
                lfs = {"oid": etag, "size": len(content), "pointerSize": 130}
                body = json.dumps(
                    [{"type": "file", "path": "valid.zip", "size": len(content), "oid": "b", "lfs": lfs}]
                )
                body = body.encode()
            elif "/api/" in self.path:
                body = json.dumps({"id": "SoccerNet/SN-ReID-2023", "sha": "a" * 40, "siblings": []}).encode()
            self.send_response(Hub.status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        from huggingface_hub import constants

        Hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", Hub.address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            Hub.address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(soccernet_module, "ZIP_GB", dict.fromkeys(soccernet_module.ZIP_GB, 0))
        yield Hub
        server.shutdown()


def test_real_package_downloads(tmp_path, hub):
    path, kept = tmp_path / "raw/valid.zip", tmp_path / "work/reid/valid.zip"
    receipt = soccernet_module.from_soccernet("valid", path, tmp_path / "work", pin=digest(tmp_path / "hub.zip"))
    assert content_of(path) == members("valid") and path.samefile(kept)
    requests = hub.requests
    path.unlink()
    assert soccernet_module.from_soccernet("valid", path, tmp_path / "work") == receipt
    assert hub.requests == requests  # no network for a kept download
    # A truncated file with the metadata of a whole one: left to itself huggingface_hub would call it complete.
    path.unlink()
    os.truncate(kept, 1000)
    assert soccernet_module.from_soccernet("valid", path, tmp_path / "work") == receipt


@pytest.mark.parametrize("other", [False, True], ids=["empty folder", "another split is there"])
@pytest.mark.parametrize(
    "status, match", [(401, "hf auth login"), (403, "hf auth login"), (500, "500"), (None, "HF_HUB_OFFLINE")]
)
def test_real_package_is_refused(tmp_path, hub, monkeypatch, status, match, other):
    if other:  # huggingface_hub then returns as if all were well
        make_zip(tmp_path / "work/reid/train.zip", "train")
    if status:
        hub.status = status
    else:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ReidError, match=match) as caught:
        soccernet_module.from_soccernet("valid", tmp_path / "raw/valid.zip", tmp_path / "work")
    assert "valid.zip" in str(caught.value) and "download.source: local" in str(caught.value)
    assert not (tmp_path / "raw").exists()


# ---- a folder


@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
@pytest.mark.parametrize("below", ["", "reid"])
def test_local_zip_and_tree_hold_the_same(tmp_path, split, below):
    own = make_zip(tmp_path / "zips" / below / f"{split}.zip", split)
    make_tree(tmp_path / "trees" / below, split)
    a, b = tmp_path / "out/a.zip", tmp_path / "out/b.zip"
    first = sources.from_local(split, a, tmp_path / "zips", pin=digest(own))
    second = sources.from_local(split, b, tmp_path / "trees")
    assert content_of(a) == content_of(b) == members(split)
    assert a.read_bytes() == own.read_bytes() and not a.samefile(own)
    assert first["pictures"] == second["pictures"] and second["sha256"] == digest(b)
    assert first == {**sources.check_zip(a, split), "source": "local"}
    assert second == {**sources.check_zip(b, split), "source": "local"}
    assert sorted(os.listdir(a.parent)) == ["a.zip", "b.zip"]


def test_zip_goes_before_folder_and_labels_beside_it_stay(tmp_path):
    folder = make_tree(tmp_path / "in", "challenge")
    make_zip(folder / "challenge.zip", "challenge", {f"challenge/{r}/0-0-1x1.png": PNG for r in ("query", "gallery")})
    (folder / "challenge_bbox_info.json").write_text("hidden")
    assert sources.from_local("challenge", tmp_path / "out/c.zip", folder)["pictures"] == 2
    assert os.listdir(tmp_path / "out") == ["c.zip"]


def test_tree_in_any_order_gives_the_same_bytes(tmp_path, monkeypatch):
    make_tree(tmp_path / "a")
    make_tree(tmp_path / "b", order=-1)
    one = sources.from_local("valid", tmp_path / "out/1.zip", tmp_path / "a")
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: reversed(sorted(scandir(path), key=lambda entry: entry.name)))
    assert sources.from_local("valid", tmp_path / "out/2.zip", tmp_path / "b") == one


def test_decomposed_names_give_the_same_bytes(tmp_path):
    for folder, letter in (("a", "\u00e9"), ("b", "e\u0301")):
        for role in ("query", "gallery"):
            (tmp_path / folder / "valid" / role / f"Atl{letter}tico").mkdir(parents=True)
            (tmp_path / folder / "valid" / role / f"Atl{letter}tico" / "0-0-20x10.png").write_bytes(PNG)
    receipts = [sources.from_local("valid", tmp_path / f"out/{f}.zip", tmp_path / f) for f in "ab"]
    assert receipts[0] == receipts[1]


def test_what_is_no_data_is_passed_over_and_counted(tmp_path, caplog):
    caplog.set_level("INFO", "reid")
    folder = make_tree(tmp_path / "in", "challenge")
    (folder / "challenge/__MACOSX").mkdir()
    names = (".DS_Store", "query/Thumbs.db", "query/._0-0-20x10.png", "challenge_bbox_info.json", "bbox_info.json")
    for name in (*names, "__MACOSX/a.png"):
        (folder / "challenge" / name).write_text("x")
    sources.from_local("challenge", tmp_path / "out/c.zip", folder)
    assert content_of(tmp_path / "out/c.zip") == members("challenge")
    assert "passed over 6 files or folders" in caplog.text


def test_labels_of_either_name(tmp_path):
    folder = make_tree(tmp_path / "in", "test")
    (folder / "test/bbox_info.json").rename(folder / "test/test_bbox_info.json")
    sources.from_local("test", tmp_path / "out/t.zip", folder)
    assert content_of(tmp_path / "out/t.zip")["test/test_bbox_info.json"] == b"{}"


def local_fails(tmp_path, folder, match, split="valid", **arguments):
    with pytest.raises(ReidError, match=match) as caught:
        sources.from_local(split, tmp_path / "out" / f"{split}.zip", folder, **arguments)
    assert not (tmp_path / "out").exists() or not os.listdir(tmp_path / "out")
    return str(caught.value)


def test_local_folder_errors(tmp_path):
    local_fails(tmp_path, None, "download.path is not set")
    local_fails(tmp_path, tmp_path / "none", f"{tmp_path}/none: there is no such folder")
    make_zip(tmp_path / "in/reid/train.zip", "train")
    make_tree(tmp_path / "in", "test")
    message = local_fails(tmp_path, tmp_path / "in", f"{tmp_path}/in: holds no valid split")
    assert "valid.zip" in message and "there are train, test" in message
    (tmp_path / "empty").mkdir()
    assert "none" in local_fails(tmp_path, tmp_path / "empty", "holds no valid split")


def test_folder_of_the_pipeline_itself_is_refused(tmp_path):
    own = make_zip(tmp_path / "raw/valid.zip")
    with pytest.raises(ReidError, match="deleted before a rerun"):
        sources.from_local("valid", own, tmp_path / "raw")
    assert own.exists()


def test_local_zip_errors(tmp_path):
    own = make_zip(tmp_path / "in/valid.zip")
    message = local_fails(tmp_path, tmp_path / "in", "correct download.sha256", pin="0" * 64)
    assert str(own) in message
    os.truncate(own, own.stat().st_size - 30)
    local_fails(tmp_path, tmp_path / "in", f"{own}: is not a complete zip")
    own.unlink()
    make_zip(own, "train")
    local_fails(tmp_path, tmp_path / "in", f"{own}: is not the valid split")


def test_tree_errors(tmp_path):
    folder = make_tree(tmp_path / "in")
    message = local_fails(tmp_path, folder, "correct download.sha256", pin="0" * 64)
    assert "packed from" in message and str(folder) in message
    (folder / "valid/query/9-9-20x10.png").symlink_to(tmp_path / "gone.png")
    local_fails(tmp_path, folder, "9-9-20x10.png: cannot be read")
    (folder / "valid/query/9-9-20x10.png").unlink()
    shutil.rmtree(folder / "valid/gallery")
    local_fails(tmp_path, folder, "valid: holds no picture for gallery")


def test_link_loops(tmp_path):
    folder = make_tree(tmp_path / "in")
    (folder / "valid/query/again").symlink_to(folder / "valid")
    local_fails(tmp_path, folder, "query/again: is a link that leads back")
    (folder / "valid/query/again").unlink()
    (folder / "valid/query/self").symlink_to(folder / "valid/query/self")
    local_fails(tmp_path, folder, "query/self: cannot be read")


def test_linked_tree_and_relative_and_home_folders(tmp_path, monkeypatch):
    make_tree(tmp_path / "far")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/valid").symlink_to(tmp_path / "far/valid")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    one = sources.from_local("valid", tmp_path / "out/1.zip", "in")
    assert sources.from_local("valid", tmp_path / "out/2.zip", "~/in") == one


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX systems only")
def test_name_that_is_not_utf8(tmp_path):
    folder = make_tree(tmp_path / "in")
    try:
        Path(os.fsdecode(os.fsencode(folder / "valid/query") + b"/Atl\xe9tico.png")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    local_fails(tmp_path, folder, "is not UTF-8")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every file")
def test_unreadable_files(tmp_path):
    own = make_zip(tmp_path / "in/valid.zip")
    own.chmod(0)
    local_fails(tmp_path, tmp_path / "in", f"{own}: cannot be read or written .Permission denied")


def test_full_disk_while_copying_and_packing(tmp_path, monkeypatch):
    make_tree(tmp_path / "trees")
    make_zip(tmp_path / "zips/valid.zip")

    def fsync(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    for folder in ("trees", "zips"):
        local_fails(tmp_path, tmp_path / folder, "the disk is full")


# ---- the public sample


@pytest.mark.skipif(not PKU.is_dir(), reason=f"the sample is not at {PKU}")
@pytest.mark.parametrize("split", ["train", "valid", "test", "challenge"])
def test_sample_from_zip_and_from_tree(tmp_path, split):
    receipt = sources.from_local(split, tmp_path / "out/a.zip", PKU)
    assert receipt["sha256"] == digest(PKU / f"{split}.zip")
    with zipfile.ZipFile(PKU / f"{split}.zip") as archive:
        archive.extractall(tmp_path / "tree")
    again = sources.from_local(split, tmp_path / "out/b.zip", tmp_path / "tree")
    assert again["pictures"] == receipt["pictures"]
    expected = content_of(PKU / f"{split}.zip")
    if split == "challenge":
        expected.pop("challenge/bbox_info.json", None)
    assert content_of(tmp_path / "out/b.zip") == expected
