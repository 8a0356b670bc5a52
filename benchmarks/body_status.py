"""Simulator recovery: can depletion that serum hides be told from what institutions record?

Trains on training worlds and measures on test worlds whose parameters it never saw, against the
noise-free loading test. Never clinical performance. Where a person's filtration is below 60 the
test itself is not valid (Leeds protocol), so such people are left out.

Usage: python benchmarks/body_status.py --train 8 --test 20 --people 3000 --out body_status.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import magml
from magml.files import atomic_file
from magml.models import MagnesiumRiskClassifier, magnesium_depletion_score
from magml.models.calibration import Calibrator, fit_calibrator
from magml.models.logistic import choose_strength, fit_logistic
from magml.simulation.parameters import table_hash
from magml.validation.recalibrate import update

NORMAL, MEASURED, VALID = 0.75, 300, 60.0
SERUM = "serum measured now"
DIURETICS = ("thiazide", "loop_diuretic", "potassium_sparing_enac", "mineralocorticoid_antagonist")


def world(number: int, split: str, people: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    seed = 10_000 * (1 + ("training", "test").index(split)) + number
    made = magml.simulate(people, seed, world=number, split=split)
    X = magml.build_features(made.events, made.truth[["subject_id", "prediction_time"]])
    truth = made.truth
    rng = np.random.default_rng(seed + 5_000)
    X[SERUM] = truth["serum"] * np.exp(rng.normal(0, 0.038, len(truth)))
    kept = (truth["gfr"] >= VALID).to_numpy()
    return X[kept].reset_index(drop=True), truth[kept].reset_index(drop=True)


def score(X: pd.DataFrame) -> np.ndarray:
    """Return the depletion score, age and sex; an item not recorded counts as absent."""
    diuretic = X[[f"medication.{name}.active" for name in DIURETICS]].max(axis=1).fillna(0)
    points = magnesium_depletion_score(
        diuretic=diuretic, ppi=X["medication.proton_pump_inhibitor.active"].fillna(0),
        egfr=X["lab.egfr"].fillna(95.0), drinks_per_day=X["diet.drinks_per_day"].fillna(0.0),
        female=X["demographic.female.last"],
    )  # fmt: skip
    return np.column_stack([points, X["demographic.age.years"], X["demographic.female.last"]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=8)
    parser.add_argument("--test", type=int, default=20)
    parser.add_argument("--people", type=int, default=3000)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    started = time.perf_counter()
    parts = [world(number, "training", chosen.people) for number in range(chosen.train)]
    X = pd.concat([x for x, _ in parts], ignore_index=True)
    y = pd.concat([t["depleted"] for _, t in parts], ignore_index=True).to_numpy(dtype=int)
    persons = np.arange(len(y))
    ids = ["subject_id", "prediction_time"]
    used = [
        name for name in X.columns
        if name not in (*ids, SERUM) and X[name].notna().any() and X[name].nunique() > 1
    ]  # fmt: skip
    without = [name for name in used if "magnesium" not in name or name.startswith("diet.")]
    sets = {
        "records, no magnesium value": without,
        "records": used,
        "records and serum": [*used, SERUM],
    }
    models: dict[str, Any] = {}
    for name, columns in sets.items():
        models[name] = MagnesiumRiskClassifier(random_state=1, calibrate=False).fit(
            X[columns].to_numpy(np.float32), y
        )
    plain = X[sets["records and serum"]].to_numpy(np.float32)
    logistic = fit_logistic(plain, y, strength=choose_strength(plain, y, persons, seed=1))
    mds = LogisticRegression(max_iter=2000).fit(score(X), y)
    rows, slopes = [], []
    for number in range(chosen.test):
        T, truth = world(number, "test", chosen.people)
        outcome = truth["depleted"].to_numpy(dtype=int)
        margins = {
            name: models[name].bag_.margin(T[columns].to_numpy(np.float32))
            for name, columns in sets.items()
        }
        margins["logistic, records and serum"] = logistic(
            T[sets["records and serum"]].to_numpy(np.float32)
        )
        margins["depletion score, age, sex"] = mds.decision_function(score(T))
        margins["serum alone"] = -T[SERUM].to_numpy()
        normal = T[SERUM].to_numpy() >= NORMAL
        for name, margin in margins.items():
            rows.append({
                "world": number, "model": name, "n": len(outcome), "events": int(outcome.sum()),
                "auroc": roc_auc_score(outcome, margin),
                "n_normal": int(normal.sum()), "events_normal": int(outcome[normal].sum()),
                "auroc_normal": roc_auc_score(outcome[normal], margin[normal]),
            })  # fmt: skip
        rng = np.random.default_rng(number)
        measured = np.zeros(len(outcome), bool)
        measured[rng.choice(len(outcome), MEASURED, replace=False)] = True
        margin = margins["records and serum"]
        if outcome[measured].sum() >= 3:
            _, fitted = update(
                Calibrator("logistic", 0.0, 1.0, 1.0), margin[measured], outcome[measured], "slope"
            )
            odds = fitted.log_odds(margin[~measured])
            again = fit_calibrator(odds, outcome[~measured], ["logistic"])
            slopes.append(again.low)
    table = pd.DataFrame(rows)
    shown = table.groupby("model")[["auroc", "auroc_normal"]].agg(["mean", "std"]).round(3)
    found = {
        "table": table_hash(), "train_worlds": chosen.train, "test_worlds": chosen.test,
        "people": chosen.people, "train_rows": len(y), "train_events": int(y.sum()),
        "rows": rows, "slopes_after_recalibration": slopes,
        "seconds": round(time.perf_counter() - started),
    }  # fmt: skip
    print(shown.to_string())
    wide = table.pivot(index="world", columns="model")
    best = "records and serum"
    for other in ("serum alone", "depletion score, age, sex", "logistic, records and serum"):
        for metric in ("auroc", "auroc_normal"):
            change = wide[metric][best] - wide[metric][other]
            print(f"{metric}: {best} less {other}: {change.mean():.3f} (SD {change.std():.3f}, "
                  f"above 0 in {int((change > 0).sum())} of {len(change)} worlds)")  # fmt: skip
    print(f"events a world {table['events'].groupby(table['world']).first().mean():.0f} of "
          f"{table['n'].mean():.0f}; with normal serum "
          f"{table['events_normal'].groupby(table['world']).first().mean():.0f}")  # fmt: skip
    print(f"calibration slope after recalibration on {MEASURED}: {np.mean(slopes):.2f} "
          f"(SD {np.std(slopes):.2f}, {len(slopes)} worlds)")  # fmt: skip
    if chosen.out:
        with atomic_file(chosen.out) as beside:
            beside.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
