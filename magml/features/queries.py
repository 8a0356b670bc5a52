"""The plan's queries, written once in Ibis and compiled to the SQL of each engine.

Moments become whole microseconds since 1970, so that every engine compares and subtracts the
same integers. Loaded only to compile: a plan that was compiled before runs without Ibis.
"""

from __future__ import annotations

from typing import Any

import ibis

from magml.clock import MICROSECONDS_PER_HOUR, seconds
from magml.features.plan import MICROSECONDS, OPEN, STATIC, Plan, bin_groups, used_statistics

_EVENTS = {
    "subject_id": "int64",
    "time": "timestamp",
    "known_time": "timestamp",
    "end_time": "timestamp",
    "code": "string",
    "unit": "string",
    "numeric_value": "float64",
}
_CONCEPT_MAP = {
    "code": "string",
    "unit": "string",
    "concept_id": "int32",
    "fixed": "boolean",
    "scale": "float64",
    "shift": "float64",
    "low": "float64",
    "high": "float64",
    "lasts_us": "int64",
}
_AT = {"row_id": "int64", "subject_id": "int64", "prediction_time": "timestamp"}
_MAPPED = {
    "subject_id": "int64",
    "concept_id": "int32",
    "time_us": "int64",
    "known_us": "int64",
    "end_us": "int64",
    "value": "float64",
    "repeated": "boolean",
}
_LARGEST = 1.7e308


def compile_queries(plan: Plan, dialect: str, prefix: str) -> dict[str, str]:
    """Return the SQL of every part of a plan for one engine.

    Parameters
    ----------
    plan
        A plan whose concepts are set; its own SQL is not looked at.
    dialect
        Engine, as Ibis names it.
    prefix
        Put before the names of the relations that the queries read.
    """
    events = ibis.table(_EVENTS, name=f"{prefix}events")
    concept_map = ibis.table(_CONCEPT_MAP, name=f"{prefix}concept_map")
    at = ibis.table(_AT, name=f"{prefix}prediction_times")
    rows = ibis.table(_MAPPED, name=f"{prefix}mapped")
    parts = {
        "profile": profile(events, at),
        "map": mapped(events, concept_map, at),
        "points": points(plan, corrected(plan, rows), at),
        "points_unique": points(plan, uncorrected(plan, rows), at),
        "exposures": exposures(plan, rows, at),
        "doses": doses(plan, rows, at),
    }
    return {name: str(ibis.to_sql(query, dialect=dialect)) for name, query in parts.items()}


def _micros(moment: Any) -> Any:
    """Return whole microseconds since 1970."""
    return moment.delta(ibis.timestamp("1970-01-01 00:00:00"), unit="microsecond")


def _usable(events: Any, at: Any) -> Any:
    """Return the events that some prediction time of their subject can use."""
    horizon = at.group_by("subject_id").aggregate(horizon=at.prediction_time.max())
    joined = events.join(horizon, "subject_id")
    known = joined.known_time.coalesce(joined.time)
    return joined.filter(
        known.isnull() | (known < joined.horizon),
        joined.time.isnull() | (joined.time < joined.horizon),
    )


def profile(events: Any, at: Any) -> Any:
    """Rows and values of each code and unit; an empty unit is none."""
    usable = _usable(events, at)
    usable = usable.mutate(unit=usable.unit.coalesce(""))
    real = usable.numeric_value.between(-_LARGEST, _LARGEST)
    return usable.group_by("code", "unit").aggregate(
        rows=usable.count(), values=real.ifelse(1, 0).sum()
    )


def mapped(events: Any, concept_map: Any, at: Any) -> Any:
    """Events as rows of concepts: moments in microseconds, values in the concept's unit.

    A fixed value is the map's `shift` alone. Values outside the plausible range are left out; the
    comparison also leaves out NaN. A record ends when its concept's doses last that long at least.
    """
    usable = _usable(events, at)
    usable = usable.mutate(unit=usable.unit.coalesce(""))
    joined = usable.join(concept_map, ["code", "unit"])
    converted = joined.numeric_value * joined.scale + joined.shift
    value = joined.fixed.ifelse(joined.shift, converted)
    known = joined.known_time.coalesce(joined.time)
    kept = joined.filter(value >= joined.low, value <= joined.high)
    time_us = _micros(joined.time).coalesce(STATIC)
    end_us = _micros(joined.end_time).coalesce(OPEN)
    lasting = ibis.greatest(end_us, time_us + joined.lasts_us)
    return kept.select(
        "subject_id",
        "concept_id",
        time_us=time_us,
        known_us=_micros(known).coalesce(STATIC),
        end_us=(joined.lasts_us > 0).ifelse(lasting, end_us),
        value=value,
        repeated=ibis.literal(True),
    )


