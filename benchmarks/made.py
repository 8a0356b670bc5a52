"""Models and patients that the benchmarks of scoring and explaining share, made from seeds.

A model of the whole catalogue is trained on features of simulated people, where columns that the
simulation leaves empty are filled with noise, so that no column is dropped. Its figures mean
nothing; its size is that of the catalogue.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from training import matrix

from magml.bundle.card import model_card
from magml.bundle.warnings import check_features
from magml.bundle.write import BundleContents, TrainingSummary, write_bundle
from magml.definitions.read import read_catalogue, read_model
from magml.explanations.baseline import Baseline
from magml.explanations.reference import ReferenceCohort
from magml.features import compile_plan
from magml.models.bag import fit_bag
from magml.models.calibration import fit_calibrator

NAME = "hypomagnesemia_screen"
AT = np.datetime64("2025-03-01T08:00:00", "us")


def bundle(
    folder: Path,
    columns: int | None = None,
    rows: int = 8_000,
    seed: int = 1,
    rounds: int = 160,
) -> Path:
    """Write a model of hypomagnesemia (10 members) and return its bundle's folder.

    Parameters
    ----------
    folder
        Where it stands afterwards.
    columns
        Features, the first of the catalogue; default all of it.
    rows, seed
        Rows to train on, and their seed.
    rounds
        Trees of a member.
    """
    catalogue, definition = read_catalogue(), read_model(NAME)
    estimator = definition.estimator.model_copy(update={"rounds": rounds})
    names = tuple(catalogue.features)[:columns]
    X, y = matrix(rows, len(names))
    X = np.abs(X)  # no lab value is negative
    bag = fit_bag(X, y, np.arange(rows), estimator, seed=seed, features=names)
    calibrator = fit_calibrator(bag.margin(X), y, ("beta",))
    values = bag.contributions(X[:500])
    baseline = Baseline.of(values[0, -1], np.abs(values[:, :-1]).mean(axis=0), calibrator)
    plan = compile_plan(catalogue, check_features(definition, catalogue, names))
    training = TrainingSummary(
        experiment={}, n=rows, events=int(y.sum()), groups=rows, attrition=(),
        estimator=estimator.model_dump(mode="json"), seeds={"model": seed}, versions={},
    )  # fmt: skip
    card = model_card(definition, catalogue, names, training)
    planned = np.full((rows, len(plan.features)), np.nan, dtype=np.float32)
    planned[:, [plan.features.index(name) for name in names]] = X
    reference = ReferenceCohort.of(planned, plan.features, range(rows))
    write_bundle(
        folder,
        BundleContents(
            definition, catalogue, plan, bag, calibrator, baseline, training, card, reference
        ),
    )
    return folder


def patient(rng: np.random.Generator, events: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a patient's records over three years, of every kind in the catalogue, and a time.

    Two thirds are measurements in plausible values of the concept's own unit, the others drugs,
    diagnoses, procedures and care.
    """
    concepts = [c for c in read_catalogue().by_name.values() if c.codes and c.kind != "age"]
    measured = [c for c in concepts if c.kind == "measurement"]
    other = [c for c in concepts if c.kind != "measurement"]
    rows: list[dict[str, Any]] = [
        {"time": np.datetime64("1950-06-01", "us"), "code": "MEDS_BIRTH"},
    ]
    while len(rows) < events:
        concept = rng.choice(measured if rng.random() < 2 / 3 else other)  # type: ignore[arg-type]
        time = AT - np.timedelta64(int(3600 * 24 * 1095 * rng.random() ** 2) + 60, "s")
        row = {"time": time, "code": str(rng.choice(concept.codes)).rstrip("*")}
        if concept.kind == "measurement":
            low, high = concept.plausible or (0.0, 100.0)
            row |= {"numeric_value": low + (high - low) * rng.beta(2, 8), "unit": concept.unit}
            row["known_time"] = time + np.timedelta64(int(rng.integers(7200)), "s")
        elif concept.kind == "exposure" and rng.random() < 0.7:
            row["end_time"] = time + np.timedelta64(int(rng.integers(30 * 24)), "h")
        rows.append(row)
    table = pd.DataFrame(rows).sort_values("time").reset_index(drop=True)
    table.insert(0, "subject_id", 1)
    return table, pd.DataFrame({"subject_id": [1], "prediction_time": [AT]})
