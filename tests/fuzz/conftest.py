"""Hooks of the fuzz suite: it says in the end how many inputs were tried."""

import pytest

from builders.hostile import COUNTS


@pytest.fixture
def nothing_left(tmp_path):
    """Fails if a test leaves a half-written file behind."""
    yield
    assert not list(tmp_path.rglob(".*.partial"))


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["fuzz"] = dict(COUNTS)


@pytest.hookimpl(optionalhook=True)  # of xdist
def pytest_testnodedown(node, error):
    COUNTS.update(getattr(node, "workeroutput", {}).get("fuzz", {}))


def pytest_terminal_summary(terminalreporter):
    if COUNTS["tried"]:
        terminalreporter.write_line(
            f"hostile inputs: {COUNTS['tried']:,} tried, {COUNTS['as promised']:,} as promised"
        )
