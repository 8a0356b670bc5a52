"""Simulator recovery: do latent classes tell depletion better than each indicator alone?

In test worlds of the simulator everybody gets the imperfect indicators that an institution could
have, each with a stated error. Latent classes are found in them without any truth, and their
probability of the depleted class is compared with each indicator alone, and with the plain mean
of the standardised indicators, against the noise-free loading test (retention above 27.5%).
People whose filtration is below 60 are left out: the test is not valid there. Never clinical
performance.

Usage: python benchmarks/latent_status.py --worlds 24 --people 3000 --out latent.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

import magml
from magml.definitions import read_outcome
from magml.errors import CohortError
from magml.evaluation import auroc
from magml.files import atomic_file
from magml.outcomes import Measured, fit_classes
from magml.simulation.parameters import table_hash

VALID, MMOL, STARTS = 60.0, 24.305, 5
#: The error of each indicator: log SD of one measurement. Diet: within-person variation of one
#: 24-h recall, with a mean 8% under what was eaten (as the simulator records diet); urine:
#: day-to-day variation and incomplete collection; ionised: share of total serum between people
#: and assay; red cell: no mechanism in the simulator, assumed to follow the mobilisable pool.
ERRORS = {
    "magnesium_intake": 0.40,
    "urine_magnesium_24h": 0.30,
    "ionised_magnesium": 0.05,
    "red_cell_magnesium": 0.12,
    "serum_magnesium": 0.038,
}
UNITS = {"magnesium_intake": "mg/d", "urine_magnesium_24h": "mmol/d"}
#: Sets of indicators: the shipped definition, and parts of it.
SETS = {
    "all five": tuple(ERRORS),
    "without ionised": tuple(name for name in ERRORS if name != "ionised_magnesium"),
    "without red cell": tuple(name for name in ERRORS if name != "red_cell_magnesium"),
    "intake, urine, serum": ("magnesium_intake", "urine_magnesium_24h", "serum_magnesium"),
}


def indicators(truth: pd.DataFrame, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return one measurement of each indicator, shape (n,) each."""
    exact = {
        "magnesium_intake": 0.92 * truth["intake"] * MMOL,
        "urine_magnesium_24h": truth["urine"],
        "ionised_magnesium": 0.67 * truth["serum"],
        "red_cell_magnesium": 2.0 * (0.8 + 0.2 * (1.0 - truth["depletion"])),
        "serum_magnesium": truth["serum"],
    }
    return {
        name: np.asarray(exact[name]) * np.exp(rng.normal(0, error, len(truth)))
        for name, error in ERRORS.items()
    }


def judge(
    truth: pd.DataFrame, values: dict[str, np.ndarray], seed: int = 0
) -> list[dict[str, Any]]:
    """Return one row for each set of indicators: AUROC of the classes and of each rival."""
    depleted = truth["depleted"].to_numpy(dtype=bool)
    single = {name: _auroc(depleted, -column) for name, column in values.items()}
    shipped = read_outcome("latent_status")
    rows = []
    for name, measures in SETS.items():
        definition = shipped.model_copy(
            update={
                "starts": STARTS,
                "indicators": tuple(i for i in shipped.indicators if i.measure in measures),
            }
        )
        alone = {measure: single[measure] for measure in measures}
        columns = np.column_stack([values[measure] for measure in measures])
        mean = -((columns - columns.mean(axis=0)) / columns.std(axis=0)).mean(axis=1)
        row = {
            "set": name, "n": len(truth), "events": int(depleted.sum()), "alone": alone,
            "mean_score": _auroc(depleted, mean),
        }  # fmt: skip
        try:
            given = {
                measure: Measured(values[measure], UNITS.get(measure, "mmol/L"))
                for measure in measures
            }
            found = fit_classes(definition, given, seed=seed)
        except CohortError as error:
            rows.append({**row, "no_class": str(error)})
            continue
        rows.append({
            **row,
            "latent": _auroc(depleted, found.probability),
            "share": float(found.shares[found.depleted]),
            "entropy": found.entropy,
            "dependent": [list(pair) for pair in found.dependent],
        })  # fmt: skip
    return rows


def _auroc(depleted: np.ndarray, score: np.ndarray) -> float:
    # Ranks are as good as risks here, and lie inside 0 and 1.
    return auroc(depleted, (rankdata(score) - 0.5) / len(score))


def one_world(number: int, people: int) -> list[dict[str, Any]]:
    """Judge a test world."""
    truth = magml.simulate(people, 900 + number, world=number, split="test").truth
    truth = truth[truth["gfr"] >= VALID].reset_index(drop=True)
    rng = np.random.default_rng([20261130, number])
    return [{"world": number, **row} for row in judge(truth, indicators(truth, rng))]


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each set, means and spreads over worlds, and how often the classes win."""
    found = []
    for name in SETS:
        mine = [row for row in rows if row["set"] == name]
        fitted = [row for row in mine if "latent" in row]
        best = np.array([max(row["alone"].values()) for row in fitted])
        latent = np.array([row["latent"] for row in fitted])
        mean = np.array([row["mean_score"] for row in fitted])
        pairs = [tuple(pair) for row in fitted for pair in row["dependent"]]
        found.append({
            "set": name, "worlds": len(mine), "no_class": len(mine) - len(fitted),
            "latent": _spread(latent), "mean_score": _spread(mean),
            "alone": {
                measure: _spread(np.array([row["alone"][measure] for row in mine]))
                for measure in SETS[name]
            },
            "latent_less_best_alone": _spread(latent - best),
            "beats_every_single": int((latent > best).sum()),
            "beats_mean_score": int((latent > mean).sum()),
            "mean_score_beats_every_single": int((mean > best).sum()),
            "share": _spread(np.array([row["share"] for row in fitted])),
            "dependent": {f"{a} with {b}": pairs.count((a, b)) for a, b in sorted(set(pairs))},
        })  # fmt: skip
    return found


def _spread(values: np.ndarray) -> list[float]:
    """Return mean and SD."""
    return (
        [round(float(values.mean()), 4), round(float(values.std(ddof=1)), 4)] if len(values) else []
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=24)
    parser.add_argument("--people", type=int, default=3000)
    parser.add_argument("--out", type=Path, help="JSON; worlds that it holds are not made again")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if given.out is not None and given.out.is_file():
        held = json.loads(given.out.read_text(encoding="utf-8"))
        rows = held["rows"] if held["table"] == table_hash() else []
    for number in range(given.worlds):
        if any(row["world"] == number for row in rows):
            continue
        rows += one_world(number, given.people)
        found = {
            "table": table_hash(),
            "people": given.people,
            "summary": summary(rows),
            "rows": rows,
        }
        if given.out is not None:
            with atomic_file(given.out) as beside:
                beside.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
