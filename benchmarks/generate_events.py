"""Events of a made-up hospital, for benchmarks: seeded, written by ranges of people.

    python benchmarks/generate_events.py --rows 1e7 --out build/events

writes ``events.parquet`` in the contract's form, sorted by person and time, and
``prediction_times.parquet``. People come in blocks of 2,000 with a million rows, each with random
numbers of its own: memory stays that of one block, the same seed gives the same rows, and the
events of 1M rows are the beginning of those of 200M. Nothing here is clinical: the mix of columns,
codes, units and times is that of a hospital, the values mean nothing.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BLOCK_PEOPLE, ROWS_EACH = 2_000, 500
#: Minutes from 1970 to 2014-01-01, and the six years over which visits are spread.
BEGIN, SPAN = 23_142_240, 6 * 365 * 24 * 60
_MINUTE = 60_000_000

#: LOINC code, usual unit, median, spread of the logarithm; common ones first.
LABS = tuple(
    (code, unit, float(median), float(spread))
    for code, unit, median, spread in (
        line.split()
        for line in """
        2823-3 mmol/L 4.1 0.12
        2951-2 mmol/L 139 0.03
        2160-0 mg/dL 0.9 0.5
        3094-0 mg/dL 16 0.5
        2345-7 mg/dL 108 0.35
        718-7 g/dL 12.4 0.18
        6690-2 10*3/uL 8.1 0.4
        777-3 10*3/uL 235 0.4
        2075-0 mmol/L 103 0.04
        2028-9 mmol/L 25 0.14
        17861-6 mg/dL 9.1 0.07
        4544-3 % 38 0.16
        787-2 fL 90 0.07
        789-8 10*6/uL 4.3 0.17
        788-0 % 14 0.14
        1988-5 mg/L 9 1.3
        1751-7 g/dL 3.8 0.18
        1742-6 U/L 25 0.7
        1920-8 U/L 28 0.6
        6768-6 U/L 84 0.45
        1975-2 mg/dL 0.6 0.6
        19123-9 mg/dL 2.0 0.14
        2777-1 mg/dL 3.4 0.25
        2885-2 g/dL 6.9 0.12
        6301-6 1 1.1 0.25
        14979-9 s 31 0.25
        2524-7 mmol/L 1.5 0.5
        4548-4 % 6.1 0.2
        2532-0 U/L 215 0.4
        2157-6 U/L 95 0.9
        3016-3 m[IU]/L 1.9 0.8
        2093-3 mg/dL 182 0.24
        2571-8 mg/dL 130 0.55
        2276-4 ng/mL 120 1.1
        2324-2 U/L 32 0.9
        3084-1 mg/dL 5.6 0.3
        3040-3 U/L 34 0.7
        2744-1 [pH] 7.39 0.008
        2019-8 mm[Hg] 40 0.2
        2703-7 mm[Hg] 88 0.3
        """.strip().splitlines()
    )
)
#: Another unit in which some laboratories report, with what makes the usual one of it.
OTHER_UNITS = {
    "2160-0": ("umol/L", 1 / 88.42),
    "2345-7": ("mmol/L", 18.016),
    "17861-6": ("mmol/L", 4.0078),
    "19123-9": ("mmol/L", 2.4305),
    "718-7": ("g/L", 0.1),
}
VITALS = (
    ("8867-4", "/min", 82.0, 0.2),
    ("8480-6", "mm[Hg]", 127.0, 0.15),
    ("8462-4", "mm[Hg]", 73.0, 0.16),
    ("9279-1", "/min", 17.0, 0.2),
    ("8310-5", "Cel", 36.8, 0.015),
    ("59408-5", "%", 97.0, 0.02),
)
ATC = (
    "A02BC01", "C03CA01", "N02BE01", "B01AB05", "A10BA02", "C07AB02", "J01CR05", "C10AA05",
    "C09AA05", "B05XA01", "A02BC02", "C08CA01", "N02AA01", "H02AB06", "C03AA03", "A12CC04",
)  # fmt: skip


@dataclass(frozen=True)
class Codes:
    """All codes with what decides their rows; arrays run over the codes."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    until: np.ndarray  # cumulative frequency
    kind: np.ndarray  # lab 0, vital 1, drug 2, diagnosis 3, visit 4
    unit: np.ndarray  # place among units, -1 without
    other: np.ndarray
    factor: np.ndarray
    median: np.ndarray
    spread: np.ndarray


