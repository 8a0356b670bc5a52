"""Units: spellings, conversions per analyte, and the check that a unit fits its values."""

from magml.units.check import Finding, UnitGroup, UnitReport, check_units
from magml.units.conversion import canonical_unit, conversion, convertible

__all__ = [
    "Finding",
    "UnitGroup",
    "UnitReport",
    "canonical_unit",
    "check_units",
    "conversion",
    "convertible",
]
