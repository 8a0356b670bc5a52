"""A quick generator of records for tests and benchmarks: admissions, a thousand a second.

It is not the simulator and knows no physiology: magnesium is a sum of published tendencies and
noise. The product's records come from :mod:`magml.simulation.world`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.events.simulated import marked
from magml.files import atomic_directory

if TYPE_CHECKING:
    import pyarrow as pa

_DAY = np.timedelta64(1, "D")
_FIRST_DAY = np.datetime64("2024-01-01T00:00", "us")

#: What people take and have: code, share of people, change of serum magnesium (mmol/L). Signs
#: and order of magnitude follow the literature of the catalogue; sizes are enlarged so that a
#: few thousand people suffice to find them again.
_DRUGS = (
    ("ATC//A02BC01", 0.28, -0.035),
    ("ATC//C03CA01", 0.18, +0.010),
    ("ATC//C03AA03", 0.14, -0.050),
    ("ATC//C03DA01", 0.07, +0.040),
    ("ATC//L04AD02", 0.03, -0.110),
    ("ATC//L01XA01", 0.03, -0.120),
    ("ATC//A10BK03", 0.06, +0.050),
)
_CONDITIONS = (
    ("ICD10CM//E11.9", 0.24, -0.045),
    ("ICD10CM//F10.20", 0.08, -0.080),
    ("ICD10CM//K52.9", 0.07, -0.070),
    ("ICD10CM//I50.9", 0.15, 0.0),
    ("ICD10CM//I10", 0.45, 0.0),
    ("ICD10CM//N18.3", 0.12, 0.0),
)


@dataclass(frozen=True)
class Hospital:
    """Synthetic records: events in the contract's form and the subject map."""

    events: pa.Table
    subjects: pa.Table

    def write(self, folder: str | Path) -> Path:
        """Write ``events.parquet`` and ``subjects.parquet`` to a new folder."""
        import pyarrow.parquet as pq

        with atomic_directory(folder) as beside:
            pq.write_table(self.events, beside / "events.parquet")
            pq.write_table(self.subjects, beside / "subjects.parquet")
        return Path(folder)


@dataclass
class _Rows:
    """Columns of events as they are collected."""

    columns: dict[str, list[Any]] = field(
        default_factory=lambda: {
            "subject_id": [],
            "time": [],
            "code": [],
            "numeric_value": [],
            "unit": [],
            "known_time": [],
            "end_time": [],
            "source": [],
        }
    )

    def add(
        self,
        who: np.ndarray,
        time: np.ndarray,
        code: str,
        table: str,
        *,
        value: np.ndarray | None = None,
        unit: str | np.ndarray | None = None,
        known: np.ndarray | None = None,
        end: np.ndarray | None = None,
    ) -> None:
        """Add one event for each person of `who`."""
        n = len(who)
        nat = np.full(n, np.datetime64("NaT", "us"))
        columns = self.columns
        columns["subject_id"].append(who)
        columns["time"].append(time)
        columns["code"].append(np.full(n, code, dtype=object))
        columns["numeric_value"].append(np.full(n, np.nan) if value is None else value)
        columns["unit"].append(
            unit if isinstance(unit, np.ndarray) else np.full(n, unit, dtype=object)
        )
        columns["known_time"].append(nat if known is None else known)
        columns["end_time"].append(nat if end is None else end)
        columns["source"].append(np.array([f"{table}:{person}" for person in who], dtype=object))

    def table(self) -> pa.Table:
        """Return the events as Arrow, by person and time."""
        import pandas as pd
        import pyarrow as pa

        frame = pd.DataFrame(
            {name: np.concatenate(parts) for name, parts in self.columns.items()}
        ).sort_values(["subject_id", "time", "code"], kind="stable")
        return pa.Table.from_pandas(frame, preserve_index=False)


