"""What an institution records of simulated patients: late, incomplete, noisy and selective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.simulation.patients import Patients
from magml.simulation.people import AGENTS, Floats, Trajectory

DAY_ZERO = np.datetime64("2023-01-01T00:00:00", "us")
_DAY = np.timedelta64(86_400_000_000, "us")
#: Code of an agent in records, and the share of courses that are on the list.
_DRUGS: dict[str, tuple[str, float]] = {
    "ppi": ("ATC//A02BC01", 0.80), "h2_blocker": ("ATC//A02BA03", 0.70),
    "thiazide": ("ATC//C03AA03", 0.95), "loop": ("ATC//C03CA01", 0.95),
    "k_sparing": ("ATC//C03DA01", 0.95), "sglt2": ("ATC//A10BK03", 0.95),
    "metformin": ("ATC//A10BA02", 0.95), "insulin": ("ATC//A10AB01", 0.95),
    "digoxin": ("ATC//C01AA05", 0.95), "beta_agonist": ("ATC//R03AC02", 0.80),
    "laxative": ("ATC//A06AB06", 0.50), "calcineurin": ("ATC//L04AD02", 0.98),
    "cisplatin": ("ATC//L01XA01", 0.98), "anti_egfr": ("ATC//L01FE01", 0.98),
    "supplement": ("ATC//A12CC02", 0.40),
}  # fmt: skip
_DIAGNOSES: dict[str, tuple[str, float]] = {
    "diabetes": ("ICD10CM//E11.9", 0.90), "alcohol_use": ("ICD10CM//F10.20", 0.50),
    "chronic_diarrhoea": ("ICD10CM//K52.9", 0.60), "celiac": ("ICD10CM//K90.0", 0.80),
    "ibd": ("ICD10CM//K50.90", 0.90), "bariatric": ("ICD10CM//Z98.84", 0.85),
    "pancreatic_insufficiency": ("ICD10CM//K86.1", 0.70), "malnutrition": ("ICD10CM//E46", 0.50),
    "hyperparathyroidism": ("ICD10CM//E21.0", 0.80),
}  # fmt: skip
#: Units of serum magnesium by site: mmol/L, mg/dL and mEq/L, with the factor from mmol/L.
_UNITS = (("mmol/L", 1.0), ("mg/dL", 2.4305), ("mg/dL", 2.4305), ("mEq/L", 2.0))
_COLUMNS = (
    "subject_id",
    "time",
    "known_time",
    "end_time",
    "code",
    "numeric_value",
    "unit",
    "source",
)


class Records:
    """Rows of the event contract, gathered column by column."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Any]] = []

    def add(self, subject: NDArray[np.int64], code: Any, **columns: Any) -> None:
        """Add one row a subject; a scalar stands for all."""
        n = len(subject)
        filled = {name: columns.get(name) for name in _COLUMNS} | {"code": code}
        part: dict[str, Any] = {"subject_id": subject}
        for name, value in filled.items():
            if name != "subject_id":
                part[name] = value if isinstance(value, np.ndarray) else np.full(n, value, object)
        self._parts.append(part)

    def table(self) -> Any:
        """Return the rows as an Arrow table, by subject and time."""
        import pyarrow as pa

        moment = pa.timestamp("us")
        types = dict(zip(_COLUMNS, (pa.int64(), moment, moment, moment, pa.string(), pa.float64(),
                                    pa.string(), pa.string()), strict=True))  # fmt: skip
        columns = {}
        for name, type_ in types.items():
            chunks = [pa.array(part[name], type_, from_pandas=True) for part in self._parts]
            columns[name] = pa.chunked_array(chunks)
        keys = [("subject_id", "ascending"), ("time", "ascending"), ("code", "ascending")]
        return pa.table(columns).sort_by(keys)


def moments(day: NDArray[Any]) -> NDArray[np.datetime64]:
    """Return moments of days since the first, fractions kept to the second."""
    seconds = np.round(np.asarray(day, dtype=np.float64) * 86_400).astype("timedelta64[s]")
    return np.asarray(DAY_ZERO + seconds.astype("timedelta64[us]"))


