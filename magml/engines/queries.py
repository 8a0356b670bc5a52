"""The SQL of a plan for an engine other than the embedded one.

The plan's queries are Ibis's; to them come the few that the embedded engine asks in DuckDB's own
words, and repairs where the SQL of a dialect would depend on the session that runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import ibis

from magml.features.plan import PREFIX, STATIC, Plan
from magml.features.queries import _AT, _EVENTS, _MAPPED, _micros, compile_queries

#: Sites stand in codes of this form.
SITE = "SITE//"
_LARGEST = 1.7e308


class _ByHash:
    """A plan that compares by its hash, so that compiling can be cached."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __hash__(self) -> int:
        return hash(self.plan.hash)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByHash) and other.plan.hash == self.plan.hash


def engine_queries(plan: Plan, dialect: str) -> dict[str, str]:
    """Return the SQL of a plan for one engine, compiled once for a plan.

    Parameters
    ----------
    plan
        The plan, also one loaded from a bundle: it holds the definitions it needs.
    dialect
        One of `magml.features.DIALECTS`.

    Returns
    -------
    dict
        The parts of the plan, and ``subjects`` (who has events), ``kept`` (mapped rows by
        concept), ``seen`` (prediction times that see any event) and ``summaries`` (values by
        code, unit and site, for the check of units).

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> from magml.features import compile_plan
    >>> plan = compile_plan(read_catalogue(), ["lab.magnesium.last"])
    >>> "TIMESTAMP_NTZ" in engine_queries(plan, "databricks")["map"]
    True
    """
    return _compiled(_ByHash(plan), dialect)


@lru_cache(maxsize=16)
def _compiled(key: _ByHash, dialect: str) -> dict[str, str]:
    parts = compile_queries(key.plan, dialect, PREFIX)
    parts.pop("points_unique")
    events = ibis.table(_EVENTS, name=f"{PREFIX}events")
    at = ibis.table(_AT, name=f"{PREFIX}prediction_times")
    rows = ibis.table(_MAPPED, name=f"{PREFIX}mapped")
    wanted = ibis.table({"code": "string", "unit": "string"}, name=f"{PREFIX}wanted")
    further = {
        "subjects": events.select("subject_id").distinct(),
        "kept": rows.group_by("concept_id").aggregate(rows=rows.count()),
        "seen": _seen(events, at),
        "summaries": _summaries(events, wanted, exact=dialect != "bigquery"),
    }
    parts |= {name: str(ibis.to_sql(query, dialect=dialect)) for name, query in further.items()}
    repair = REPAIRS.get(dialect)
    return {name: repair(sql) for name, sql in parts.items()} if repair else parts


@lru_cache(maxsize=8)
def rows_of_people(dialect: str) -> str:
    """Return the SQL of all rows of the people in the relation ``people``."""
    whole = {**_EVENTS, "text_value": "string", "visit_id": "string", "source": "string"}
    events = ibis.table(whole, name=f"{PREFIX}events")
    people = ibis.table({"subject_id": "int64"}, name=f"{PREFIX}people")
    return str(ibis.to_sql(events.semi_join(people, "subject_id"), dialect=dialect))


def _seen(events: Any, at: Any) -> Any:
    """Prediction times at which some event of the person is known."""
    known = _micros(events.known_time.coalesce(events.time)).coalesce(STATIC)
    first = events.mutate(known_us=known).group_by("subject_id")
    first = first.aggregate(first_us=lambda t: t.known_us.min())
    joined = at.join(first, "subject_id")
    return joined.filter(joined.first_us < _micros(joined.prediction_time)).select("row_id")


def _summaries(events: Any, wanted: Any, *, exact: bool) -> Any:
    """Number, people and quartiles of values by code, unit and site.

    A person of several sites counts only overall, where ``site`` is null. BigQuery knows no exact
    quartiles among aggregates; its approximate ones do for the check of units.
    """
    at_site = events.filter(events.code.startswith(SITE))
    sites = at_site.group_by("subject_id").aggregate(
        least=at_site.code.min(), most=at_site.code.max()
    )
    sites = sites.filter(sites.least == sites.most).select("subject_id", site="least")
    values = events.mutate(unit=events.unit.coalesce(""))
    values = values.filter(values.numeric_value.between(-_LARGEST, _LARGEST))
    values = values.join(wanted, ["code", "unit"]).select(
        "subject_id", "code", "unit", "numeric_value"
    )
    overall = values.mutate(site=ibis.literal(None, type="string"))
    by_site = values.join(sites, "subject_id").select(
        "subject_id", "code", "unit", "numeric_value", "site"
    )
    both = overall.union(by_site, distinct=False)
    value = both.numeric_value
    quantile = value.quantile if exact else value.approx_quantile
    return both.group_by("code", "unit", "site").aggregate(
        n=both.count(),
        people=both.subject_id.nunique(),
        low=quantile(0.25),
        median=quantile(0.5),
        high=quantile(0.75),
    )


def _spark(sql: str) -> str:
    """Return SQL for Spark whose moments do not pass through the session's time zone.

    Spark's DATEDIFF of microseconds takes instants; a naive moment that a zone's clock skips in
    spring would move by an hour. The difference of two naive moments is exact.
    """
    import sqlglot
    from sqlglot import exp

    def naive(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.DateDiff | exp.TimestampDiff):
            moment = node.this.sql("databricks")
            seconds = (
                f"CAST(CAST({moment} - CAST('1970-01-01T00:00:00' AS TIMESTAMP_NTZ) AS INTERVAL "
                f"SECOND) AS DECIMAL(20, 6))"
            )
            return exp.Anonymous(this="BIGINT", expressions=[exp.Var(this=f"{seconds} * 1000000")])
        return node

    tree = sqlglot.parse_one(sql, read="databricks")
    return tree.transform(naive).sql("databricks")


#: What changes the SQL that Ibis compiles for a dialect.
REPAIRS: dict[str, Callable[[str], str]] = {"databricks": _spark}
