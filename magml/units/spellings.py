"""Spellings of units, as ``features/units.yaml`` lists them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from magml.definitions.read import read_yaml, search_path
from magml.errors import DefinitionError

_SAME = str.maketrans({"µ": "u", "μ": "u", "^": "*", "²": "2", "³": "3", " ": "", "\t": ""})


@dataclass(frozen=True)
class UnitTable:
    """Spellings of units and the units that the plausibility check tries.

    Attributes
    ----------
    spellings
        Canonical unit by spelling as written.
    loose
        Canonical unit by spelling in the form of `loose_form`.
    candidates
        Canonical units in the order in which they are tried.
    """

    spellings: dict[str, str]
    loose: dict[str, str]
    candidates: tuple[str, ...]


def unit_table(workspace: str | Path | None = None) -> UnitTable:
    """Return the units of the first ``features/units.yaml`` found.

    Examples
    --------
    >>> "mg/dL" in unit_table().candidates
    True
    """
    for folder in search_path("features", workspace):
        path = folder / "units.yaml"
        if path.is_file():
            return _unit_table(path, path.stat().st_mtime_ns)
    raise DefinitionError("no file features/units.yaml", "the spellings of units", "reinstall")


def canonical_or_none(text: str) -> str | None:
    """Return the canonical unit of a spelling, or None."""
    table = unit_table()
    written = text.strip()
    return table.spellings.get(written) or table.loose.get(loose_form(written))


def loose_form(text: str) -> str:
    """Return a spelling without what does not matter: capitals, blanks, the kind of power sign.

    Examples
    --------
    >>> loose_form("10^3 / µL.")
    '10*3/ul'
    """
    return text.casefold().translate(_SAME).replace("**", "*").rstrip(".")


@lru_cache(maxsize=4)
def _unit_table(path: Path, _: int) -> UnitTable:
    """Parse a table of units once for each state of its file."""
    content = read_yaml(path)
    where = f"features/{path.name}"
    if not isinstance(content, dict) or set(content) != {"spellings", "candidates"}:
        raise DefinitionError(
            f"{where}: the keys are not spellings and candidates",
            "spellings and candidates",
            "correct the file",
        )
    spellings: dict[str, str] = {}
    loose: dict[str, str] = {}
    for canonical, others in content["spellings"].items():
        for text in (canonical, *(others or ())):
            spellings.setdefault(str(text), canonical)
            other = loose.setdefault(loose_form(str(text)), canonical)
            if other != canonical:
                raise DefinitionError(
                    f"{where}: {text!r} stands under both {other} and {canonical}",
                    "each spelling under one unit",
                    "remove one",
                )
    unknown = [unit for unit in content["candidates"] if unit not in content["spellings"]]
    if unknown:
        raise DefinitionError(
            f"{where}: the candidate {unknown[0]!r} is no unit of the list",
            "a canonical unit",
            "add it under spellings",
        )
    return UnitTable(spellings, loose, tuple(content["candidates"]))
