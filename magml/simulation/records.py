"""What an institution records of simulated patients, as the event contract has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.simulation.charting import Chart
from magml.simulation.encounters import KINDS
from magml.simulation.laboratory import Laboratory
from magml.simulation.patients import Patients
from magml.simulation.people import Floats
from magml.simulation.population import MG_PER_MMOL
from magml.simulation.tables import simulation_table

Ints = NDArray[np.int64]
DAY_ZERO = np.datetime64("2023-01-01T00:00:00", "us")
_COLUMNS = (
    "subject_id", "time", "known_time", "end_time", "code", "numeric_value", "unit", "visit_id",
    "source",
)  # fmt: skip


class Records:
    """Rows of the event contract, gathered column by column."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Any]] = []

    def add(self, subject: Ints, code: Any, **columns: Any) -> None:
        """Add one row a subject; a scalar stands for all."""
        n = len(subject)
        filled = {name: columns.get(name) for name in _COLUMNS} | {"code": code}
        part: dict[str, Any] = {"subject_id": subject}
        for name, value in filled.items():
            if name != "subject_id":
                part[name] = value if isinstance(value, np.ndarray) else np.full(n, value, object)
        self._parts.append(part)

    def table(self) -> Any:
        """Return the rows as an Arrow table, by subject, time and code."""
        import pyarrow as pa

        moment, text = pa.timestamp("us"), pa.string()
        types = dict(zip(
            _COLUMNS, (pa.int64(), moment, moment, moment, text, pa.float64(), text, text, text),
            strict=True,
        ))  # fmt: skip
        columns = {}
        for name, type_ in types.items():
            chunks = [pa.array(part[name], type_, from_pandas=True) for part in self._parts]
            columns[name] = pa.chunked_array(chunks)
        keys = [(name, "ascending") for name in ("subject_id", "time", "code", "source")]
        return pa.table(columns).sort_by(keys)


def moments(day: NDArray[Any]) -> NDArray[np.datetime64]:
    """Return moments of days since the first, to the second; nan becomes not-a-time."""
    day = np.asarray(day, dtype=np.float64)
    seconds = np.round(np.nan_to_num(day) * 86_400).astype("timedelta64[s]")
    found = DAY_ZERO + seconds.astype("timedelta64[us]")
    return np.where(np.isnan(day), np.datetime64("NaT", "us"), found)


def write_records(
    rng: np.random.Generator,
    patients: Patients,
    laboratory: Laboratory,
    drugs: Chart,
    diagnoses: Chart,
    days: int,
) -> Any:
    """Return events of patients as an Arrow table.

    Parameters
    ----------
    rng
        Generator.
    patients, laboratory
        Who, and the values of their samples, after time has passed.
    drugs, diagnoses
        What stands in the record of them.
    days
        Days of records.
    """
    out = Records()
    _persons(out, patients)
    _visits(out, patients, days)
    _charts(out, drugs, diagnoses, laboratory, days)
    _low_magnesium(rng, out, patients, laboratory)
    _histories(rng, out, patients, days)
    _results(rng, out, patients, laboratory)
    return out.table()


def _source(table: str, rows: NDArray[Any]) -> NDArray[np.object_]:
    return np.array([f"{table}:{row}" for row in rows], dtype=object)


def _visit(rows: NDArray[Any]) -> NDArray[np.object_]:
    """Return the identifiers of encounters; none for -1."""
    return np.array([str(row + 1) if row >= 0 else None for row in rows], dtype=object)


def _persons(out: Records, patients: Patients) -> None:
    people = patients.population
    subject = np.arange(1, people.n + 1)
    person = _source("person", subject)
    born = np.floor(-people.age * 365.25)
    out.add(subject, "MEDS_BIRTH", time=moments(born), source=person)
    sex = np.where(people.female, "GENDER//F", "GENDER//M").astype(object)
    out.add(subject, sex, source=person)
    sites = np.array([f"SITE//{name}" for name in simulation_table("care")["sites"]], dtype=object)
    out.add(subject, sites[patients.site], source=person)
    races = np.array(
        [f"RACE//{name}" for name in simulation_table("population")["race"]], dtype=object
    )
    out.add(subject, races[people.race], source=person)