def write_records(
    rng: np.random.Generator,
    patients: Patients,
    course: Trajectory,
    days: int,
    *,
    unrecorded: float = 0.0,
) -> tuple[Any, NDArray[np.bool_]]:
    """Return events of patients as an Arrow table, and whose magnesium was ever measured.

    Parameters
    ----------
    rng
        Generator.
    patients, course
        Who, and their true courses (every day recorded).
    days
        Days of records.
    unrecorded
        How strongly the stores themselves, which nobody records, make clinicians measure
        magnesium (change of log-odds per mmol/L that serum lies below 0.85); 0: testing depends
        only on what is recorded.
    """
    out, people = Records(), patients.people
    n = people.n
    subject = np.arange(1, n + 1)
    birth = moments(-people.age * 365.25)
    out.add(subject, "MEDS_BIRTH", time=birth)
    out.add(subject, np.where(people.female, "GENDER//F", "GENDER//M").astype(object))
    out.add(subject, np.array([f"SITE//{'ABCDEFGH'[s]}" for s in patients.site], dtype=object))
    listed = _drugs(rng, out, patients, days)
    coded = _diagnoses(rng, out, patients, days)
    seen = rng.random(n) < 0.6
    day = rng.uniform(0, days, n)
    for code, value, unit in (
        ("LOINC//29463-7", people.weight, "kg"), ("LOINC//8302-2", people.height, "cm"),
    ):  # fmt: skip
        out.add(subject[seen], code, time=moments(day[seen]), numeric_value=value[seen], unit=unit)
    asked = rng.random(n) < 0.3  # a diet history, one recalled day
    day = rng.uniform(0, days, n)
    recalled = people.intake * 24.305 * np.exp(rng.normal(-0.08, 0.4, n))
    out.add(
        subject[asked], "DIET//magnesium", time=moments(day[asked]),
        known_time=moments(day[asked] + 0.5), numeric_value=recalled[asked].round(), unit="mg/d",
    )  # fmt: skip
    drink = rng.random(n) < 0.4
    out.add(
        subject[drink], "DIET//alcohol_usual", time=moments(day[drink]),
        known_time=moments(day[drink] + 0.5), unit="drinks/d",
        numeric_value=(patients.drinks * np.exp(rng.normal(-0.3, 0.3, n)))[drink].round(1),
    )  # fmt: skip
    tested = _visits(rng, out, patients, course, days, listed, coded, unrecorded)
    return out.table(), tested


def _drugs(
    rng: np.random.Generator, out: Records, patients: Patients, days: int
) -> Mapping[str, NDArray[np.bool_]]:
    """Write courses that are listed; return who has which on the list."""
    given = patients.exposures
    listed = {name: np.zeros(patients.people.n, bool) for name in _DRUGS}
    for name, (code, share) in _DRUGS.items():
        rows = np.flatnonzero((given.agent == AGENTS.index(name)) & (given.start < days))
        rows = rows[rng.random(len(rows)) < share]
        start, stop = given.start[rows].astype(float), given.stop[rows].astype(float)
        hour = rng.uniform(0.3, 0.7, len(rows))
        out.add(
            given.person[rows] + 1, code, time=moments(start + hour),
            known_time=moments(np.maximum(start, 0) + hour), end_time=moments(stop + hour),
            source=np.array([f"drugs:{row}" for row in rows], dtype=object),
        )  # fmt: skip
        listed[name][given.person[rows]] = True
    return listed


def _diagnoses(
    rng: np.random.Generator, out: Records, patients: Patients, days: int
) -> Mapping[str, NDArray[np.bool_]]:
    """Write diagnoses that are coded, some time after they began."""
    coded = {}
    for name, (code, share) in _DIAGNOSES.items():
        has = patients.people.conditions[name]
        begun = patients.onset[name]
        day = np.maximum(begun, 0) + rng.exponential(90, patients.people.n)
        who = np.flatnonzero(has & (rng.random(patients.people.n) < share) & (day < days))
        out.add(
            who + 1, code, time=moments(day[who]), known_time=moments(day[who] + 1),
            source=np.array([f"diagnoses:{name}:{row}" for row in who], dtype=object),
        )  # fmt: skip
        coded[name] = np.isin(np.arange(patients.people.n), who)
    return coded


def creatinine(gfr: Floats, age: Floats, female: NDArray[np.bool_]) -> Floats:
    """Return the creatinine in mg/dL at which CKD-EPI 2021 gives a filtration.

    Examples
    --------
    >>> creatinine(np.array([60.0]), np.array([50.0]), np.array([True])).round(2)
    array([1.12])
    """
    k, a = np.where(female, 0.7, 0.9), np.where(female, -0.241, -0.302)
    ratio = gfr / (142 * 0.9938**age * np.where(female, 1.012, 1.0))
    return np.asarray(k * ratio ** (1 / np.where(ratio < 1, -1.2, a)))


