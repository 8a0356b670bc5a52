"""From one FHIR R4 resource to rows of the event contract, and why others were left out."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from magml.errors import InputError
from magml.fhir.codes import CONDITION, DRUG, LAB, PROCEDURE, event_code
from magml.fhir.orders import dose, order_marks
from magml.fhir.parts import get as _get
from magml.fhir.parts import items as _items
from magml.fhir.parts import local as _local
from magml.fhir.times import Span, span

Resource = dict[str, Any]
_WRONG = ("entered-in-error", "cancelled", "not-done", "draft", "unknown", "registered", "revoked")
_REFUTED = ("refuted", "entered-in-error")
#: What may be the name of a type, and how many reasons are told apart: any text may stand there.
_TYPE, _REASONS = re.compile(r"[A-Z][A-Za-z]{1,50}"), 200
_CLASSES = {
    "IMP": "inpatient", "ACUTE": "inpatient", "NONAC": "inpatient", "OBSENC": "inpatient",
    "EMER": "emergency", "AMB": "outpatient", "HH": "outpatient", "VR": "outpatient",
}  # fmt: skip
_RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
_NUTRIENTS = {name: name for name in (
    "magnesium", "energy", "calcium", "fiber", "protein", "carbohydrate", "alcohol", "phosphorus",
    "potassium", "sodium", "zinc")} | {"fibre": "fiber"}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One event."""

    subject_id: int
    code: str
    time: dt.datetime | None = None
    known_time: dt.datetime | None = None
    end_time: dt.datetime | None = None
    numeric_value: float | None = None
    unit: str | None = None
    text_value: str | None = None
    visit_id: str | None = None
    source: str | None = None


