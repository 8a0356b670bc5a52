"""The tables that stand beside the simulator's modules, parsed once."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def simulation_table(name: str) -> Any:
    """Return a parsed table: ``population``, ``conditions``, ``care``.

    Examples
    --------
    >>> simulation_table("population")["ages"][0]
    20
    """
    place = resources.files("magml.simulation").joinpath(f"{name}.yaml")
    return yaml.safe_load(place.read_text(encoding="utf-8"))
