"""The one kind of error that a user is meant to read."""


class ReidError(Exception):
    """Something that the user can put right.

    The message names the file, the record and what to do about it. The command-line programs print it without a
    traceback and exit with status 1; anything else that is raised is a bug and keeps its traceback.
    """


def summarise(problems: list[str], what: str, limit: int = 20) -> str:
    """Join ``problems`` into one message: at most ``limit`` of them, then how many more there are.

    Args:
        problems: list of str, one line each, naming file and reason.
        what: what the problems are about, for the first line.
        limit: how many are written out.

    Returns:
        str: ``what``, the number of problems and the problems, a line each.
    """
    lines = [f"{what}: {len(problems)} problem{'s' if len(problems) != 1 else ''}"]
    lines += [f"  - {problem}" for problem in problems[:limit]]
    if len(problems) > limit:
        lines.append(f"  ... and {len(problems) - limit} more")
    return "\n".join(lines)
