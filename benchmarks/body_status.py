"""Simulator recovery: can depletion that serum hides be told from what institutions record?

    python benchmarks/body_status.py --out body_status.json

The shipped bundle, on test worlds whose parameters trained nothing, against the noise-free loading
test. Beside it, fitted on the bundle's own training worlds: serum measured today alone, the
depletion score with age and sex, penalised logistic regression on the same features, and two
bounds that nobody can have: every cause, loss and pool flow known without error, and on top of it
what differs between people by nature. Never clinical performance. Where filtration is below 60 a
loading test is not valid, so such people are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from body_status_tables import summary
from body_status_truths import fit_truths, limits_of, measured_truths
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import magml
from magml.definitions import read_experiment
from magml.definitions.model import Estimator
from magml.evaluation.calibration import logit
from magml.experiments.simulated import read_simulation, simulator_facts
from magml.files import atomic_file
from magml.models import magnesium_depletion_score
from magml.models.bag import fit_bag
from magml.models.calibration import Calibrator, fit_calibrator
from magml.models.logistic import choose_strength, fit_logistic
from magml.simulation.institutions import read_institutions, seen_through
from magml.simulation.parameters import SPLITS, draw_world
from magml.simulation.patients import draw_patients
from magml.validation.recalibrate import update

NORMAL, MEASURED = 0.75, 300
#: Serum magnesium varies within a person and by the assay (CLINICAL: 2 to 3% and 2%).
SERUM_CV = 0.035
DIURETICS = ("thiazide", "loop_diuretic", "potassium_sparing_enac", "mineralocorticoid_antagonist")
TODAY = "serum measured today"
CAPACITIES = (0.05, 0.1, 0.2, 0.3)
Scorer = Callable[["Seen"], np.ndarray]


class Seen:
    """A world's valid people: truth, serum of today, and matrices by what an institution has."""

    def __init__(self, model: Any, split: Any, number: int, people: int, seed: int) -> None:
        settings = ("hospital", "community")
        worlds = [
            magml.simulate(people // 2, seed + k, world=number, split=split, setting=setting)
            for k, setting in enumerate(settings)
        ]
        block = 1_000_000
        events = pa.concat_tables([_shifted(w.events, k * block) for k, w in enumerate(worlds)])
        truth = pd.concat(
            [w.truth.assign(subject_id=w.truth["subject_id"] + k * block)
             for k, w in enumerate(worlds)], ignore_index=True,
        )  # fmt: skip
        losses = pd.concat([
            w.losses.pivot(index="subject_id", columns="cause", values="mmol_per_day")
            .reindex(w.truth["subject_id"]).fillna(0.0) for w in worlds
        ], ignore_index=True).fillna(0.0)  # fmt: skip
        kept = (truth["gfr"] >= 60).to_numpy()
        self.truth = truth[kept].reset_index(drop=True)
        self.losses = losses[kept].reset_index(drop=True).add_prefix("loss ")
        self.nature = pd.concat(
            [_nature(number, split, people // 2, seed + k, w, setting)
             for k, (w, setting) in enumerate(zip(worlds, settings, strict=True))],
            ignore_index=True,
        )[kept].reset_index(drop=True)  # fmt: skip
        rng = np.random.default_rng([seed, number, SPLITS.index(split)])
        self.serum = self.truth["serum"].to_numpy() * np.exp(rng.normal(0, SERUM_CV, kept.sum()))
        self.y = self.truth["depleted"].to_numpy(dtype=int)
        self.normal = self.serum >= NORMAL
        self._events, self._model = events, model
        self._at = self.truth[["subject_id", "prediction_time"]]
        self._matrices: dict[str, np.ndarray] = {}

    def matrix(self, institution: str) -> np.ndarray:
        """Return the plan's matrix of the bundle, as an institution would compute it."""
        if institution not in self._matrices:
            subjects = self.truth["subject_id"].to_numpy()
            through = "whole_record" if institution == TODAY else institution
            events = seen_through(
                self._events, subjects, through, read_institutions(), self._model.catalogue
            )
            if institution == TODAY:
                events = pa.concat_tables([events, self._today(events.schema)])
            self._matrices[institution] = self._model.build(events, self._at).values
        return self._matrices[institution]

    def _today(self, schema: Any) -> Any:
        """Return events of serum magnesium drawn on the day of the prediction."""
        drawn = self.truth["prediction_time"] - pd.Timedelta(hours=12)
        columns: dict[str, Any] = dict.fromkeys(schema.names) | {
            "subject_id": self.truth["subject_id"], "time": drawn,
            "known_time": drawn + pd.Timedelta(hours=2), "code": "LOINC//2601-3",
            "numeric_value": self.serum, "unit": "mmol/L",
        }  # fmt: skip
        frame = pd.DataFrame(columns, index=self.truth.index)
        return pa.Table.from_pandas(frame, schema=schema, preserve_index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--test", type=int, default=20, help="test worlds")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--merge", type=Path, nargs="*", help="print the tables of such files")
    parser.add_argument("--train", type=int, default=12, help="training worlds of comparators")
    parser.add_argument("--people", type=int, default=2000, help="of a world")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    if chosen.merge:
        print(summary(merged([json.loads(path.read_text()) for path in chosen.merge])))
        return
    started = time.perf_counter()
    model = magml.load("low_body_status")
    seed = read_simulation(read_experiment("low_body_status")).seed
    trained = [Seen(model, "training", k, chosen.people, seed) for k in range(chosen.train)]
    scorers = fit(model, trained)
    limits = limits_of(trained)
    others = fit_truths(sys.modules[__name__], model, trained, limits)
    print(f"{time.perf_counter() - started:.0f} s: comparators fitted", flush=True)
    rows: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    slopes: list[dict[str, Any]] = []
    truths: list[dict[str, Any]] = []
    for number in range(chosen.first, chosen.first + chosen.test):
        seen = Seen(model, "test", number, chosen.people, 7)
        margins = {name: scorer(seen) for name, scorer in scorers.items()}
        rows += measured(number, seen, margins)
        found += tested(number, seen, margins)
        slopes.append(recalibrated(number, seen, model))
        truths += measured_truths(number, seen, others, limits)
        print(f"{time.perf_counter() - started:.0f} s: test world {number}", flush=True)
    result = {
        **simulator_facts(), "bundle": model.hash, "train_worlds": chosen.train,
        "train_people": sum(len(s.y) for s in trained), "people": chosen.people,
        "rows": rows, "found": found, "recalibration": slopes, "truths": truths, "limits": limits,
        "seconds": round(time.perf_counter() - started),
    }  # fmt: skip
    print(summary(result))
    if chosen.out:
        with atomic_file(chosen.out) as beside:
            beside.write_text(json.dumps(result, indent=1))


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the results of several runs over different test worlds as one."""
    for key in ("simulator", "bundle", "train_worlds", "people"):
        if len({part[key] for part in parts}) > 1:
            raise SystemExit(f"the files differ in {key}")
    joined = {key: [row for part in parts for row in part[key]]
              for key in ("rows", "found", "recalibration", "truths")}  # fmt: skip
    return {**parts[0], **joined, "seconds": sum(part["seconds"] for part in parts)}


def fit(model: Any, worlds: list[Seen]) -> dict[str, Scorer]:
    """Return what scores a world, by name: the bundle, and what is fitted on training worlds."""
    y = np.concatenate([s.y for s in worlds])
    group = np.concatenate([np.full(len(s.y), k) for k, s in enumerate(worlds)])
    scorers: dict[str, Scorer] = {
        "serum alone, measured today": lambda s: -s.serum,
        "model, whole record and serum measured today": lambda s: bundle(model, s, TODAY),
    }
    for name in read_institutions():
        scorers[f"model, {name.replace('_', ' ')}"] = lambda s, n=name: bundle(model, s, n)

    def logistic(institution: str) -> Scorer:
        X = np.vstack([model.columns(s.matrix(institution)) for s in worlds])
        kept = np.isfinite(X).any(axis=0)
        strength = choose_strength(X[:, kept], y, group, seed=1)
        fitted = fit_logistic(X[:, kept], y, strength=strength)
        return lambda s: fitted(model.columns(s.matrix(institution))[:, kept])

    scorers["logistic, whole record"] = logistic("whole_record")
    scorers["logistic, whole record and serum measured today"] = logistic(TODAY)
    mds = LogisticRegression(max_iter=2000).fit(np.vstack([score(model, s) for s in worlds]), y)
    scorers["depletion score, age, sex"] = lambda s: mds.decision_function(score(model, s))
    size = LogisticRegression(max_iter=2000).fit(np.vstack([body(s) for s in worlds]), y)
    scorers["weight, age, sex"] = lambda s: size.decision_function(body(s))
    scorers["bound: causes and flows known"] = bound(causes, worlds, y)
    scorers["bound: and nature known"] = bound(everything, worlds, y)
    return scorers


def bound(columns: Callable[[Seen], pd.DataFrame], worlds: list[Seen], y: np.ndarray) -> Scorer:
    """Return what boosted trees make of truths that nobody can have."""
    names, X = _stacked([columns(world) for world in worlds])
    parameters = {"max_depth": 5, "learning_rate": 0.06, "colsample_bytree": 0.6}
    estimator = Estimator(members=3, rounds=300, parameters=parameters)
    bag = fit_bag(X, y, np.arange(len(y)), estimator, seed=1, features=names)
    return lambda s: bag.margin(
        columns(s).reindex(columns=list(names), fill_value=0.0).to_numpy(np.float32)
    )


def bundle(model: Any, seen: Seen, institution: str) -> np.ndarray:
    """Return the bundle's log-odds before calibration."""
    return model.bag.margin(model.columns(seen.matrix(institution)))


def score(model: Any, seen: Seen) -> np.ndarray:
    """Return the depletion score, age and sex; an item not recorded counts as absent."""
    items = [f"medication.{name}.active" for name in (*DIURETICS, "proton_pump_inhibitor")]
    items += ["lab.egfr", "diet.alcohol_usual.last", "demographic.female.last"]
    items += ["demographic.age.years"]
    X = magml.build_features(_only(seen, model), seen._at, features=items, strict=False)
    diuretic = X[[f"medication.{name}.active" for name in DIURETICS]].max(axis=1).fillna(0)
    points = magnesium_depletion_score(
        diuretic=diuretic, ppi=X["medication.proton_pump_inhibitor.active"].fillna(0),
        egfr=X["lab.egfr"].fillna(95.0), drinks_per_day=X["diet.alcohol_usual.last"].fillna(0.0),
        female=X["demographic.female.last"],
    )  # fmt: skip
    return np.column_stack([points, X["demographic.age.years"], X["demographic.female.last"]])


def body(seen: Seen) -> np.ndarray:
    """Return true weight (kg and its square, scaled), age and sex."""
    weight = seen.nature["weight"].to_numpy() / 80.0
    rest = seen.nature[["age", "female"]].to_numpy() / (50.0, 1.0)
    return np.column_stack([weight, weight**2, rest])


def causes(seen: Seen) -> pd.DataFrame:
    """Return what nobody can know: true serum, urine, filtration, intake and each loss."""
    truth = seen.truth[["serum", "urine", "gfr", "intake"]]
    return pd.concat([truth, seen.nature[["age", "female", "weight"]], seen.losses], axis=1)


def everything(seen: Seen) -> pd.DataFrame:
    """Return the same, and what differs between people by nature."""
    return pd.concat([causes(seen), seen.nature.drop(columns=["age", "female", "weight"])], axis=1)


def measured(number: int, seen: Seen, margins: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return the AUROC of each, overall and among people with normal serum."""
    y, normal = seen.y, seen.normal
    return [
        {"world": number, "model": name, "n": len(y), "events": int(y.sum()),
         "auroc": roc_auc_score(y, margin), "n_normal": int(normal.sum()),
         "events_normal": int(y[normal].sum()),
         "auroc_normal": roc_auc_score(y[normal], margin[normal])}
        for name, margin in margins.items()
    ]  # fmt: skip


def tested(number: int, seen: Seen, margins: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return, among people with normal serum, how many depleted are found for how many tested."""
    y = seen.y[seen.normal]
    rows = []
    for name, margin in margins.items():
        order = np.argsort(-margin[seen.normal], kind="stable")
        for capacity in CAPACITIES:
            count = round(capacity * len(y))
            found = {"tested": count, "found": int(y[order[:count]].sum())}
            rows.append(
                {"world": number, "model": name, "capacity": capacity, "depleted": int(y.sum())}
                | found
            )
    return rows


def recalibrated(number: int, seen: Seen, model: Any) -> dict[str, Any]:
    """Return calibration before, and after an update on measured people, on all the others."""
    margin, y = bundle(model, seen, "whole_record"), seen.y
    rng = np.random.default_rng([number, 1])
    chosen = np.zeros(len(y), bool)
    chosen[rng.choice(len(y), MEASURED, replace=False)] = True
    row: dict[str, Any] = {"world": number, "cases_measured": int(y[chosen].sum())}
    calibrators = {"before": model.calibrator}
    for method in ("intercept", "slope", "closed_test"):
        calibrators[method] = update(model.calibrator, margin[chosen], y[chosen], method)[1]
    for name, calibrator in calibrators.items():
        risk = calibrator.risk(margin[~chosen])
        again: Calibrator = fit_calibrator(logit(risk), y[~chosen], ["logistic"])
        row[f"slope_{name}"] = again.low
        row[f"expected_{name}"], row["observed"] = float(risk.mean()), float(y[~chosen].mean())
    return row


def _shifted(events: Any, by: int) -> Any:
    place = events.column_names.index("subject_id")
    return events.set_column(place, "subject_id", pa.array(events["subject_id"].to_numpy() + by))


def _only(seen: Seen, model: Any) -> Any:
    subjects = seen.truth["subject_id"].to_numpy()
    return seen_through(
        seen._events, subjects, "whole_record", read_institutions(), model.catalogue
    )


def _nature(number: int, split: Any, n: int, seed: int, world: Any, setting: Any) -> pd.DataFrame:
    """Return what differs between people: drawn again as `magml.simulate` draws it, and checked."""
    key = (seed, 1 + SPLITS.index(split), number)
    rng = np.random.default_rng(np.random.SeedSequence(key)).spawn(4)[0]
    people = draw_patients(rng, draw_world(number, split), n, 730, setting).people
    if not np.array_equal(people.gfr, world.truth["gfr"]):
        raise RuntimeError("other people than magml.simulate draws: adapt this benchmark")
    own = {"age": people.age, "female": people.female.astype(float), "weight": people.weight,
           "genes": people.genes}  # fmt: skip
    own |= {f"setpoint {name}": value for name, value in people.setpoint.items()}
    return pd.DataFrame(own | {f"sensitivity {k}": v for k, v in people.sensitivity.items()})


def _stacked(frames: list[pd.DataFrame]) -> tuple[tuple[str, ...], np.ndarray]:
    whole = pd.concat(frames, ignore_index=True).fillna(0.0)
    return tuple(whole.columns), whole.to_numpy(np.float32)


if __name__ == "__main__":
    main()
