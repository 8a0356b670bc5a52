"""Building a feature matrix from a table on a connected engine.

The engine maps and aggregates with the plan's SQL; only prediction times and the concept map go
to it, and only aggregates come back. Windows and derived features are then put together as for
the embedded engine, by the same functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from magml.engines.queries import SITE, engine_queries
from magml.engines.table import EngineTable, Session
from magml.errors import InputError
from magml.events.read import as_moment, read_prediction_times
from magml.events.table import connect
from magml.features.arrow import to_arrow, to_numpy
from magml.features.combine import Long
from magml.features.concepts import ConceptMap, Group, map_concepts
from magml.features.filling import Block
from magml.features.matrix import FeatureMatrix
from magml.features.plan import Plan
from magml.features.unit_groups import check_groups

#: What the engine aggregates, in the order in which it is put together.
PARTS = ("points", "exposures", "doses")


def build_matrix(plan: Plan, events: EngineTable, at: Any, *, strict: bool = True) -> FeatureMatrix:
    """Build the features of prediction times where the events are.

    Parameters
    ----------
    plan
        As `magml.features.compile_plan` returns it, or loaded from a bundle.
    events
        Events on an engine.
    at
        Prediction times, as for `magml.build_features`.
    strict
        As for `magml.features.build_matrix`.

    Returns
    -------
    FeatureMatrix
        The same as from the embedded engine: counts and times exactly, sums within the last
        digits of a double.

    Raises
    ------
    UnitError
        In strict mode, for a unit that is unknown or that the values contradict.
    InputError
        If there are no prediction times, or the plan holds Python features.
    """
    check_plan(plan)
    sql = engine_queries(plan, events.dialect)
    with events.connect() as session:
        subject_id, t_us = prediction_times(session, sql, at)
        plan, concept_map = mapped_concepts(plan, session, sql, strict=strict)
        session.put("concept_map", concept_map.to_arrow(plan))
        session.keep("mapped", sql["map"])
        kept = session.query(sql["kept"]).to_pylist()
        found = [_sorted(session.query(sql[part])) for part in PARTS]
        seen = np.zeros(len(t_us), dtype=bool)
        seen[to_numpy(session.query(sql["seen"])["row_id"])] = True
    counts = np.zeros(plan.row_ids, dtype=np.int64)
    for row in kept:
        counts[row["concept_id"]] = row["rows"]
    return FeatureMatrix(
        subject_id=subject_id,
        prediction_time=t_us.astype("datetime64[us]"),
        values=fill(plan, found, t_us),
        names=plan.features,
        report=concept_map.report(plan, counts),
        empty=~seen,
    )


def check_plan(plan: Plan) -> None:
    """Refuse features that no SQL computes."""
    if plan.plugins:
        raise InputError(
            f"{len(plan.plugins)} of the features are Python functions, the first is "
            f"{plan.plugins[0].name!r}",
            "features that the engine's SQL computes",
            "leave them out, score with magml.spark.score, or read the events with "
            "magml.read_events",
        )


def prediction_times(
    session: Session, sql: Mapping[str, str], at: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bring prediction times to the engine; return their people and moments in microseconds."""
    moment = as_moment(at)
    if moment is not None:
        people = np.sort(to_numpy(session.query(sql["subjects"])["subject_id"]))
        at = to_arrow(
            {
                "subject_id": people,
                "prediction_time": np.full(len(people), np.datetime64(moment, "us")),
            }
        )
    connection = connect()
    relation = read_prediction_times(at, connection, None)
    table = connection.sql(f"SELECT * FROM {relation} ORDER BY row_id").to_arrow_table()
    session.put("prediction_times", table)
    t_us = table["prediction_time"].cast(pa.int64())
    return to_numpy(table["subject_id"]).copy(), to_numpy(t_us).copy()


def mapped_concepts(
    plan: Plan, session: Session, sql: Mapping[str, str], *, strict: bool
) -> tuple[Plan, ConceptMap]:
    """Map the codes and units of the usable events, checked as the embedded engine checks them."""
    rows = session.query(sql["profile"]).to_pylist()
    groups = sorted(
        (Group(r["code"], r["unit"], int(r["rows"]), int(r["values"] or 0)) for r in rows),
        key=lambda group: (group.code, group.unit),
    )
    concept_map = map_concepts(plan, groups, strict=strict)
    if not strict:
        return plan, concept_map

    def summarise(wanted: Iterable[tuple[str, str]]) -> list[tuple[Any, ...]]:
        return _summaries(session, sql["summaries"], sorted(wanted))

    units, assumed = check_groups(plan, None, concept_map.entries, summarise=summarise)
    if not assumed.items() <= plan.assumed.items():
        plan = plan.with_assumed({**plan.assumed, **assumed})
        concept_map = map_concepts(plan, groups, strict=strict)
    return plan, replace(concept_map, units=units)


def _summaries(session: Session, sql: str, pairs: list[tuple[str, str]]) -> list[tuple[Any, ...]]:
    """Return the rows of `magml.features.unit_groups.summaries`, from the engine."""
    if not pairs:
        return []
    session.put("wanted", to_arrow({"code": [c for c, _ in pairs], "unit": [u for _, u in pairs]}))
    found = [
        (
            row["code"],
            row["unit"],
            None if row["site"] is None else row["site"].removeprefix(SITE),
            int(row["n"]),
            int(row["people"]),
            row["median"],
            row["high"] - row["low"],
        )
        for row in session.query(sql).to_pylist()
    ]
    return sorted(found, key=lambda row: (row[0], row[1], row[2] is not None, row[2] or ""))


def _sorted(table: pa.Table) -> dict[str, NDArray[Any]]:
    """Return the columns of a long result in the order of its rows."""
    columns = {name: to_numpy(table[name]) for name in table.column_names}
    order = np.argsort(columns["row_id"], kind="stable")
    return {name: values[order] for name, values in columns.items()}


def fill(plan: Plan, parts: Sequence[Long], t_us: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the features of rows from their long results.

    Parameters
    ----------
    plan
        The plan.
    parts
        Columns of the results of `PARTS` in the order of ``row_id``, a position in `t_us`.
    t_us
        Prediction times in microseconds, int64 [rows].

    Returns
    -------
    numpy.ndarray
        float32 [rows, features], in the plan's order.
    """
    whole = Block(plan, np.zeros(len(t_us), dtype=np.int64), t_us)
    values = np.empty((len(t_us), len(plan.features)), dtype=np.float32)
    points, exposures, doses = parts
    whole.fill(values, (points, exposures, doses), t_us, range(len(t_us)))
    return values