def _visits(
    rng: np.random.Generator,
    out: Records,
    patients: Patients,
    course: Trajectory,
    days: int,
    listed: Mapping[str, NDArray[np.bool_]],
    coded: Mapping[str, NDArray[np.bool_]],
    unrecorded: float,
) -> NDArray[np.bool_]:
    """Write visits with their laboratory values; magnesium only where somebody asks for it."""
    people = patients.people
    older = (people.age - 20) / 65
    visits = rng.poisson(1.5 + 2.5 * older + 1.5 * listed["loop"] + 1.0 * coded["diabetes"])
    who = np.repeat(np.arange(people.n), visits)
    day = rng.integers(0, days - 1, len(who))
    order = np.lexsort((day, who))
    who, day = who[order], day[order]
    m = len(who)
    subject, drawn = who + 1, day + rng.uniform(0.3, 0.6, m)
    known = drawn + rng.uniform(0.02, 0.25, m)
    visit = {"time": moments(drawn), "known_time": moments(known)}
    out.add(
        subject, "VISIT//outpatient", time=moments(day + 0.29), known_time=moments(day + 0.29),
        end_time=moments(day + 0.65),
    )  # fmt: skip
    serum = course.serum[day, who].astype(np.float64)
    low = np.maximum(0.8 - serum, 0)
    on = _on(patients, who, day)
    haemolysed = rng.random(m) < 0.015
    values = {
        ("LOINC//2160-0", "mg/dL"): creatinine(people.gfr, people.age, people.female)[who]
        * np.exp(rng.normal(0, 0.06, m)),
        ("LOINC//2823-3", "mmol/L"): 4.2 + rng.normal(0, 0.33, m) - 0.25 * on["thiazide"]
        - 0.30 * on["loop"] + 0.25 * on["k_sparing"] - 2.5 * low + 1.2 * haemolysed,
        ("LOINC//17861-6", "mg/dL"): 9.4 + rng.normal(0, 0.35, m) - 2.0 * low
        + 0.9 * people.conditions["hyperparathyroidism"][who],
        ("LOINC//1751-7", "g/dL"): 4.2 + rng.normal(0, 0.3, m)
        - 0.7 * people.conditions["malnutrition"][who],
        ("LOINC//2345-7", "mg/dL"): np.exp(rng.normal(4.55, 0.10, m)
                                          + 0.35 * people.conditions["diabetes"][who]),
    }  # fmt: skip
    for (code, unit), value in values.items():
        done = rng.random(m) < 0.85
        out.add(
            subject[done], code, unit=unit, numeric_value=value[done].round(2),
            **{name: part[done] for name, part in visit.items()},
            source=np.array([f"labs:{code[7:]}:{row}" for row in np.flatnonzero(done)], object),
        )  # fmt: skip
    odds = (
        -2.6 + 1.1 * listed["loop"] + 0.5 * listed["thiazide"] + 0.3 * listed["ppi"]
        + 2.0 * listed["calcineurin"] + 2.5 * listed["cisplatin"] + 1.0 * coded["chronic_diarrhoea"]
        + 0.9 * coded["alcohol_use"] + 0.8 * older
    )[who]  # fmt: skip
    odds = odds + unrecorded * (0.85 - serum)
    asked = rng.random(m) < 1 / (1 + np.exp(-odds))
    rows = np.flatnonzero(asked)
    factor = np.array([_UNITS[s % 4][1] for s in patients.site])[who[rows]]
    units = np.array([_UNITS[s % 4][0] for s in patients.site], dtype=object)[who[rows]]
    units[rng.random(len(rows)) < 0.02] = None
    measured = serum[rows] * np.exp(rng.normal(0, 0.038, len(rows))) * (1 + 0.12 * haemolysed[rows])
    out.add(
        subject[rows], "LOINC//19123-9", numeric_value=(measured * factor).round(2), unit=units,
        **{name: part[rows] for name, part in visit.items()},
        source=np.array([f"labs:19123-9:{row}" for row in rows], dtype=object),
    )  # fmt: skip
    return np.isin(np.arange(people.n), who[rows])


def _on(
    patients: Patients, who: NDArray[np.int64], day: NDArray[np.int64]
) -> dict[str, NDArray[np.bool_]]:
    """Return whether each visit's patient takes an agent on its day."""
    given = patients.exposures
    found = {}
    for name in ("thiazide", "loop", "k_sparing"):
        rows = np.flatnonzero(given.agent == AGENTS.index(name))
        hit = np.zeros(len(who), dtype=bool)
        place = np.searchsorted(who, given.person[rows], side="left")
        end = np.searchsorted(who, given.person[rows], side="right")
        for row, first, last in zip(rows, place, end, strict=True):
            hit[first:last] |= (day[first:last] >= given.start[row]) & (
                day[first:last] < given.stop[row]
            )
        found[name] = hit
    return found
