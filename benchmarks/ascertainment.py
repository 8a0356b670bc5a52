"""Do corrected intervals cover the whole population, where only some people were tested?

``python benchmarks/ascertainment.py --worlds 40`` makes worlds in which everybody's outcome is
known, hides it from those who were not tested, corrects, and counts how often the intervals hold
the truth. A world is anything that :data:`World` describes, so that records of a simulator can
take the place of the generator below: ``run(worlds=my_world)``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from magml.ascertainment import correct
from magml.definitions.experiment import Ascertainment
from magml.evaluation import auroc, calibration_intercept

METRICS = ("prevalence", "auroc", "calibration_intercept")


@dataclass(frozen=True, eq=False)
class World:
    """Everybody of a target population, the outcome of the untested included.

    Attributes
    ----------
    features
        What was recorded before the test, shape (n, p), with gaps.
    tested
        Who was tested, shape (n,).
    outcome
        The outcome of everybody, tested or not, shape (n,).
    risk
        Risks by a model that saw none of these people, shape (n,).
    """

    features: np.ndarray
    tested: np.ndarray
    outcome: np.ndarray
    risk: np.ndarray


Worlds = Callable[[int], World]


def expit(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def recorded_world(seed: int, n: int = 3000, hidden: float = 0.0) -> World:
    """Return a world of its own coefficients, in which testing depends on the records.

    Both the outcome and testing bend with age and depend on a drug, a laboratory value that is
    missing for some, and its being missing. With `hidden`, testing also depends on the outcome
    itself (a complaint that nobody wrote down): the log odds ratio of being tested.
    """
    rng = np.random.default_rng([20261124, seed])
    age = rng.normal(0, 1, n)
    drug = rng.random(n) < expit(-0.8 + 0.5 * age)
    lab = rng.normal(-0.4 * drug, 1, n)
    noise = rng.normal(size=(n, 4))
    effect = rng.normal([0.5, 0.8, -0.6, 0.25], 0.15)
    odds = -2.2 + effect @ np.vstack([age, drug, lab, age**2 - 1])
    outcome = rng.random(n) < expit(odds)
    gaps = rng.random(n) < expit(-1.2 - 0.6 * drug)
    chosen = rng.normal([0.4, 0.9, -0.5, 0.3], 0.1)
    seen = np.where(gaps, 0.0, lab)
    asked = -1.3 + chosen @ np.vstack([age, drug, seen, age**2 - 1]) - 0.5 * gaps
    tested = rng.random(n) < expit(asked + hidden * (outcome - outcome.mean()))
    # A model made elsewhere: it ranks well, and its risks are somewhat too low and too extreme.
    risk = expit(-2.6 + 1.15 * (effect @ np.vstack([age, drug, seen, 0 * age])))
    features = np.column_stack([age, drug, np.where(gaps, np.nan, lab), noise])
    return World(features, tested, outcome, risk)


def hidden_world(seed: int, n: int = 3000) -> World:
    """Return a world in which the tested have 1.25 to 2.5 times the odds of the outcome."""
    size = np.random.default_rng([20261125, seed]).uniform(np.log(1.25), np.log(2.5))
    return recorded_world(seed + 10_000, n, hidden=float(size))


def truth(world: World) -> dict[str, float]:
    """Return the figures of everybody."""
    return {
        "prevalence": float(world.outcome.mean()),
        "auroc": auroc(world.outcome, world.risk),
        "calibration_intercept": calibration_intercept(world.outcome, world.risk),
    }


def judge(seed: int, worlds: Worlds, settings: Ascertainment) -> dict[str, dict[str, float]]:
    """Correct one world, and compare with everybody."""
    world = worlds(seed)
    found = correct(
        world.features,
        world.tested,
        np.where(world.tested, world.outcome, np.nan),
        {"model": world.risk},
        persons=np.arange(len(world.tested)),
        settings=settings,
        seed=seed,
    )
    table = found.sensitivity
    rows = {}
    for metric, value in truth(world).items():
        row: dict[str, float] = {"truth": value}
        for estimate in ("raw", "weighted", "robust"):
            at, low, high = found.value(metric, estimate=estimate)
            row |= {estimate: at, f"{estimate}_covers": float(low <= value <= high)}
        around = table[table["metric"] == metric]
        row["range_covers"] = float(around["low"].min() <= value <= around["high"].max())
        row["values_cover"] = float(around["value"].min() <= value <= around["value"].max())
        rows[metric] = row
    return rows


def run(
    worlds: Worlds = recorded_world,
    count: int = 40,
    replicates: int = 200,
    processes: int = 1,
    first: int = 0,
) -> dict[str, dict[str, float]]:
    """Return, by metric, in how many of `count` worlds each interval holds the truth.

    Also the mean error of each estimate (`raw_bias`, ...).
    """
    settings = Ascertainment(replicates=replicates)
    work = partial(judge, worlds=worlds, settings=settings)
    seeds = range(first, first + count)
    if processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            judged = list(pool.map(work, seeds))
    else:
        judged = [work(seed) for seed in seeds]
    found = {}
    for metric in METRICS:
        rows = [one[metric] for one in judged]
        found[metric] = {
            name: float(sum(row[name] for row in rows)) for name in rows[0] if "cover" in name
        } | {
            f"{estimate}_bias": float(np.mean([row[estimate] - row["truth"] for row in rows]))
            for estimate in ("raw", "weighted", "robust")
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = {
        name: run(worlds, given.worlds, given.replicates, given.processes)
        for name, worlds in (("recorded", recorded_world), ("hidden", hidden_world))
    }
    text = json.dumps({"worlds": given.worlds, "replicates": given.replicates, **found}, indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
