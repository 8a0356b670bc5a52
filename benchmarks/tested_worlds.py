"""Simulated hospitals in which everybody's magnesium is known and only some are tested.

The people and their records are the simulator's (:func:`magml.simulate`); who is tested is drawn
here, from what the records say of each, with strengths that differ from world to world. The
outcome is what a test would have found in everybody: true serum with the noise of an assay, below
0.75 mmol/L. The risks come from a regression that learned in other worlds, so that they are
neither perfect nor calibrated. Magnesium values of the past are nobody's predictor here.

Worlds of the simulator's split ``development`` are for making the method, those of ``test`` for
reporting; the regression learns in ``training``. No two of them share a parameter draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import magml
from magml.files import atomic_file
from magml.simulation.parameters import Split, table_hash

LOW, ASSAY = 0.75, 0.038
MAGNESIUM = ("LOINC//19123-9", "LOINC//21377-7", "LOINC//2601-3")
PEOPLE, TEACHERS = 4000, 6
#: Log-odds of being tested: mean and SD over worlds, by what stands in the records.
DRIVERS = {
    "demographic.age.years": (0.35, 0.15),
    "medication.loop_diuretic.active": (0.9, 0.25),
    "medication.thiazide.active": (0.5, 0.2),
    "medication.proton_pump_inhibitor.active": (0.4, 0.2),
    "medication.calcineurin_inhibitor.active": (1.5, 0.4),
    "comorbidity.diabetes.present": (0.6, 0.2),
    "comorbidity.diarrhoea.present": (0.9, 0.3),
    "comorbidity.alcohol_use.present": (0.9, 0.3),
}


@dataclass(frozen=True, eq=False)
class People:
    """A simulated hospital's people.

    Attributes
    ----------
    features, names
        What is recorded, float32, shape (n, p), with gaps.
    serum
        True serum magnesium, mmol/L, shape (n,).
    low
        Whether a test would find it below 0.75 mmol/L, shape (n,).
    risk
        Predicted by a regression of other worlds, shape (n,).
    """

    features: np.ndarray
    names: tuple[str, ...]
    serum: np.ndarray
    low: np.ndarray
    risk: np.ndarray

    def column(self, name: str) -> np.ndarray:
        """Return a recorded column; zeros where this world has nobody with it."""
        if name not in self.names:
            return np.zeros(len(self.serum))
        return self.features[:, self.names.index(name)].astype(np.float64)


def people_of(
    number: int, split: Split, people: int = PEOPLE, folder: Path | None = None
) -> People:
    """Return the people of a world, from `folder` if they were made before."""
    name = f"{split}_{number}_{people}_{table_hash()[:12]}.npz"
    path = folder / name if folder is not None else None
    if path is None or not path.is_file():
        made = _make(number, split, people, folder)
        if path is None:
            return made
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as beside, beside.open("wb") as file:
            np.savez_compressed(
                file, features=made.features, names=np.array(made.names), serum=made.serum,
                low=made.low, risk=made.risk,
            )  # fmt: skip
    with np.load(path) as held:
        names = tuple(str(one) for one in held["names"])
        return People(held["features"], names, held["serum"], held["low"], held["risk"])


def draw_tested(
    made: People, rng: np.random.Generator, hidden: tuple[str, float] | None = None
) -> np.ndarray:
    """Draw who is tested: 15 to 40% of the people, by what is recorded of them.

    Age bends, low and unrecorded potassium count, and a loop diuretic counts for more where
    potassium is low. `hidden` adds what nobody wrote down: ``("outcome", x)`` a log odds ratio of
    the outcome itself, ``("serum", x)`` log-odds per 0.1 mmol/L that true serum lies lower.
    """
    age = (np.nan_to_num(made.column("demographic.age.years"), nan=60.0) - 60.0) / 15.0
    potassium = made.column("lab.potassium.last")
    unknown = np.isnan(potassium)
    low = np.clip((4.2 - np.where(unknown, 4.2, potassium)) / 0.5, 0.0, 3.0)
    loop = np.nan_to_num(made.column("medication.loop_diuretic.active"))
    odds = np.zeros(len(age))
    for name, (mean, spread) in DRIVERS.items():
        values = age if name.startswith("demographic.age") else np.nan_to_num(made.column(name))
        odds += rng.normal(mean, spread) * values
    odds += rng.normal(-0.2, 0.1) * age**2 + rng.normal(0.5, 0.15) * low
    odds += rng.normal(0.4, 0.15) * loop * low - rng.normal(0.6, 0.2) * unknown
    if hidden is not None:
        kind, size = hidden
        odds += size * (made.low if kind == "outcome" else (0.85 - made.serum) / 0.1)
    share, floor, ceiling = rng.uniform(0.15, 0.40), -15.0, 15.0
    for _ in range(60):
        middle = (floor + ceiling) / 2
        above = (1 / (1 + np.exp(-odds - middle))).mean() > share
        floor, ceiling = (floor, middle) if above else (middle, ceiling)
    return rng.random(len(odds)) < 1 / (1 + np.exp(-odds - middle))


def _make(number: int, split: Split, people: int, folder: Path | None) -> People:
    frame, truth = _simulated(number, split, people)
    rng = np.random.default_rng(
        [20261128, number, ("development", "training", "test").index(split)]
    )
    serum = truth["serum"].to_numpy()
    low = serum * np.exp(rng.normal(0, ASSAY, people)) < LOW
    columns, margin = _elsewhere(folder)
    risk = 1 / (1 + np.exp(-margin(frame.reindex(columns=list(columns)).to_numpy(np.float32))))
    kept = [name for name in _usable(frame) if frame[name].nunique(dropna=False) > 1]
    return People(frame[kept].to_numpy(np.float32), tuple(kept), serum, low, risk)


def _simulated(number: int, split: Split, people: int) -> tuple[Any, Any]:
    made = magml.simulate(people, 500 + number, world=number, split=split)
    events = made.events.filter(pc.invert(pc.is_in(made.events["code"], pa.array(MAGNESIUM))))
    frame = magml.build_features(events, made.truth[["subject_id", "prediction_time"]])
    return frame, made.truth


def _usable(frame: Any) -> list[str]:
    return [
        name for name in frame.columns
        if name not in ("subject_id", "prediction_time")
        and ("magnesium" not in name or name.startswith("diet."))
    ]  # fmt: skip


@cache
def _elsewhere(folder: Path | None) -> tuple[tuple[str, ...], Any]:
    """Return the columns and the log-odds function of a regression of the training worlds."""
    import pandas as pd

    from magml.models.logistic import fit_logistic

    path = folder / f"training_{TEACHERS}_{table_hash()[:12]}.npz" if folder is not None else None
    if path is not None and path.is_file():
        with np.load(path) as held:
            X, y, names = held["features"], held["low"], tuple(str(one) for one in held["names"])
    else:
        parts, labels = [], []
        for number in range(TEACHERS):
            frame, truth = _simulated(number, "training", 1000)
            rng = np.random.default_rng([20261129, number])
            parts.append(frame[_usable(frame)])
            labels.append(truth["serum"] * np.exp(rng.normal(0, ASSAY, len(truth))) < LOW)
        together, y = pd.concat(parts, ignore_index=True), np.concatenate(labels)
        # What a few people have says little, and a regression would take it at its word.
        common = [
            name for name in together.columns
            if min(together[name].count(), _rarer(together[name])) >= 30
        ]  # fmt: skip
        X, names = together[common].to_numpy(np.float32), tuple(common)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as beside, beside.open("wb") as file:
                np.savez_compressed(file, features=X, low=y, names=np.array(names))
    return names, fit_logistic(X, y.astype(float), strength=0.03)


def _rarer(column: Any) -> int:
    """Return how many rows differ from the most frequent value."""
    return int(len(column) - column.value_counts(dropna=False).iloc[0])