KINDS = ("laboratory", "vital signs", "pharmacy", "diagnoses", "visits")
LAB, VITAL, DRUG, DIAGNOSIS, VISIT = range(5)


def codes() -> Codes:
    """Return the codes; within a kind, the k-th has a frequency near 1/k (Zipf)."""
    rows: list[tuple[str, int, float, str, str, float, float, float]] = []

    def add(kind: int, share: float, flat: float, names: list[tuple]) -> None:
        weight = 1 / (np.arange(len(names)) + flat)
        for (name, unit, median, spread), w in zip(
            names, share * weight / weight.sum(), strict=True
        ):
            other, factor = OTHER_UNITS.get(name.removeprefix("LOINC//"), ("", 1.0))
            rows.append((name, kind, float(w), unit, other, factor, median, spread))

    add(LAB, 0.55, 12, [(f"LOINC//{c}", *rest) for c, *rest in LABS])
    add(LAB, 0.04, 5, [(f"LAB//rare test {k:03d}", "U/L", 20.0, 0.8) for k in range(300)])
    add(VITAL, 0.13, 5, [(f"LOINC//{c}", *rest) for c, *rest in VITALS])
    drugs = [f"ATC//{c}" for c in ATC] + [f"DRUG//drug {k:03d}" for k in range(700)]
    add(DRUG, 0.17, 3, [(name, "", 1.0, 0.0) for name in drugs])
    chapters = "ABCDEFGHIJKLMNRSTZ"
    found = [f"ICD10CM//{chapters[k % 18]}{k // 18 % 100:02d}.{k // 1800}" for k in range(3_600)]
    add(DIAGNOSIS, 0.08, 3, [(name, "", 1.0, 0.0) for name in found])
    add(
        VISIT,
        0.03,
        1,
        [(f"VISIT//{k}", "", 1.0, 0.0) for k in ("outpatient", "inpatient", "emergency")],
    )
    columns = list(zip(*rows, strict=True))
    units = tuple(sorted({u for u in (*columns[3], *columns[4]) if u}))
    place = {unit: k for k, unit in enumerate(units)} | {"": -1}
    until = np.cumsum(columns[2])
    return Codes(
        names=columns[0],
        units=units,
        until=until / until[-1],
        kind=np.array(columns[1]),
        unit=np.array([place[u] for u in columns[3]]),
        other=np.array([place[u] for u in columns[4]]),
        factor=np.array(columns[5]),
        median=np.array(columns[6]),
        spread=np.array(columns[7]),
    )


