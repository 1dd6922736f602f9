"""The shared place: what comes is what was put, and whatever else happens, a run goes on without it."""

import hashlib
import json
import logging
import os
import threading
from pathlib import Path

import pytest

from reid.core import shared
from reid.core.checksums import Sums, difference, read_sums
from reid.core.errors import ReidError

CONTENT = bytes(range(256)) * 40
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=["folder", "store of objects"])
def root(request, tmp_path, monkeypatch):
    """A place as a file system and as a store of objects (fsspec's, in memory); its address."""
    if request.param == "folder":
        (tmp_path / "place").mkdir()
        address = str(tmp_path / "place")
    else:
        address = f"memory://{tmp_path.name}"
    monkeypatch.setenv("REID_SHARED", address)
    return address


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine").write_bytes(CONTENT)
    return tmp_path / "mine"


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, "reid")
    return lambda: caplog.text


def files():
    place = shared.place()
    return sorted(os.path.relpath(path, place.root) for path in place.files.find(place.root))


def test_what_was_put_comes_back_by_its_key_and_by_its_content(root, mine, tmp_path, said):
    shared.place().put(mine, "kind-1", SHA)
    assert files() == ["keys/kind-1.json", f"objects/{SHA}"]
    assert shared.place().fetch(tmp_path / "new/a", "kind-1", like=Sums(0, 100, 1000, [])) == SHA
    assert shared.place().fetch(tmp_path / "b", None, pin=SHA.upper()) == SHA
    assert (tmp_path / "new/a").read_bytes() == (tmp_path / "b").read_bytes() == CONTENT
    sums = read_sums(tmp_path / "new/a")
    assert (sums.head, sums.block) == (100, 1000) and difference(tmp_path / "new/a", sums) is None
    assert shared.place().fetch(tmp_path / "c", "kind-2") is None and not (tmp_path / "c").exists()
    assert shared.place().fetch(tmp_path / "c", "kind-1", pin="0" * 64) is None, "the pin decides"
    assert "WARNING" not in said()


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:99] + b"?" + CONTENT[100:], b""])
def test_what_is_damaged_does_not_come_and_is_put_anew(root, mine, tmp_path, said, damage):
    place = shared.place()
    place.put(mine, "kind-1", SHA)
    place.files.pipe_file(f"{place.root}/objects/{SHA}", damage)
    assert place.fetch(tmp_path / "a", "kind-1") is None
    assert "is damaged" in said() and "going on without it" in said()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["mine"]
    place.put(mine, "kind-1", SHA)
    assert place.fetch(tmp_path / "a", "kind-1") == SHA


@pytest.mark.parametrize("text", [b"", b"[]", b'{"sha256": "../../etc/passwd"}', b"\xff", b'{"sha256": 1}'])
def test_a_damaged_key_is_told_and_written_anew(root, mine, tmp_path, said, text):
    place = shared.place()
    place.put(mine, "kind-1", SHA)
    place.files.pipe_file(f"{place.root}/keys/kind-1.json", text)
    assert place.fetch(tmp_path / "a", "kind-1") is None
    assert "keys/kind-1.json" in said()
    place.put(mine, "kind-1", SHA)
    assert place.fetch(tmp_path / "a", "kind-1") == SHA


def test_a_key_of_other_content_is_written_anew(root, mine, tmp_path):
    """As after a file whose inputs did not tell all: the newest counts."""
    (tmp_path / "other").write_bytes(CONTENT[::-1])
    other = hashlib.sha256(CONTENT[::-1]).hexdigest()
    shared.place().put(tmp_path / "other", "kind-1", other)
    shared.place().put(mine, "kind-1", SHA)
    assert shared.place().fetch(tmp_path / "a", "kind-1") == SHA
    assert files() == ["keys/kind-1.json", *sorted((f"objects/{SHA}", f"objects/{other}"))]


@pytest.mark.parametrize("kind", ["pipe", "endless device", "folder"])
@pytest.mark.parametrize("where", [f"objects/{SHA}", "keys/kind-1.json"])
def test_what_is_no_file_does_not_come(tmp_path, mine, monkeypatch, said, kind, where):
    (tmp_path / "place").mkdir()
    monkeypatch.setenv("REID_SHARED", str(tmp_path / "place"))
    place = shared.place()
    place.put(mine, "kind-1", SHA)
    path = tmp_path / "place" / where
    path.unlink()
    {"pipe": os.mkfifo, "endless device": lambda path: path.symlink_to("/dev/zero"), "folder": Path.mkdir}[kind](path)
    assert place.fetch(tmp_path / "a", "kind-1") is None
    assert f"{where} is no regular file; going on without it" in said()
    if kind != "folder":
        place.put(mine, "kind-1", SHA)
        assert place.fetch(tmp_path / "a", "kind-1") == SHA


def test_what_cannot_be_used_does_not_come(root, mine, tmp_path, said):
    def check(path):
        assert path.read_bytes() == CONTENT
        raise ReidError("it is another split")

    shared.place().put(mine, "kind-1", SHA)
    assert shared.place().fetch(tmp_path / "a", "kind-1", check=check) is None
    assert "it is another split" in said() and not (tmp_path / "a").exists()


