"""The serum outcome: a concentration below a threshold within the time at risk."""

from __future__ import annotations

from magml.clock import seconds
from magml.definitions.model import SerumOutcome
from magml.events.table import text
from magml.outcomes.specimens import Specimens
from magml.units import canonical_unit, conversion

#: Closer than this is equal: far below any reporting step, and above what a value loses when it
#: was stored in single precision (1.8 becomes 1.79999995, which is not below 1.8).
_EQUAL = 1e-6


def below_threshold(outcome: SerumOutcome, specimens: Specimens) -> str:
    """Return SQL that is true where a specimen's value lies below the threshold.

    The value is compared in the unit in which it was reported, with that unit's equivalent.
    A unit without an equivalent is converted and compared with the canonical unit's.

    Notes
    -----
    1.7 mg/dL is 0.6996 mmol/L. Converted first, a value reported as 1.7 mg/dL would count as
    below 0.70 mmol/L, and because values are reported to 0.1 the number of cases would double.
    """
    return _compare(outcome, specimens, "<")


def on_threshold(outcome: SerumOutcome, specimens: Specimens) -> str:
    """Return SQL that is true where a specimen's value equals the threshold as reported."""
    return _compare(outcome, specimens, "=")


def _compare(outcome: SerumOutcome, specimens: Specimens, operator: str) -> str:
    equivalents = {canonical_unit(unit): bound for unit, bound in outcome.threshold.items()}
    test = "value - {b!r} < -{e!r}" if operator == "<" else "abs(value - {b!r}) <= {e!r}"
    cases = [
        f"WHEN unit = {text(unit)} THEN " + test.format(b=float(bound), e=_EQUAL)
        for unit, bound in sorted(equivalents.items())
    ]
    unit, bound = next(iter(sorted(equivalents.items())))
    canonical = specimens.concept.unit
    if canonical is not None and canonical_unit(canonical) in equivalents:
        fallback = float(equivalents[canonical_unit(canonical)])
    else:
        scale, shift = conversion(unit, specimens.concept)
        fallback = float(bound) * scale + shift
    other = test.replace("value", "canonical").format(b=fallback, e=_EQUAL)
    return f"CASE {' '.join(cases)} ELSE {other} END"


def label_sql(
    outcome: SerumOutcome, specimens: Specimens, rows: str, *, until: str | None = None
) -> str:
    """Return SQL that labels prediction times.

    Parameters
    ----------
    rows
        Relation with ``row_id``, ``subject_id``, ``prediction_time``.
    until
        Column of `rows` with a moment at which the time at risk ends early, or null.

    Returns
    -------
    str
        A query with ``row_id``, ``boolean_value``, ``outcome_time`` (specimen that decided),
        ``on_threshold``; only rows with a specimen in the time at risk, which begins `gap` after
        the prediction time and ends `time_at_risk` later, that end excluded.
    """
    # One specimen a person and time: the later known result, then the larger value, wins.
    order = {
        "first": "s.time ASC, s.known DESC, s.canonical DESC",
        "any": "low DESC, s.time ASC, s.known DESC, s.canonical DESC",
        "lowest": "s.canonical ASC, s.time ASC, s.known DESC",
    }[outcome.select]
    begin = seconds(outcome.gap)
    end = begin + seconds(outcome.time_at_risk)
    early = "" if until is None else f"AND (r.{until} IS NULL OR s.time < r.{until})"
    return f"""
        SELECT row_id, low AS boolean_value, outcome_time, tie AS on_threshold
        FROM (
            SELECT r.row_id, s.time AS outcome_time, s.low, s.tie,
                   row_number() OVER (PARTITION BY r.row_id ORDER BY {order}) AS rank
            FROM {rows} r
            JOIN (
                SELECT *, {below_threshold(outcome, specimens)} AS low,
                       {on_threshold(outcome, specimens)} AS tie
                FROM {specimens.relation}
                QUALIFY row_number() OVER (
                    PARTITION BY subject_id, time ORDER BY known DESC, canonical DESC) = 1
            ) s
              ON s.subject_id = r.subject_id
             AND s.time >= r.prediction_time + INTERVAL {begin} SECOND
             AND s.time < r.prediction_time + INTERVAL {end} SECOND {early}
        )
        WHERE rank = 1
    """
