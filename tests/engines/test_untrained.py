"""A network that is used as its weights come needs the split that it ranks, and no other."""

import zipfile

from builders.clone import Clone


def test_challenge_alone_is_enough_for_its_submission(tmp_path):
    clone = Clone(tmp_path, {"network": {"backbone": "osnet_x0_25", "weights": "./w.pth"}, "epochs": 0})
    clone.params["download"] = {"source": "local", "path": "zips"}
    clone.write_params()
    (tmp_path / "zips").mkdir()
    (tmp_path / "w.pth").write_bytes(b"weights")
    with zipfile.ZipFile(tmp_path / "zips/challenge.zip", "w") as file:
        file.writestr("challenge/any", b"")
    once = ["download", "index", "thumbnails", "weights", "train", "embed", "distances", "rank", "provenance"]
    assert clone.would_run("results/submission/challenge.provenance.json") == {**dict.fromkeys(once, 1), "total": 9}
    path = tmp_path / "params.yaml"  # by YAML 1.1, which Snakemake's own reader takes it for, this name is True
    path.write_text(path.read_text().replace("\n  small:", "\n  yes:"))
    assert clone.would_run("results/embeddings/yes/challenge.npy")["train"] == 1