def _visits(out: Records, patients: Patients, days: int) -> None:
    """Write visits; one that has not ended has no end yet."""
    visits = patients.encounters
    rows = np.arange(visits.n)
    kinds = np.array([f"VISIT//{kind}" for kind in KINDS], dtype=object)
    end = np.where(visits.end < days, visits.end, np.nan)
    out.add(
        visits.person + 1, kinds[visits.kind], time=moments(visits.start), end_time=moments(end),
        visit_id=_visit(rows), source=_source("visit", rows + 1),
    )  # fmt: skip
    rows = np.flatnonzero(visits.intensive_until > visits.start)
    end = np.where(visits.intensive_until < days, visits.intensive_until, np.nan)[rows]
    for code, finish in (("VISIT//icu", moments(end)), ("UNIT//MICU", None)):
        out.add(
            visits.person[rows] + 1, code, time=moments(visits.start[rows]), end_time=finish,
            visit_id=_visit(rows), source=_source("visit_detail", rows + 1),
        )  # fmt: skip


def _charts(
    out: Records, drugs: Chart, diagnoses: Chart, laboratory: Laboratory, days: int
) -> None:
    """Write drugs and diagnoses, as far as anybody knew of them in these days."""
    orders = laboratory.treated.chart() if laboratory.treated.parts else None
    for table, chart in (("drug", drugs), ("order", orders), ("diagnosis", diagnoses)):
        if chart is None:
            continue
        rows = np.flatnonzero((chart.known < days) & (chart.start < days))
        mine = chart.take(rows)
        end = np.where(mine.end < days, mine.end, np.nan)
        out.add(
            mine.person + 1, mine.code, time=moments(mine.start), known_time=moments(mine.known),
            end_time=moments(end), visit_id=_visit(mine.encounter), source=_source(table, rows),
        )  # fmt: skip


def _low_magnesium(
    rng: np.random.Generator, out: Records, patients: Patients, laboratory: Laboratory
) -> None:
    """Write the code of a low magnesium at some of the visits that found one."""
    rule, samples = simulation_table("care")["replacement"], laboratory.samples
    rows = np.flatnonzero(laboratory.magnesium < rule["below"])
    rows = rows[rng.random(len(rows)) < rule["coded"]]
    visits, _ = np.unique(samples.encounter[rows], return_index=True)
    end = patients.encounters.end[visits]
    last = float(samples.time.max()) if samples.n else 0.0
    visits, end = visits[end < last], end[end < last]
    out.add(
        patients.encounters.person[visits] + 1, "ICD10CM//E83.42",
        time=moments(patients.encounters.start[visits]), known_time=moments(end),
        visit_id=_visit(visits), source=_source("low", visits + 1),
    )  # fmt: skip


