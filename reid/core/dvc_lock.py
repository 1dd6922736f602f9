"""DVC's ledger ``dvc.lock``: what each stage of a run read and made, by content."""

from typing import Any


def stages(content: str | bytes) -> dict[str, dict[str, Any]]:
    """Entries of the stages by their names, in the order of the ledger.

    Returns:
        dict: of each stage ``deps`` and ``outs``, lists of dict with ``path`` (and ``md5`` and ``size`` but for what
        DVC keeps elsewhere), and ``params``, values by file and name; ``deps``, ``outs`` and ``params`` may be empty

    Raises:
        ValueError: it is no such ledger.
    """
    from ruamel.yaml import YAML, YAMLError

    try:
        found = YAML(typ="safe", pure=False).load(content)["stages"]
        return {
            str(name): {
                "deps": [_item(item) for item in entry.get("deps", [])],
                "outs": [_item(item) for item in entry.get("outs", [])],
                "params": {str(file): dict(values) for file, values in entry.get("params", {}).items()},
            }
            for name, entry in found.items()
        }
    except (YAMLError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"not a ledger of DVC: {error!r}") from error


def _item(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "path": str(entry["path"])}
