"""Do corrected intervals cover the whole population, where only some people were tested?

``python -m benchmarks.ascertainment --kind simulated --worlds 40 --cache worlds --out found.json``
takes worlds in which everybody's outcome is known, hides it from those who were not tested,
corrects, and counts how often the intervals hold the truth. Started again, it goes on where it
stopped. Kinds: ``simulated``, ``simulated_hidden_serum``, ``simulated_hidden_outcome`` and
``simulated_beyond`` (:mod:`benchmarks.tested_worlds`: hospitals of the simulator), ``recorded`` and
``hidden`` (the generator below). A world is anything that :class:`World` describes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.tested_worlds import draw_tested, people_of
from magml.ascertainment import ESTIMATES, correct
from magml.definitions.experiment import Ascertainment
from magml.evaluation import auroc, calibration_intercept
from magml.files import atomic_file
from magml.simulation.parameters import Split

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
        for estimate in ESTIMATES:
            at, low, high = found.value(metric, estimate=estimate)
            row |= {
                estimate: at,
                f"{estimate}_covers": float(low <= value <= high),
                f"{estimate}_width": high - low,
            }
        around = table[table["metric"] == metric]
        row["range_covers"] = float(around["low"].min() <= value <= around["high"].max())
        row["values_cover"] = float(around["value"].min() <= value <= around["value"].max())
        row["range_width"] = float(around["high"].max() - around["low"].min())
        rows[metric] = row
    size = {"n": len(world.tested), "tested": int(world.tested.sum())}
    return rows | {"about": {**size, "events": int((world.tested & world.outcome).sum())}}


def simulated_world(
    seed: int, split: Split = "test", hidden: str = "", cache: Path | None = None
) -> World:
    """Return a hospital of the simulator, in which testing depends on the records.

    `hidden` adds a reason that nobody recorded: ``serum`` (true serum magnesium itself, at odds
    ratios of 1.15 to 1.6 for each 0.1 mmol/L), ``outcome`` (odds ratios of 1.25 to 2.5), or
    ``beyond``, the outcome at odds ratios of 4 to 6, outside the range of the analysis.
    """
    made = people_of(seed, split, folder=cache)
    rng = np.random.default_rng([20261201, seed, *hidden.encode()])
    low, high = {"serum": (1.15, 1.6), "beyond": (4.0, 6.0)}.get(hidden, (1.25, 2.5))
    size = float(rng.uniform(np.log(low), np.log(high)))
    reason = ("serum" if hidden == "serum" else "outcome", size) if hidden else None
    return World(made.features, draw_tested(made, rng, reason), made.low, made.risk)


def worlds_of(kind: str, split: Split = "test", cache: Path | None = None) -> Worlds:
    """Return the generator of a kind of worlds."""
    if kind in ("recorded", "hidden"):
        return recorded_world if kind == "recorded" else hidden_world
    hidden = kind.removeprefix("simulated").removeprefix("_").removeprefix("hidden_")
    return partial(simulated_world, split=split, hidden=hidden, cache=cache)


def run(
    worlds: Worlds = recorded_world,
    count: int = 40,
    replicates: int = 200,
    first: int = 0,
) -> dict[str, dict[str, float]]:
    """Return, by metric, in how many of `count` worlds each interval holds the truth."""
    settings = Ascertainment(replicates=replicates)
    return summary([judge(seed, worlds, settings) for seed in range(first, first + count)])


def summary(judged: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return, by metric, how many intervals hold the truth, mean errors and mean widths."""
    found = {}
    for metric in METRICS:
        rows = [one[metric] for one in judged]
        found[metric] = {
            name: float(sum(row[name] for row in rows)) for name in rows[0] if "cover" in name
        }
        for estimate in ESTIMATES:
            errors = np.array([row[estimate] - row["truth"] for row in rows])
            found[metric] |= {
                f"{estimate}_bias": float(errors.mean()),
                f"{estimate}_error": float(np.sqrt((errors**2).mean())),
                f"{estimate}_width": float(np.mean([row[f"{estimate}_width"] for row in rows])),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="simulated")
    parser.add_argument("--split", default="test", choices=("development", "test"))
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--cache", type=Path, help="folder for simulated people, made once")
    parser.add_argument("--out", type=Path, help="JSON; worlds that it holds are not judged again")
    parser.add_argument("--summary", type=Path, nargs="+", help="sum up such files, judge nothing")
    given = parser.parse_args()
    if given.summary:
        parts = [json.loads(path.read_text(encoding="utf-8")) for path in given.summary]
        together = {seed: one for part in parts for seed, one in part["worlds"].items()}
        print(json.dumps({"n": len(together), **summary(list(together.values()))}, indent=1))
        return
    worlds = worlds_of(given.kind, given.split, given.cache)
    settings = Ascertainment(replicates=given.replicates)
    about = {"kind": given.kind, "split": given.split, "replicates": given.replicates}
    judged: dict[str, dict[str, dict[str, float]]] = {}
    if given.out is not None and given.out.is_file():
        held = json.loads(given.out.read_text(encoding="utf-8"))
        judged = held["worlds"] if held["about"] == about else {}
    for seed in range(given.first, given.first + given.worlds):
        if str(seed) in judged:
            continue
        judged[str(seed)] = judge(seed, worlds, settings)
        if given.out is not None:
            found = {"about": about, "summary": summary(list(judged.values())), "worlds": judged}
            with atomic_file(given.out) as beside:
                beside.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({**about, "n": len(judged), **summary(list(judged.values()))}, indent=1))


if __name__ == "__main__":
    main()
