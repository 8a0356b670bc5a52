"""The same features on three engines: embedded DuckDB, PostgreSQL and a Spark local cluster;
and from the files themselves.

    python benchmarks/engines.py --rows 1e6 --json build/benchmarks.jsonl

All features of the shipped catalogue, two prediction times a person. Every engine has the events
in its own store (Parquet for DuckDB and Spark, a table in PostgreSQL) and takes its turn `--repeat`
times; medians and their ratios count. Each matrix is compared with DuckDB's: counts and times must
be equal, other values within 1e-6 relative or 1e-9 absolute. Then Spark runs once more, and one of
its executors is killed in the middle with SIGKILL; its matrix is compared as well.

PostgreSQL is a cluster of the run's own in its default settings, Spark `local-cluster[2,1,2048]`:
a master and two workers on this machine, each executor a Java process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from generate_events import generate

from magml import postgres
from magml.definitions import read_catalogue
from magml.engines.build import build_matrix as on_engine
from magml.events import read_events, read_prediction_times
from magml.features import Plan, build_matrix, compile_plan
from magml.features.matrix import FeatureMatrix

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.engine_parts import executors, to_postgres
from tests.review_parts import postgresql
from tests.test_oracle import EXACT


def compared(plan: Plan, found: FeatureMatrix, own: FeatureMatrix) -> dict[str, float]:
    """Return the largest differences between two matrices, and how many values are wrong."""
    catalogue, exact = read_catalogue(), []
    for name in plan.features:
        feature = catalogue.features[name]
        exact.append(not feature.derived and feature.statistic in EXACT)
    chosen = np.array(exact)
    a, b = found.values.astype(np.float64), own.values.astype(np.float64)
    missing = np.isnan(a) != np.isnan(b)
    off = np.abs(a - b)
    near = np.isclose(a, b, rtol=1e-6, atol=1e-9, equal_nan=True)
    scale = np.maximum(np.abs(b), 1e-3)
    return {
        "values": int(a.size),
        "exact_values": int(a[:, chosen].size),
        "exact_wrong": int((missing | (off > 0))[:, chosen].sum()),
        "missing_wrong": int(missing.sum()),
        "beyond_tolerance": int((~near).sum()),
        "largest_relative": float(np.nanmax(off / scale, initial=0.0)),
        "account_differs": int(found.report != own.report or (found.empty != own.empty).any()),
    }


@contextmanager
def spark_session() -> Iterator[Any]:
    """Yield a session on two executors, each a process of its own."""
    from magml.spark import local_session

    session = local_session(
        "local-cluster[2,1,2048]",
        spark__driver__memory="2g",
        spark__executor__memory="2g",
        spark__sql__shuffle__partitions="8",
    )
    session.sparkContext.setLogLevel("OFF")
    try:
        yield session
    finally:
        session.stop()


def with_a_kill(session: Any, run: Callable[[], FeatureMatrix], after: float) -> FeatureMatrix:
    """Run, and kill one executor after so many seconds."""
    before = executors(session)

    def kill() -> None:
        os.kill(before[0], signal.SIGKILL)
        print(f"killed executor {before[0]} of {before} after {after:.1f} s", flush=True)

    timer = threading.Timer(after, kill)
    timer.start()
    found = run()
    if timer.is_alive():
        raise SystemExit("the run had ended before an executor was killed")
    now = executors(session)
    print(f"executors now {now}: the killed one was {'not ' * (before[0] in now)}replaced")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="append the figures to this file")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="magml-engines-")))
        generate(folder, int(options.rows), times_each=2)
        run(folder, options, stack)


def run(folder: Path, options: argparse.Namespace, stack: ExitStack) -> None:
    import psycopg

    import magml.spark

    path, at = folder / "events.parquet", folder / "prediction_times.parquet"
    plan = compile_plan(read_catalogue())
    url = stack.enter_context(postgresql())
    connection = stack.enter_context(psycopg.connect(url, autocommit=True))
    to_postgres(connection, pq.read_table(path), "events")
    connection.execute("ANALYZE events")
    session = stack.enter_context(spark_session())
    there, cluster = postgres.events(connection, "events"), magml.spark.events(session, str(path))

    def embedded(*, as_files: bool) -> FeatureMatrix:
        events = read_events(path)
        relation = read_prediction_times(at, events.connection, events)
        if not as_files:  # then the engine reads them
            events = replace(events, plain=("", ()))
        return build_matrix(plan, events, relation, strict=False)

    ways: dict[str, Callable[[], FeatureMatrix]] = {
        "DuckDB, embedded": lambda: embedded(as_files=False),
        "Parquet files without an engine": lambda: embedded(as_files=True),
        "PostgreSQL": lambda: on_engine(plan, there, at, strict=False),
        "Spark, local cluster": lambda: on_engine(plan, cluster, at, strict=False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    figures: dict[str, dict[str, float]] = {name: {} for name in ways}
    own = embedded(as_files=False)
    for turn in range(options.repeat + 1):  # the first turn warms up, and does not count
        for name, way in ways.items():
            load, start = os.getloadavg()[0], time.perf_counter()
            found = way()
            took = time.perf_counter() - start
            turned = compared(plan, found, own)
            figures[name] = {k: max(v, figures[name].get(k, v)) for k, v in turned.items()}
            print(f"turn {turn}: {name} {took:.2f} s, load before {load:.1f}", flush=True)
            if not turn:
                print(f"        {figures[name]}", flush=True)
            if turn:
                seconds[name].append(took)
    base = statistics.median(seconds["DuckDB, embedded"])
    for name in ways:
        median = statistics.median(seconds[name])
        figures[name] |= {"seconds": median, "ratio": median / base}
    after = statistics.median(seconds["Spark, local cluster"]) / 2
    killed = with_a_kill(session, ways["Spark, local cluster"], after)
    figures["Spark, an executor killed"] = compared(plan, killed, own)
    print(
        f"{options.rows:,.0f} rows, {len(own.subject_id):,} prediction times, "
        f"{len(plan.features)} features"
    )
    for name, values in figures.items():
        print(name, values)
    if options.json:
        settings = {"rows": options.rows, "repeat": options.repeat}
        record = {"what": "engines", "cores": os.cpu_count(), "settings": settings}
        with options.json.open("a") as handle:
            handle.write(json.dumps({**record, "figures": figures}) + "\n")


if __name__ == "__main__":
    main()
