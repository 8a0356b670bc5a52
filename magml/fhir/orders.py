"""What a medication resource says of the order and the dose."""

from __future__ import annotations

import math
from typing import Any

from magml.fhir.parts import get, items

Resource = dict[str, Any]
#: Codes of the category of a request or an administration, and the setting they stand for.
_SETTINGS = {
    "inpatient": "inpatient",
    "outpatient": "outpatient",
    "community": "outpatient",
    "discharge": "outpatient",
    "patientspecified": "outpatient",
}
_HOURS = {"s": 1 / 3600, "min": 1 / 60, "h": 1.0, "d": 24.0, "wk": 168.0}


def order_marks(resource: Resource, dosage: Any) -> str:
    """Return what stands behind the code of a drug: ``//as needed``, ``//outpatient``.

    Examples
    --------
    >>> order_marks({"category": [{"coding": [{"code": "community"}]}]}, {"asNeededBoolean": True})
    '//as needed//outpatient'
    """
    needed = get(dosage, "asNeededBoolean") is True or isinstance(
        get(dosage, "asNeededCodeableConcept"), dict
    )
    category = resource.get("category")
    found = None
    for concept in [category] if isinstance(category, dict) else items(category):
        for coding in items(concept.get("coding")):
            found = found or _SETTINGS.get(str(coding.get("code")).lower())
    return ("//as needed" if needed else "") + (f"//{found}" if found else "")


def dose(dosage: Any, *, given: bool) -> dict[str, Any]:
    """Return the dose as ``numeric_value`` and ``unit``; nothing where it cannot be said.

    A rate stays one. One dose of an administration is the total; one dose of an order becomes an
    amount a day by its timing, and is no dose where it is as needed or the timing is not said.

    Examples
    --------
    >>> twice = {"timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}},
    ...          "doseAndRate": [{"doseQuantity": {"value": 40, "unit": "mg"}}]}
    >>> dose(twice, given=False)
    {'numeric_value': 80.0, 'unit': 'mg/d'}
    >>> dose({"dose": {"value": 2, "code": "g"}}, given=True)
    {'numeric_value': 2.0, 'unit': 'g'}
    """
    part = dosage if given else get(dosage, "doseAndRate", 0)
    rate = _quantity(get(part, "rateQuantity"))
    if rate is not None:
        return {"numeric_value": rate[0], "unit": rate[1]}
    one = _quantity(get(part, "dose") if given else get(part, "doseQuantity"))
    if one is None:
        return {}
    if given:
        return {"numeric_value": one[0], "unit": one[1]}
    repeat = get(dosage, "timing", "repeat")
    if get(repeat, "count") == 1:
        return {"numeric_value": one[0], "unit": one[1]}
    times = _number(get(repeat, "frequency"))
    period = _number(get(repeat, "period"))
    hours = _HOURS.get(str(get(repeat, "periodUnit")))
    if not times or not period or hours is None or order_marks({}, dosage):
        return {}
    return {"numeric_value": one[0] * times * 24 / (period * hours), "unit": f"{one[1]}/d"}


def _quantity(value: Any) -> tuple[float, str] | None:
    number = _number(get(value, "value"))
    unit = get(value, "code") or get(value, "unit")
    if number is None or not isinstance(unit, str) or get(value, "comparator"):
        return None
    return number, unit[:100]


def _number(value: Any) -> float | None:
    """Return a positive number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < math.inf else None
