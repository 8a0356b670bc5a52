"""How long a simulated institution takes: 20,000 adults over three years by default.

Usage: python benchmarks/simulation.py [--people N] [--days N]
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

import magml
from magml.simulation.cohorts import outpatients
from magml.simulation.parameters import draw_world
from magml.simulation.physiology import simulate_physiology


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=1_095)
    chosen = parser.parse_args()
    world = draw_world(0, "development")
    cohort = outpatients(np.random.default_rng(1), world, chosen.people)
    started = time.perf_counter()
    course = simulate_physiology(
        cohort.people, cohort.exposures, world, chosen.days, record_every=30
    )
    bodies = time.perf_counter() - started
    started = time.perf_counter()
    made = magml.simulate(chosen.people, 1, world=0, split="development", days=chosen.days)
    print(json.dumps({
        "people": chosen.people, "days": chosen.days,
        "seconds_bodies_alone": round(bodies, 1), "imbalance": course.imbalance,
        "seconds_records_and_truth": round(time.perf_counter() - started, 1),
        "events": made.events.num_rows,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
