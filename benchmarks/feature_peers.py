"""The features of `features.py` by other means: SQL by hand, pandas, Polars, meds-tab.

Each way gives, for every person with a prediction time, analyte and window in which she has a
value, the statistics of `STATISTICS`. All see what is known before the prediction time, and convert
units with the same factors. The ways called exact also let the later known of two results of one
moment win, as magml does; only they give the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from generate_events import OTHER_UNITS

HOURS = (24, 7 * 24, 30 * 24, 365 * 24)
WINDOWS = ("24h", "7d", "30d", "365d")
STATISTICS = ("last", "first", "min", "max", "mean", "count", "hours_since")
#: Rows of events in a range.
RANGE_ROWS = 3_000_000
#: Grams in a mole, of the analytes that come in two units.
MOLAR_MASSES = {"2160-0": 113.12, "2345-7": 180.156, "17861-6": 40.078, "19123-9": 24.305}
#: Columns ``subject_id``, ``concept``, ``hours`` and one for each of `STATISTICS`.
Found = pa.Table


@dataclass(frozen=True)
class Given:
    """What all ways read.

    Attributes
    ----------
    units
        ``code``, ``unit``, ``concept``, ``scale``: which values are of which analyte.
    """

    folder: Path
    threads: int
    units: pa.Table
    range_rows: int = RANGE_ROWS

    @property
    def events(self) -> Path:
        return self.folder / "events.parquet"

    @property
    def at(self) -> Path:
        return self.folder / "prediction_times.parquet"

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the first and last person of each range; persons are sorted in the file."""
        rows = pq.read_metadata(self.events).num_rows
        people = pc.unique(pq.read_table(self.at, columns=["subject_id"])["subject_id"]).to_numpy()
        each = max(1, round(len(people) * self.range_rows / rows))
        for start in range(0, len(people), each):
            some = people[start : start + each]
            yield int(some[0]), int(some[-1])


def other_units(code: str) -> tuple[str, ...]:
    """Return the further units in which a code's values come."""
    found = OTHER_UNITS.get(code.removeprefix("LOINC//"))
    return (found[0],) if found else ()


def by_sql(given: Given, *, exact: bool) -> Iterator[Found]:
    """Yield the features of one range after the other by DuckDB."""
    import duckdb

    connection = duckdb.connect(config={"threads": given.threads})
    connection.register("units_given", given.units)
    connection.execute(
        f"CREATE TABLE units AS FROM units_given; CREATE TABLE times AS FROM '{given.at}'; "
        f"CREATE TABLE windows AS SELECT hours, INTERVAL (hours) HOUR AS length "
        f"FROM (VALUES {', '.join(f'({h})' for h in HOURS)}) v(hours)"
    )
    one = "PARTITION BY e.subject_id, t, concept, e.time ORDER BY known DESC, value DESC"
    one = f"QUALIFY row_number() OVER ({one}) = 1" if exact else ""
    for first, last in given.ranges():
        yield connection.sql(f"""
            WITH visible AS (
                SELECT e.subject_id, a.prediction_time AS t, u.concept, e.time,
                       coalesce(e.known_time, e.time) AS known, e.numeric_value * u.scale AS value
                FROM '{given.events}' e JOIN units u ON e.code = u.code AND e.unit = u.unit
                     JOIN times a ON e.subject_id = a.subject_id
                WHERE e.subject_id BETWEEN {first} AND {last} AND e.time < a.prediction_time
                      AND e.time >= a.prediction_time - INTERVAL {max(HOURS)} HOUR
                      AND coalesce(e.known_time, e.time) < a.prediction_time
                {one})
            SELECT subject_id, concept, w.hours, arg_max(value, time) AS last,
                   arg_min(value, time) AS first, min(value) AS min, max(value) AS max,
                   avg(value) AS mean, count(*) AS count,
                   (epoch_us(t) - epoch_us(max(time))) / 3.6e9 AS hours_since
            FROM visible JOIN windows w ON time >= t - w.length
            GROUP BY subject_id, t, concept, w.hours
        """).to_arrow_table()


def by_sql_at_once(given: Given, *, exact: bool) -> Iterator[Found]:
    """The same in one query."""
    return by_sql(replace(given, range_rows=2**62), exact=exact)


