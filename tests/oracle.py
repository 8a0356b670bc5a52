"""The features again, written to be read: loops over rows, no SQL, no numpy.

Slow and independent of the engine. What it shares with magml is the catalogue, the matching of
codes and the conversion of units, which have tests of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from fractions import Fraction

from magml.clock import seconds
from magml.definitions.catalogue import Catalogue, Concept
from magml.errors import UnitError
from magml.features.names import matches
from magml.units import conversion
from tests.oracle_periods import ALWAYS, NAN, Event, Fact, days, doses, exposure, hours


def facts(catalogue: Catalogue, events: Iterable[Event]) -> dict[tuple[int, str], list[Fact]]:
    """Return what each concept takes from the events, by subject and concept."""
    found: dict[tuple[int, str], list[Fact]] = {}
    for event in events:
        for name in matches(catalogue, event.code):
            value = number(catalogue.by_name[name], event)
            if value is not None:
                known = event.known or event.time or ALWAYS
                for dose in doses(catalogue.by_name[name], event) or [None]:
                    fact = Fact(event.time, known, event.end, value, dose)
                    found.setdefault((event.subject, name), []).append(fact)
    return found


def number(concept: Concept, event: Event) -> float | None:
    """Return the value in the concept's unit; None when it is not to be used."""
    if concept.kind != "measurement":
        return 0.0
    if event.code in concept.values:
        value = concept.values[event.code]
    else:
        if event.value is None or math.isnan(event.value) or math.isinf(event.value):
            return None
        if event.unit in (None, ""):
            if concept.unit != "1" and not concept.values:
                return None
            value = event.value
        else:
            try:
                scale, shift = conversion(event.unit, concept)
            except UnitError:
                return None
            value = event.value * scale + shift
    if concept.plausible and not concept.plausible[0] <= value <= concept.plausible[1]:
        return None
    return value


def visible(found: Iterable[Fact], t: datetime) -> list[Fact]:
    """Return what is known before t and has begun before t."""
    return [f for f in found if f.known < t and (f.time is None or f.time < t)]


def winners(found: Iterable[Fact]) -> list[Fact]:
    """Keep one fact for each time: the later known, then the larger; static ones first."""
    best: dict[datetime | None, Fact] = {}
    for fact in found:
        other = best.get(fact.time)
        if other is None or (fact.known, fact.value) > (other.known, other.value):
            best[fact.time] = fact
    return sorted(best.values(), key=lambda f: (f.time is not None, f.time or ALWAYS))


def inside(found: Iterable[Fact], t: datetime, window: str) -> list[Fact]:
    """Keep what lies in a window; static facts only in the whole history."""
    if window in ("ever", "now"):
        return list(found)
    start = t - timedelta(seconds=seconds(window))
    return [f for f in found if f.time is not None and f.time >= start]


