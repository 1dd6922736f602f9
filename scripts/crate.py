"""Pack the record of a finished run into a Workflow Run RO-Crate (a zip): for archives, and tools that read crates.

It holds the workflow, its programs, parameters and small results, and says of every stage what it took and made, by
hash, as dvc.lock records it (`make record` first). Large files are named and not packed.
"""

from pathlib import Path

from reid.core import cli
from reid.core.cli import log
from reid.lineage.crate import write_crate


def main(args):
    packed, named = write_crate(args.out)
    log.info("%s: %d files, and %d that are named by their hashes", args.out, packed, named)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--out", type=Path, default="results/crate.zip", help="the crate to make")
    cli.run(main, parser)