def blocks(rows: int, seed: int, times_each: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield events and prediction times of one block of people after the other."""
    all_codes = codes()
    for number, start in enumerate(range(0, rows, BLOCK_PEOPLE * ROWS_EACH)):
        own = min(BLOCK_PEOPLE * ROWS_EACH, rows - start)
        yield _block(all_codes, own, number, seed, times_each)


def _block(
    all_codes: Codes, rows: int, number: int, seed: int, times_each: int
) -> tuple[pa.Table, pa.Table]:
    rng = np.random.Generator(np.random.SFC64([seed, number]))
    people = -(-rows // ROWS_EACH)
    # Few people have most of the rows.
    activity = rng.lognormal(0, 1.0, people)
    counts = 10 + np.floor(activity / activity.sum() * (rows - 10 * people)).astype(np.int64)
    counts[: rows - counts.sum()] += 1
    person = np.repeat(np.arange(people), counts)
    visits = 1 + counts // 40
    first_visit = np.cumsum(visits) - visits
    start = BEGIN + rng.integers(0, SPAN, visits.sum())
    admitted = rng.random(visits.sum()) < 0.25
    hours = np.where(admitted, rng.lognormal(4.4, 0.9, len(start)), 3.0)
    length = (hours * 60).astype(np.int64) + 1

    visit = first_visit[person] + (rng.random(rows) * visits[person]).astype(np.int64)
    code = np.searchsorted(all_codes.until, rng.random(rows))
    kind = all_codes.kind[code]
    into = (rng.random(rows) * length[visit]).astype(np.int64)
    # Samples are drawn in rounds: several analytes stand at one moment.
    into = np.where(kind == LAB, into // 60 * 60, np.where(kind == VISIT, 0, into))
    minute = start[visit] + into
    order = np.argsort((person << 32) | minute, kind="stable")
    person, visit, code, kind, minute = (
        part[order] for part in (person, visit, code, kind, minute)
    )
    # Now and then a laboratory corrects a result: the same moment and code, known a day later.
    corrects = np.flatnonzero((rng.random(rows) < 0.02) & (kind == LAB))
    corrects = corrects[(corrects > 0) & (kind[corrects - 1] == LAB)]
    corrects = corrects[person[corrects] == person[corrects - 1]]
    code[corrects], minute[corrects] = code[corrects - 1], minute[corrects - 1]
    measured = kind <= VITAL
    value = all_codes.median[code] * np.exp(all_codes.spread[code] * rng.standard_normal(rows))
    other = (all_codes.other[code] >= 0) & (rng.random(rows) < 0.1)
    value = np.round(np.where(other, value / all_codes.factor[code], value), 2)
    unit = np.where(other, all_codes.other[code], all_codes.unit[code])
    late = (rng.exponential(90, rows) + 20).astype(np.int64)
    late[corrects] += 1440
    end_of_visit = start[visit] + length[visit]
    known = np.where(kind == LAB, minute + late, np.where(kind == DIAGNOSIS, end_of_visit, minute))
    lasting = minute + 60 * (1 + rng.integers(0, 24 * 10, rows))
    end = np.where(kind == VISIT, end_of_visit, lasting)
    subject = number * BLOCK_PEOPLE + 1 + person
    numbers = number * 10_000_000 + np.arange(visits.sum())
    events = pa.table(
        {
            "subject_id": subject,
            "time": _moments(minute),
            "known_time": _moments(known, kind == VITAL),
            "end_time": _moments(end, (kind != DRUG) & (kind != VISIT)),
            "code": _texts(code, all_codes.names),
            "numeric_value": pa.array(value, mask=~measured),
            "unit": _texts(unit, all_codes.units, unit < 0),
            "visit_id": _texts(visit, [f"V{n}" for n in numbers]),
            "source": _texts(kind, KINDS),
        }
    )
    return events, _times(rng, number, visits, first_visit, start, times_each)


def _times(
    rng: np.random.Generator,
    number: int,
    visits: np.ndarray,
    first_visit: np.ndarray,
    start: np.ndarray,
    each: int,
) -> pa.Table:
    """Return moments a day into visits, several distinct ones of each person where asked for."""
    chosen = first_visit + (rng.random((16, len(visits))) * visits).astype(np.int64)
    minute = start[chosen[:each]] + 1440 + np.arange(each)[:, None]
    person = np.broadcast_to(np.arange(len(visits)), minute.shape)
    pairs = np.unique(np.stack([person.ravel(), minute.ravel()]), axis=1)
    return pa.table(
        {
            "subject_id": number * BLOCK_PEOPLE + 1 + pairs[0],
            "prediction_time": _moments(pairs[1]),
        }
    )


def _moments(minute: np.ndarray, absent: np.ndarray | None = None) -> pa.Array:
    values = (minute * _MINUTE).astype("datetime64[us]")
    return pa.array(values, pa.timestamp("us"), mask=absent)


def _texts(place: np.ndarray, names: object, absent: np.ndarray | None = None) -> pa.Array:
    places = pa.array(np.maximum(place, 0).astype(np.int32), mask=absent)
    return pa.DictionaryArray.from_arrays(places, pa.array(list(names), pa.string()))  # type: ignore[call-overload]


def generate(folder: Path, rows: int, seed: int = 1, times_each: int = 1) -> tuple[Path, Path]:
    """Write events and prediction times into a folder and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "events.parquet", folder / "prediction_times.parquet"
    writers: list[pq.ParquetWriter] = []
    for tables in blocks(rows, seed, times_each):
        if not writers:
            writers = [_writer(p, t.schema) for p, t in zip(paths, tables, strict=True)]
        for writer, table in zip(writers, tables, strict=True):
            writer.write_table(table, row_group_size=250_000)
    for writer in writers:
        writer.close()
    return paths


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    texts = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    # Without the Arrow schema readers see plain text, as in anybody's files.
    return pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=texts, store_schema=False
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--times", type=int, default=1, help="prediction times of each person, to 16"
    )
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    started = time.perf_counter()
    paths = generate(chosen.out, int(chosen.rows), chosen.seed, chosen.times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    size = sum(path.stat().st_size for path in paths) / 1e9
    print(
        f"{chosen.rows:,.0f} rows, {size:.2f} GB in {time.perf_counter() - started:.0f} s, "
        f"peak memory {peak:.2f} GB"
    )


if __name__ == "__main__":
    main()
