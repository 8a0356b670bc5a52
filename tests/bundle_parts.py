"""A small real model for the tests of bundles, explanations and tracking."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from magml.bundle.card import model_card
from magml.bundle.warnings import check_features
from magml.bundle.write import BundleContents, TrainingSummary
from magml.definitions.catalogue import Catalogue
from magml.definitions.model import ModelDefinition
from magml.explanations.baseline import Baseline
from magml.explanations.reference import ReferenceCohort
from magml.features import compile_plan
from magml.models.bag import Bag, fit_bag
from magml.models.calibration import Calibrator, fit_calibrator

CATALOGUE = Catalogue.model_validate(
    {
        "domains": [
            {
                "domain": "lab",
                "title": "Laboratory",
                "concepts": {
                    "potassium": {
                        "label": "Potassium",
                        "kind": "measurement",
                        "codes": ["LOINC//2823-3"],
                        "unit": "mmol/L",
                        "molar_mass": 39.098,
                        "valence": 1,
                        "consequence": True,
                        "plausible": [1.0, 12.0],
                        "features": {"ever": ["last"], "24h": ["min", "count"]},
                        "direction": "marker",
                        "evidence": ["huang_2007"],
                    },
                    "albumin": {
                        "label": "Albumin",
                        "kind": "measurement",
                        "codes": ["LOINC//1751-7"],
                        "unit": "g/L",
                        "features": {"ever": ["last"]},
                    },
                    "magnesium": {
                        "label": "Magnesium",
                        "kind": "measurement",
                        "codes": ["LOINC//19123-9"],
                        "unit": "mmol/L",
                        "molar_mass": 24.305,
                        "valence": 2,
                        "features": {"ever": ["last"]},
                    },
                },
                "derived": {
                    "potassium_drop": {
                        "label": "Potassium, latest minus lowest of the last 24 hours",
                        "formula": "difference",
                        "inputs": ["lab.potassium.last", "lab.potassium.min.24h"],
                        "unit": "mmol/L",
                    }
                },
            },
            {
                "domain": "medication",
                "title": "Medications",
                "concepts": {
                    "loop_diuretic": {
                        "label": "Loop diuretics",
                        "kind": "exposure",
                        "codes": ["ATC//C03C"],
                        "features": {"now": ["active"]},
                        "modifiable": True,
                        "direction": "lowers",
                    }
                },
            },
            {
                "domain": "demographic",
                "title": "Demographics",
                "concepts": {
                    "age": {
                        "label": "Age",
                        "kind": "age",
                        "codes": ["MEDS_BIRTH"],
                        "unit": "a",
                        "features": {"now": ["years"]},
                    }
                },
            },
        ],
        "references": {
            "huang_2007": {
                "citation": "Huang CL, Kuo E. J Am Soc Nephrol 2007;18:2649-52",
                "doi": "10.1681/ASN.2007070792",
                "read": "source",
            }
        },
    }
)

FEATURES = (
    "lab.potassium.last",
    "lab.potassium.min.24h",
    "lab.potassium.count.24h",
    "lab.albumin.last",
    "medication.loop_diuretic.active",
    "demographic.age.years",
    "lab.potassium_drop",
)

DEFINITION = ModelDefinition.model_validate(
    {
        "name": "hypomagnesemia_small",
        "title": "Low serum magnesium in the next 24 hours",
        "intended_use": "Tests of magml.",
        "not_for": "Care.",
        "screening": True,
        "outcome": {
            "kind": "serum_below",
            "concept": "lab.magnesium",
            "threshold": {"mmol/L": 0.7, "mg/dL": 1.7, "mEq/L": 1.4},
            "time_at_risk": "24h",
        },
        "features": {"domains": ["lab", "medication", "demographic"]},
        "estimator": {
            "members": 4,
            "rounds": 20,
            "parameters": {"max_depth": 3, "learning_rate": 0.2},
        },
        "bands": [
            {"name": "low", "at_least": 0},
            {"name": "raised", "at_least": 0.2},
            {"name": "high", "at_least": 0.5},
        ],
    }
)


def matrix(rows: int = 600, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return features with missing values and an outcome that depends on them."""
    rng = np.random.default_rng(seed)
    last = rng.normal(4.0, 0.6, rows)
    least = last - rng.exponential(0.2, rows)
    count = rng.integers(0, 5, rows)
    albumin = rng.normal(35, 6, rows)
    loop = rng.integers(0, 2, rows)
    age = rng.uniform(18, 90, rows)
    X = np.column_stack([last, least, count, albumin, loop, age, last - least]).astype(np.float32)
    odds = -1.5 - 1.5 * (last - 4) - 0.08 * (albumin - 35) + 0.8 * loop
    y = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    X[rng.random(rows) < 0.2, 3] = np.nan
    X[np.ix_(rng.random(rows) < 0.15, [0, 1, 6])] = np.nan
    return X, y


@cache
def fitted(threads: int = 1) -> tuple[Bag, Calibrator, Baseline]:
    """Return a bag, its calibrator and its baseline."""
    X, y = matrix()
    bag = fit_bag(
        X, y, np.arange(len(y)), DEFINITION.estimator, seed=7, threads=threads, features=FEATURES
    )
    calibrator = fit_calibrator(bag.margin(X), y, ("beta",))
    values = bag.contributions(X)
    baseline = Baseline.of(values[0, -1], np.abs(values[:, :-1]).mean(axis=0), calibrator)
    return bag, calibrator, baseline


@cache
def contents(threads: int = 1) -> BundleContents:
    """Return everything that a bundle of the small model holds."""
    bag, calibrator, baseline = fitted(threads)
    y = matrix()[1]
    plan = compile_plan(CATALOGUE, check_features(DEFINITION, CATALOGUE, FEATURES))
    training = TrainingSummary(
        experiment={},
        n=len(y),
        events=int(y.sum()),
        groups=len(y),
        attrition=({"name": "anchors", "people": len(y), "times": len(y), "left_out": 0},),
        estimator=DEFINITION.estimator.model_dump(mode="json"),
        seeds={"model": 7},
        versions={"xgboost": "3"},
    )
    card = model_card(DEFINITION, CATALOGUE, FEATURES, training)
    reference = ReferenceCohort.of(planned_values(plan.features), plan.features, range(len(y)))
    return BundleContents(
        DEFINITION, CATALOGUE, plan, bag, calibrator, baseline, training, card, reference
    )


def planned_values(planned: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the matrix with the columns of a plan; what the model does not use is missing."""
    X = matrix()[0]
    values = np.full((len(X), len(planned)), np.nan, dtype=np.float32)
    values[:, [planned.index(name) for name in FEATURES]] = X
    return values