def test_made_once_and_then_taken(root, tmp_path, monkeypatch):
    made = []

    def obtain(name, fact=1):
        def make():
            made.append(name)
            (tmp_path / name).write_bytes(CONTENT)

        return shared.obtain(tmp_path / name, "kind", lambda: {"fact": fact}, make)

    assert [obtain("a"), obtain("b"), obtain("c", fact=2)] == [False, True, False]
    monkeypatch.delenv("REID_SHARED")
    assert obtain("d") is False
    assert made == ["a", "c", "d"] and (tmp_path / "b").read_bytes() == CONTENT


def test_a_key_tells_every_fact(tmp_path):
    facts = [{"a": 1}, {"a": "1"}, {"a": None}, {"a": 1, "b": 2}, {"code": shared.code("raw")}]
    assert len({shared.key("kind", fact) for fact in [*facts, {"code": shared.code("raw/png.py")}]}) == 6
    assert shared.key("kind", {"a": 1, "b": 2}) == shared.key("kind", {"b": 2, "a": 1})


def test_a_place_for_reading_alone_is_no_error(tmp_path, mine, monkeypatch, said):
    (tmp_path / "place").mkdir()
    monkeypatch.setenv("REID_SHARED", str(tmp_path / "place"))
    place = shared.place()

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(place.files, "put_file", refused)
    place.put(mine, "kind-1", SHA)
    assert "is not put there (PermissionError" in said() and "WARNING" not in said()
    assert not list((tmp_path / "place").rglob("*.*"))


def test_a_full_disk_there_leaves_nothing(tmp_path, mine, monkeypatch, said):
    (tmp_path / "place").mkdir()
    monkeypatch.setenv("REID_SHARED", str(tmp_path / "place"))
    place = shared.place()

    def half(source, target):
        Path(target).write_bytes(CONTENT[:100])

    monkeypatch.setattr(place.files, "put_file", half)
    place.put(mine, "kind-1", SHA)
    assert "did not arrive whole" in said() and "WARNING" in said()
    assert [path for path in (tmp_path / "place").rglob("*") if path.is_file()] == []


def test_the_disk_here_is_an_error_and_not_the_places(root, mine, tmp_path):
    shared.place().put(mine, "kind-1", SHA)
    (tmp_path / "a").mkdir()
    with pytest.raises(ReidError, match="a: is a directory"):
        shared.place().fetch(tmp_path / "a", "kind-1")


def test_many_put_and_take_the_same_at_once(tmp_path, mine, monkeypatch):
    (tmp_path / "place").mkdir()
    monkeypatch.setenv("REID_SHARED", str(tmp_path / "place"))
    came = []

    def work(number):
        place = shared.place()
        for turn in range(10):
            came.append(place.fetch(tmp_path / f"{number}-{turn}", "kind-1"))
            place.put(mine, "kind-1", SHA)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(came) <= {None, SHA} and len(came) == 40 and SHA in came
    assert files() == ["keys/kind-1.json", f"objects/{SHA}"]


@pytest.mark.parametrize(
    "address, message",
    [
        ("nowhere/to/be/found", "there is no such folder"),
        ("file://nowhere", "there is no such folder"),
        ("gopher://host/x", "give a folder, or an ssh:// or s3://"),
    ],
)
def test_what_can_be_no_place_is_one_error(tmp_path, monkeypatch, address, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REID_SHARED", address)
    with pytest.raises(ReidError, match=f"REID_SHARED: .*{message}"):
        shared.place()
    assert os.listdir(tmp_path) == []


def test_a_package_that_is_missing_is_named(monkeypatch):
    import fsspec

    def missing(url):
        raise ImportError("Install s3fs")

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    monkeypatch.setenv("REID_SHARED", "s3://key:secret@team/x")
    with pytest.raises(ReidError, match="envs/remotes.txt") as caught:
        shared.place()
    assert "secret" not in str(caught.value)


def test_a_place_that_does_not_answer_is_told(monkeypatch, said):
    import fsspec

    def silent(url):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(fsspec, "url_to_fs", silent)
    monkeypatch.setenv("REID_SHARED", "ssh://user:secret@host/x")
    assert shared.place() is None
    assert "ssh://user@host/x does not answer (ConnectionRefusedError" in said() and "secret" not in said()


@pytest.mark.parametrize("kind", ["ftp", "gopher"])
@pytest.mark.parametrize("user", ["user", "user@team.org"])
@pytest.mark.parametrize("password", ["qX@Zw", "qX/Zw", "qX:Zw", "@qX/:@Zw", "qX[Zw"])
def test_no_part_of_a_password_is_said(monkeypatch, said, kind, user, password):
    monkeypatch.setenv("REID_SHARED", f"{kind}://{user}:{password}@localhost:1/x")
    try:
        assert shared.place() is None
        text = said()
    except ReidError as error:
        text = str(error)
    shown = f"{kind}://..." if "/" in password else f"{kind}://{user}@localhost:1/x"
    assert shown in text and "qX" not in text and "Zw" not in text


def test_nothing_is_asked_without_the_variable(monkeypatch):
    monkeypatch.setenv("REID_SHARED", " ")
    assert shared.place() is None


def test_a_key_file_says_what_it_is_of(root, mine):
    shared.place().put(mine, "kind-1", SHA)
    place = shared.place()
    assert json.loads(place.files.cat_file(f"{place.root}/keys/kind-1.json")) == {
        "sha256": SHA,
        "bytes": len(CONTENT),
        "name": "mine",
    }
