"""What lies here is compared with the two records of it."""

import hashlib
from pathlib import Path

import pytest
import yaml

from reid.core import dvc_lock
from reid.core.checksums import sum_file, write_sums
from reid.core.errors import ReidError
from reid.lineage import verify


def test_files_are_compared_with_a_ledger_that_is_read_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    names = [f"results/{i}.json" for i in range(5)]
    for name in names:
        Path(name).write_text(name)
    outs = [{"path": name, "md5": hashlib.md5(name.encode()).hexdigest(), "size": len(name)} for name in names]
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"one": {"outs": outs}}}))
    Path("results/unknown").touch()
    read, times = dvc_lock.stages, []
    monkeypatch.setattr(dvc_lock, "stages", lambda content: times.append(content) or read(content))

    write_sums(names[0], sum_file("dvc.lock"))  # of another file: DVC put this one back
    verify.main()
    assert len(times) == 1 and "6 files: 5 as recorded, 0 differ" in capsys.readouterr().out

    write_sums(names[1], sum_file(names[1]))
    for name in names[1:3]:
        Path(name).write_text(name.upper())
    with pytest.raises(ReidError, match="2 files differ"):
        verify.main()
    said = capsys.readouterr().out
    assert f"{names[1]}: bytes 0 to" in said and f"{names[2]}: differs from dvc.lock" in said
