"""Periods and doses again, written to be read: the part of the oracle that is of exposures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from magml.clock import seconds
from magml.definitions.catalogue import Catalogue, Concept, DomainFile
from magml.features.names import matches
from magml.units.doses import dose_scale

NAN = math.nan
ALWAYS = datetime.min


@dataclass(frozen=True)
class Event:
    """One row of the events, as far as features are concerned."""

    subject: int
    time: datetime | None
    code: str
    value: float | None = None
    unit: str | None = None
    known: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class Fact:
    """An event as one concept sees it."""

    time: datetime | None
    known: datetime
    end: datetime | None
    value: float
    dose: tuple[str, float, bool] | None = None  # drug, amount or amount an hour, whether a rate


def doses(concept: Concept, event: Event) -> list[tuple[str, float, bool]]:
    """Return the dose of each drug of the concept that an event is of; most often none or one."""
    if concept.dose is None or event.value is None or not 0 < event.value < math.inf:
        return []
    found = []
    for name, drug in concept.dose.drugs.items():
        alone = concept.model_copy(update={"codes": drug.codes, "names": drug.names})
        file = DomainFile.model_construct(
            domain="medication", title="", defaults={}, concepts={"drug": alone}, derived={}
        )
        if matches(single(name, file, id(concept)), event.code):
            scaled = dose_scale(event.unit or "", concept.dose, drug)
            if scaled is not None:
                found.append((name, event.value * scaled[0], scaled[1]))
    return found


_SINGLE: dict[tuple[int, str], Catalogue] = {}


def single(name: str, file: DomainFile, owner: int) -> Catalogue:
    """Return a catalogue of one drug, the same object each time: matching caches by object."""
    return _SINGLE.setdefault((owner, name), Catalogue(domains=(file,)))


def hours(span: timedelta) -> float:
    return (span // timedelta(microseconds=1)) / 3_600_000_000


def days(span: timedelta) -> float:
    return (span // timedelta(microseconds=1)) / 86_400_000_000


def period(fact: Fact, t: datetime, lasts: str | None) -> tuple[datetime, datetime, bool]:
    """Return start, stop and whether it still runs, of a period that has a start."""
    assert fact.time is not None
    end = fact.end
    if end is not None and lasts is not None:
        end = max(end, fact.time + timedelta(seconds=seconds(lasts)))
    if end is None or end > t:
        return fact.time, t, True
    return fact.time, max(end, fact.time), False


def exposure(
    concept: Concept, found: Iterable[Fact], t: datetime, statistic: str, window: str
) -> float:
    """Return a statistic of the periods of an exposure."""
    found = [fact for fact in found if fact.time is not None]
    gap = timedelta(seconds=seconds(concept.gap)) if concept.gap else timedelta()
    eras: list[list] = []
    for start, stop, still in sorted(period(fact, t, concept.lasts) for fact in found):
        if eras and start <= eras[-1][1] + gap:
            eras[-1][1] = max(eras[-1][1], stop)
            eras[-1][2] = eras[-1][2] or still
        else:
            eras.append([start, stop, still])
    active = any(era[2] for era in eras)
    whole = window in ("ever", "now")
    begin = ALWAYS if whole else t - timedelta(seconds=seconds(window))
    if statistic == "active":
        return float(active)
    if statistic == "hours_since_start":
        return hours(t - eras[-1][0]) if eras else NAN
    if statistic == "hours_since_stop":
        return hours(t - eras[-1][1]) if eras and not active else NAN
    if statistic == "eras":
        return float(sum(stop >= begin for _, stop, _ in eras))
    if statistic == "count":
        return float(len({fact.time for fact in found if fact.time >= begin}))
    if statistic in ("days", "share"):
        covered = timedelta()
        for start, stop, _ in eras:
            covered += max(stop - max(start, begin), timedelta())
        return days(covered) if statistic == "days" else covered / (t - begin)
    if statistic in ("dose", "daily_dose"):
        return dose(concept, found, t, statistic, begin)
    raise AssertionError(statistic)


def dose(
    concept: Concept, found: list[Fact], t: datetime, statistic: str, begin: datetime
) -> float:
    """Return what the doses of an exposure add up to since `begin`, or a day's at present."""
    amounts = []
    for name in {fact.dose[0] for fact in found if fact.dose}:
        own = [fact for fact in found if fact.dose and fact.dose[0] == name]
        for fact in dosed_winners(own):
            assert fact.dose
            assert fact.time
            _, value, rate = fact.dose
            start, stop, still = period(fact, t, None if rate else concept.lasts)
            if statistic == "daily_dose":
                if still if rate else start >= t - timedelta(days=1):
                    amounts.append(value * 24 if rate else value)
            elif stop >= begin:
                covered = hours(max(stop - max(start, begin), timedelta()))
                amounts.append(value * (covered if rate else float(start >= begin)))
    if amounts:
        return math.fsum(amounts)
    spans = [period(fact, t, concept.lasts) for fact in found]
    exposed = any(still if statistic == "daily_dose" else stop >= begin for _, stop, still in spans)
    return NAN if exposed else 0.0


def dosed_winners(found: list[Fact]) -> list[Fact]:
    """Keep one dose of a drug for each time: the later known, then the larger number."""
    best: dict[datetime | None, Fact] = {}
    for fact in found:
        other = best.get(fact.time)
        assert fact.dose
        if other is None or (fact.known, fact.dose[1]) > (other.known, other.dose[1]):
            best[fact.time] = fact
    return list(best.values())
