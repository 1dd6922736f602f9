"""What tests are made of: small splits, models and rankings, and where the project lies."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FAULTS = bool(os.environ.get("FAULTS"))
thorough = pytest.mark.skipif(not FAULTS, reason="takes minutes; `make faults` runs it")
