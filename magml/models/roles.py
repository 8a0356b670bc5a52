"""Which columns of a feature matrix play the parts that simple baselines need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Role = Literal["last_magnesium", "age", "sex", "weight", "egfr", "diuretic", "ppi", "drinking"]

#: By role, patterns of feature names, the preferred first. All columns of the first pattern that
#: matches anything are taken.
_PATTERNS: dict[Role, tuple[str, ...]] = {
    "last_magnesium": (r"lab\.magnesium\.last",),
    "age": (r"demographic\.age\.years",),
    "sex": (r"demographic\.female\.last",),
    "weight": (r"vital\.weight\.last",),
    "egfr": (r"lab\.egfr",),
    # The diuretics of ATC C03; mannitol and acetazolamide are not what the score means.
    "diuretic": (
        r"medication\.(thiazide|loop_diuretic|thiazide_diuretic)\.active"
        r"|medication\.(potassium_sparing\w*|mineralocorticoid_antagonist)\.active",
    ),
    "ppi": (r"medication\.proton_pump_inhibitor\.active",),
    # Drinks a day as usual before those of a recalled day; a diagnosis is the last choice.
    "drinking": (
        r"diet\.alcohol_usual\.last",
        r"diet\.drinks_per_day",
        r"comorbidity\.alcohol_use\w*\.present",
    ),
}


def columns_of(
    role: Role, names: Sequence[str], X: NDArray[np.floating], *, varying: bool = True
) -> tuple[int, ...]:
    """Return the positions of the columns that play a role and hold something.

    Parameters
    ----------
    role
        What is looked for.
    names
        Names of the p columns.
    X
        Matrix of training rows, shape (n, p).
    varying
        Leave out columns without a value or with one value: an exposure that nobody has is one
        that the data do not record.

    Returns
    -------
    tuple of int
        Positions; empty where the data do not hold the role.

    Examples
    --------
    >>> X = np.array([[60.0, 0.0], [70.0, 0.0]])
    >>> names = ["demographic.age.years", "medication.proton_pump_inhibitor.active"]
    >>> columns_of("age", names, X), columns_of("ppi", names, X)
    ((0,), ())
    """
    for pattern in _PATTERNS[role]:
        found = [p for p, name in enumerate(names) if re.fullmatch(pattern, name)]
        if varying:
            found = [p for p in found if _varies(X[:, p])]
        if found:
            return tuple(found)
    return ()


def _varies(column: NDArray[np.floating]) -> bool:
    """Return whether a column holds two different values."""
    seen = column[~np.isnan(column)]
    return len(seen) > 0 and bool(seen.min() < seen.max())
