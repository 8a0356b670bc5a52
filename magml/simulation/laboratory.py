"""Samples and their values: who is sampled when, what is asked for, what the laboratory reports.

Magnesium is measured where somebody asks for it; a low value may be treated, and the treatment
acts from the next day on. Everything is drawn before time passes but for what depends on serum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.simulation.charting import Chart, ChartList
from magml.simulation.encounters import KINDS, in_force
from magml.simulation.parameters import Parameters
from magml.simulation.patients import Patients
from magml.simulation.people import Exposures, Floats
from magml.simulation.tables import simulation_table

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
PLACES = ("outpatient", "emergency", "admission", "ward", "intensive")
#: 1 mmol/L of calcium and of phosphate in mg/dL.
_MG_DL = {"calcium": 4.008, "phosphate": 3.097}


@dataclass(frozen=True)
class Samples:
    """Blood samples, one element each, by day.

    Attributes
    ----------
    person, encounter
        Rows of the population and of the encounters.
    time, known
        Days: when it was drawn, and when its results are known.
    place
        Index into `PLACES`.
    haemolysed, contaminated
        Whether red cells broke, and whether EDTA got in.
    """

    person: Ints
    encounter: Ints
    time: Floats
    known: Floats
    place: Ints
    haemolysed: Bools
    contaminated: Bools

    @property
    def n(self) -> int:
        """Number of samples."""
        return int(self.person.shape[0])


def creatinine(gfr: Floats, age: Floats, female: Bools) -> Floats:
    """Return the creatinine in mg/dL at which CKD-EPI 2021 gives a filtration.

    Examples
    --------
    >>> creatinine(np.array([60.0]), np.array([50.0]), np.array([True])).round(2)
    array([1.12])
    """
    k, a = np.where(female, 0.7, 0.9), np.where(female, -0.241, -0.302)
    ratio = gfr / (142 * 0.9938**age * np.where(female, 1.012, 1.0))
    return np.asarray(k * ratio ** (1 / np.where(ratio < 1, -1.2, a)))


def draw_samples(
    rng: np.random.Generator, patients: Patients, parameters: Parameters, days: int
) -> Samples:
    """Draw the samples: at visits, on admission, and in the mornings of a stay."""
    rule, visits = simulation_table("care"), patients.encounters
    share = np.array([rule["encounters"][kind]["drawn"] for kind in KINDS])[visits.kind]
    first = np.flatnonzero(rng.random(visits.n) < share)
    stay = np.flatnonzero(visits.kind == KINDS.index("inpatient"))
    mornings = np.maximum(np.floor(visits.end[stay]) - np.floor(visits.start[stay]), 0).astype(int)
    row = np.repeat(stay, mornings)
    day = np.floor(visits.start[row]) + 1 + _counted(mornings)
    row, day = np.tile(row, 2), np.concatenate([day, day])
    evening = np.arange(len(row)) >= len(row) // 2
    time = day + np.where(evening, 0.72, 0.24) + rng.normal(0, 0.03, len(row))
    intensive = time < visits.intensive_until[row]
    odds = np.where(intensive, rule["mornings"]["intensive"], rule["mornings"]["ward"])
    odds = np.where(evening & ~intensive, 0.0, odds)
    kept = (rng.random(len(row)) < odds) & (time < visits.end[row]) & (time < days)
    later, time = row[kept], time[kept]
    place = np.concatenate([
        visits.kind[first], np.where(intensive[kept], PLACES.index("intensive"),
                                     PLACES.index("ward")),
    ])  # fmt: skip
    at = visits.start[first] + np.minimum(
        rng.uniform(0.01, 0.08, len(first)), 0.9 * (visits.end[first] - visits.start[first])
    )
    encounter, moment = np.concatenate([first, later]), np.concatenate([at, time])
    n = len(encounter)
    hours = [rule["turnaround"][kind] for kind in KINDS]
    middle, spread = (np.array(part)[visits.kind[encounter]] for part in zip(*hours, strict=True))
    known = moment + middle / 24 * np.exp(spread * rng.standard_normal(n))
    bad = rng.random(n)
    order = np.lexsort((encounter, moment))
    order = order[moment[order] < days]
    return Samples(
        visits.person[encounter][order], encounter[order], moment[order], known[order],
        place[order], (bad < parameters["haemolysis"])[order],
        (bad > 1 - parameters["contamination"])[order],
    )  # fmt: skip


def _counted(counts: Ints) -> Ints:
    """Return 0, 1, ... within each of the groups of these sizes."""
    return np.asarray(np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts))


class Laboratory:
    """Values of samples; `attend` is called by the physiology at the end of each day."""

    def __init__(
        self,
        rng: np.random.Generator,
        patients: Patients,
        parameters: Parameters,
        days: int,
        drugs: Chart,
        diagnoses: Chart,
        unrecorded: float = 0.0,
    ) -> None:
        streams = rng.spawn(4)
        self.parameters, self._patients = parameters, patients
        self.samples = draw_samples(streams[0], patients, parameters, days)
        n = self.samples.n
        self.serum, self.missing = np.full(n, np.nan), np.zeros(n)
        self.asked, self.magnesium = np.zeros(n, bool), np.full(n, np.nan)
        self._days = np.searchsorted(np.floor(self.samples.time), np.arange(days + 1))
        self._rng, self._unrecorded = streams[1], unrecorded
        self._values(streams[2])
        self._odds = self._reasons(drugs, diagnoses)
        people = patients.people.n
        self._last_low, self._busy = np.full(people, -np.inf), np.full(people, -np.inf)
        self.treated = ChartList()
        noise = streams[3].normal(size=(2, n))
        self._noise = np.exp(parameters["within_cv"] * noise[0] + parameters["assay_cv"] * noise[1])

    def _flag(self, name: str) -> Bools:
        """Return whether a drug is taken or a disease is there, in truth, at each sample."""
        who, when = self.samples.person, self.samples.time
        people, courses = self._patients.population, self._patients.courses
        traits = {"female": people.female, "kidney_disease": people.egfr < 60,
                  "obesity": people.bmi >= 30}  # fmt: skip
        if name in traits:
            return traits[name][who]
        if name in people.onset:
            return np.asarray(people.onset[name][who] <= when)
        mine = courses.take(np.flatnonzero(courses.what == name))
        return in_force(mine.person, mine.start, mine.stop, who, np.floor(when)) > 0

    def _values(self, rng: np.random.Generator) -> None:
        """Draw every analyte as it would be at a serum magnesium of no consequence."""
        table = {k: v for k, v in simulation_table("analytes").items() if k != "magnesium"}
        used = {name for rule in table.values() for name in rule.get("with", {})}
        flags = {name: self._flag(name).astype(float) for name in sorted(used)}
        samples, people = self.samples, self._patients.population
        ill = (samples.place == PLACES.index("intensive")).astype(float)
        stay = (self._patients.encounters.kind[samples.encounter] == 2).astype(float)
        letter = np.array(list("oei"))[self._patients.encounters.kind[samples.encounter]]
        self.values: dict[str, Floats] = {}
        self.done: dict[str, Bools] = {}
        for name in ("albumin", *(name for name in table if name != "albumin")):
            rule = table[name]
            own = rng.normal(0, rule["between"] or 1e-12, people.n)[samples.person]
            change = own + rng.normal(0, rule["within"], samples.n)
            for cause, size in rule.get("with", {}).items():
                change += size * flags[cause]
            change += rule.get("ill", 0.0) * ill + rule.get("stay", 0.0) * stay
            change += rule.get("haemolysed", 0.0) * samples.haemolysed
            change += rule.get("contaminated", 0.0) * samples.contaminated
            mean: Any = rule["mean"]
            if name == "creatinine":  # by what the estimate of filtration says
                mean = creatinine(people.egfr, people.age, people.female)[samples.person]
            if "albumin" in rule:  # bound to it; albumin stands before
                change += rule["albumin"] * (self.values["albumin"] - table["albumin"]["mean"])
            self.values[name] = mean * np.exp(change) if rule.get("log") else mean + change
            shares = np.select([letter == kind for kind in "oei"],
                               [rule["done"][kind] for kind in "oei"])  # fmt: skip
            self.done[name] = rng.random(samples.n) < shares

    def _reasons(self, drugs: Chart, diagnoses: Chart) -> Floats:
        """Return the log-odds of asking for magnesium by what stands in the record."""
        rule, samples = simulation_table("care")["testing"], self.samples
        odds = np.array([rule[place] for place in PLACES])[samples.place]
        odds = odds + self.parameters["testing"]
        for name, size in rule["with"].items():
            for chart in (drugs, diagnoses):
                if (chart.what == name).any():
                    odds = odds + size * chart.has(name, samples.person, samples.time)
        return np.asarray(odds)

    def attend(self, day: int, serum: Floats, missing: Floats) -> Exposures | None:
        """Measure the day's samples; return what is given for low values from tomorrow on."""
        rows = np.arange(self._days[day], self._days[day + 1])
        if not len(rows):
            return None
        rule, p, who = simulation_table("care"), self.parameters, self.samples.person[rows]
        testing = rule["testing"]["with"]
        s, gone = serum[who], missing[who]
        self.serum[rows], self.missing[rows] = s, gone
        v = self.values
        v["potassium"][rows] -= (
            p["potassium_serum"] * np.maximum(0.80 - s, 0) + p["potassium_depletion"] * gone
        )
        v["calcium"][rows] -= _MG_DL["calcium"] * p["calcium_serum"] * np.maximum(0.60 - s, 0)
        v["phosphate"][rows] -= _MG_DL["phosphate"] * p["phosphate_depletion"] * gone
        v["pth"][rows] *= np.where(s < p["pth_switch"], 0.4, 1.0) * np.exp(
            1.2 * (9.5 - v["calcium"][rows]).clip(-1.5, 1.5)
        )
        low = {
            "potassium": (v["potassium"][rows] < 3.5) & self.done["potassium"][rows],
            "calcium": (v["calcium"][rows] < 8.5) & self.done["calcium"][rows],
            "magnesium": day - self._last_low[who] <= rule["testing"]["remembered"],
        }
        odds = self._odds[rows] + self._unrecorded * (0.85 - s)
        for name, has in low.items():
            odds = odds + testing[f"low_{name}"] * has
        asked = self._rng.random(len(rows)) < 1 / (1 + np.exp(-odds))
        self.asked[rows] = asked
        rows, who = rows[asked], who[asked]
        self.magnesium[rows] = self._measured(rows)
        below = self.magnesium[rows] < rule["replacement"]["below"]
        self._last_low[who[below]] = day
        return self._treat(rows[below], rule["replacement"], day)

    def _measured(self, rows: Ints) -> Floats:
        """Return serum magnesium as measured, mmol/L; a part is bound to albumin."""
        rule, samples = simulation_table("analytes"), self.samples
        bound = 1 - self.parameters["filterable"]
        albumin = np.clip(self.values["albumin"][rows] / rule["albumin"]["mean"], 0.3, 1.5)
        value = self.serum[rows] * (1 - bound + bound * albumin) * self._noise[rows]
        value = value + rule["magnesium"]["haemolysed"] * samples.haemolysed[rows]
        value = value + rule["magnesium"]["contaminated"] * samples.contaminated[rows]
        return np.asarray(np.maximum(value, 0.1))

    def _treat(self, rows: Ints, rule: Any, day: int) -> Exposures | None:
        """Decide on magnesium after low values; write the order, return the exposure."""
        from magml.simulation.people import AGENTS

        codes = simulation_table("care")["drugs"]["codes"]
        visits, who = self._patients.encounters, self.samples.person[rows]
        drawn = self._rng.random((4, len(rows)))
        _, once = np.unique(who, return_index=True)
        chosen = np.zeros(len(rows), bool)
        chosen[once] = True
        chosen &= (drawn[0] < self.parameters["replacement"]) & (self._busy[who] <= day)
        parts = []
        end = visits.end[self.samples.encounter[rows]]
        inside = (visits.kind[self.samples.encounter[rows]] == 2) & (end > day + 1)
        for name, what, mine in (
            ("infusion", "infusion", chosen & inside), ("tablets", "supplement", chosen & ~inside),
        ):  # fmt: skip
            index = np.flatnonzero(mine)
            if not len(index):
                continue
            low, high = rule[name]["mmol"]
            dose = low + (high - low) * drawn[1][index]
            few, many = rule[name]["days"]
            length = np.floor(few + (many - few + 1) * drawn[2][index]).astype(np.int64)
            ordered = self.samples.known[rows[index]] + 0.04
            start = np.maximum(np.floor(ordered).astype(np.int64), day + 1)
            person, encounter = who[index], self.samples.encounter[rows[index]]
            self._busy[person] = start + length
            self.treated.add(
                person, what, codes[what], ordered, end=start + length + 0.0, encounter=encounter
            )
            parts.append((person, AGENTS.index(what), start, length, dose))
        if not parts:
            return None
        return Exposures(
            np.concatenate([person for person, *_ in parts]),
            np.concatenate([np.full(len(part[0]), part[1], np.int64) for part in parts]),
            np.concatenate([part[2] for part in parts]),
            np.concatenate([part[2] + part[3] for part in parts]),
            np.concatenate([part[4] for part in parts]),
        )

    def treated_persons(self) -> Ints:
        """Return who was given magnesium for a low value."""
        parts = [part.person for part in self.treated.parts]
        return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
