"""The SoccerNet download: whole or not at all, and one clear error for whatever a user can meet."""

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
from pathlib import Path

import pytest

from builders.split import content_of, digest, members_of, split_zip
from reid.core.checksums import read_sums, sum_file
from reid.core.errors import ReidError
from reid.raw.directory import list_members
from reid.sources import soccernet as soccernet_source
from reid.sources.soccernet import from_soccernet

# ---- the package replaced


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
            return from_soccernet(split, self.path, self.work, pin=pin, progress=False)

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
    receipt = soccernet(split_zip)
    assert receipt["source"] == "soccernet" and receipt["sha256"] == digest(soccernet.path)
    assert soccernet.path.samefile(soccernet.kept)
    assert sorted(os.listdir(soccernet.path.parent)) == [".valid.zip.sums", "valid.zip"]
    assert read_sums(soccernet.path) == sum_file(soccernet.path)


def test_digests_of_an_earlier_zip_do_not_stay(soccernet):
    soccernet(split_zip)
    soccernet.kept.unlink()
    members = members_of("valid") | {"valid/notes.txt": b"another edition"}
    soccernet(lambda kept: split_zip(kept, content=members))
    assert read_sums(soccernet.path) == sum_file(soccernet.path)
    assert len(list_members(soccernet.path)) == len(members)


def test_kept_download_is_used_again(soccernet):
    first = soccernet(split_zip)
    os.utime(soccernet.kept, (1, 1))
    soccernet.path.unlink()  # as a workflow engine does before a rerun
    assert soccernet(raises(AssertionError("network"))) == first
    assert soccernet.path.stat().st_mtime > 1  # what is made of it is older
    assert soccernet(raises(AssertionError("network"))) == first  # the link is there already
    assert sorted(os.listdir(soccernet.path.parent)) == [".valid.zip.sums", "valid.zip"]
    assert soccernet.calls == ["valid"]


