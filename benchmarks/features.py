"""Features of a made-up hospital's events: magml against what else one would write for them.

    python benchmarks/features.py --rows 1e7 --json build/benchmarks.jsonl

40 analytes, 4 windows, 7 statistics, one prediction time a person. Every way reads the same Parquet
file and takes its turn in a process of its own; medians and their ratios count. The ways stand in
`feature_peers.py`; ``--check`` compares their values with magml's before anything is timed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import feature_peers as peers
import numpy as np
import pyarrow as pa
from generate_events import LABS, generate
from timing import compare, keep, once, table

from magml.definitions.catalogue import Catalogue, Concept, DomainFile
from magml.events import read_events, read_prediction_times
from magml.features import build_matrix, compile_plan

MAGML = "magml"


def catalogue() -> Catalogue:
    """Return 40 analytes with 7 statistics in 4 windows."""
    concepts = {
        f"analyte_{k}": Concept(
            label=f"Analyte {k}",
            kind="measurement",
            codes=(f"LOINC//{code}",),
            unit=unit,
            molar_mass=peers.MOLAR_MASSES.get(code),
            features=dict.fromkeys(peers.WINDOWS, peers.STATISTICS),
        )
        for k, (code, unit, *_) in enumerate(LABS)
    }
    return Catalogue(domains=(DomainFile(domain="lab", concepts=concepts),))


def by_magml(folder: Path, threads: int) -> Any:
    """Return magml's matrix."""
    events = read_events(folder / "events.parquet")
    events.connection.execute(f"SET threads = {threads}")
    at = read_prediction_times(folder / "prediction_times.parquet", events.connection, events)
    return build_matrix(compile_plan(catalogue()), events, at, threads=threads, strict=False)


def given(folder: Path, threads: int) -> peers.Given:
    """Return what the peers read: the same codes, units and factors as the plan's."""
    from magml.units.conversion import conversion

    rows = [
        {
            "code": concept.codes[0],
            "unit": unit,
            "concept": k,
            "scale": conversion(unit, concept)[0],
        }
        for k, (_, _, concept) in enumerate(catalogue().concepts())
        for unit in dict.fromkeys((concept.unit, *peers.other_units(concept.codes[0])))
    ]
    return peers.Given(folder, threads, pa.Table.from_pylist(rows))


def differences(folder: Path, threads: int) -> dict[str, tuple[bool, float]]:
    """Return of each way whether it is exact, and its largest relative difference from magml."""
    made = by_magml(folder, threads)
    subjects = np.unique(made.subject_id)
    place = {name: k for k, name in enumerate(made.names)}
    order = [
        place[f"lab.analyte_{k}.{statistic}.{window}"]
        for k in range(len(LABS))
        for window in peers.WINDOWS
        for statistic in peers.STATISTICS
    ]
    own = made.values[np.argsort(made.subject_id)][:, order]
    found = {}
    for name, (exact, way) in peers.ways().items():
        parts = way(given(folder, threads))
        other = peers.scattered(parts, subjects, len(LABS)).reshape(own.shape)
        off = np.nanmax(np.abs(own - other) / np.maximum(np.abs(own), 1e-3))
        same_gaps = (np.isnan(own) == np.isnan(other)).all()
        found[name] = (exact, float(off) if same_gaps else float("inf"))
    return found


def main() -> None:
    ways = [MAGML, *peers.ways()]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--ways", nargs="*", default=ways, choices=ways)
    parser.add_argument("--check", action="store_true", help="compare values, time nothing")
    parser.add_argument("--events", type=Path, default=Path("build/events"), help="where they lie")
    parser.add_argument("--json", type=Path, help="append the figures to this file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    folder = chosen.events / f"{chosen.rows:.0f}"
    if chosen.one == MAGML:
        once(lambda: {"features": by_magml(folder, chosen.threads).values.shape[1]})
        return
    if chosen.one:
        way = peers.ways()[chosen.one][1]
        once(lambda: peers.drained(way(given(folder, chosen.threads))))
        return
    if not (folder / "prediction_times.parquet").exists():
        generate(folder, int(chosen.rows))
    if chosen.check:
        for name, (exact, off) in differences(folder, chosen.threads).items():
            print(
                f"{name:44s} largest relative difference {off:.1e}", "" if exact else "(not exact)"
            )
        return
    arguments = ["--rows", str(chosen.rows), "--threads", str(chosen.threads)]
    arguments += ["--events", str(chosen.events)]
    figures = compare(__file__, chosen.ways, chosen.repeat, arguments)
    print(f"{chosen.rows:,.0f} rows, {chosen.threads} threads, median of {chosen.repeat}")
    print(table(figures, chosen.ways[0]))
    settings = {"rows": chosen.rows, "threads": chosen.threads, "repeat": chosen.repeat}
    keep(chosen.json, "features", settings, figures)


if __name__ == "__main__":
    main()
