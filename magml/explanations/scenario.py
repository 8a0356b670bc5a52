"""Features of one prediction time with some of them changed, derived ones computed again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.features.formulas import apply_formula

if TYPE_CHECKING:
    from magml.definitions import Catalogue, Feature
    from magml.features import Plan

Floats = NDArray[np.float64]

#: Statistics that are the value itself where there is one value.
LEVEL_STATISTICS = ("last", "first", "min", "max", "mean")


def with_inputs(catalogue: Catalogue, features: Iterable[str]) -> tuple[str, ...]:
    """Return features and what the derived ones among them are made of, each once.

    Parameters
    ----------
    catalogue
        The catalogue.
    features
        Features in order.

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> with_inputs(read_catalogue(), ["lab.anion_gap"])
    ('lab.anion_gap', 'lab.sodium.last', 'lab.chloride.last', 'lab.bicarbonate.last')
    """
    found = list(features)
    seen = set(found)
    for name in found:  # grows while it is walked through
        if catalogue.features[name].derived:
            for needed in catalogue.derived[name].input_names:
                if needed not in seen:
                    seen.add(needed)
                    found.append(needed)
    return tuple(found)


def features_of(plan: Plan, catalogue: Catalogue, concept: str) -> tuple[Feature, ...]:
    """Return the plan's features that are computed from a concept's own rows."""
    known = (catalogue.features[name] for name in plan.features)
    return tuple(
        feature
        for feature in known
        if feature.concept == concept and not feature.derived and not feature.plugin
    )


def changed_rows(
    plan: Plan, row: NDArray[np.float32], changes: Mapping[str, Floats]
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return copies of one row of the plan's matrix with some features changed.

    Parameters
    ----------
    plan
        The plan.
    row
        The row, shape (q,).
    changes
        New values by feature, each of shape (m,).

    Returns
    -------
    numpy.ndarray
        Shape (m, q). Derived features of what changed are computed again.
    tuple of str
        Derived features that could not be, because the plan does not hold all that they need;
        they stay as they are.
    """
    size = len(next(iter(changes.values())))
    place = {name: number for number, name in enumerate(plan.features)}
    values = np.repeat(np.asarray(row, dtype=np.float32)[None, :], size, axis=0)
    columns: dict[str, Floats] = {
        name: values[:, number].astype(np.float64) for name, number in place.items()
    }
    touched = set(changes)
    columns.update({name: np.asarray(new, dtype=np.float64) for name, new in changes.items()})
    stale = []
    for item in plan.derived:  # every input comes before its use
        needed = [name for _, name in item.inputs]
        if not touched.intersection(needed):
            continue
        touched.add(item.name)
        if all(name in columns for name in needed):
            columns[item.name] = apply_formula(item.formula, item.inputs, columns)
        elif item.name in place:
            stale.append(item.name)
        else:
            columns.pop(item.name, None)
    for name in touched:
        if name in place:
            values[:, place[name]] = columns[name]
    return values, tuple(stale)