def corrected(plan: Plan, rows: Any) -> Any:
    """Moments with the time at which another row of the same moment takes their place.

    Only rows marked `repeated` can have one; telling them apart spares the others a sort.
    """
    moments = rows.filter(rows.concept_id < plan.first_exposure)
    alone = moments.filter(~moments.repeated)
    alone = alone.mutate(superseded_us=ibis.literal(None, type="int64"))
    several = moments.filter(moments.repeated)
    order = ibis.window(
        group_by=["subject_id", "concept_id", "time_us"], order_by=["known_us", "value"]
    )
    several = several.mutate(superseded_us=several.known_us.lead().over(order))
    return alone.union(several, distinct=False)


def uncorrected(plan: Plan, rows: Any) -> Any:
    """Moments of a table in which no row is repeated."""
    moments = rows.filter(rows.concept_id < plan.first_exposure)
    return moments.mutate(superseded_us=ibis.literal(None, type="int64"))


def _times(at: Any) -> Any:
    return at.select("row_id", "subject_id", t_us=_micros(at.prediction_time))


def points(plan: Plan, moments: Any, at: Any) -> Any:
    """Aggregates of measurements, conditions and birth by (row, concept, bin).

    A bin holds the rows between two neighbouring windows, so that each row is aggregated once;
    the windows are then sums of bins (`magml.features.combine`). Bin ``k`` is the k-th window
    without those inside it, the next one is everything older, and the last one static rows.
    """
    joined = moments.join(_times(at), "subject_id")
    joined = joined.filter(
        joined.known_us < joined.t_us,
        joined.time_us < joined.t_us,
        joined.superseded_us.isnull() | (joined.superseded_us >= joined.t_us),
    )
    joined = joined.mutate(bin=_bin(plan, joined))
    joined = joined.filter(joined.bin.notnull())
    value, time = joined.value, joined.time_us
    used = used_statistics(plan)
    aggregates: dict[str, Any] = {"n": joined.count()}
    if used & {"mean", "sum", "sd", "slope"}:
        aggregates["total"] = value.sum()
    if "min" in used:
        aggregates["least"] = value.min()
    if "max" in used:
        aggregates["most"] = value.max()
    if "first" in used:
        aggregates["first"] = value.argmin(time)
    if "last" in used:
        aggregates["last"] = value.argmax(time)
    if used & {"hours_since", "days_since", "years"}:
        aggregates["newest_us"] = time.max()
    if "sd" in used:
        aggregates["variance"] = value.var(how="pop")
    if "slope" in used:
        # Relative to the prediction time, where a double still holds each microsecond.
        offset = (time - joined.t_us).cast("float64")
        aggregates["offset"] = offset.mean()
        aggregates["offset_variance"] = offset.var(how="pop")
        aggregates["covariance"] = value.cov(offset, how="pop")
    return joined.group_by("row_id", "concept_id", "bin").aggregate(**aggregates)


def _bin(plan: Plan, joined: Any) -> Any:
    """Return the bin of a row, by the windows of its concept."""
    age = joined.t_us - joined.time_us
    branches = []
    for end, windows, older in bin_groups(plan.concepts):
        inner = [(age <= w * MICROSECONDS, k) for k, w in enumerate(windows)]
        if older:
            inner.append((joined.time_us > STATIC, len(windows)))
            choice = ibis.cases(*inner, else_=len(windows) + 1)
        else:
            choice = ibis.cases(*inner)
        branches.append((joined.concept_id < end, choice))
    if not branches:
        return ibis.literal(0, type="int8")
    return ibis.cases(*branches).cast("int32")


