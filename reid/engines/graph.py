"""Draw the graph of the rules into the README: `make graph`. A test holds it to the workflow."""

import re
import subprocess
import sys

from reid.engines.workflow import ROOT

README = ROOT / "README.md"


def main() -> None:
    call = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js", "--", "submission"]
    drawn = subprocess.run(call, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    name = dict(re.findall(r"(id\d+)\[(\w+)\]", drawn))
    edges = sorted((name[a], name[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", drawn))
    text = README.read_text(encoding="utf-8")
    graph = "\n".join(["```mermaid", "flowchart LR", *(f"    {a} --> {b}" for a, b in edges), "```"])
    README.write_text(re.sub(r"```mermaid\n.*?```", graph, text, count=1, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