def measurement(found: list[Fact], t: datetime, statistic: str) -> float:
    """Return a statistic of the winners in a window."""
    values = [f.value for f in found]
    dated = [(f.time, f.value) for f in found if f.time is not None]
    if statistic == "count":
        return float(len(values))
    if not values:
        return NAN
    if statistic == "last":
        return values[-1]
    if statistic == "first":
        return values[0]
    if statistic == "min":
        return min(values)
    if statistic == "max":
        return max(values)
    if statistic == "sum":
        return math.fsum(values)
    if statistic == "mean":
        return math.fsum(values) / len(values)
    if statistic == "sd":
        if len(values) < 2:
            return NAN
        exact = [Fraction(value) for value in values]
        mean = sum(exact) / len(exact)
        return math.sqrt(sum((value - mean) ** 2 for value in exact) / (len(exact) - 1))
    if statistic == "slope":
        if len(dated) < 2:
            return NAN
        x = [Fraction((time - t) // timedelta(microseconds=1), 86_400_000_000) for time, _ in dated]
        y = [Fraction(value) for _, value in dated]
        mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
        across = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
        return float(across / sum((a - mean_x) ** 2 for a in x))
    if statistic == "hours_since":
        return hours(t - dated[-1][0]) if dated else NAN
    raise AssertionError(statistic)


def condition(found: list[Fact], t: datetime, statistic: str) -> float:
    """Return a statistic of a condition's times in a window."""
    dated = [f.time for f in found if f.time is not None]
    if statistic == "present":
        return 1.0 if found else 0.0
    if statistic == "count":
        return float(len(found))
    if statistic == "days_since":
        return days(t - dated[-1]) if dated else NAN
    raise AssertionError(statistic)


def features(
    catalogue: Catalogue,
    known: Mapping[tuple[int, str], list[Fact]],
    subject: int,
    t: datetime,
) -> dict[str, float]:
    """Return every feature of the catalogue for one subject and prediction time."""
    row: dict[str, float] = {}
    for name, concept in catalogue.by_name.items():
        seen = visible(known.get((subject, name), []), t)
        for window, statistics in concept.features.items():
            for statistic in statistics:
                suffix = "" if window in ("ever", "now") else f".{window}"
                key = f"{name}.{statistic}{suffix}"
                if concept.kind == "exposure":
                    row[key] = exposure(concept, seen, t, statistic, window)
                    continue
                found = inside(winners(seen), t, window)
                if concept.kind == "measurement":
                    row[key] = measurement(found, t, statistic)
                elif concept.kind == "condition":
                    row[key] = condition(found, t, statistic)
                else:
                    dated = [f.time for f in found if f.time is not None]
                    row[key] = days(t - dated[-1]) / 365.25 if dated else NAN
    for name in catalogue.derived:
        derive(catalogue, name, row)
    return row


def derive(catalogue: Catalogue, name: str, row: dict[str, float]) -> None:
    """Add a derived feature to a row, its inputs first."""
    if name in row:
        return
    item = catalogue.derived[name]
    for needed in item.input_names:
        if needed in catalogue.derived:
            derive(catalogue, needed, row)
    values = [row[needed] for needed in item.input_names]
    named = {}
    if isinstance(item.inputs, dict):
        named = {key: row[needed] for key, needed in item.inputs.items()}
    row[name] = formula(item.formula, values, named)


def formula(name: str, values: list[float], named: dict[str, float]) -> float:
    """Return a derived value; missing as soon as an input is, except where it says otherwise."""
    if name == "count_active":
        return float(sum(1 for value in values if value > 0))
    if name in ("share_of_ear", "share_of_rda"):
        needed = requirement(name[-3:], named)
        return named["intake"] / needed if needed else NAN
    if name == "sum_known":
        return values[0] + sum(value for value in values[1:] if not math.isnan(value))
    if name == "refeeding_fall":
        falls = []
        for salt in ("phosphate", "potassium"):
            now, before = named[salt], named[f"{salt}_before"]
            if not math.isnan(now) and not math.isnan(before) and before != 0:
                falls.append(1 - now / before)
        if not falls:
            return NAN
        return max(0, *falls) if named["enteral"] > 0 or named["parenteral"] > 0 else 0
    if name == "first_recorded":
        return next((value for value in values if not math.isnan(value)), NAN)
    if name == "per_square_metre" and named["amount"] == 0:
        return 0.0
    if any(math.isnan(value) for value in values):
        return NAN
    if name == "per_square_metre":
        surface = math.sqrt(named["weight"] * named["height"] / 3600)
        return named["amount"] / surface if surface else NAN
    if name == "femg":
        filtered = 0.7 * named["magnesium"] * named["urine_creatinine"]
        return 100 * named["urine_magnesium"] * named["creatinine"] / 1000 / filtered
    if name == "edta_pattern":
        if abs(named["potassium_age"] - named["calcium_age"]) * 60 > 1:
            return NAN
        return 1 if named["potassium"] >= 6 and named["calcium"] <= 1.9 else 0
    if name == "citrate_pattern":
        if abs(named["sodium_age"] - named["calcium_age"]) * 60 > 1:
            return NAN
        much, little = named["sodium"] >= 150, named["calcium"] <= 1.9
        return 1 if much and little and named["sodium"] - named["chloride"] >= 50 else 0
    if name == "ratio":
        return values[0] / values[1] if values[1] != 0 else NAN
    if name == "difference":
        return values[0] - values[1]
    if name == "sum":
        return math.fsum(values)
    if name == "product":
        return math.prod(values)
    if name == "maximum":
        return max(values)
    if name == "anion_gap":
        return named["sodium"] - named["chloride"] - named["bicarbonate"]
    if name == "bmi":
        metres = named["height"] / 100
        return named["weight"] / metres**2 if metres else NAN
    if name == "per_kg_per_hour":
        divisor = named["weight"] * named["hours"]
        return named["amount"] / divisor if divisor else NAN
    if name == "ckd_epi_2021":
        return ckd_epi(named["creatinine"] / 88.4, named["age"], named["female"])
    if name == "per_thousand":
        return 1000 * values[0] / values[1] if values[1] != 0 else NAN
    if name == "drinks":
        return named["alcohol"] / 14
    if name == "corrected_calcium":
        return named["calcium"] + 0.02 * (40 - named["albumin"])
    if name == "homa_ir":
        return named["glucose"] * named["insulin"] / 22.5
    if name == "tyg_index":
        both = named["triglycerides"] * 88.54 * named["glucose"] * 18.016
        return math.log(both / 2) if both > 0 else NAN
    if name == "absorbed_magnesium":
        if named["intake"] < 0:
            return NAN
        meal = named["intake"] / 3 / 24.305
        return 3 * 24.305 * (1.7 * meal / (1.5 + meal) + 0.07 * meal)
    raise AssertionError(f"the oracle does not know the formula {name}")


#: From age, then EAR and RDA of men and of women; of pregnant and of lactating women.
REQUIREMENTS = [
    (31, (350, 420), (265, 320), (300, 360), (265, 320)),
    (19, (330, 400), (255, 310), (290, 350), (255, 310)),
    (14, (340, 410), (300, 360), (335, 400), (300, 360)),
    (9, (200, 240), (200, 240), None, None),
    (4, (110, 130), (110, 130), None, None),
    (1, (65, 80), (65, 80), None, None),
]


def requirement(which: str, person: dict[str, float]) -> float:
    """Return the requirement of a person, mg/d; 0 where it is not known."""
    for since, men, women, pregnant, lactating in REQUIREMENTS:
        if person["age"] >= since:
            if since >= 14 and math.isnan(person["female"]):
                return 0
            row = women if person["female"] == 1 else men
            if pregnant and lactating and person["female"] == 1:
                if person["pregnant"] == 1:
                    row = pregnant
                elif person["lactating"] == 1:
                    row = lactating
            return row[0 if which == "ear" else 1]
    return 0


def ckd_epi(creatinine_mg_dl: float, age: float, female: float) -> float:
    """CKD-EPI 2021 as the paper's table states it, one branch for each sex."""
    if creatinine_mg_dl <= 0:
        return NAN
    if female == 1:
        exponent = -0.241 if creatinine_mg_dl <= 0.7 else -1.200
        return 142 * 1.012 * (creatinine_mg_dl / 0.7) ** exponent * 0.9938**age
    exponent = -0.302 if creatinine_mg_dl <= 0.9 else -1.200
    return 142 * (creatinine_mg_dl / 0.9) ** exponent * 0.9938**age