def exposures(plan: Plan, rows: Any, at: Any) -> Any:
    """State, eras and covered time of exposures by (row, concept).

    Rows are walked by start; what lies before the furthest stop so far is covered already, so
    that each row adds only the part that is new, and a row that starts more than the gap after it
    opens an era.
    """
    joined = _periods(rows, at, plan.first_exposure, plan.first_dose)
    joined = joined.select("row_id", "concept_id", "t_us", "time_us", "is_open", "stop_us")
    before = ibis.window(
        group_by=["row_id", "concept_id"],
        order_by=["time_us", "stop_us"],
        preceding=(None, 1),
    )
    order = ibis.window(group_by=["row_id", "concept_id"], order_by=["time_us", "stop_us"])
    walked = joined.mutate(
        reached_us=joined.stop_us.max().over(before), previous_us=joined.time_us.lag().over(order)
    )
    first = walked.reached_us.isnull()
    opens = first | (walked.time_us > walked.reached_us + _gap(plan, walked.concept_id))
    begins = first | (walked.time_us != walked.previous_us)
    fresh = opens.ifelse(walked.time_us, walked.reached_us)

    def number(which: Any) -> Any:
        # Engines differ in the type of a sum of integers; doubles hold it exactly.
        return which.ifelse(1, 0).cast("float64").sum()

    def covered(begin: Any) -> Any:
        # As doubles exact for 285 years.
        return ibis.greatest(walked.stop_us - begin, 0).cast("float64").sum()

    used = used_statistics(plan, exposures=True)
    aggregates = {
        "active": walked.is_open.max().cast("int32"),
        "stop_us": walked.stop_us.max(),
        "start_us": opens.ifelse(walked.time_us, STATIC).max(),
        "covered_us": covered(fresh),
    }
    if "count" in used:
        aggregates["begun"] = number(begins)
    if "eras" in used:
        aggregates["eras"] = number(opens)
    for k, window in enumerate(plan.exposure_windows):
        edge = walked.t_us - window * MICROSECONDS
        aggregates[f"covered_us_{k}"] = covered(ibis.greatest(fresh, edge))
        if "count" in used:
            aggregates[f"begun_{k}"] = number(begins & (walked.time_us >= edge))
        if "eras" in used:
            # The one row of an era that is the first to reach into the window.
            enters = (walked.stop_us >= edge) & (opens | (walked.reached_us < edge))
            aggregates[f"eras_{k}"] = number(enters)
    return walked.group_by("row_id", "concept_id").aggregate(**aggregates)


def doses(plan: Plan, rows: Any, at: Any) -> Any:
    """Recorded doses by (row, drug): totals count at their start, rates while they run."""
    first, rates = plan.first_dose, len(plan.concepts)
    marked = rows.filter(rows.concept_id >= first)
    marked = marked.mutate(per_hour=marked.concept_id >= rates)
    drug = marked.per_hour.ifelse(marked.concept_id - plan.drugs, marked.concept_id)
    marked = marked.mutate(concept_id=drug.cast("int32"))
    order = ibis.window(
        group_by=["subject_id", "concept_id", "time_us"], order_by=["known_us", "value"]
    )
    marked = marked.mutate(superseded_us=marked.known_us.lead().over(order))
    joined = _periods(marked, at, first, rates)
    joined = joined.filter(joined.superseded_us.isnull() | (joined.superseded_us >= joined.t_us))
    day = joined.t_us - 24 * MICROSECONDS_PER_HOUR
    running = joined.per_hour.ifelse(joined.is_open, (joined.time_us >= day).ifelse(1, 0))
    in_a_day = joined.value * joined.per_hour.ifelse(24, 1).cast("float64")

    def amount(edge: Any) -> Any:
        begin = joined.time_us if edge is None else ibis.greatest(joined.time_us, edge)
        hours = ibis.greatest(joined.stop_us - begin, 0).cast("float64") / MICROSECONDS_PER_HOUR
        inside = (joined.time_us >= (STATIC if edge is None else edge)).ifelse(1, 0)
        inside = inside.cast("float64")
        return (joined.value * joined.per_hour.ifelse(hours, inside)).sum()

    aggregates = {
        "stop_us": joined.stop_us.max(),
        "running": running.max().cast("int32"),
        "daily": (running == 1).ifelse(in_a_day, ibis.literal(0, type="float64")).sum(),
        "amount": amount(None),
    }
    for k, window in enumerate(plan.exposure_windows):
        aggregates[f"amount_{k}"] = amount(joined.t_us - window * MICROSECONDS)
    return joined.group_by("row_id", "concept_id").aggregate(**aggregates)


def _periods(rows: Any, at: Any, first: int, last: int) -> Any:
    """Return visible periods of concepts, with whether they run and where they stop by then."""
    joined = rows.filter(rows.concept_id >= first, rows.concept_id < last)
    joined = joined.join(_times(at), "subject_id")
    joined = joined.filter(
        joined.known_us < joined.t_us, joined.time_us > STATIC, joined.time_us < joined.t_us
    )
    still = joined.end_us > joined.t_us
    return joined.mutate(
        is_open=still.ifelse(1, 0),
        stop_us=still.ifelse(joined.t_us, ibis.greatest(joined.end_us, joined.time_us)),
    )


def _gap(plan: Plan, concept_id: Any) -> Any:
    """Return how long after a stop the next record continues the era, in microseconds."""
    ids: dict[int, list[int]] = {}
    for number, concept in enumerate(plan.concepts):
        if concept.exposure and concept.definition.gap:
            ids.setdefault(seconds(concept.definition.gap) * MICROSECONDS, []).append(number)
    if not ids:
        return ibis.literal(0, type="int64")
    branches = [(concept_id.isin(found), gap) for gap, found in sorted(ids.items())]
    return ibis.cases(*branches, else_=0)
