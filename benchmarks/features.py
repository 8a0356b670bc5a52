"""Features of a made-up hospital's events: magml against what else one would write for them.

    python benchmarks/features.py --rows 1e7 --json build/benchmarks.jsonl

40 analytes, 4 windows, 7 statistics, one prediction time a person. Every way reads the same Parquet
file and takes its turn in a process of its own; medians and their ratios count. The ways stand in
`feature_peers.py`; ``--check`` compares their values with magml's before anything is timed.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import feature_peers as peers
import numpy as np
import pyarrow as pa
from generate_events import LABS, ROWS_EACH, generate
from timing import compare, keep, once, table

from magml.definitions.catalogue import Catalogue, Concept, DomainFile
from magml.events import Events, read_events, read_prediction_times
from magml.features import FeatureMatrix, Plan, build_matrix, compile_plan
from magml.features.build import Building
from magml.features.write import write_matrix
from magml.memory import limited
from magml.progress import silent

MAGML, RANGES, WRITTEN = "magml", "magml, by ranges", "magml, written to Parquet"
LIMIT = "SQL by hand, by ranges"
#: Longest wait for a calm machine before a run, in seconds.
PATIENCE = 5.0


def catalogue(analytes: int = len(LABS)) -> Catalogue:
    """Return analytes with 7 statistics in 4 windows."""
    concepts = {
        f"analyte_{k}": Concept(
            label=f"Analyte {k}",
            kind="measurement",
            codes=(f"LOINC//{code}",),
            unit=unit,
            molar_mass=peers.MOLAR_MASSES.get(code),
            features=dict.fromkeys(peers.WINDOWS, peers.STATISTICS),
        )
        for k, (code, unit, *_) in enumerate(LABS[:analytes])
    }
    return Catalogue(domains=(DomainFile(domain="lab", concepts=concepts),))


def opened(folder: Path, threads: int) -> tuple[Events, str]:
    """Return events and prediction times on a connection."""
    events = read_events(folder / "events.parquet")
    events.connection.execute(f"SET threads = {threads}")
    at = read_prediction_times(folder / "prediction_times.parquet", events.connection, events)
    return events, at


def by_magml(folder: Path, threads: int, plan: Plan) -> FeatureMatrix:
    """Return magml's matrix."""
    return build_matrix(plan, *opened(folder, threads), threads=threads, strict=False)


def by_ranges(folder: Path, threads: int, plan: Plan) -> dict[str, int]:
    """Make magml's matrix range by range, as scoring does, and keep none, as the peers do."""
    found = opened(folder, threads)
    building = Building.begun(plan, *found, threads, strict=False, keep=None, report=silent)
    rows = sum(len(part.rows) for part in building.parts())
    building.account()
    return {"rows_made": rows}


def written(folder: Path, threads: int, plan: Plan) -> dict[str, float]:
    """Write magml's matrix to a file and return what that made."""
    with TemporaryDirectory(dir=folder) as place:
        out = Path(place) / "features.parquet"
        found = opened(folder, threads)
        made = write_matrix(plan, *found, out, threads=threads, strict=False)
        return {"rows_made": made.rows, "features": len(made.names)}


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
    made = by_magml(folder, threads, compile_plan(catalogue()))
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
    for name, way in peers.WAYS.items():
        parts = way.run(given(folder, threads))
        other = peers.scattered(parts, subjects, len(LABS)).reshape(own.shape)
        off = np.nanmax(np.abs(own - other) / np.maximum(np.abs(own), 1e-3))
        same_gaps = (np.isnan(own) == np.isnan(other)).all()
        found[name] = (way.exact, float(off) if same_gaps else float("inf"))
    return found


def one(name: str, folder: Path, threads: int, memory: str, analytes: int) -> None:
    """Time one way. What is loaded and compiled once in a process is not timed."""
    known = given(folder, threads)  # loads the library of units, which magml uses too
    if name in (MAGML, RANGES, WRITTEN):
        plan = compile_plan(catalogue(analytes))
        import duckdb  # noqa: F401
        import pandas  # noqa: F401

        with limited(memory, beside=folder / "out"):
            if name == MAGML:
                once(lambda: {"rows_made": len(by_magml(folder, threads, plan).values)}, PATIENCE)
            elif name == RANGES:
                once(lambda: by_ranges(folder, threads, plan), PATIENCE)
            else:
                once(lambda: written(folder, threads, plan), PATIENCE)
        return
    way = peers.WAYS[name]
    import_module(way.needs)
    once(lambda: peers.drained(way.run(known)), PATIENCE)


def main() -> None:
    ways = [MAGML, RANGES, WRITTEN, *peers.WAYS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", default="1GB", help="for magml")
    parser.add_argument("--times", type=int, default=1, help="prediction times of each person")
    parser.add_argument("--analytes", type=int, default=len(LABS), help="28 features each")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--ways", nargs="*", default=ways, choices=ways)
    parser.add_argument("--check", action="store_true", help="compare values, time nothing")
    parser.add_argument("--quick", action="store_true", help="100,000 rows, once")
    parser.add_argument("--events", type=Path, default=Path("build/events"), help="where they lie")
    parser.add_argument("--json", type=Path, help="append the figures to this file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rows, chosen.repeat = 1e5, 1
    folder = chosen.events / f"{chosen.rows:.0f}"
    if chosen.times > 1:
        folder = folder.with_name(f"{folder.name}-{chosen.times}")
    if chosen.times > 1 or chosen.analytes < len(LABS):
        chosen.ways = [way for way in chosen.ways if way in (MAGML, RANGES, WRITTEN)]
    if chosen.one:
        one(chosen.one, folder, chosen.threads, chosen.memory, chosen.analytes)
        return
    if not (folder / "prediction_times.parquet").exists():
        generate(folder, int(chosen.rows), times_each=chosen.times)
    if chosen.check:
        for name, (exact, off) in differences(folder, chosen.threads).items():
            note = "" if exact else "(not exact)"
            print(f"{name:44s} largest relative difference {off:.1e}", note)
        return
    arguments = ["--rows", str(chosen.rows), "--threads", str(chosen.threads)]
    arguments += ["--times", str(chosen.times), "--events", str(chosen.events)]
    arguments += ["--memory", chosen.memory, "--analytes", str(chosen.analytes)]
    again = chosen.rows <= 1e7 and not chosen.quick  # larger sizes take minutes
    figures = compare(__file__, chosen.ways, chosen.repeat, arguments, again=again)
    print(f"{chosen.rows:,.0f} rows, {chosen.threads} threads, median of {chosen.repeat}")
    print(table(figures, LIMIT if LIMIT in figures else chosen.ways[0]))
    kept = ("rows", "times", "threads", "repeat", "memory")
    settings = {name: getattr(chosen, name) for name in kept}
    people = -(-int(chosen.rows) // ROWS_EACH)
    settings |= {"people": people, "features": len(catalogue(chosen.analytes).features)}
    keep(chosen.json, "features", settings, figures)


if __name__ == "__main__":
    main()
