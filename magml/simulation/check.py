"""Simulated against published: each experiment repeated in the simulator, with its tolerance.

The tolerance is the publication's own uncertainty (an interval, or what a sample of its size
allows), never what the simulator happens to give. A row that fails is shown as failing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from magml.simulation.parameters import Parameters, read_parameters
from magml.simulation.published import EXPERIMENTS


@dataclass(frozen=True)
class Row:
    """One experiment: what was published, what the simulator gives, and what is accepted."""

    name: str
    published: str
    simulated: float
    tolerance: tuple[float, float]
    passed: bool
    source: str


def check_simulator(
    seed: int = 0, *, n: int = 4000, parameters: Parameters | None = None
) -> list[Row]:
    """Repeat published experiments in the simulator.

    Parameters
    ----------
    seed
        Seed of the people; the parameters are the central ones unless given.
    n
        People of each cohort: many, so that what is compared is the simulator and not chance.
    parameters
        Parameters of another world, or changed ones.

    Returns
    -------
    list of Row
    """
    world = parameters or read_parameters()
    # A stream for each experiment, so that one more changes no other.
    streams = np.random.default_rng(seed).spawn(len(EXPERIMENTS))
    rows: list[Row] = []
    for experiment, stream in zip(EXPERIMENTS, streams, strict=True):
        for name, published, value, low, high, source in experiment(stream, world, n):
            passed = bool(low <= value <= high)
            rows.append(Row(name, published, float(value), (low, high), passed, source))
    return rows


def to_dict(rows: list[Row]) -> dict[str, Any]:
    """Return rows as one JSON-safe object."""
    plain = [
        {**asdict(row), "tolerance": list(row.tolerance),
         "simulated": row.simulated if np.isfinite(row.simulated) else None}
        for row in rows
    ]  # fmt: skip
    return {"rows": plain, "passed": sum(row.passed for row in rows), "total": len(rows)}


def to_text(rows: list[Row]) -> str:
    """Return rows as a table for a terminal."""
    width = max(len(row.name) for row in rows)
    lines = [f"{'':5}{'':{width}}  {'simulated':>10}  accepted            published"]
    for row in rows:
        mark = "ok   " if row.passed else "FAIL "
        accepted = f"{row.tolerance[0]:.4g} to {row.tolerance[1]:.4g}"
        lines.append(
            f"{mark}{row.name:{width}}  {row.simulated:10.3g}  {accepted:18}  {row.published}"
            f" ({row.source})"
        )
    lines.append(f"{sum(row.passed for row in rows)} of {len(rows)} within their tolerance")
    return "\n".join(lines)
