"""Recorded doses as amounts of what a concept adds up: totals, and rates per hour."""

from __future__ import annotations

import re

from magml.definitions.catalogue import Concept
from magml.definitions.dose import DDD, Dose, Drug, amount
from magml.errors import UnitError
from magml.units.conversion import conversion

#: Hours of the times that a rate is written with.
_HOURS = {
    **dict.fromkeys(("min", "minute"), 1 / 60),
    **dict.fromkeys(("h", "hr", "hour", "1h"), 1.0),
    **dict.fromkeys(("d", "day", "24h", "24hr", "24hours", "(24.h)"), 24.0),
    **dict.fromkeys(("w", "wk", "week"), 168.0),
}
#: Beside a drug these mean international units, not a plain number.
_UNITS = frozenset({"[iu]", "iu", "u", "unit", "units", "unit(s)", "intl units"})


def dose_scale(unit: str, dose: Dose, drug: Drug) -> tuple[float, bool] | None:
    """Return what a recorded number is multiplied by, and whether that is a rate.

    A unit without time is of the total of the record; a unit per time is of a rate, which comes
    out per hour.

    Parameters
    ----------
    unit
        Unit as written beside the dose: ``mg``, ``mg/h``, ``g/day``, ``meq``.
    dose, drug
        What the concept adds up, and what this drug counts for.

    Returns
    -------
    tuple or None
        ``(scale, per_hour)``; None where the unit gives no such amount (tablets, volumes, doses
        for each kilogram).

    Examples
    --------
    >>> oxide = Drug(names=("magnesium oxide",), share=0.603)
    >>> dose = Dose(unit="mg", molar_mass=24.305, valence=2, drugs={"oxide": oxide})
    >>> round(400 * dose_scale("mg", dose, oxide)[0]), round(8 * dose_scale("mEq", dose, oxide)[0])
    (241, 97)
    >>> pill = Drug(names=("omeprazole",), ddd="20 mg")
    >>> scale, rate = dose_scale("mg/day", Dose(unit="DDD", drugs={"omeprazole": pill}), pill)
    >>> round(40 * scale * 24, 6), rate
    (2.0, True)
    >>> dose_scale("tablet", dose, oxide) is None
    True
    """
    factor = _amount(unit, dose, drug)
    if factor is not None:
        return factor, False
    start, _, time = unit.strip().rpartition("/")
    hours = _HOURS.get(re.sub(r"\s", "", time.casefold()).removesuffix("."))
    if hours is None or not start:
        return None
    factor = _amount(start, dose, drug)
    return None if factor is None else (factor / hours, True)


def _amount(unit: str, dose: Dose, drug: Drug) -> float | None:
    """Return the scale of an amount, None for another quantity."""
    number, wanted = amount(drug.ddd) if drug.ddd and dose.unit == DDD else (1.0, dose.unit)
    if unit.strip().casefold() in _UNITS:
        return 1 / number if wanted.casefold() in _UNITS else None
    mass = Concept(label="dose", kind="measurement", unit=wanted)
    try:
        return conversion(unit, mass)[0] * drug.share / number
    except UnitError:
        pass
    if dose.molar_mass is None:
        return None
    element = mass.model_copy(update={"molar_mass": dose.molar_mass, "valence": dose.valence})
    try:
        return conversion(unit, element)[0] / number
    except UnitError:
        return None
