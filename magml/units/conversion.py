"""Conversion of a value to its concept's unit: through pint, with molar mass and valence.

A conversion is a pair ``(scale, shift)``: value in the concept's unit = value * scale + shift.
Mass, amount and charge of one analyte are bridged by the molar mass and the valence that its
concept states. Equal spellings never reach pint.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from magml.definitions.catalogue import Concept
from magml.errors import UnitError, nearest
from magml.units.spellings import canonical_or_none, unit_table

#: UCUM spellings that pint writes otherwise. What is not here is the same in both.
_PINT = {
    "1": "dimensionless",
    "%": "percent",
    "Cel": "degC",
    "[degF]": "degF",
    "mm[Hg]": "mmHg",
    "cm[H2O]": "cmH2O",
    "[lb_av]": "pound",
    "[in_i]": "inch",
    "a": "year",
    "/min": "1/min",
    "/uL": "1/uL",
    "10*9/L": "10**9/L",
    "10*12/L": "10**12/L",
    "U/L": "enzyme_unit/L",
}
_OFFSET = ("degC", "degF")
#: Units that only equal themselves: their amounts are conventions, not quantities.
_OPAQUE = frozenset({"m[IU]/L", "mosm/kg", "mL/min/1.73m2", "mm/h"})


def canonical_unit(text: str) -> str:
    """Return the UCUM spelling of a unit as it was written.

    Parameters
    ----------
    text
        A unit: UCUM, or a spelling of ``features/units.yaml``. Capitals and blanks do not matter.

    Raises
    ------
    UnitError
        If the spelling is unknown; the error names the nearest one.

    Examples
    --------
    >>> canonical_unit("MG/DL"), canonical_unit("mEq/L"), canonical_unit("K/mcL")
    ('mg/dL', 'meq/L', '10*9/L')
    """
    found = canonical_or_none(text)
    if found is None:
        raise UnitError(
            f"the unit {text!r} is unknown",
            nearest(text, unit_table().spellings),
            "correct it at the source, or add the spelling to features/units.yaml",
        )
    return found


def conversion(unit: str | None, concept: Concept) -> tuple[float, float]:
    """Return the conversion from a unit to a concept's unit.

    Parameters
    ----------
    unit
        The unit as written beside the value; None when there was none, which is accepted for
        plain numbers only.
    concept
        The concept, with its unit, molar mass (g/mol), valence and stated equations, which come
        first.

    Returns
    -------
    tuple of float
        ``(scale, shift)`` with value in the concept's unit = value * scale + shift.

    Raises
    ------
    UnitError
        If the unit is missing, unknown, or of another quantity than the concept's.

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> magnesium = read_catalogue().by_name["lab.magnesium"]
    >>> scale, shift = conversion("mg/dL", magnesium)
    >>> round(1.7 * scale + shift, 4)
    0.6994
    """
    wanted = concept.unit
    if wanted is None:
        return 1.0, 0.0
    if unit is None or not unit.strip():
        if canonical_unit(wanted) == "1":
            return 1.0, 0.0
        raise UnitError(
            f"a value of {concept.label} has no unit",
            f"a unit that converts to {wanted}",
            "let the source declare the unit",
        )
    if concept.equations:
        given = canonical_unit(unit)
        for stated, equation in concept.equations.items():
            if canonical_unit(stated) == given:
                return equation
    return _conversion(unit, wanted, concept.molar_mass, concept.valence, concept.label)


def convertible(unit: str, concept: Concept) -> bool:
    """Return whether a known unit converts to a concept's unit."""
    try:
        conversion(unit, concept)
    except UnitError:
        return False
    return True


@lru_cache(maxsize=4096)
def _conversion(
    unit: str, wanted: str, molar_mass: float | None, valence: int | None, label: str
) -> tuple[float, float]:
    """Return the conversion between two spellings for an analyte."""
    given, target = canonical_unit(unit), canonical_unit(wanted)
    if given == target:
        return 1.0, 0.0
    if given not in _OPAQUE and target not in _OPAQUE:
        start = _amount(given, valence)
        end = _amount(target, valence)
        if start is not None and end is not None:
            found = _through_pint(start[0], end[0], molar_mass)
            if found is not None:
                return found[0] * start[1] / end[1], found[1] / end[1]
    missing = _missing_fact(given, target, molar_mass, valence)
    raise UnitError(
        f"{unit!r} does not convert to {wanted}, the unit of {label}{missing}",
        f"a unit of the same quantity as {wanted}",
        "correct the unit at the source, or the code that maps these values to this concept",
    )


def _amount(unit: str, valence: int | None) -> tuple[str, float] | None:
    """Return a unit with equivalents written as amounts, and its factor; None without valence."""
    if not unit.startswith("meq"):
        return unit, 1.0
    if valence is None:
        return None
    return f"mmol{unit[3:]}", 1.0 / valence


def _missing_fact(given: str, target: str, molar_mass: float | None, valence: int | None) -> str:
    """Say which fact about an analyte would make a conversion possible."""
    if valence is None and (given.startswith("meq") != target.startswith("meq")):
        return ", which states no valence"
    if molar_mass is None and ("mol" in given) != ("mol" in target):
        return ", which states no molar mass"
    return ""


def _through_pint(given: str, target: str, molar_mass: float | None) -> tuple[float, float] | None:
    """Return the conversion between two UCUM units, or None when they differ in quantity."""
    import pint

    registry = _registry()
    start, end = _PINT.get(given, given), _PINT.get(target, target)
    try:
        if start in _OFFSET or end in _OFFSET:
            if start not in _OFFSET or end not in _OFFSET:
                return None
            step = registry.Quantity(1.0, f"delta_{start}").to(f"delta_{end}")
            return float(step.magnitude), float(registry.Quantity(0.0, start).to(end).magnitude)
        # A unit may hold a factor (10*9/L): it is a quantity then, not a unit of pint's.
        first, second = registry.parse_expression(start), registry.parse_expression(end)
        first, second = first * registry.Quantity(1.0), second * registry.Quantity(1.0)
        weight = registry.Quantity(molar_mass, "g/mol") if molar_mass is not None else None
        for candidate in (first, *((first / weight, first * weight) if weight else ())):
            if candidate.is_compatible_with(second):
                return float((candidate / second).to("").magnitude), 0.0
        return None
    except (pint.errors.PintError, ValueError):
        return None


@lru_cache(maxsize=1)
def _registry() -> Any:
    """Return pint's registry, which takes a quarter of a second to make."""
    import pint

    return pint.UnitRegistry()
