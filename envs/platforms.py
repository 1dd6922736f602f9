"""Resolve every lock file for the platforms and versions of Python that the README names; installs nothing.

python envs/platforms.py

Exits with 1 and says which file fails where, if a pin has no wheel there.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PLATFORMS = {"x86_64-manylinux_2_28": {}, "aarch64-manylinux_2_28": {}, "macos": {"MACOSX_DEPLOYMENT_TARGET": "14.0"}}
PYTHONS = ["3.11", "3.12", "3.13"]
# pure Python that their authors publish as source alone
SOURCES = ["antlr4-python3-runtime", "connection-pool"]


def main() -> int:
    failed = 0
    for lock in sorted(Path(__file__).parent.glob("*.txt")):
        for platform, environment in PLATFORMS.items():
            for python in PYTHONS:
                with tempfile.TemporaryDirectory() as nowhere:
                    command = ["uv", "pip", "install", "--quiet", "--dry-run", "--require-hashes", "--no-deps"]
                    command += ["--target", nowhere, "--python-platform", platform, "--python-version", python]
                    command += ["--only-binary", ":all:", *(f"--no-binary={name}" for name in SOURCES)]
                    done = subprocess.run(
                        [*command, "-r", str(lock)], env={**os.environ, **environment}, capture_output=True, text=True
                    )
                print(f"{lock.name}, {platform}, Python {python}: {'ok' if done.returncode == 0 else done.stderr}")
                failed += done.returncode != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
