"""Scoring many rows: a bundle against its boosters' own prediction and MLflow's pyfunc; streams.

    python benchmarks/scoring.py --rows 1e6 --json figures.jsonl

Feature rows: 300 columns, 30% missing, ten members of 160 trees of depth 4, two threads everywhere.
The limit is `inplace_predict` of every member, which gives log-odds alone; magml adds the mean, the
calibrated risk and the instability range. The pyfunc of the same bundle gets a tenth of the rows;
its seconds are given for all.

Streams: the shipped bundle scores records that arrive as Arrow batches. Peak memory is that of the
process; it must not grow with the number of records.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from timing import compare, keep, once, table
from training import COLUMNS, matrix

LIMIT, SCORED, PYFUNC = "inplace_predict of the members", "magml", "MLflow pyfunc of the bundle"
STREAM = "stream of {:,.0f} events"
TENTH, THREADS = 10, 2


def rows_of(way: str, rows: int) -> None:
    """Time a way of scoring feature rows."""
    from made import bundle

    import magml

    with tempfile.TemporaryDirectory() as folder:
        place = bundle(Path(folder) / "bundle", COLUMNS, rows=4_000)
        model = magml.load(place, threads=THREADS)
        if way == PYFUNC:
            return once(pyfunc(place, rows // TENTH))
    X = matrix(rows)[0]
    boosters = model.bag.boosters

    def limit() -> None:
        for booster in boosters:
            booster.set_param({"nthread": THREADS})
            booster.inplace_predict(X, predict_type="margin", missing=np.nan)

    def scored() -> dict[str, float]:
        return {"mean_risk": float(model.score_matrix(X).risk.mean())}

    return once(limit if way == LIMIT else scored)


def pyfunc(place: Path, rows: int) -> Any:
    """Return a call of the registered model on a table of feature rows."""
    import mlflow
    import pandas as pd

    import magml
    from magml.experiments import pyfunc_model

    loaded = mlflow.pyfunc.PythonModel
    model = pyfunc_model.BundleModel()
    assert isinstance(model, loaded)
    saved = place.parent / "registered"
    mlflow.pyfunc.save_model(
        saved,
        python_model=pyfunc_model.__file__,
        artifacts={"bundle": str(place)},
        pip_requirements=["magml"],
    )
    served = mlflow.pyfunc.load_model(str(saved))
    names = list(magml.load(place).features)
    frame = pd.DataFrame(matrix(rows)[0], columns=names)
    return lambda: {"mean_risk": float(served.predict(frame)["risk"].mean())}


def streamed(events: int) -> None:
    """Time the scoring of records that arrive in batches."""
    import magml

    model = magml.load("low_body_status")
    at = np.datetime64("2026-01-01T00:00:00").astype(object)

    def run() -> dict[str, float]:
        people = sum(b.num_rows for b in model.score_stream(arriving(events), at, threads=THREADS))
        return {"people": people}

    once(run)


def arriving(events: int) -> Iterator[Any]:
    """Yield batches of records: simulated patients, again and again under other ids."""
    import pyarrow as pa

    from magml.simulation.world import simulate

    table = simulate(100, 7, world=1_047).events.sort_by("subject_id")
    subject = table.schema.get_field_index("subject_id")
    ids = table.column(subject).to_numpy()
    for copy in range(-(-events // table.num_rows)):
        own = table.set_column(subject, "subject_id", pa.array(ids + 1_000 * copy))
        yield from own.slice(0, events - copy * table.num_rows).to_batches(max_chunksize=10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--events", type=float, nargs="*", default=[1e6, 4e6])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a size that ends in three minutes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rows, chosen.events, chosen.repeat = 5e4, [1e5, 4e5], 1
    if chosen.one:
        if chosen.one in (LIMIT, SCORED, PYFUNC):
            rows_of(chosen.one, int(chosen.rows))
        else:
            streamed(int(chosen.one))
        return
    settings = ["--rows", str(chosen.rows)]
    figures = compare(__file__, [LIMIT, SCORED, PYFUNC], chosen.repeat, settings)
    figures[PYFUNC]["seconds"] *= TENTH
    figures[PYFUNC]["processor"] *= TENTH
    print(f"{chosen.rows:,.0f} rows x {COLUMNS}, 10 members of 160 trees, {THREADS} threads")
    print(table(figures, LIMIT))
    keep(chosen.json, "scoring", {"rows": chosen.rows, "columns": COLUMNS, "trees": 1600}, figures)
    sizes = [str(int(size)) for size in chosen.events]
    if sizes:
        streams = compare(__file__, sizes, chosen.repeat, settings)
        named = {STREAM.format(float(size)): found for size, found in streams.items()}
        print(table(named, next(iter(named))))
        keep(chosen.json, "streaming", {"events": chosen.events}, named)


if __name__ == "__main__":
    main()
