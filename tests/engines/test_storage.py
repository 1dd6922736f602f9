"""Data and results that Snakemake keeps elsewhere (docs/cluster.md): in the bytes of a run in the project's folder.

Slow: three runs of the demonstration. The S3 server is the tests' own (builders.servers).
"""

import contextlib
import hashlib
import os

import pytest

from builders import servers, thorough
from builders.clone import Clone

pytestmark = [pytest.mark.slow, thorough]
SHORT = {"epochs": 2, "validation": None}


@contextlib.contextmanager
def fs(tmp_path):
    """Another disk: options of snakemake, and a function that reads what was kept there, by name."""
    pytest.importorskip("snakemake_storage_plugin_fs", reason="envs/cluster.txt is not installed")
    place = tmp_path / "disk"
    place.mkdir()

    def kept():
        return {os.path.relpath(path, place): path.read_bytes() for path in place.rglob("*") if path.is_file()}

    yield ["--default-storage-provider", "fs", "--default-storage-prefix", str(place)], kept


@contextlib.contextmanager
def s3(tmp_path):
    """A bucket."""
    pytest.importorskip("snakemake_storage_plugin_s3", reason="envs/cluster.txt is not installed")
    with servers.s3(tmp_path) as server:
        import s3fs

        who = {name: server.environment[f"AWS_{name.upper()}"] for name in ("access_key_id", "secret_access_key")}
        address = server.environment["AWS_ENDPOINT_URL"]
        files = s3fs.S3FileSystem(
            key=who["access_key_id"], secret=who["secret_access_key"], endpoint_url=address, use_listings_cache=False
        )
        place = server.url.removeprefix("s3://")

        def kept():
            return {os.path.relpath(path, place): files.cat_file(path) for path in files.find(place)}

        options = ["--default-storage-provider", "s3", "--default-storage-prefix", server.url]
        options += ["--storage-s3-endpoint-url", address, "--storage-s3-access-key", who["access_key_id"]]
        yield [*options, "--storage-s3-secret-key", who["secret_access_key"]], kept


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A finished run in its own folder."""
    clone = Clone(tmp_path_factory.mktemp("here"), SHORT)
    clone.run("snakemake", "--cores", "8", "submission")
    return clone.outputs()


@pytest.mark.parametrize("place", [fs, s3])
def test_results_that_are_kept_elsewhere_are_the_same(here, tmp_path, place):
    (tmp_path / "clone").mkdir()
    clone = Clone(tmp_path / "clone", SHORT)
    with place(tmp_path) as (options, kept):
        clone.run("snakemake", "--cores", "8", *options, "--", "submission")
        found = {name: hashlib.sha256(content).hexdigest() for name, content in kept().items()}
        assert "Nothing to be done" in clone.run("snakemake", "--cores", "8", *options, "--", "submission")
    assert {name for name in found if found[name] != here.get(name, found[name])} == set()
    assert "results/submission/challenge.json" in found and not (clone.folder / "results/submission").exists()
    unkept = {name for name in here if name not in found}
    assert all(os.path.basename(name).startswith(".") for name in unkept), "only digests stay away"