@dataclass
class Reader:
    """Turns resources into rows; remembers what they refer to and counts what it left out.

    Attributes
    ----------
    zone
        Zone that moments with an offset are converted to.
    medications
        Codes of Medication resources by reference.
    encounters
        Ends of encounters by reference.
    subjects
        Reference of a patient by `subject_id`.
    left_out
        Why resources gave no row, with counts.
    """

    zone: ZoneInfo
    medications: dict[str, str | None] = field(default_factory=dict)
    encounters: dict[str, dt.datetime] = field(default_factory=dict)
    subjects: dict[int, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def remember(self, resource: Resource) -> None:
        """Keep what other resources refer to."""
        kind, name = resource.get("resourceType"), _name(resource)
        if kind == "Medication" and name:
            self.medications[name] = event_code(resource.get("code"), DRUG)
        elif kind == "Encounter" and name:
            ended = span(_get(resource, "period", "end"), self.zone)
            if ended is not None:
                self.encounters[name] = ended.end

    def rows(self, resource: Resource) -> Iterator[Row]:
        """Yield the events of a resource; none, and a count, where it cannot be used."""
        kind = str(resource.get("resourceType", ""))
        if kind in ("Medication", "OperationOutcome", "RiskAssessment"):
            return
        read = _KINDS.get(kind)
        if read is None:
            named = _TYPE.fullmatch(kind) and len(self.left_out) < _REASONS
            self.left_out[f"{kind if named else 'other'}: not a resource that is read"] += 1
            return
        status = str(resource.get("status", ""))
        verified = str(_get(resource, "verificationStatus", "coding", 0, "code") or "")
        wrong = verified if verified in _REFUTED else status
        if wrong in (*_WRONG, *_REFUTED):
            self.left_out[f"{kind}: status {wrong}"] += 1
            return
        subject = (
            f"Patient/{resource.get('id')}"
            if kind == "Patient"
            else _get(resource, "subject", "reference") or _get(resource, "patient", "reference")
        )
        if not isinstance(subject, str) or not subject.strip() or subject == "Patient/None":
            self.left_out[f"{kind}: no patient"] += 1
            return
        person = self._person(_local(subject))
        common = {"subject_id": person, "source": _name(resource), "visit_id": _visit(resource)}
        yield from read(self, resource, common)

    def drop(self, resource: Resource, why: str) -> None:
        """Count a resource that gives no row."""
        self.left_out[f"{resource['resourceType']}: {why}"] += 1

    def when(self, *texts: Any) -> Span | None:
        """Return the first span among texts."""
        return next((found for text in texts if (found := span(text, self.zone))), None)

    def _person(self, reference: str) -> int:
        """Return a stable number for a reference; the map keeps the way back."""
        digest = hashlib.blake2b(reference.encode("utf-8", "replace"), digest_size=8).digest()
        number = int.from_bytes(digest, "big", signed=True)
        if self.subjects.setdefault(number, reference) != reference:
            raise InputError(
                "two patients whose references give one number",
                "references that differ in their 64-bit hash",
                "read the two groups of patients separately",
            )
        return number


def _patient(reader: Reader, resource: Resource, common: dict[str, Any]) -> Iterator[Row]:
    born = reader.when(resource.get("birthDate"))
    if born is not None:
        yield Row(**common, code="MEDS_BIRTH", time=born.start)
    sex = {"female": "F", "male": "M"}.get(str(resource.get("gender")))
    if sex:
        yield Row(**common, code=f"GENDER//{sex}")
    died = reader.when(resource.get("deceasedDateTime"))
    if died is not None:
        yield Row(**common, code="MEDS_DEATH", time=died.start, known_time=died.end)
    for extension in _items(resource.get("extension")):
        if extension.get("url") == _RACE:
            for part in _items(extension.get("extension")):
                if part.get("url") == "text" and isinstance(part.get("valueString"), str):
                    yield Row(**common, code=f"RACE//{part['valueString'][:100]}")


def _encounter(reader: Reader, resource: Resource, common: dict[str, Any]) -> Iterator[Row]:
    started = reader.when(_get(resource, "period", "start"))
    kind = _CLASSES.get(str(_get(resource, "class", "code")))
    if started is None or kind is None:
        reader.drop(resource, "no start" if started is None else "no class that is read")
        return
    ended = reader.when(_get(resource, "period", "end"))
    yield Row(
        **{**common, "visit_id": _name(resource)},
        code=f"VISIT//{kind}",
        time=started.start,
        known_time=started.end,
        end_time=None if ended is None else ended.end,
    )


def _observation(reader: Reader, resource: Resource, common: dict[str, Any]) -> Iterator[Row]:
    drawn = reader.when(
        resource.get("effectiveDateTime"),
        _get(resource, "effectivePeriod", "start"),
        resource.get("effectiveInstant"),
    )
    issued = reader.when(resource.get("issued"))
    when = drawn or issued
    if when is None:
        reader.drop(resource, "no time")
        return
    times: dict[str, Any] = {"time": when.start, "known_time": max((issued or when).end, when.end)}
    found = 0
    for part in (resource, *_items(resource.get("component"))):
        code = event_code(part.get("code"), LAB)
        value = _value(part)
        if code is not None and value is not None:
            found += 1
            yield Row(**common, **times, code=code, **value)
    if not found:
        reader.drop(resource, "no code with a value")


def _value(part: Resource) -> dict[str, Any] | None:
    """Return a value as columns. A bound (< 0.2) is no value: it stays text."""
    quantity = part.get("valueQuantity")
    if isinstance(quantity, dict):
        number = quantity.get("value")
        if isinstance(number, bool) or not isinstance(number, int | float | str):
            return None
        try:
            value = float(number)
        except (ValueError, OverflowError):
            return None
        if not math.isfinite(value):
            return None
        unit = quantity.get("code") or quantity.get("unit")
        unit = str(unit)[:100] if unit is not None else None
        if quantity.get("comparator"):
            return {"text_value": f"{quantity['comparator']}{value:g}"[:100], "unit": unit}
        return {"numeric_value": value, "unit": unit}
    number = part.get("valueInteger")
    if isinstance(number, int) and not isinstance(number, bool):
        return {"numeric_value": float(number)}
    text = part.get("valueString") or _get(part, "valueCodeableConcept", "text")
    text = text or _get(part, "valueCodeableConcept", "coding", 0, "display")
    return {"text_value": text[:1000]} if isinstance(text, str) else None


def _drug(reader: Reader, resource: Resource) -> str | None:
    concept = resource.get("medicationCodeableConcept")
    if concept is None:
        reference = str(_get(resource, "medicationReference", "reference") or "")
        known = reader.medications.get(_local(reference))
        if known is not None:
            return known
        if reference.startswith("#"):
            for contained in _items(resource.get("contained")):
                if contained.get("id") == reference[1:]:
                    concept = contained.get("code")
    return event_code(concept, DRUG)


def _medication(
    reader: Reader,
    resource: Resource,
    common: dict[str, Any],
    started: Span | None,
    ended: Span | None,
    known: Span | None,
    said: dict[str, Any],
    marks: str,
) -> Iterator[Row]:
    code = _drug(reader, resource)
    if code is None or known is None:
        reader.drop(resource, "no drug" if code is None else "no time")
        return
    begun = started or known
    yield Row(
        **common,
        **said,
        code=code + marks,
        time=begun.start,
        known_time=known.end,
        end_time=None if ended is None else ended.end,
    )


def _request(reader: Reader, resource: Resource, common: dict[str, Any]) -> Iterator[Row]:
    if resource.get("intent") in ("proposal", "plan", "option"):
        reader.drop(resource, "no order")
        return
    if resource.get("doNotPerform") is True:
        reader.drop(resource, "not to be given")
        return
    dosage = _get(resource, "dosageInstruction", 0)
    bounds = _get(resource, "dosageInstruction", 0, "timing", "repeat", "boundsPeriod") or _get(
        resource, "dispenseRequest", "validityPeriod"
    )
    authored = reader.when(resource.get("authoredOn"))
    ended = reader.when(_get(bounds, "end"))
    started = reader.when(_get(bounds, "start"))
    said, marks = dose(dosage, given=False), order_marks(resource, dosage)
    yield from _medication(reader, resource, common, started, ended, authored, said, marks)


def _administration(reader: Reader, resource: Resource, common: dict[str, Any]) -> Iterator[Row]:
    started = reader.when(
        resource.get("effectiveDateTime"), _get(resource, "effectivePeriod", "start")
    )
    ended = reader.when(_get(resource, "effectivePeriod", "end"))
    if ended is None and resource.get("effectiveDateTime") and started is not None:
        ended = Span(started.start, started.start)  # one dose: given, and over
    said, marks = dose(resource.get("dosage"), given=True), order_marks(resource, None)
    yield from _medication(reader, resource, common, started, ended, started, said, marks)


def _statement(reader: Reader, resource: Resource, common: dict[str, Any]) -> Iterator[Row]:
    started = reader.when(
        _get(resource, "effectivePeriod", "start"), resource.get("effectiveDateTime")
    )
    ended = reader.when(_get(resource, "effectivePeriod", "end"))
    known = reader.when(resource.get("dateAsserted"), _get(resource, "meta", "lastUpdated"))
    dosage = _get(resource, "dosage", 0)
    said, marks = dose(dosage, given=False), order_marks(resource, dosage)
    yield from _medication(reader, resource, common, started, ended, known, said, marks)


def _condition(reader: Reader, resource: Resource, common: dict[str, Any]) -> Iterator[Row]:
    code = event_code(resource.get("code"), CONDITION)
    onset = reader.when(resource.get("onsetDateTime"), _get(resource, "onsetPeriod", "start"))
    recorded = reader.when(resource.get("recordedDate"))
    known = None if recorded is None else recorded.end
    if known is None:  # an onset is when it began, not when it could be known
        known = reader.encounters.get(_local(str(common["visit_id"])))
    if known is None:
        updated = reader.when(_get(resource, "meta", "lastUpdated"))
        known = None if updated is None else updated.end
    if code is None or known is None:
        reader.drop(resource, "no code" if code is None else "no time at which it was known")
        return
    began = onset.start if onset else (recorded.start if recorded else known)
    yield Row(**common, code=code, time=min(began, known), known_time=known)


def _procedure(reader: Reader, resource: Resource, common: dict[str, Any]) -> Iterator[Row]:
    code = event_code(resource.get("code"), PROCEDURE)
    done = reader.when(
        resource.get("performedDateTime"), _get(resource, "performedPeriod", "start")
    )
    if code is None or done is None:
        reader.drop(resource, "no code" if code is None else "no time")
        return
    ended = reader.when(_get(resource, "performedPeriod", "end"))
    yield Row(
        **common,
        code=code,
        time=done.start,
        known_time=done.end,
        end_time=None if ended is None else ended.end,
    )


def _nutrition_order(reader: Reader, resource: Resource, common: dict[str, Any]) -> Iterator[Row]:
    ordered = reader.when(resource.get("dateTime"))
    if ordered is None:
        reader.drop(resource, "no time")
        return
    times: dict[str, Any] = {"time": ordered.start, "known_time": ordered.end}
    if isinstance(resource.get("enteralFormula"), dict):
        yield Row(**common, **times, code="PROCEDURE//enteral formula")
    for diet in _items(_get(resource, "oralDiet", "type")):
        code = event_code(diet, ((), "CARE"))
        if code is not None:
            yield Row(**common, **times, code=code)


def _nutrition_intake(reader: Reader, resource: Resource, common: dict[str, Any]) -> Iterator[Row]:
    """Read R5's NutritionIntake: the sum of each nutrient that magml knows."""
    eaten = reader.when(
        resource.get("occurrenceDateTime"), _get(resource, "occurrencePeriod", "start")
    )
    if eaten is None:
        reader.drop(resource, "no time")
        return
    recorded = reader.when(resource.get("recorded")) or eaten
    for label in _items(resource.get("ingredientLabel")):
        name = str(
            _get(label, "nutrient", "concept", "text")
            or _get(label, "nutrient", "concept", "coding", 0, "display")
            or ""
        )
        amount = _value({"valueQuantity": label.get("amount")})
        nutrient = _NUTRIENTS.get(name.strip().lower())
        if nutrient is None or amount is None or amount.get("numeric_value") is None:
            continue
        unit = amount["unit"]
        yield Row(
            **common,
            code=f"DIET//{nutrient}",
            time=eaten.start,
            known_time=max(recorded.end, eaten.end),
            numeric_value=amount["numeric_value"],
            unit=unit if unit is None or "/" in unit else f"{unit}/d",
        )


_KINDS: dict[str, Callable[[Reader, Resource, dict[str, Any]], Iterator[Row]]] = {
    "Patient": _patient,
    "Encounter": _encounter,
    "Observation": _observation,
    "MedicationRequest": _request,
    "MedicationAdministration": _administration,
    "MedicationStatement": _statement,
    "Condition": _condition,
    "Procedure": _procedure,
    "NutritionOrder": _nutrition_order,
    "NutritionIntake": _nutrition_intake,
}


def _name(resource: Resource) -> str | None:
    kind, name = resource.get("resourceType"), resource.get("id")
    return f"{kind}/{name}" if kind and name else None


def _visit(resource: Resource) -> str | None:
    reference = _get(resource, "encounter", "reference") or _get(resource, "context", "reference")
    return _local(reference) if isinstance(reference, str) else None
