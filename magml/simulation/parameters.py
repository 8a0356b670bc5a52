"""The parameters of the simulated physiology: read, checked, hashed, and drawn for a world."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from magml.errors import DefinitionError, InputError, nearest
from magml.simulation.tables import simulation_table, table_hash

Split = Literal["development", "training", "test"]
SPLITS: tuple[Split, ...] = ("development", "training", "test")
_GROUPS = ("body", "gut", "kidney", "signals", "institution")
#: What an agent or a condition may act on, and the value that means nothing happens.
TARGETS: dict[str, float] = {"absorption": 1.0, "threshold": 1.0, "soft": 1.0, "gut_loss": 0.0}
_KEYS = {"value", "low", "high", "scale", "unit", "meaning", "source", "fitted"}


@dataclass(frozen=True)
class Parameters:
    """Numbers of one world.

    Attributes
    ----------
    values
        By name, such as ``serum`` or ``ppi.absorption``; ``ppi.days`` is the time an effect takes
        and ``ppi.spread`` its spread between people (standard deviation of the logarithm).
    table_hash
        Hash of the table they come from.
    name
        Which world: ``central``, or split and number.
    """

    values: Mapping[str, float]
    table_hash: str
    name: str = "central"

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def with_values(self, **changes: float) -> Parameters:
        """Return the parameters with some changed; dots of names are written as ``__``.

        Raises
        ------
        InputError
            If there is no such parameter or a value is not finite.

        Examples
        --------
        >>> read_parameters().with_values(ppi__absorption=0.1)["ppi.absorption"]
        0.1
        """
        found = {name.replace("__", "."): float(value) for name, value in changes.items()}
        for name, value in found.items():
            if name not in self.values:
                raise InputError(f"no parameter {name!r}", nearest(name, self.values))
            if not math.isfinite(value):
                raise InputError(f"the parameter {name} = {value}", "a finite number")
        return replace(self, values={**self.values, **found}, name=f"{self.name}, changed")


def read_parameters() -> Parameters:
    """Return the central values of ``simulation/parameters.yaml``.

    Raises
    ------
    DefinitionError
        If the table does not read; the entry is named.
    """
    table = _table()
    values = {name: float(entry["value"]) for name, entry in _entries(table)}
    return Parameters({**values, **_fixed(table)}, table_hash())


def draw_world(number: int, split: Split) -> Parameters:
    """Return the parameters of a world: each is drawn from its range.

    Streams of the three splits never meet, so no test world equals a training world.

    Parameters
    ----------
    number
        Which world of the split, from 0.
    split
        ``development`` (to calibrate with), ``training`` or ``test``.

    Raises
    ------
    InputError
        If there is no such split or the number is negative.

    Examples
    --------
    >>> draw_world(0, "test").values == draw_world(0, "test").values
    True
    >>> draw_world(0, "test")["serum"] == draw_world(0, "training")["serum"]
    False
    """
    if split not in SPLITS:
        raise InputError(f"the split {split!r}", nearest(split, SPLITS))
    if number < 0:
        raise InputError(f"world {number}", "0 or more")
    table = _table()
    hashed = table_hash()
    seed = np.random.SeedSequence(int(hashed[:8], 16), spawn_key=(SPLITS.index(split), number))
    generator = np.random.default_rng(seed)
    values = {}
    for name, entry in _entries(table):
        share = generator.random()  # drawn for each, so that one range changes no other
        low, high = entry.get("low"), entry.get("high")
        if low is None or high is None:
            values[name] = float(entry["value"])
        elif entry.get("scale") == "log":
            values[name] = float(low) * (float(high) / float(low)) ** share
        else:
            values[name] = float(low) + (float(high) - float(low)) * share
    return Parameters({**values, **_fixed(table)}, hashed, f"{split} {number}")


def table_rows() -> list[dict[str, Any]]:
    """Return the table as rows for a page: name, value, range, unit, meaning, source."""
    table = _table()
    sources = {name: effect.get("source", "") for name, effect in table["effects"].items()}
    return [
        {
            "name": name,
            "value": entry["value"],
            "low": entry.get("low"),
            "high": entry.get("high"),
            "unit": entry.get("unit", "mmol/day" if name.endswith("gut_loss") else "factor"),
            "meaning": entry.get("meaning", ""),
            "source": entry.get("source") or sources.get(name.split(".")[0], ""),
            "fitted": bool(entry.get("fitted", False)),
        }
        for name, entry in _entries(table)
    ]


def _table() -> dict[str, Any]:
    table = simulation_table("parameters")
    if not isinstance(table, dict) or set(table) != {*_GROUPS, "effects"}:
        raise DefinitionError(
            f"parameters.yaml: other parts than {', '.join(_GROUPS)} and effects", "these six"
        )
    for name, entry in _entries(table):
        if not isinstance(entry, dict) or not set(entry) <= _KEYS or "value" not in entry:
            raise DefinitionError(f"parameters.yaml: {name} does not read", "value, low, high, ...")
        low, high = entry.get("low"), entry.get("high")
        outside = low is not None and high is not None and not low <= entry["value"] <= high
        if (low is None) != (high is None) or outside:
            raise DefinitionError(
                f"parameters.yaml: {name} is {entry['value']} in {low} to {high}",
                "a value inside its range",
                "correct the value or the range",
            )
    return table


def _entries(table: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = [(name, entry) for group in _GROUPS for name, entry in table[group].items()]
    for agent, effect in table["effects"].items():
        found += [(f"{agent}.{name}", effect[name]) for name in TARGETS if name in effect]
    return found


def _fixed(table: dict[str, Any]) -> dict[str, float]:
    """Return times and spreads of effects, which no world draws."""
    return {
        f"{agent}.{name}": float(effect.get(name, 0.3 if name == "spread" else 0.0))
        for agent, effect in table["effects"].items()
        for name in ("days", "spread")
    }
