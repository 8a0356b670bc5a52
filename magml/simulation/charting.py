"""What stands in the record of drugs and diagnoses: incomplete, late, and never quite ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.simulation.encounters import KINDS, Encounters, in_force
from magml.simulation.parameters import Parameters
from magml.simulation.patients import Patients
from magml.simulation.population import Floats
from magml.simulation.tables import simulation_table

Ints = NDArray[np.int64]
Codes = NDArray[np.object_]
_APART = 1e6


@dataclass(frozen=True)
class Chart:
    """Rows of a record, one element each.

    Attributes
    ----------
    person, what, code
        Who; the name within the simulator; the code.
    start, end
        Days; nan: no end in the record.
    known
        When the institution knew.
    encounter
        Row of the encounters, -1 where it belongs to none.
    """

    person: Ints
    what: Codes
    code: Codes
    start: Floats
    end: Floats
    known: Floats
    encounter: Ints

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.person.shape[0])

    def take(self, index: NDArray[Any]) -> Chart:
        """Return some of the rows."""
        return Chart(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def has(self, what: str, who: Ints, when: Floats) -> NDArray[np.bool_]:
        """Return whether something stands in the record of each person, and was known, then."""
        mine = self.take(np.flatnonzero(self.what == what))
        stop = np.where(np.isnan(mine.end), np.inf, np.maximum(mine.end, mine.known))
        return in_force(mine.person, mine.known, stop, who, when) > 0


@dataclass
class ChartList:
    """Rows as they are collected."""

    parts: list[Chart] = field(default_factory=list)

    def add(self, person: Ints, what: Any, code: Any, start: Floats, **more: Any) -> None:
        """Add rows; without `known` known at the start, without `end` never ended."""
        n = len(person)
        self.parts.append(
            Chart(
                person.astype(np.int64),
                np.broadcast_to(np.asarray(what, dtype=object), (n,)),
                np.broadcast_to(np.asarray(code, dtype=object), (n,)),
                np.asarray(start, dtype=np.float64),
                np.asarray(more.get("end", np.full(n, np.nan)), dtype=np.float64),
                np.asarray(more.get("known", start), dtype=np.float64),
                np.asarray(more.get("encounter", np.full(n, -1)), dtype=np.int64),
            )
        )

    def chart(self) -> Chart:
        """Return all rows in the order in which they were added."""
        names = Chart.__dataclass_fields__
        return Chart(*(np.concatenate([getattr(p, name) for p in self.parts]) for name in names))


def next_encounter(encounters: Encounters, who: Ints, when: Floats) -> Ints:
    """Return the row of each person's first encounter at a moment or after it; -1: none."""
    keys = encounters.person * _APART + encounters.start
    place = np.searchsorted(keys, who * _APART + when)
    inside = place < encounters.n
    same = inside.copy()
    same[inside] = encounters.person[place[inside]] == who[inside]
    return np.where(same, place, -1)


def chart_drugs(
    rng: np.random.Generator, patients: Patients, parameters: Parameters, days: int
) -> Chart:
    """Return the drugs on the list, with when they were known.

    A course that the institution prescribes is known when it begins. One that was begun elsewhere,
    or before the records, is known at the next visit while it lasts, or never.
    """
    rule = simulation_table("care")["drugs"]
    given, encounters = patients.courses, patients.encounters
    named = np.isin(given.what.astype(str), list(rule["codes"]))
    rows = np.flatnonzero(((given.code != "") | named) & (given.start < days))
    given = given.take(rows)
    other = np.array([rule["codes"].get(name, "") for name in given.what], dtype=object)
    code = np.where(given.code != "", np.char.add("ATC//", given.code.astype(str)), other)
    share = np.array([rule["listed"].get(name, rule["listed"]["other"]) for name in given.what])
    share = np.where(given.otc, np.minimum(share, rule["listed"]["otc"]), share)
    share = np.minimum(share * parameters["listing"], 0.99)
    begins = given.start + rng.uniform(0.35, 0.75, given.n)
    prescribed = (rng.random(given.n) < rule["prescribed"]) & (given.start >= 0) & ~given.otc
    place = next_encounter(encounters, given.person, np.maximum(given.start, 0).astype(float))
    seen = place >= 0
    at = np.where(seen, encounters.start[place], np.inf)
    same_day = at < given.start + 1.0
    begins = np.where(same_day, at + 0.02, begins)
    known = np.where(prescribed | same_day, begins, at + 0.02)
    ended = given.stop + rng.uniform(0.3, 0.7, given.n)
    kept = (rng.random(given.n) < share) & (known < np.minimum(given.stop + 0.3, days))
    end = np.where((ended >= days) | (rng.random(given.n) < rule["unended"]), np.nan, ended)
    found = Chart(given.person, given.what, code, begins, end, known, np.full(given.n, -1))
    return found.take(np.flatnonzero(kept))


def chart_diagnoses(rng: np.random.Generator, patients: Patients, parameters: Parameters) -> Chart:
    """Return the diagnoses that somebody coded at a visit, known at its end or later."""
    rule = simulation_table("care")["diagnoses"]
    people, encounters = patients.population, patients.encounters
    who, out = encounters.person, ChartList()
    stay = encounters.kind == KINDS.index("inpatient")
    traits = {"kidney_disease": people.egfr < 60, "obesity": people.bmi >= 30}
    for name, (code, share) in rule["codes"].items():
        never = rng.random(people.n) < rule["never"]
        begun = np.where(traits[name], -np.inf, np.inf) if name in traits else people.onset[name]
        has = (begun[who] <= encounters.start) & ~never[who]
        odds = np.minimum(share * parameters["coding"] * np.where(stay, 2.0, 1.0), 0.95)
        rows = np.flatnonzero(has & (rng.random(encounters.n) < odds))
        codes: Any = code
        if name == "kidney_disease":
            codes = _stage(people.egfr[who[rows]])
        out.add(who[rows], name, codes, encounters.start[rows], encounter=rows)
    for number, reason in enumerate(simulation_table("care")["reasons"].values()):
        rows = np.flatnonzero(encounters.reason == number)
        codes = np.array(reason["codes"], dtype=object)[rng.integers(len(reason["codes"]),
                                                                     size=len(rows))]  # fmt: skip
        out.add(who[rows], "reason", codes, encounters.start[rows], encounter=rows)
    found = out.chart()
    late = rng.random(found.n) < rule["late"]
    known = encounters.end[found.encounter] + late * rng.exponential(rule["late_days"], found.n)
    return Chart(found.person, found.what, found.code, found.start, found.end, known,
                 found.encounter)  # fmt: skip


def _stage(egfr: Floats) -> Codes:
    """Return the code of chronic kidney disease of an estimated filtration below 60."""
    codes = [f"ICD10CM//N18.{stage}" for stage in ("5", "4", "32", "31")]
    return np.array(codes, dtype=object)[np.searchsorted([15.0, 30.0, 45.0], egfr, side="right")]
