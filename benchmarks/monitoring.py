"""Monitoring measured on the demonstration's generator: false alarms, and planted changes found.

A model is trained on one synthetic hospital. Others that nothing distinguishes are monitored by
quarter: how many raise an alarm? Then changes are planted from July on: how many are found, how
often in the first quarter, how often before they were there? Prints JSON.

Usage: python benchmarks/monitoring.py [--runs 200] [--people 3000] [--planted 20]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from magml import load, monitor, train
from magml.bundle import Model
from magml.monitoring import Monitoring
from magml.monitoring.rows import monitored_rows
from magml.simulation import generate_hospital

JULY, QUARTER = pd.Timestamp(2024, 7, 1), "2024 Q3"
MAGNESIUM, POTASSIUM, ALBUMIN = "LOINC//19123-9", "LOINC//2823-3", "LOINC//1751-7"
Change = Callable[[pd.DataFrame, np.ndarray, np.random.Generator], pd.DataFrame]


def unit(events: pd.DataFrame, late: np.ndarray, _: np.random.Generator) -> pd.DataFrame:
    """Creatinine in umol/L at site A, still labelled mg/dL."""
    site = set(events.loc[events["code"] == "SITE//A", "subject_id"])
    rows = late & (events["code"] == "LOINC//2160-0") & events["subject_id"].isin(site)
    events.loc[rows, "numeric_value"] *= 88.4
    return events


def code(events: pd.DataFrame, late: np.ndarray, _: np.random.Generator) -> pd.DataFrame:
    """Albumin under a local code at site B."""
    site = set(events.loc[events["code"] == "SITE//B", "subject_id"])
    rows = late & (events["code"] == ALBUMIN) & events["subject_id"].isin(site)
    events.loc[rows, "code"] = "LOCAL//ALB-2"
    return events


def missing(events: pd.DataFrame, late: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Half of the people have no potassium."""
    people = events["subject_id"].to_numpy() % 2 == 0
    return events[~(late & (events["code"] == POTASSIUM) & people)]


def prevalence(events: pd.DataFrame, late: np.ndarray, _: np.random.Generator) -> pd.DataFrame:
    """Magnesium lower by 0.06 mmol/L in everybody."""
    rows = late & (events["code"] == MAGNESIUM)
    lower = np.where(events["unit"] == "mmol/L", 0.06, 0.06 * 2.4305)
    events.loc[rows, "numeric_value"] -= lower[rows]
    return events


#: What each change must be found as.
PLANTED: dict[str, tuple[Change, set[str]]] = {
    "unit": (unit, {"unit"}),
    "code": (code, {"recorded"}),
    "missing": (missing, {"missing", "recorded"}),
    "prevalence": (prevalence, {"calibration"}),
}


def hospital(people: int, seed: int) -> pd.DataFrame:
    return generate_hospital(people, seed=seed).events.to_pandas()


def watch(
    model: Model, events: pd.DataFrame, folder: Path, experiment: Path, own: bool = False
) -> Monitoring:
    """Monitor those who were tested against the training, or everybody against the first quarter.

    The training saw those who were tested; everybody else has lower risks.
    """
    data = folder / "events"
    data.mkdir(exist_ok=True)
    events.to_parquet(data / "events.parquet")
    if own:
        return monitor(
            model, experiment=experiment, data=data, every="quarter", reference_until="2024-04-01"
        )
    rows = monitored_rows(model, experiment=experiment, data=data)
    times = rows.events.connection.execute(
        f"SELECT subject_id, prediction_time FROM {rows.relation} ORDER BY row_id"
    ).df()
    labels = times.assign(boolean_value=rows.labels == 1)[~np.isnan(rows.labels)]
    return monitor(model, events=rows.events, labels=labels, every="quarter")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--planted", type=int, default=20)
    parser.add_argument("--people", type=int, default=3000)
    parser.add_argument("--train", type=int, default=6000)
    parser.add_argument("--seconds", type=float, default=800)
    chosen = parser.parse_args()
    stop = time.monotonic() + chosen.seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = generate_hospital(chosen.train, seed=1).write(folder / "records")
        experiment = Path(__file__).parent.parent / "experiments" / "demo.yaml"
        trained = train("demo", data=records, out=folder, quick=True, track=False)
        model = load(trained.bundle)
        found: dict[str, object] = {"features": len(model.features)}
        for drift, (change, kinds) in PLANTED.items():
            counts: Counter[str] = Counter()
            for seed in range(chosen.planted):
                events = hospital(chosen.people, 5_000 + seed)
                late = (events["time"] >= JULY).to_numpy()
                changed = change(events, late, np.random.default_rng(seed))
                done = watch(model, changed, folder, experiment)
                kind = [alarm for alarm in done.alarms if alarm.kind in kinds]
                counts["runs"] += 1
                counts["found"] += any(alarm.period >= QUARTER for alarm in kind)
                counts["found in the first quarter"] += any(a.period == QUARTER for a in kind)
                counts["alarm before it"] += any(a.period < QUARTER for a in done.alarms)
            found[drift] = dict(counts)
            print(drift, json.dumps(found[drift]), flush=True)
        for own in (False, True):
            alarms, runs, comparisons = 0, 0, 0
            told: Counter[str] = Counter()
            for seed in range(chosen.runs):
                if time.monotonic() > stop:
                    break
                events = hospital(chosen.people, 10_000 + seed)
                done = watch(model, events, folder, experiment, own)
                runs += 1
                alarms += bool(done.alarms)
                comparisons = done.comparisons
                told.update(f"{alarm.kind}: {alarm.what}" for alarm in done.findings)
            found["nothing changed" + (", own first quarter expected" if own else "")] = {
                "runs": runs, "runs with an alarm": alarms, "comparisons a run": comparisons,
                "alarms": dict(told),
            }  # fmt: skip
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
