"""Features and values in the words of a ward, for plots and reports."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from magml.definitions import Catalogue, Feature

#: What a statistic is called after its concept's name; None says nothing.
_STATISTICS: dict[str, str | None] = {
    "last": "latest",
    "first": "first",
    "min": "lowest",
    "max": "highest",
    "mean": "mean",
    "sum": "total",
    "slope": "change per day",
    "sd": "variability (SD)",
    "count": "number of records",
    "hours_since": "time since latest",
    "active": None,
    "days": "days exposed",
    "share": "share of days exposed",
    "eras": "number of periods",
    "dose": "dose in total",
    "daily_dose": "dose a day at present",
    "hours_since_start": "time since start",
    "hours_since_stop": "time since stop",
    "present": None,
    "days_since": "time since latest record",
    "years": None,
}
_UNITS = {
    "1": "",
    "DDD": "defined daily doses",
    "h": "h",
    "d": "days",
    "a": "years",
    "Cel": "°C",
    "mm[Hg]": "mmHg",
    "umol/L": "µmol/L",
    "ug/L": "µg/L",
    "10*9/L": "×10⁹/L",
    "10*12/L": "×10¹²/L",
    "m[IU]/L": "mIU/L",
    "mL/min/1.73m2": "mL/min/1.73 m²",
    "kg/m2": "kg/m²",
}
_STATES = {"active": ("current", "not current"), "present": ("recorded", "not recorded")}
_LENGTHS = {"min": "minute", "h": "hour", "d": "day", "w": "week", "y": "year"}
_DOMAINS = {
    "medication": "Medications",
    "diet": "Diet",
    "comorbidity": "Comorbidities",
    "lab": "Laboratory",
    "vital": "Vital signs and output",
    "procedure": "Procedures",
    "demographic": "Demographics",
    "care": "Care",
    "genetic": "Genetics",
    "microbiome": "Microbiome",
}


def describe_domain(domain: str, catalogue: Catalogue) -> str:
    """Return the title of a domain."""
    titles: dict[str, str] = {file.domain: file.title for file in catalogue.domains}
    return titles.get(domain) or _DOMAINS.get(domain, domain.capitalize())


def describe_feature(feature: Feature) -> str:
    """Return what a feature is, in words.

    Examples
    --------
    >>> from magml.definitions import Feature
    >>> describe_feature(Feature(
    ...     name="lab.potassium.min.24h", domain="lab", concept="lab.potassium", statistic="min",
    ...     window="24h", unit="mmol/L", label="Potassium"))
    'Potassium, lowest, last 24 hours'
    """
    if feature.derived or feature.plugin:
        return feature.label
    parts = [feature.label, _STATISTICS.get(feature.statistic, feature.statistic)]
    if feature.window not in ("ever", "now"):
        parts.append(describe_window(feature.window))
    return ", ".join(part for part in parts if part)


def describe_window(window: str) -> str:
    """Return a window in words.

    Examples
    --------
    >>> describe_window("24h"), describe_window("1d")
    ('last 24 hours', 'last 1 day')
    """
    found = re.fullmatch(r"([\d.]+)\s*(min|h|d|w|y)", window)
    if found is None:
        return window
    number, unit = found.groups()
    return f"last {number} {_LENGTHS[unit]}{'' if number == '1' else 's'}"


def describe_unit(unit: str | None) -> str:
    """Return a UCUM unit as it is usually printed; empty for a plain number.

    Examples
    --------
    >>> describe_unit("mm[Hg]"), describe_unit("mmol/L/d"), describe_unit("1")
    ('mmHg', 'mmol/L per day', '')
    """
    if unit is None:
        return ""
    rate = unit.removesuffix("/d")
    if rate != unit and (rate in _UNITS or "/" in rate):
        return f"{describe_unit(rate)} per day".strip()
    return _UNITS.get(unit, unit)


def describe_value(feature: Feature, value: float, catalogue: Catalogue) -> str:
    """Return a feature's value with its unit, or in words where it is no quantity.

    Parameters
    ----------
    feature
        The feature.
    value
        Its value; NaN is missing.
    catalogue
        The catalogue, for concepts whose numbers stand for words.
    """
    statistic = "" if feature.derived or feature.plugin else feature.statistic
    concept = catalogue.by_name.get(feature.concept)
    if math.isnan(value):
        return _missing(feature, concept.kind if concept else "")
    if statistic in _STATES:
        return _STATES[statistic][0 if value >= 0.5 else 1]
    if concept is not None and concept.values and concept.unit is None and statistic == "last":
        return "yes" if value == 1 else "no" if value == 0 else _number(value)
    if statistic in ("hours_since", "hours_since_start", "hours_since_stop"):
        return _hours(value)
    unit = describe_unit(feature.unit)
    joint = "" if unit == "%" else " "
    return f"{_number(value)}{joint}{unit}".strip()


def describe_percent(risk: float) -> str:
    """Return a risk as a percentage with about three figures.

    Examples
    --------
    >>> describe_percent(0.1234), describe_percent(0.0012), describe_percent(0.9999)
    ('12.3%', '0.12%', '99.99%')
    """
    percent = 100 * risk
    places = 1 if 1 <= percent <= 99 else 2
    return f"{percent:.{places}f}%"


def _missing(feature: Feature, kind: str) -> str:
    if feature.derived or feature.plugin:
        return "not computable"
    if feature.statistic == "hours_since_stop":
        return "not stopped"
    if feature.statistic in ("hours_since_start", "days_since") or kind == "condition":
        return "never recorded"
    if feature.statistic in ("dose", "daily_dose"):
        return "no dose recorded"
    if feature.statistic in ("slope", "sd"):
        return "too few values"
    return "not recorded" if kind == "age" else "not measured"


def _hours(hours: float) -> str:
    """Return a length of time in the unit a person would choose."""
    if hours < 48:
        return f"{_number(hours)} h"
    if hours < 24 * 730:
        return f"{_number(hours / 24)} days"
    return f"{_number(hours / 24 / 365.25)} years"


def _number(value: float) -> str:
    """Return a number with three figures, never in powers of ten.

    Examples
    --------
    >>> _number(3.14159), _number(12345.0), _number(0.5), _number(0.00123)
    ('3.14', '12345', '0.5', '0.00123')
    """
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
