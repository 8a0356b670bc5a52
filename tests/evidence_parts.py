"""A feature computed again from nothing but the rows that are shown as its evidence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any

from magml.definitions.catalogue import Catalogue
from magml.features import Plan
from magml.features.evidence import EvidenceRow
from tests import oracle

#: What the oracle calls otherwise than a row of evidence.
NAMES = {"known": "known_time", "end": "end_time"}


def event(row: EvidenceRow, plan: Plan) -> oracle.Event:
    """Return a row as the oracle takes it; a part that evidence does not show is an error."""
    found: dict[str, Any] = {"subject": 1}
    for field in fields(oracle.Event):
        if field.name != "subject":
            found[field.name] = getattr(row, NAMES.get(field.name, field.name))
    found["unit"] = row.unit or plan.assumed.get(row.code)
    return oracle.Event(**found)


def needed(catalogue: Catalogue, name: str) -> set[str]:
    """Return the derived features that a feature is made of, itself among them."""
    if name not in catalogue.derived:
        return set()
    inputs = catalogue.derived[name].input_names
    return {name}.union(*(needed(catalogue, part) for part in inputs))


def recompute(
    catalogue: Catalogue, plan: Plan, rows: Iterable[EvidenceRow], t: datetime, name: str
) -> float:
    """Return a feature by the slow builder, which knows every statistic of the catalogue.

    A statistic or formula that it does not know fails, so nothing is passed over.
    """
    derived = needed(catalogue, name)
    inputs = {part for one in derived for part in catalogue.derived[one].input_names} or {name}
    concepts = {catalogue.features[part].concept for part in inputs - derived}

    class Part:
        """The catalogue with the concepts and formulas of this feature alone."""

        def __init__(self) -> None:
            self.by_name = {key: catalogue.by_name[key] for key in concepts}
            self.derived = {key: catalogue.derived[key] for key in derived}

        def __getattr__(self, attribute: str) -> Any:
            return getattr(catalogue, attribute)

    known = oracle.facts(catalogue, [event(row, plan) for row in rows])
    own = {key: found for key, found in known.items() if key[1] in concepts}
    return oracle.features(Part(), own, 1, t)[name]  # type: ignore[arg-type]


def equal(one: float, other: float) -> bool:
    """Whether a value equals a float32 column's."""
    import numpy as np

    return bool(np.isclose(one, other, rtol=2e-5, atol=1e-5, equal_nan=True))
