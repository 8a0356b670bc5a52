"""Features of a seeded event table: magml against DuckDB SQL written by hand.

    python benchmarks/features.py --rows 1e6 --threads 2

40 analytes, 4 windows, 7 statistics. The SQL is the quickest form known to us (the window as a
grouping key joined to a small window table). It returns long rows and knows no corrections;
`+ corrections` adds the rule that one value wins at each moment. magml does both and fills the
matrix. Each is timed `--repeat` times in turn in one run; the medians and their ratio count.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from magml.definitions.catalogue import Catalogue, Concept, DomainFile
from magml.events import read_events, read_prediction_times
from magml.features import build_matrix, compile_plan

ANALYTES = 40
WINDOWS = ("24h", "7d", "30d", "365d")
STATISTICS = ("last", "first", "min", "max", "mean", "count", "hours_since")
AT = "2019-12-01"


def generate(path: Path, rows: int, seed: float = 0.1) -> None:
    """Write events of people with 500 rows each over two years, sorted by person and time."""
    connection = duckdb.connect()
    # One thread: random() gives the same rows in every run only then.
    connection.execute(f"SET threads = 1; SELECT setseed({seed})")
    connection.execute(f"""
        COPY (
            SELECT i // 500 AS subject_id, time,
                   CASE WHEN kind < 0.78 THEN 'LAB//analyte ' || (random() * 1e6)::INT % {ANALYTES}
                        WHEN kind < 0.90 THEN 'DRUG//drug ' || (random() * 1e6)::INT % 200
                        ELSE 'ICD10CM//' || (random() * 1e6)::INT % 900 END AS code,
                   CASE WHEN kind < 0.78 THEN round(random() * 9 + 1, 2) END AS numeric_value,
                   CASE WHEN kind < 0.78 THEN 'mmol/L' END AS unit,
                   time + INTERVAL ((random() * 7200)::INT) SECOND AS known_time
            FROM (SELECT i, random() AS kind, TIMESTAMP '2018-01-01'
                         + INTERVAL ((random() * 63072000)::INT) SECOND AS time
                  FROM range({rows}) t(i)) ORDER BY subject_id, time
        ) TO '{path}' (FORMAT PARQUET)
    """)


def catalogue() -> Catalogue:
    concepts = {
        f"analyte_{k}": Concept(
            label=f"Analyte {k}",
            kind="measurement",
            names=(f"analyte {k}",),
            unit="mmol/L",
            features=dict.fromkeys(WINDOWS, STATISTICS),
        )
        for k in range(ANALYTES)
    }
    return Catalogue(domains=(DomainFile(domain="lab", concepts=concepts),))


def by_hand(connection: duckdb.DuckDBPyConnection, path: Path, *, corrections: bool) -> int:
    """Run the SQL written by hand and return the number of long rows."""
    mapped = f"""
        SELECT e.subject_id, m.concept, e.time, coalesce(e.known_time, e.time) AS known,
               e.numeric_value AS value
        FROM '{path}' e JOIN analytes m USING (code)"""
    one = f"""
        SELECT *, lead(known) OVER (PARTITION BY subject_id, concept, time
                                    ORDER BY known, value) AS superseded
        FROM ({mapped})"""
    found = connection.sql(f"""
        SELECT subject_id, concept, w.hours, arg_max(value, time) AS last,
               arg_min(value, time) AS first, min(value), max(value), avg(value), count(*),
               max(time) AS newest
        FROM ({one if corrections else mapped})
        JOIN windows w ON time >= TIMESTAMP '{AT}' - w.length
        WHERE known < TIMESTAMP '{AT}' AND time < TIMESTAMP '{AT}'
              {f"AND (superseded IS NULL OR superseded >= TIMESTAMP '{AT}')" if corrections else ""}
        GROUP BY 1, 2, 3
    """).to_arrow_table()
    return int(found.num_rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="append the figures to this file")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        generate(path, int(options.rows))
        figures = run(path, options)
    if options.json:
        with options.json.open("a") as handle:
            handle.write(json.dumps(figures) + "\n")


def run(path: Path, options: argparse.Namespace) -> dict[str, float]:
    connection = duckdb.connect(config={"threads": options.threads})
    connection.execute(
        f"CREATE TABLE analytes AS SELECT i AS concept, 'LAB//analyte ' || i AS code "
        f"FROM range({ANALYTES}) t(i); CREATE TABLE windows AS SELECT hours, INTERVAL (hours) HOUR "
        f"AS length FROM (VALUES (24), (168), (720), (8760)) v(hours)"
    )
    plan = compile_plan(catalogue())
    events = read_events(path)
    events.connection.execute(f"SET threads = {options.threads}")
    relation = read_prediction_times(AT, events.connection, events)
    ways: dict[str, Callable[[], object]] = {
        "magml": lambda: build_matrix(
            plan, events, relation, threads=options.threads, strict=False
        ),
        "SQL by hand": lambda: by_hand(connection, path, corrections=False),
        "SQL by hand + corrections": lambda: by_hand(connection, path, corrections=True),
    }
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    peak: dict[str, float] = {}
    for _ in range(options.repeat):
        for name, way in ways.items():
            start, used = time.perf_counter(), time.process_time()
            way()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - used)
            # The process's highest so far: magml runs first, so that its figure is its own.
            peak.setdefault(name, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
    figures: dict[str, float] = {"rows": options.rows, "threads": options.threads}
    base = statistics.median(wall["SQL by hand"]), statistics.median(cpu["SQL by hand"])
    print(f"{options.rows:,.0f} rows, {options.threads} threads, {len(plan.features)} features")
    for name in ways:
        seconds, used = statistics.median(wall[name]), statistics.median(cpu[name])
        print(
            f"{name:28s} {seconds:8.2f} s  {used:8.2f} CPU s  "
            f"ratio {seconds / base[0]:5.2f} ({used / base[1]:5.2f} CPU)"
        )
        figures[name] = seconds
    print(f"peak memory of magml {peak['magml']:.2f} GB")
    return figures


if __name__ == "__main__":
    main()
