"""What tests are made of: small splits, models and rankings, and where the project lies."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