def by_pandas(given: Given) -> Iterator[Found]:
    """Yield the features of one range after the other by pandas, a pass for each window."""
    import pandas as pd

    units = given.units.to_pandas()
    times = pd.read_parquet(given.at)
    columns = ["subject_id", "time", "known_time", "code", "numeric_value", "unit"]
    for first, last in given.ranges():
        rows = pd.read_parquet(
            given.events,
            columns=columns,
            filters=[("subject_id", ">=", first), ("subject_id", "<=", last)],
        )
        rows = rows.merge(units, on=["code", "unit"]).merge(times, on="subject_id")
        rows["known_time"] = rows["known_time"].fillna(rows["time"])
        rows["value"] = rows["numeric_value"] * rows["scale"]
        t = rows["prediction_time"]
        age = t - rows["time"]
        longest = pd.Timedelta(hours=max(HOURS))
        rows = rows[(rows["known_time"] < t) & (age > pd.Timedelta(0)) & (age <= longest)]
        rows = rows.sort_values(["subject_id", "concept", "time", "known_time", "value"])
        rows = rows.drop_duplicates(["subject_id", "concept", "time"], keep="last")
        age = rows["prediction_time"] - rows["time"]
        rows["since"] = age / pd.Timedelta(hours=1)
        for hours in HOURS:
            inside = rows[age <= pd.Timedelta(hours=hours)]
            found = inside.groupby(["subject_id", "concept"], sort=False).agg(
                last=("value", "last"), first=("value", "first"), min=("value", "min"),
                max=("value", "max"), mean=("value", "mean"), count=("value", "size"),
                hours_since=("since", "last"),
            )  # fmt: skip
            yield pa.Table.from_pandas(found.reset_index().assign(hours=hours))


def by_polars(given: Given) -> Iterator[Found]:
    """Yield the features of one range after the other by Polars, a pass for each window."""
    import polars as pl

    units = pl.from_arrow(given.units).lazy()
    times = pl.scan_parquet(given.at)
    value = pl.col("value")
    statistics = [
        value.last().alias("last"), value.first().alias("first"), value.min().alias("min"),
        value.max().alias("max"), value.mean().alias("mean"), value.len().alias("count"),
        pl.col("age").last().alias("hours_since"),
    ]  # fmt: skip
    for first, last in given.ranges():
        rows = (
            pl.scan_parquet(given.events)
            .filter(pl.col("subject_id").is_between(first, last))
            .join(units, on=["code", "unit"])
            .join(times, on="subject_id")
            .with_columns(known=pl.coalesce("known_time", "time"), t=pl.col("prediction_time"))
            .filter(
                pl.col("known") < pl.col("t"),
                pl.col("time") < pl.col("t"),
                pl.col("time") >= pl.col("t") - pl.duration(hours=max(HOURS)),
            )
            .select(
                "subject_id",
                "concept",
                "time",
                "known",
                value=pl.col("numeric_value") * pl.col("scale"),
                age=(pl.col("t") - pl.col("time")).dt.total_microseconds() / 3.6e9,
            )
            .sort("subject_id", "concept", "time", "known", "value")
            .unique(["subject_id", "concept", "time"], keep="last", maintain_order=True)
            .collect()
        )
        for hours in HOURS:
            yield (
                rows.filter(pl.col("age") <= hours)
                .group_by("subject_id", "concept", maintain_order=False)
                .agg(statistics)
                .with_columns(hours=pl.lit(hours))
                .to_arrow()
            )


def scattered(parts: Iterator[Found], subjects: np.ndarray, concepts: int) -> np.ndarray:
    """Return the long rows as a matrix, float32 [people, concepts, windows, statistics]."""
    matrix = np.full((len(subjects), concepts, len(HOURS), len(STATISTICS)), np.nan, np.float32)
    matrix[..., STATISTICS.index("count")] = 0
    for part in parts:
        row = np.searchsorted(subjects, part["subject_id"].to_numpy())
        window = np.searchsorted(HOURS, part["hours"].to_numpy())
        concept = part["concept"].to_numpy()
        for k, name in enumerate(STATISTICS):
            matrix[row, concept, window, k] = part[name].to_numpy()
    return matrix


def drained(parts: Iterator[Found]) -> dict[str, float]:
    """Take every part and forget it: what a way costs without keeping its result."""
    return {"long_rows": float(sum(part.num_rows for part in parts))}


@dataclass(frozen=True)
class Way:
    """A way of making the features, whether it gives the same values, and what it loads."""

    exact: bool
    needs: str
    run: Callable[[Given], Iterator[Found]]


WAYS = {
    "SQL by hand, by ranges": Way(True, "duckdb", lambda g: by_sql(g, exact=True)),
    "SQL by hand, by ranges, no corrections": Way(
        False, "duckdb", lambda g: by_sql(g, exact=False)
    ),
    "SQL by hand, one query": Way(True, "duckdb", lambda g: by_sql_at_once(g, exact=True)),
    "Polars, by ranges": Way(True, "polars", by_polars),
    "pandas, by ranges": Way(True, "pandas", by_pandas),
}
