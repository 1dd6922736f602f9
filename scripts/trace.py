"""Say what made a file: a ranking, checkpoint or metrics file that comes back under another name.

It is found by its content: among what lies here, in Git's history, and in what DVC's ledger recorded in any commit or
experiment. Ends with status 1 if nothing here knows it.
"""

from pathlib import Path

import yaml

from reid.core import cli
from reid.core.errors import ReidError
from reid.lineage.trace import trace
from reid.params.parsing import shown


def main(args):
    origins = trace(args.file)
    if not origins:
        raise ReidError(
            f"{args.file}: nothing here knows this content: no provenance, no commit, no dvc.lock. It was changed, "
            "made elsewhere, or made by a run that was not committed"
        )
    for origin in origins[: args.show]:
        lines = [f"{args.file} is {origin.path}", f"  {origin.where}"]
        if origin.commit:
            lines.append(f"  commit {origin.commit}")
        lines += [f"    {line}" for line in origin.get_back]
        print("\n".join(shown(line, 10_000) for line in lines))
    if len(origins) > args.show:
        print(f"... and {len(origins) - args.show} more")
    with_params = next((origin for origin in origins if origin.parameters), None)
    if with_params:
        section = yaml.safe_dump(with_params.parameters, sort_keys=False, default_flow_style=None)
        print(f"parameters:\n{section}", end="")


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--show", type=cli.whole(1, 1_000_000), default=5, help="how many places to name")
    cli.run(main, parser)
