"""Competing events: what can end observation before the outcome's analyte is measured."""

from __future__ import annotations

from magml.events.table import Events


def competing_sql(name: str, events: Events, rows: str) -> str:
    """Return a query for ``row_id`` and ``at``: the event's first time after the prediction time.

    Parameters
    ----------
    name
        ``death``, or ``discharge``: the last end among visits that are open at the prediction
        time. Moving from intensive care to a ward is no discharge where the stay in hospital is
        a visit of its own.
    rows
        Relation with ``row_id``, ``subject_id``, ``prediction_time``.
    """
    relation = events.relation
    if name == "death":
        return (
            f"SELECT r.row_id, min(e.time) AS at FROM {rows} r JOIN {relation} e "
            "ON e.subject_id = r.subject_id AND e.code = 'MEDS_DEATH' "
            "AND e.time > r.prediction_time GROUP BY r.row_id"
        )
    # A visit without an end is still open: nobody was discharged from it.
    return (
        "SELECT r.row_id, CASE WHEN count(*) = count(e.end_time) THEN max(e.end_time) END AS at "
        f"FROM {rows} r JOIN {relation} e ON e.subject_id = r.subject_id "
        "AND starts_with(e.code, 'VISIT//') AND e.time <= r.prediction_time "
        "AND (e.end_time IS NULL OR e.end_time > r.prediction_time) GROUP BY r.row_id"
    )
