"""DVC's ledger, as DVC writes it and damaged."""

import pytest

from reid.core.dvc_lock import stages

LEDGER = """\
schema: '2.0'
stages:
  download:
    cmd: python scripts/stage.py download
    outs:
    - path: data/raw
      hash: md5
      md5: 0123.dir
      size: 7
  embed@a:
    deps:
    - path: data/raw
      md5: 0123.dir
      size: 7
    - path: kept-elsewhere
    params:
      params.yaml:
        embed.batch_size: 3
"""


def test_stages_of_a_ledger_are_read_in_its_order():
    found = stages(LEDGER)
    assert list(found) == ["download", "embed@a"]
    assert found["download"]["outs"] == [{"path": "data/raw", "hash": "md5", "md5": "0123.dir", "size": 7}]
    assert found["download"]["deps"] == [] and found["download"]["params"] == {}
    assert [item["path"] for item in found["embed@a"]["deps"]] == ["data/raw", "kept-elsewhere"]
    assert found["embed@a"]["params"] == {"params.yaml": {"embed.batch_size": 3}}
    assert stages(LEDGER.encode()) == found


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "stages:",
        "stages: []",
        "stages: {a: 1}",
        "stages: {a: {outs: 1}}",
        "stages: {a: {outs: [1]}}",
        "stages: {a: {deps: [{md5: 0}]}}",
        "stages: {a: {deps: }}",
        "stages: {a: {params: [1]}}",
        "stages: {a: {params: {params.yaml: 1}}}",
        "stages: {a: [",
        "a: 1\na: 2",
        b"\xff\x00",
        "[" * 5000,
    ],
)
def test_what_is_no_ledger_is_refused(content):
    with pytest.raises(ValueError, match="not a ledger of DVC"):
        stages(content)
