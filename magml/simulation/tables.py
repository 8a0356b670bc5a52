"""The tables of the simulator (``simulation/*.yaml``), parsed once, and the hash of them all."""

from __future__ import annotations

from functools import cache
from typing import Any

from magml.definitions.read import find, read_yaml
from magml.files import canonical_json, sha256_bytes

#: Every table that says how a simulated world is.
TABLES = ("parameters", "population", "conditions", "treatment", "care", "analytes")


@cache
def simulation_table(name: str) -> Any:
    """Return a parsed table of `TABLES`.

    Examples
    --------
    >>> simulation_table("population")["ages"][0]
    20
    """
    return read_yaml(find("simulation", name))


@cache
def table_hash() -> str:
    """Return the hash of all tables, ranges and sources included: it names the simulator."""
    return sha256_bytes(canonical_json({name: simulation_table(name) for name in TABLES}).encode())
