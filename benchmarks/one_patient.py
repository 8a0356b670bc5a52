"""One patient, warm, in one process: from 500 raw records to a risk and its exact reasons.

    python benchmarks/one_patient.py --calls 1000 --json figures.jsonl

Two models: the shipped one of body status, and one of hypomagnesemia with every feature of the
catalogue (ten members of 160 trees of depth 4). 50 patients take turns; their records are of every
kind in the catalogue. Each call does all of it again: nothing of a patient is kept.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from timing import keep, others_during

PATIENTS, EVENTS, WARM = 50, 500, 60
#: Where the time goes: functions by stage. What one calls of another stage counts there.
STAGES = {
    "reading the tables": ("magml.features.few:read_few",),
    "mapping codes and units": (
        "magml.features.few:FewRecords._usable", "magml.features.few:FewRecords._mapped",
        "magml.features.mapped:Mapping.rows",
    ),
    "windows": ("magml.features.filling:aggregate",),
    "matrix": ("magml.features.few:FewRecords.matrix", "magml.features.filling:Filling.range"),
    "account of the mapping": ("magml.features.concepts:ConceptMap.report",),
    "prediction and SHAP": ("magml.models.tree_shap:member_contributions",),
    "agreement and places": (
        "magml.explanations.shap_values:agreement", "magml.explanations.shap_values:rank_range",
        "magml.explanations.shap_values:sum_groups",
    ),
    "assembling": ("magml.explanations.explain:explain",),
    "evidence": ("magml.explanations.evidence:evidence_of",),
    "table of reasons": ("magml.explanations.explain:Explanation.reasons",),
}  # fmt: skip


class Stopwatch:
    """Adds up each stage's own time, without that of stages within it."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._open: list[list[Any]] = []

    def watch(self, stage: str, place: str) -> None:
        """Put a stopwatch around a function."""
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, import_module(module))
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            self._open.append([stage, 0.0])
            started = time.perf_counter()
            try:
                found = function(*arguments, **options)
                return list(found) if name == "aggregate" else found  # a generator works later
            finally:
                whole = time.perf_counter() - started
                self.spent[stage] += whole - self._open.pop()[1]
                if self._open:
                    self._open[-1][1] += whole

        setattr(owner, name, timed)


def timed(call: Callable[[int], Any], calls: int) -> np.ndarray:
    """Return the milliseconds of each of many calls, and the share that others took."""
    for number in range(WARM):
        call(number)
    found = np.empty(calls)
    for number in range(calls):
        started = time.perf_counter()
        call(number)
        found[number] = time.perf_counter() - started
    return 1000 * found


def measure(model: Any, calls: int, repeat: int) -> dict[str, dict[str, float]]:
    """Return the medians of a model's figures over `repeat` turns of all ways."""
    from made import patient

    from magml.explanations.explain import explain

    rng = np.random.default_rng(1)
    patients = [patient(rng, EVENTS) for _ in range(PATIENTS)]
    rows = [model.build(*given) for given in patients]
    ways = {
        "records to risk": lambda k: model.score(*patients[k % PATIENTS]),
        "records to risk and reasons": lambda k: model.explain(
            *patients[k % PATIENTS], evidence=False
        ).reasons(10),
        "records to risk, reasons and evidence": lambda k: model.explain(
            *patients[k % PATIENTS]
        ).reasons(10),
        "feature row to risk and reasons": lambda k: explain(model, rows[k % PATIENTS]).reasons(10),
    }
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            milliseconds, others = others_during(lambda way=way: timed(way, calls))
            middle, most = np.percentile(milliseconds, [50, 99])
            turns[name].append({"median_ms": middle, "p99_ms": most, "others": others})
    return {
        name: {key: statistics.median(turn[key] for turn in found) for key in found[0]}
        for name, found in turns.items()
    }


def stages(model: Any, calls: int) -> dict[str, float]:
    """Return the milliseconds of each stage of a call with evidence."""
    from made import patient

    rng = np.random.default_rng(1)
    patients = [patient(rng, EVENTS) for _ in range(PATIENTS)]
    for given in patients:
        model.explain(*given).reasons(10)
    watch = Stopwatch()
    for stage, places in STAGES.items():
        for place in places:
            watch.watch(stage, place)
    started = time.perf_counter()
    for number in range(calls):
        model.explain(*patients[number % PATIENTS]).reasons(10)
    whole = 1000 * (time.perf_counter() - started) / calls
    found = {stage: 1000 * watch.spent[stage] / calls for stage in STAGES}
    return {**found, "else": whole - sum(found.values()), "whole": whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="members worked on at once")
    parser.add_argument("--quick", action="store_true", help="a size that ends in three minutes")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    calls, repeat = (100, 1) if chosen.quick else (chosen.calls, chosen.repeat)
    from made import bundle

    import magml

    with tempfile.TemporaryDirectory() as folder:
        models = {
            "low_body_status": magml.load("low_body_status", threads=chosen.threads),
            "hypomagnesemia, whole catalogue": magml.load(
                bundle(Path(folder) / "bundle"), threads=chosen.threads
            ),
        }
    for name, model in models.items():
        figures = measure(model, calls, repeat)
        print(
            f"{name}: {len(model.features)} features, {len(model.bag.boosters)} members, "
            f"{EVENTS} records, {repeat} x {calls} calls, {chosen.threads} thread(s)"
        )
        print(f"{'':40s}{'median ms':>10s}{'p99 ms':>8s}{'others':>8s}")
        for way, found in figures.items():
            print(
                f"{way:40s}{found['median_ms']:10.1f}{found['p99_ms']:8.1f}{found['others']:8.0%}"
            )
        keep(chosen.json, "one patient", {"model": name, "calls": calls, "events": EVENTS}, figures)
    for name, model in models.items():  # last, as the stopwatch stays
        parts = stages(model, calls)
        print(f"{name}: where the time goes, ms a call")
        for stage, spent in parts.items():
            print(f"{stage:40s}{spent:10.2f}{spent / parts['whole']:8.0%}")


if __name__ == "__main__":
    main()
