"""A cost model fitted on figures of the other benchmarks: estimate time and memory before a run.

    python benchmarks/cost.py figures.jsonl                   # coefficients and residuals
    python benchmarks/cost.py figures.jsonl --held-out 2e8    # points of so many rows only check

Each line of the file is a benchmark's record (``--json``). A cost is a sum of terms that follow
from what the work is (values binned, histograms filled, nodes visited), each with a coefficient of
at least 0, fitted by least squares on relative errors; medians of equal runs are taken first. The
coefficients are those of one machine: another one is faster or slower by a factor that any single
benchmark shows, since ratios hardly differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

Sizes = Mapping[str, float]
Terms = Mapping[str, Callable[[Sizes], float]]


@dataclass(frozen=True)
class Cost:
    """What one kind of work costs: which figures, and the terms they are a sum of."""

    name: str
    what: str
    way: str
    quantity: str
    terms: Terms


def _cells(s: Sizes) -> float:
    return s["rows"] * s["columns"] / 1e6


COSTS = (
    Cost(
        "features, seconds", "features", "magml", "seconds",
        {"start": lambda s: 1.0,
         "million events": lambda s: s["rows"] / 1e6,
         "million cells (prediction times x features)":
             lambda s: s["people"] * s.get("times", 1) * s["features"] / 1e6},
    ),
    Cost(
        "features, GB", "features", "magml", "peak_gb",
        {"start": lambda s: 1.0,
         "million cells": lambda s: s["people"] * s.get("times", 1) * s["features"] / 1e6},
    ),
    Cost(
        "training a member, seconds", "training", "one member", "seconds",
        {"million cells (rows x columns)": _cells,
         "thousand trees x million cells": lambda s: s["rounds"] * _cells(s) / 1e3,
         "thousand trees x thousand columns": lambda s: s["rounds"] * s["columns"] / 1e6,
         "thousand trees": lambda s: s["rounds"] / 1e3},
    ),
    Cost(
        "training a member, GB", "training", "one member", "peak_gb",
        {"start": lambda s: 1.0, "million cells": _cells},
    ),
    Cost(
        "scoring, seconds", "scoring", "magml", "seconds",
        {"million cells": _cells,
         "million rows x thousand trees": lambda s: s["rows"] * s["trees"] / 1e9},
    ),
    Cost(
        "explaining in bulk, seconds", "explaining", "magml, contributions", "seconds",
        {"thousand trees x 2^depth": lambda s: s["trees"] / 1e3 * 2 ** s["depth"],
         "million rows x thousand trees x 2^depth":
             lambda s: s["rows"] * s["trees"] / 1e9 * 2 ** s["depth"]},
    ),
    Cost(
        "explaining by rows, seconds", "explaining",
        "XGBoost pred_contribs, members in one booster", "seconds",
        {"million rows x thousand trees x depth^2 x 2^depth":
             lambda s: s["rows"] * s["trees"] / 1e9 * s["depth"] ** 2 * 2 ** s["depth"]},
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """Coefficients of a cost's terms, and how far the points are from them.

    Terms that grew together in all points are not told apart: their sum holds where they go on
    growing together.
    """

    coefficients: dict[str, float]
    told_apart: bool
    points: int
    typical: float
    largest: float

    def estimate(self, cost: Cost, sizes: Sizes) -> float:
        """Return the cost of other sizes."""
        return sum(self.coefficients[name] * term(sizes) for name, term in cost.terms.items())


def points_of(cost: Cost, records: list[dict[str, object]]) -> list[tuple[Sizes, float]]:
    """Return the sizes and the median of each set of equal runs."""
    found: dict[str, list[float]] = defaultdict(list)
    for record in records:
        figures = record["figures"].get(cost.way)  # type: ignore[attr-defined]
        if record["what"] == cost.what and figures is not None:
            numbers = {
                name: value
                for name, value in record["settings"].items()  # type: ignore[attr-defined]
                if isinstance(value, int | float) and name != "repeat"
            }
            found[json.dumps(numbers, sort_keys=True)].append(figures[cost.quantity])
    return [(json.loads(sizes), statistics.median(values)) for sizes, values in found.items()]


def fit(cost: Cost, points: list[tuple[Sizes, float]]) -> Fit:
    """Return the coefficients of least relative error.

    Raises
    ------
    ValueError
        If there are fewer points than terms.
    """
    if len(points) < len(cost.terms):
        raise ValueError(f"{len(points)} points for {len(cost.terms)} terms of {cost.name}")
    design = np.array([[term(sizes) for term in cost.terms.values()] for sizes, _ in points])
    values = np.array([value for _, value in points])
    found, _ = nnls(design / values[:, None], np.ones(len(values)))
    off = np.abs(design @ found / values - 1)
    names = dict(zip(cost.terms, found.tolist(), strict=True))
    told_apart = np.linalg.matrix_rank(design / np.linalg.norm(design, axis=0)) == len(names)
    return Fit(names, bool(told_apart), len(points), float(np.median(off)), float(off.max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", type=Path, nargs="+", help="files of JSON lines")
    parser.add_argument("--held-out", type=float, help="rows from which on points only check")
    chosen = parser.parse_args()
    records = [json.loads(x) for path in chosen.figures for x in path.read_text().splitlines()]
    for cost in COSTS:
        points = points_of(cost, records)
        limit = chosen.held_out or float("inf")
        used = [point for point in points if point[0]["rows"] < limit]
        try:
            found = fit(cost, used)
        except ValueError as error:
            print(f"{cost.name}: not fitted ({error})")
            continue
        print(
            f"{cost.name}: {found.points} points, off by {found.typical:.0%} (median) "
            f"and {found.largest:.0%} (largest)"
            + ("" if found.told_apart else "; the sizes do not tell all terms apart")
        )
        for name, value in found.coefficients.items():
            print(f"    {value:10.4g}  {name}")
        for sizes, value in points:
            if sizes["rows"] >= limit:
                guess = found.estimate(cost, sizes)
                print(
                    f"    held out, {sizes['rows']:,.0f} rows: {value:.4g}, estimated {guess:.4g} "
                    f"({guess / value - 1:+.0%})"
                )


if __name__ == "__main__":
    main()
