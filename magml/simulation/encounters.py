"""When people of the simulator come to an institution, why, and what a stay brings with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.simulation.population import Floats, Population
from magml.simulation.tables import simulation_table
from magml.simulation.treatment import CourseList, Courses

Ints = NDArray[np.int64]
KINDS = ("outpatient", "emergency", "inpatient")
#: Apart in time, so that people can be put into one order with their days.
_APART = 1e6


@dataclass(frozen=True)
class Encounters:
    """Visits and stays, one element each, by person and start.

    Attributes
    ----------
    person
        Row of the population.
    kind
        Index into `KINDS`.
    start, end
        Days since the first, with their clock time.
    reason
        Index into the reasons of ``care.yaml``; -1 where it is no stay.
    intensive_until
        End of intensive care, which begins with the stay; before `start` where there is none.
    """

    person: Ints
    kind: Ints
    start: Floats
    end: Floats
    reason: Ints
    intensive_until: Floats

    @property
    def n(self) -> int:
        """Number of encounters."""
        return int(self.person.shape[0])

    def take(self, index: NDArray[Any]) -> Encounters:
        """Return some of the encounters."""
        return Encounters(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def plan_encounters(people: Population, rng: np.random.Generator, days: int) -> Encounters:
    """Draw the encounters of `days` days.

    Parameters
    ----------
    people
        The population; whoever needs more care comes more often.
    rng
        Source of randomness.
    days
        Days of records.

    Returns
    -------
    Encounters
        None begins within a stay of the same person.
    """
    settings = simulation_table("care")
    years = days / 365.25
    parts: list[Encounters] = []
    for kind, name in enumerate(KINDS):
        rule = settings["encounters"][name]
        count = rng.poisson(years * rule["a_year"] * np.exp(rule["need"] * people.need))
        who = np.repeat(np.arange(people.n), count)
        day = np.floor(rng.uniform(0, days, len(who)))
        if name == "outpatient":
            start = day + rng.uniform(0.33, 0.66, len(who))
            end = start + rng.uniform(0.01, 0.06, len(who))
        else:
            start = day + rng.beta(2.5, 2.0, len(who))
            end = start + rng.uniform(0.1, 0.4, len(who))
        reason = np.full(len(who), -1)
        until = np.full(len(who), -_APART)
        if name == "inpatient":
            reason, end, until = _stays(people, rng, who, start, settings["reasons"])
            through = np.flatnonzero(rng.random(len(who)) < rule["through_emergency"])
            earlier = start[through] - rng.uniform(0.1, 0.35, len(through))
            parts.append(
                Encounters(
                    who[through], np.full(len(through), KINDS.index("emergency")), earlier,
                    start[through], np.full(len(through), -1), np.full(len(through), -_APART),
                )
            )  # fmt: skip
        parts.append(Encounters(who, np.full(len(who), kind), start, end, reason, until))
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Encounters.__dataclass_fields__
    }
    found = Encounters(**columns)
    found = found.take(np.lexsort((found.kind, found.start, found.person)))
    found = found.take(np.flatnonzero((found.start >= 0) & (found.start < days)))
    return found.take(np.flatnonzero(_apart(found)))


def _stays(
    people: Population, rng: np.random.Generator, who: Ints, start: Floats, reasons: Any
) -> tuple[Ints, Floats, Floats]:
    """Draw why people stay, until when, and until when in intensive care."""
    odds = np.zeros((len(reasons), len(who)))
    for row, rule in enumerate(reasons.values()):
        odds[row] = rule["weight"]
        for disease, factor in rule.get("with", {}).items():
            odds[row] *= np.where(people.onset[disease][who] <= start, factor, 1.0)
    total = np.cumsum(odds, axis=0)
    reason = (rng.random(len(who)) * total[-1] > total).sum(axis=0)
    mean = np.array([rule["days"] for rule in reasons.values()], dtype=float)[reason]
    share = np.array([rule["intensive"] for rule in reasons.values()])[reason]
    length = 1.0 + rng.gamma(1.6, (mean - 1.0) / 1.6)
    intensive = rng.random(len(who)) < share
    length = np.where(intensive, length * 1.8, length)
    stay = np.minimum(rng.gamma(1.5, 1.6, len(who)) + 0.5, length)
    return reason, start + length, np.where(intensive, start + stay, -_APART)


def _apart(found: Encounters) -> NDArray[np.bool_]:
    """Return which encounters begin after every earlier one of the person has ended."""
    stays = found.kind == KINDS.index("inpatient")
    end = found.person * _APART + np.where(stays, found.end, -_APART / 2)
    before = np.concatenate([[-np.inf], np.maximum.accumulate(end)[:-1]])
    return np.asarray(found.person * _APART + found.start >= before)


def courses_of_stays(
    people: Population, encounters: Encounters, rng: np.random.Generator
) -> Courses:
    """Return what stays bring: fasting, intensive care, drugs of the ward.

    A course before admission (less eaten, diarrhoea) is no drug and is never recorded.
    """
    settings = simulation_table("care")
    stays = encounters.take(np.flatnonzero(encounters.kind == KINDS.index("inpatient")))
    found = CourseList()
    codes = settings["drugs"]["codes"]
    for row, rule in enumerate(settings["reasons"].values()):
        mine = stays.take(np.flatnonzero(stays.reason == row))
        for given in rule["given"]:
            chosen = mine.take(np.flatnonzero(rng.random(mine.n) < given["share"]))
            start = np.floor(chosen.start) + given["from"]
            stop = start + given["length"] if given["length"] else np.ceil(chosen.end)
            found.add(chosen.person, given["what"], _code(codes, given["what"]), start, stop,
                      given["dose"])  # fmt: skip
    intensive = stays.intensive_until > stays.start
    first, last = np.floor(stays.start), np.ceil(stays.end)
    ill = np.flatnonzero(intensive)
    found.add(
        stays.person[ill], "critical_illness", "", first[ill],
        np.ceil(stays.intensive_until[ill]), rng.uniform(0.2, 1.2, len(ill)),
    )  # fmt: skip
    for name, rule in settings["stay"].items():
        share = np.where(intensive, rule["intensive"], rule["ward"])
        rows = np.flatnonzero(rng.random(stays.n) < share)
        found.add(stays.person[rows], name, _code(codes, name), first[rows], last[rows],
                  rule["dose"])  # fmt: skip
    return found.courses()


def _code(codes: dict[str, str], name: str) -> str:
    """Return the ATC code of a drug of the ward, as courses hold it; empty for what is none."""
    return codes.get(name, "").removeprefix("ATC//")


def joined(first: Courses, second: Courses) -> Courses:
    """Return the courses of both, by person and start."""
    columns = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in Courses.__dataclass_fields__
    }
    order = np.lexsort((columns["stop"], columns["start"], columns["person"]))
    return Courses(**columns).take(order)


def in_force(
    person: Ints, start: NDArray[Any], stop: NDArray[Any], who: Ints, when: NDArray[Any]
) -> Ints:
    """Return how many courses (start <= when < stop) each person has at each moment.

    Parameters
    ----------
    person, start, stop
        Courses.
    who, when
        Persons and moments asked for.

    Examples
    --------
    >>> one = np.array([1])
    >>> in_force(one, np.array([3]), np.array([9]), np.array([1, 1, 2]), np.array([3, 9, 5]))
    array([1, 0, 0])
    """
    at = who * _APART + np.clip(when, -_APART / 3, _APART / 3)
    count = np.zeros(len(who), dtype=np.int64)
    for moments, sign in ((start, 1), (stop, -1)):
        keys = np.sort(person * _APART + np.clip(moments, -_APART / 3, _APART / 3))
        first = np.searchsorted(keys, who * _APART - _APART / 2)
        count += sign * (np.searchsorted(keys, at, side="right") - first)
    return count