def test_a_home_folder_of_nobody_is_a_folder_of_that_name(soccernet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soccernet.work = "~nobody-of-this-name/w"
    soccernet(split_zip)
    assert soccernet.path.samefile("~nobody-of-this-name/w/reid/valid.zip")


def test_without_hard_links_it_is_copied(soccernet, monkeypatch):
    def link(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    soccernet(split_zip)
    assert not soccernet.path.samefile(soccernet.kept) and digest(soccernet.path) == digest(soccernet.kept)
    assert sorted(os.listdir(soccernet.path.parent)) == [".valid.zip.sums", "valid.zip"]


def half(kept):
    split_zip(kept)
    os.truncate(kept, kept.stat().st_size // 2)


def test_interrupted_download_is_fetched_again(soccernet, caplog):
    caplog.set_level("INFO", "reid")

    def interrupted(kept):
        half(kept)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        soccernet(interrupted)
    assert not soccernet.path.exists()

    def completes(kept):
        assert not kept.exists()  # a downloader would take what is there for the file
        split_zip(kept)

    soccernet(completes)
    assert "is not complete, it is removed" in caplog.text
    assert content_of(soccernet.path) == members_of("valid")


def test_truncated_download_is_an_error(soccernet):
    soccernet.fails(half, "reid/valid.zip: is not a complete zip")


def test_pin_of_a_download(soccernet):
    soccernet.fails(split_zip, "correct download.sha256", pin="0" * 64)
    assert soccernet.kept.exists()  # the pin may be what is wrong: 12 GB are not thrown away
    soccernet(raises(AssertionError("network")), pin=digest(soccernet.kept))


def test_kept_file_that_cannot_be_read_is_not_removed(soccernet):
    soccernet.kept.mkdir(parents=True)
    soccernet.fails(raises(AssertionError("network")), "reid/valid.zip: is a directory, not a file")
    assert soccernet.kept.exists()


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_kept_file_that_has_no_end_is_not_read(soccernet, kind):
    soccernet.kept.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(soccernet.kept)
    else:
        soccernet.kept.symlink_to("/dev/zero")
    soccernet.fails(raises(AssertionError("network")), f"reid/valid.zip: is a .*{kind}, not a file")
    assert os.path.lexists(soccernet.kept)


def test_wrong_split_in_a_complete_download_is_kept(soccernet):
    soccernet.fails(lambda kept: split_zip(kept, "train"), "is not the valid split")
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
        assert "`hf auth login` (or set HF_TOKEN)" in message and "download.source: local" in message


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
    message = soccernet.fails(split_zip, r"needs 2\.35 GB, and 1\.00 GB are free")
    assert str(soccernet.work) in message and soccernet.calls == []
    # What can be resumed counts; what a killed process left is of no use and goes.
    cache = soccernet.work / "reid/.cache/huggingface/download"
    cache.mkdir(parents=True)
    name = base64.urlsafe_b64encode(hashlib.sha1(b"valid.zip.metadata").digest()).decode()
    useful, useless = cache / f"{name}.{'e' * 64}.incomplete", cache / f"{name}.{'e' * 64}.01234567.incomplete"
    useful.touch()
    useless.touch()
    os.truncate(useful, 2 * 10**9)  # sparse
    soccernet(split_zip)
    assert useful.exists() and not useless.exists()


def test_leftover_names_are_those_of_huggingface_hub(tmp_path):
    from huggingface_hub._local_folder import get_local_download_paths

    partial = get_local_download_paths(tmp_path, "valid.zip").incomplete_path("etag")
    assert partial.parent == tmp_path / ".cache/huggingface/download"
    assert partial.name.startswith(base64.urlsafe_b64encode(hashlib.sha1(b"valid.zip.metadata").digest()).decode())


def test_silent_failures(soccernet):
    message = soccernet.fails(lambda kept: None, "valid.zip: is not there after the download")  # SoccerNet 0.1.62
    assert "hf auth login" in message and "download.source: local" in message
    soccernet.fails(lambda kept: split_zip(kept.with_name("valid-1.zip")), "is not there after the download")

    def says(text):
        return lambda kept: logging.getLogger("huggingface_hub.x").warning(f"Returning existing local_dir ({text}).")

    # What huggingface_hub does once any other split lies in the folder.
    assert "hf auth login" in soccernet.fails(says("Client error '401 Unauthorized'"), "401 Unauthorized")
    assert "HF_HUB_OFFLINE" in soccernet.fails(says("Connection refused"), "Connection refused")


def test_other_errors_of_the_downloader(soccernet):
    soccernet.fails(raises(RuntimeError("task join error")), "RuntimeError: task join error")
    soccernet.fails(raises(OSError(errno.EACCES, "Permission denied", "/d/valid.zip")), "/d/valid.zip cannot be read")


@pytest.mark.parametrize("split", ["test_labels", "challenge_labels", "Train", ""])
def test_private_and_unknown_splits_are_refused(soccernet, split):
    with pytest.raises(ReidError, match="private labels are never fetched"):
        soccernet(split_zip, split=split)
    assert soccernet.calls == []


# ---- the SoccerNet package itself, against a hub on this machine


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Answers as the Hugging Face hub does, for one dataset of one zip; ``hub.status`` other than 200 refuses."""
    content = split_zip(tmp_path / "hub.zip").read_bytes()
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
        monkeypatch.setattr(soccernet_source, "ZIP_GB", dict.fromkeys(soccernet_source.ZIP_GB, 0))
        yield Hub
        server.shutdown()


def test_real_package_downloads(tmp_path, hub):
    path, kept = tmp_path / "raw/valid.zip", tmp_path / "work/reid/valid.zip"
    receipt = from_soccernet("valid", path, tmp_path / "work", pin=digest(tmp_path / "hub.zip"))
    assert content_of(path) == members_of("valid") and path.samefile(kept)
    requests = hub.requests
    path.unlink()
    assert from_soccernet("valid", path, tmp_path / "work") == receipt
    assert hub.requests == requests  # no network for a kept download
    # A truncated file with the metadata of a whole one: left to itself huggingface_hub would call it complete.
    path.unlink()
    os.truncate(kept, 1000)
    assert from_soccernet("valid", path, tmp_path / "work") == receipt


@pytest.mark.parametrize("other", [False, True], ids=["empty folder", "another split is there"])
@pytest.mark.parametrize(
    "status, match", [(401, "hf auth login"), (403, "hf auth login"), (500, "500"), (None, "HF_HUB_OFFLINE")]
)
def test_real_package_is_refused(tmp_path, hub, monkeypatch, status, match, other):
    if other:  # huggingface_hub then returns as if all were well
        split_zip(tmp_path / "work/reid/train.zip", "train")
    if status:
        hub.status = status
    else:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ReidError, match=match) as caught:
        from_soccernet("valid", tmp_path / "raw/valid.zip", tmp_path / "work")
    assert "valid.zip" in str(caught.value) and "download.source: local" in str(caught.value)
    assert not (tmp_path / "raw").exists()
