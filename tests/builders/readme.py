"""The blocks of the README, as a reader would paste them."""

import re

from builders import ROOT


def text():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(kind):
    """Contents of all blocks of one language, in order."""
    return re.findall(rf"^```{kind}\n(.*?)^```", text(), re.DOTALL | re.MULTILINE)


def commands():
    """Every command line of the bash blocks, in order: without comments, continued lines joined."""
    found = []
    for block in blocks("bash"):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"\s+#.*", "", line)
            found += [re.sub(r"\s+", " ", part).strip() for part in line.split("&&")]
    return [command for command in found if command]