def generate_hospital(n_subjects: int = 3000, seed: int = 1) -> Hospital:
    """Generate the records of a synthetic hospital.

    Parameters
    ----------
    n_subjects
        Number of adults, each with one admission of several days.
    seed
        Seed; equal seeds give equal records.

    Returns
    -------
    Hospital
        Labs (LOINC, with results 30 to 120 minutes after the draw; magnesium in mg/dL at two
        sites and in mmol/L at a third), drugs (ATC), diagnoses known from earlier stays
        (ICD-10-CM), feeding status, vital signs, sex, age, site. Magnesium is measured in some,
        sooner in those with low potassium or alcohol use disorder.

    Examples
    --------
    >>> hospital = generate_hospital(50, seed=3)
    >>> hospital.events.num_rows == generate_hospital(50, seed=3).events.num_rows
    True
    """
    import pyarrow as pa

    random = np.random.default_rng(seed)
    rows = _Rows()
    n = n_subjects
    who = np.arange(1, n + 1, dtype=np.int64)
    admitted = _FIRST_DAY + (random.integers(0, 365 * 24 * 60, n) * 60_000_000).astype("m8[us]")
    age = np.clip(random.normal(64, 15, n), 18, 95)
    female = random.random(n) < 0.5
    site = random.integers(0, 3, n)

    rows.add(who, admitted - (age * 365.25 * 86_400e6).astype("m8[us]"), "MEDS_BIRTH", "person")
    undated = np.full(n, np.datetime64("NaT", "us"))
    for code, group in (("GENDER//F", female), ("GENDER//M", ~female)):
        rows.add(who[group], undated[group], code, "person")
    for index in range(3):
        group = site == index
        rows.add(who[group], undated[group], f"SITE//{'ABC'[index]}", "person")
    stay = (random.gamma(2.0, 2.5, n) + 1.5) * 24 * 60
    rows.add(who, admitted, "VISIT//inpatient", "visit", end=admitted + _minutes(stay))

    change = np.zeros(n)
    for code, share, effect in _CONDITIONS:
        has = random.random(n) < share
        change += has * effect * random.uniform(0.6, 1.4, n)
        earlier = admitted[has] - _minutes(random.uniform(30, 900, has.sum()) * 24 * 60)
        # A billing diagnosis is known at the end of the visit that it was made in.
        rows.add(who[has], earlier, code, "diagnosis", known=earlier + 4 * _DAY)
        if code == "ICD10CM//F10.20":
            alcohol = has
        if code == "ICD10CM//N18.3":
            kidney = has
    for code, share, effect in _DRUGS:
        has = random.random(n) < share
        change += has * effect * random.uniform(0.6, 1.4, n)
        start = admitted[has] - _minutes(random.uniform(5, 700, has.sum()) * 24 * 60)
        rows.add(who[has], start, code, "drug")
    fasting = random.random(n) < 0.12
    change -= fasting * 0.03
    rows.add(who[fasting], admitted[fasting] + _minutes(60), "CARE//NPO", "care")

    creatinine = np.exp(random.normal(-0.1, 0.28, n)) + kidney * random.uniform(0.6, 1.8, n)
    change += 0.05 * np.clip(creatinine - 1.2, 0, 2)
    magnesium = 0.80 + change + random.normal(0, 0.06, n)
    deficit = 0.80 - magnesium
    labs = {
        "LOINC//2823-3": (4.1 - 2.6 * deficit + random.normal(0, 0.38, n), "mmol/L"),
        "LOINC//2951-2": (138.5 + random.normal(0, 3.5, n), "mmol/L"),
        "LOINC//17861-6": (9.1 - 2.5 * deficit + random.normal(0, 0.5, n), "mg/dL"),
        "LOINC//2777-1": (3.5 - 2.0 * deficit + random.normal(0, 0.6, n), "mg/dL"),
        "LOINC//2160-0": (creatinine, "mg/dL"),
        "LOINC//3094-0": (16 * creatinine**0.8 * np.exp(random.normal(0, 0.3, n)), "mg/dL"),
        "LOINC//1751-7": (3.6 - 1.2 * deficit + random.normal(0, 0.5, n), "g/dL"),
        "LOINC//2345-7": (np.exp(random.normal(4.85, 0.3, n)), "mg/dL"),
        "LOINC//718-7": (12.2 + random.normal(0, 1.9, n), "g/dL"),
    }
    draw = admitted + _minutes(random.uniform(20, 200, n))
    for code, (level, unit) in labs.items():
        kept = random.random(n) < 0.93
        for hours in (0, 12):
            value = np.round(level * random.normal(1, 0.02, n), 2)[kept]
            at = draw[kept] + _minutes(np.full(kept.sum(), hours * 60.0))
            known = at + _minutes(random.uniform(30, 120, kept.sum()))
            rows.add(who[kept], at, code, "lab", value=value, unit=unit, known=known)
    for code, mean, spread, unit in (
        ("LOINC//8867-4", 84.0, 15.0, "/min"),
        ("LOINC//8480-6", 128.0, 20.0, "mm[Hg]"),
    ):
        value = np.round(random.normal(mean, spread, n))
        rows.add(who, admitted + _minutes(15), code, "vital", value=value, unit=unit)

    # Who is tested, and when: somebody is thinking of magnesium where potassium is low.
    potassium = labs["LOINC//2823-3"][0]
    logit = -0.4 + 1.2 * (potassium < 3.6) + 1.0 * alcohol + random.normal(0, 0.5, n)
    tested = random.random(n) < 1 / (1 + np.exp(-logit))
    at = admitted + _minutes(random.uniform(2, 26, n) * 60)
    reported = np.where(site == 2, np.round(magnesium, 2), np.round(magnesium * 2.4305, 1))
    units = np.where(site == 2, "mmol/L", "mg/dL").astype(object)
    known = at + _minutes(random.uniform(40, 120, n))
    rows.add(
        who[tested],
        at[tested],
        "LOINC//19123-9",
        "lab",
        value=reported[tested],
        unit=units[tested],
        known=known[tested],
    )
    subjects = pa.table({"subject_id": who, "source_id": [f"demo-{person:05d}" for person in who]})
    return Hospital(marked(rows.table()), subjects)


def _minutes(minutes: float | np.ndarray) -> np.ndarray:
    """Return a duration of whole minutes."""
    return (np.rint(np.asarray(minutes)) * 60_000_000).astype("m8[us]")
