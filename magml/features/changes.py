"""What a changed catalogue changes: concepts, and the features of given records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from magml.definitions.catalogue import Catalogue

#: Counts of people below this are not shown.
SMALL = 10


@dataclass(frozen=True)
class ConceptChange:
    """A concept or derived feature that was added, removed or changed, and in which keys."""

    name: str
    kind: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeatureChange:
    """How a feature differs on given rows: rows that have it before and now, rows that changed.

    To have it is to have a value; for what is 0 by default (present, active, days, counts), to have
    one above 0. None: the feature did not exist.
    """

    feature: str
    before: int | None
    now: int | None
    changed: int


def concept_changes(before: Catalogue, now: Catalogue) -> tuple[ConceptChange, ...]:
    """Compare the concepts and derived features of two catalogues.

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> concept_changes(read_catalogue(), read_catalogue())
    ()
    """
    old: dict[str, Any] = {**before.by_name, **before.derived}
    new: dict[str, Any] = {**now.by_name, **now.derived}
    found = [ConceptChange(name, "removed") for name in old if name not in new]
    found += [ConceptChange(name, "added") for name in new if name not in old]
    for name in old:
        if name in new and old[name] != new[name]:
            was, is_ = old[name].model_dump(), new[name].model_dump()
            keys = tuple(key for key in {**was, **is_} if was.get(key) != is_.get(key))
            found.append(ConceptChange(name, "changed", keys))
    return tuple(found)


def feature_changes(
    before: Catalogue, now: Catalogue, events: Any, at: Any
) -> tuple[FeatureChange, ...]:
    """Build the features that may differ by both catalogues and count.

    Parameters
    ----------
    before, now
        The catalogues.
    events, at
        Records and prediction times, as `magml.build_features` takes them.

    Returns
    -------
    tuple of FeatureChange
        Only features that exist in one catalogue alone or differ in some row.
    """
    from magml.checks.features import features_of
    from magml.features import build_features

    names = [change.name for change in concept_changes(before, now)]
    if not names:
        return ()
    tables, wanted = [], []
    for catalogue in (before, now):
        derived = [name for name in names if name in catalogue.derived]
        of = dict.fromkeys([*features_of(catalogue, names), *derived])
        # A derived feature that others are made of takes these with it.
        of.update(dict.fromkeys(_made_of(catalogue, set(of))))
        wanted.append(list(of))
        tables.append(
            build_features(events, at, catalogue=catalogue, features=list(of), strict=False)
            if of
            else None
        )
    found = []
    for feature in dict.fromkeys([*wanted[0], *wanted[1]]):
        columns = [
            None if table is None or feature not in table else table[feature].to_numpy()
            for table in tables
        ]
        old, new = columns
        if old is not None and new is not None:
            differ = ~((old == new) | (np.isnan(old) & np.isnan(new)))
            if not differ.any():
                continue
            changed = int(differ.sum())
        else:
            changed = _having(old if new is None else new)
        found.append(
            FeatureChange(
                feature,
                None if old is None else _having(old),
                None if new is None else _having(new),
                changed,
            )
        )
    return tuple(found)


def shown(count: int | None) -> str:
    """Return a count as it may be shown: small ones are not.

    Examples
    --------
    >>> [shown(count) for count in (None, 0, 3, 12)]
    ['-', '0', '<10', '12']
    """
    if count is None:
        return "-"
    return f"<{SMALL}" if 0 < count < SMALL else str(count)


def _having(column: np.ndarray | None) -> int:
    """Count the rows with a value; zero is the absence of an event, where all values are counts."""
    if column is None:
        return 0
    known = column[~np.isnan(column)]
    absent_is_zero = len(known) == len(column) and bool((known == 0).any())
    return int((known != 0).sum()) if absent_is_zero else len(known)


def _made_of(catalogue: Catalogue, wanted: set[str]) -> list[str]:
    """Return the derived features that need any of `wanted`, directly or not."""
    found: list[str] = []
    while True:
        more = [
            name
            for name, item in catalogue.derived.items()
            if name not in wanted and wanted.intersection(item.input_names)
        ]
        if not more:
            return found
        found += more
        wanted |= set(more)
