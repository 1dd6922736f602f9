"""Rows of an index that someone names: by action or by game. What is not there is refused with what is near to it."""

import difflib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from reid.core.errors import ReidError
from reid.core.tables import column

GAME_COLUMNS = ["championship", "season", "game"]


def near_numbers(known: np.ndarray, number: int) -> str:
    """The known numbers that are nearest to another one, for a message."""
    nearest = known[np.argsort(abs(known - number), kind="stable")[:5]].tolist()
    return ", ".join(map(str, sorted(nearest)))


def rows_of_actions(table: pa.Table, actions: Sequence[int]) -> tuple[np.ndarray, str]:
    """Rows of an index that are of the actions.

    Args:
        table: the index (column action_idx).
        actions: action_idx of each.

    Returns:
        int64 array, the rows, ascending; what to call them

    Raises:
        ReidError: there is no such action.
    """
    action = column(table, "action_idx")
    known = np.unique(action)
    for idx in actions:
        if idx not in known:
            raise ReidError(f"--action: there is no action {idx} in this split; near are {near_numbers(known, idx)}")
    chosen = sorted(set(actions))
    name = f"{len(chosen)} actions" if len(chosen) > 9 else f"actions {', '.join(map(str, chosen))}"
    name = f"action {chosen[0]}" if len(chosen) == 1 else name
    return np.flatnonzero(np.isin(action, chosen)), name


def rows_of_game(table: pa.Table, name: str) -> tuple[np.ndarray, str]:
    """Rows of an index that are of one game.

    Args:
        table: the index (:data:`GAME_COLUMNS`).
        name: of the game, or a part of it that no other game has; small and capital letters are the same.

    Returns:
        int64 array, the rows, ascending; championship, season and game

    Raises:
        ReidError: the games are hidden, or the name fits none or several.
    """
    if table["game"].null_count:
        raise ReidError("--game: the games of this split are hidden; use --action")
    of_row = [
        " / ".join(filter(None, parts)) for parts in zip(*(table[c].to_pylist() for c in GAME_COLUMNS), strict=True)
    ]
    games = sorted(set(of_row))
    fits = [game for game in games if game.endswith(f" / {name}")] or [g for g in games if name.lower() in g.lower()]
    if len(fits) != 1:
        near = fits or difflib.get_close_matches(name, [game.split(" / ")[-1] for game in games], n=3, cutoff=0.2)
        what = f"{len(fits)} games fit" if fits else "there is no such game"
        shown = "\n".join(f"  - {game}" for game in (near or games)[:10])
        raise ReidError(f"--game {name}: {what}; {'name one of' if fits else 'near are'}\n{shown}")
    return np.flatnonzero([game == fits[0] for game in of_row]), fits[0]