def _histories(rng: np.random.Generator, out: Records, patients: Patients, days: int) -> None:
    """Write what is asked and measured at visits: diet, drinks, body, pulse and pressure; genes."""
    rule, people, visits = simulation_table("care"), patients.population, patients.encounters
    share, who = rule["histories"], visits.person
    at = visits.start + 0.3 * (visits.end - visits.start)
    inside = at < days

    def add(code: str, unit: str, value: Floats, chosen: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(chosen & inside)
        out.add(
            who[rows] + 1, code, time=moments(at[rows]), numeric_value=value[rows], unit=unit,
            visit_id=_visit(rows), source=_source(code.partition("//")[2], rows + 1),
        )  # fmt: skip

    asked = {name: rng.random(people.n) < share[name] for name in ("diet", "supplement", "alcohol")}
    first = np.zeros(visits.n, bool)
    first[np.unique(who, return_index=True)[1]] = True
    n = visits.n
    # One recalled day differs from the usual by as much as people do (NHANES), and is short of it.
    recalled = people.intake[who] * MG_PER_MMOL * np.exp(rng.normal(-0.08, 0.4, n))
    add("DIET//magnesium", "mg/d", recalled.round(), first & asked["diet"][who])
    taken = people.supplement[who] * MG_PER_MMOL
    add("DIET//magnesium_supplement", "mg/d", taken.round(), first & asked["supplement"][who])
    drinks = people.drinks[who] * np.exp(rng.normal(-0.3, 0.3, n))
    add("DIET//alcohol_usual", "drinks/d", drinks.round(1), first & asked["alcohol"][who])
    seen = rng.random(n) < share["body"]
    weight = people.weight[who] * np.exp(rng.normal(0, 0.02, n))
    add("LOINC//29463-7", "kg", weight.round(1), seen)
    add("LOINC//8302-2", "cm", (people.height[who] + rng.normal(0, 1, n)).round(), seen)
    seen = rng.random(n) < share["vital"]
    ill = visits.intensive_until > visits.start
    pressure = 122 + 12 * (people.onset["hypertension"][who] <= at) - 14 * ill
    add("LOINC//8480-6", "mm[Hg]", (pressure + rng.normal(0, 14, n)).round(), seen)
    pulse = 74 + 18 * ill + 6 * (visits.kind > 0) + rng.normal(0, 11, n)
    add("LOINC//8867-4", "/min", pulse.round(), seen)
    carrier = people.diseases["gitelman_like"] & (rng.random(people.n) < rule["genes"]["tested"])
    add(rule["genes"]["code"], "", np.full(n, np.nan), first & carrier[who])
    fasting = patients.courses.take(np.flatnonzero(patients.courses.what == "fasting"))
    inside = (fasting.start >= 0) & (fasting.start < days) & (fasting.dose > 0.7)
    fasting = fasting.take(np.flatnonzero(inside & (rng.random(fasting.n) < 0.7)))
    begins = np.maximum(fasting.start + 0.5, 0)
    stays = np.flatnonzero(visits.kind == KINDS.index("inpatient"))
    keys = visits.person[stays] * 1e6 + visits.start[stays]
    place = np.searchsorted(keys, fasting.person * 1e6 + fasting.start + 1.0) - 1
    hit = place >= 0
    row = stays[np.maximum(place, 0)] if len(stays) else np.zeros(0, int)
    hit &= (visits.person[row] == fasting.person) & (visits.end[row] > begins)
    row, fasting = row[hit], fasting.take(np.flatnonzero(hit))
    begins = np.maximum(begins[hit], visits.start[row] + 0.05)
    end = np.where(fasting.stop < days, np.maximum(fasting.stop, begins + 0.1), np.nan)
    out.add(
        fasting.person + 1, "CARE//NPO", time=moments(begins), end_time=moments(end),
        visit_id=_visit(row), source=_source("npo", row + 1),
    )  # fmt: skip


def _results(
    rng: np.random.Generator, out: Records, patients: Patients, laboratory: Laboratory
) -> None:
    """Write laboratory values in the units of their sites, some without a unit."""
    samples, table, p = laboratory.samples, simulation_table("analytes"), laboratory.parameters
    sites = list(simulation_table("care")["sites"].values())
    units = np.array([site["units"] for site in sites])[patients.site][samples.person]
    # Badly haemolysed samples are turned away for potassium.
    rejected = samples.haemolysed & (rng.random(samples.n) < 0.3)
    for name, rule in table.items():
        if name == "magnesium":
            values, done = laboratory.magnesium, laboratory.asked
            reports = [(style, rule[style]) for style in ("conventional", "international",
                                                          "equivalents")]  # fmt: skip
        else:
            values, done = laboratory.values[name], laboratory.done[name]
            own = {"code": rule["code"], "unit": rule["unit"], "factor": 1.0,
                   "digits": rule["digits"]}  # fmt: skip
            other = rule.get("international", own)
            reports = [("conventional", own), ("international", other), ("equivalents", own)]
        if name == "potassium":
            done = done & ~rejected
        for style, report in reports:
            rows = np.flatnonzero(done & (units == style))
            shown = np.round(np.maximum(values[rows], 0.0) * report["factor"], report["digits"])
            unit = np.full(len(rows), report["unit"], dtype=object)
            unit[rng.random(len(rows)) < p["unit_missing"]] = None
            out.add(
                samples.person[rows] + 1, report["code"], time=moments(samples.time[rows]),
                known_time=moments(samples.known[rows]), numeric_value=shown, unit=unit,
                visit_id=_visit(samples.encounter[rows]), source=_source(f"lab:{name}", rows),
            )  # fmt: skip
