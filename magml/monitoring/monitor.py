"""Monitoring: a model's records, scores and outcomes, period by period."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from magml.clock import seconds
from magml.errors import InputError
from magml.evaluation.checks import SMALL_CELL
from magml.files import atomic_file
from magml.monitoring.alarm import Alarm, raised
from magml.monitoring.baseline import Baseline
from magml.monitoring.changes import code_changes, other_codes, presence_changes, unit_alarms
from magml.monitoring.distribution import effective, two_samples
from magml.monitoring.outcomes import (
    Scored,
    outcome_alarms,
    outcome_figures,
    score_alarms,
    score_changes,
)
from magml.monitoring.periods import Period, cut
from magml.monitoring.records import Place, code_uses, people_by_period, uses_by_period
from magml.monitoring.result import Monitoring
from magml.monitoring.rows import LabelledTimes, monitored_rows
from magml.monitoring.thresholds import Thresholds

if TYPE_CHECKING:
    from magml.bundle import Model
    from magml.monitoring.records import CodeUse

#: Counts of a period; from 1 to 9 they are not told.
_COUNTS = ("n", "people", "labelled", "cases")


def monitor(
    model: Model | str | os.PathLike[str],
    *,
    events: Any = None,
    at: Any = None,
    labels: Any = None,
    experiment: str | Path | None = None,
    data: Any = None,
    every: str = "month",
    alert_band: str | None = None,
    reference_until: Any = None,
    as_of: Any = None,
    thresholds: Thresholds | None = None,
    html: str | os.PathLike[str] | None = None,
    track: bool = False,
    tracking_uri: str | None = None,
) -> Monitoring:
    """Compare records, scores and outcomes, period by period, with what the model expects.

    Parameters
    ----------
    model
        A loaded model, or what `magml.load` takes.
    events, at
        Records, and the prediction times that were or would have been scored.
    labels
        Outcomes as far as they are known (``subject_id``, ``prediction_time``,
        ``boolean_value``); without `at` they are the prediction times too.
    experiment, data
        Instead: an experiment whose source and cohort give prediction times and outcomes.
    every
        ``day``, ``week``, ``month``, ``quarter``, ``year``, or a duration such as ``30d``.
    alert_band
        The lowest band that counts as an alert; default the highest.
    reference_until
        Rows before this moment are what is expected, instead of the training; they are not judged.
    as_of
        Moment up to which the records reach; default the last at which something became known.
    thresholds
        From when on a change is an alarm.
    html
        File for a page with everything.
    track
        Log metrics by period to MLflow.
    tracking_uri
        MLflow's store; default as for `magml.train`.

    Returns
    -------
    Monitoring

    Raises
    ------
    InputError
        If the rows are not stated, or the bundle says nothing of its training and no time of
        one's own is named.

    Examples
    --------
    >>> found = monitor("bundle", events="events.parquet", at="times.csv")    # doctest: +SKIP
    >>> [alarm.words for alarm in found.findings]                             # doctest: +SKIP
    """
    from magml.bundle import load
    from magml.bundle.model import Model

    loaded = model if isinstance(model, Model) else load(model)
    limits = thresholds or Thresholds()
    bands = [band.name for band in loaded.definition.bands]
    alert = alert_band or bands[-1]
    if alert not in bands:
        raise InputError(f"the alert band {alert!r}", f"one of {', '.join(bands)}", "correct it")
    times = monitored_rows(
        loaded, events=events, at=at, labels=labels, experiment=experiment, data=data
    )
    found = _compare(loaded, times, every, alert, reference_until, as_of, limits)
    if html is not None:
        from magml.monitoring.page import monitoring_page

        with atomic_file(html) as beside:
            beside.write_text(monitoring_page(found), encoding="utf-8")
    if track:
        from magml.monitoring.tracking import log_monitoring

        log_monitoring(found, None if html is None else Path(html), tracking_uri=tracking_uri)
    return found


def _compare(
    model: Model,
    times: LabelledTimes,
    every: str,
    alert: str,
    reference_until: Any,
    as_of: Any,
    limits: Thresholds,
) -> Monitoring:
    """Build features once, cut them into periods, and compare each."""
    from magml.features import build_matrix

    events, connection = times.events, times.events.connection
    matrix = build_matrix(model.plan, events, times.relation, strict=False)
    values = model.columns(matrix.values)
    risk = model.score_matrix(values).risk
    moments = matrix.prediction_time.astype("datetime64[us]")
    last = _moment(as_of, "--as-of") or _last_known(times)
    lowest = next(b.at_least for b in model.definition.bands if b.name == alert)
    horizon = pd.Timedelta(seconds=_horizon(model)) + pd.Timedelta(days=limits.label_delay_days)
    due = moments <= (last - horizon).to_datetime64()
    first = _moment(reference_until, "--reference-until")
    judged = np.ones(len(risk), dtype=bool)
    if first is None:
        baseline = Baseline.of_training(model)
    else:
        judged = moments >= first.to_datetime64()
        if not judged.any() or judged.all():
            raise InputError(
                f"{int((~judged).sum())} prediction times before {first} and "
                f"{int(judged.sum())} after it",
                "some of both",
                "choose another --reference-until",
            )
        own = "magml_monitored_reference"
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {own} AS SELECT * FROM {times.relation} "
            "WHERE prediction_time < ?", [first.to_pydatetime()]
        )  # fmt: skip
        before = _until(events, first)
        baseline = Baseline.of(
            f"the rows before {first.isoformat()}",
            values[~judged],
            model.features,
            matrix.subject_id[~judged],
            risk[~judged],
            model.definition.bands,
            code_uses(model.plan, before, own),
        )
    periods = cut(moments[judged], every)
    made: list[Alarm] = []
    rows: list[dict[str, Any]] = []
    features: dict[str, dict[str, dict[str, float | None]]] = {}
    index = np.searchsorted(
        np.array([p.since.to_datetime64() for p in periods], "datetime64[us]"), moments, "right"
    )
    for number, period in enumerate(periods, start=1):
        here = judged & (index == number)
        scored = Scored(
            period.name,
            matrix.subject_id[here],
            risk[here],
            risk[here] >= lowest,
            times.labels[here],
            due[here],
        )
        row, comparisons, by_feature = _period(
            model, scored, values[here], baseline, alert, limits, times.labelled
        )
        rows.append(row)
        made += comparisons
        for name, figures in by_feature.items():
            features.setdefault(name, {})[period.name] = figures
    uses, people = _records(model, times, periods)
    made += code_changes(uses, baseline.codes, limits)
    made += presence_changes(people, uses, baseline.codes, limits)
    made += _label_changes(rows, limits)
    units = unit_alarms(model.plan, uses, baseline.codes)
    sure = raised(made, limits.false_alarms)
    unsure = tuple(one for one in made if one.large and one not in sure)
    return Monitoring(
        model.definition.name, model.hash, baseline, every, last, alert,
        tuple(_protected(row) for row in rows), features, (*sure, *units), unsure, len(made),
        limits, (*_notes(rows, limits, times), *events.notes), other_codes(uses, baseline.codes),
    )  # fmt: skip


def _period(
    model: Model,
    rows: Scored,
    values: NDArray[np.float32],
    baseline: Baseline,
    alert: str,
    limits: Thresholds,
    labelled: bool,
) -> tuple[dict[str, Any], list[Alarm], dict[str, dict[str, float | None]]]:
    """Return a period's line, its comparisons and its features."""
    n, people = len(rows.risk), len(np.unique(rows.persons))
    judged = n >= limits.minimum_rows and people >= limits.minimum_people
    row: dict[str, Any] = {
        "period": rows.period, "judged": judged, "n": n, "people": people, "mean_risk": None,
        "score_psi": None, "alert_rate": None, "largest_psi": None,
        "largest_missing_change": None, "due": int(rows.due.sum()),
        "labelled": int((rows.due & ~np.isnan(rows.label)).sum()) if labelled else None,
        "cases": None, "observed_expected": None, "intercept": None, "slope": None, "auroc": None,
        "due_people": effective(rows.persons[rows.due]),
    }  # fmt: skip
    if not judged:
        return row, [], {}
    made: list[Alarm] = []
    scores = score_changes(rows, baseline, alert)
    row |= {name: scores[name] for name in ("mean_risk", "score_psi", "alert_rate")}
    if baseline.risk is not None:
        made += score_alarms(scores, rows.period, baseline.bands.get(alert, 0.0), limits)
    by_feature: dict[str, dict[str, float | None]] = {}
    for place, name in enumerate(model.features):
        expected = baseline.features.get(name)
        if expected is None:
            continue
        column = values[:, place]
        share, difference, p = expected.known_change(column, rows.persons)
        words = f"known in {share:.0%} of rows, {expected.known:.0%} before"
        large = abs(difference) >= limits.missing
        made.append(Alarm("missing", name, rows.period, None, difference, p, words, large))
        change = expected.change(column, rows.persons)
        if change is not None:
            words = f"its values are distributed otherwise (stability index {change.psi:.2f})"
            large = change.psi >= limits.input_psi
            made.append(Alarm("input", name, rows.period, None, change.psi, change.p, words, large))
        by_feature[name] = {"known": share, "psi": None if change is None else change.psi}
    row["largest_psi"] = max((f["psi"] or 0.0 for f in by_feature.values()), default=None)
    row["largest_missing_change"] = max(
        (abs(a.size) for a in made if a.kind == "missing"), default=None
    )
    outcome = outcome_figures(rows) if labelled else None
    if outcome is not None:
        names = ("cases", "observed_expected", "intercept", "slope", "auroc")
        row |= {name: outcome[name] for name in names}
        made += outcome_alarms(outcome, rows.period, _development(model), limits)
    return row, made, by_feature


def _records(
    model: Model, times: LabelledTimes, periods: Sequence[Period]
) -> tuple[dict[Place, tuple[CodeUse, ...]], dict[Place, tuple[int, dict[str, int]]]]:
    """Return codes and units, and people by concept, by period and site."""
    events, connection, name = times.events, times.events.connection, "magml_monitored_periods"
    frame = pd.DataFrame(
        {
            "name": [p.name for p in periods],
            "since": [p.since for p in periods],
            "until": [p.until for p in periods],
        }
    )
    connection.register(name, frame)
    try:
        uses = uses_by_period(model.plan, events, times.relation, name)
        return uses, people_by_period(uses, events, times.relation, name)
    finally:
        connection.unregister(name)


def _label_changes(rows: Sequence[dict[str, Any]], limits: Thresholds) -> list[Alarm]:
    """Compare the share of due rows with a known outcome with that of the first full period."""
    full = [
        row
        for row in rows
        if row["judged"] and row["labelled"] is not None and row["due"] >= limits.minimum_rows
    ]
    made = []
    for row in full[1:]:
        share, usual = row["labelled"] / row["due"], full[0]["labelled"] / full[0]["due"]
        p = two_samples(
            np.array([usual, 1 - usual]) * full[0]["due_people"],
            np.array([share, 1 - share]) * row["due_people"],
        )
        words = f"{share:.0%} of due outcomes are known, {usual:.0%} in {full[0]['period']}"
        large = abs(share - usual) >= limits.labelled
        made.append(Alarm("labels", "outcomes known", row["period"], None, share - usual, p,
                          words, large))  # fmt: skip
    return made


def _notes(
    rows: Sequence[dict[str, Any]], limits: Thresholds, times: LabelledTimes
) -> tuple[str, ...]:
    small = sum(not row["judged"] for row in rows)
    found = []
    if small:
        found.append(
            f"{small} periods have fewer than {limits.minimum_rows} prediction times or "
            f"{limits.minimum_people} people: not judged"
        )
    if not times.labelled:
        found.append("no outcomes were given: calibration was not looked at")
    elif sum(row["n"] - row["due"] for row in rows):
        found.append("outcomes of the youngest rows are not due yet and enter no calibration")
    return tuple(found)


def _protected(row: dict[str, Any]) -> dict[str, Any]:
    """Return a period's line without counts from 1 to 9."""
    shown = {key: value for key, value in row.items() if key != "due_people"}
    for name in (*_COUNTS, "due"):
        value = shown[name]
        if isinstance(value, int) and 0 < value < SMALL_CELL:
            shown[name] = None
    return shown


def _development(model: Model) -> float | None:
    performance = model.training.get("performance") or {}
    for row in performance.get("metrics", []):
        if row["model"] == performance.get("reference") and row["metric"] == "auroc":
            return None if row["value"] is None else float(row["value"])
    return None


def _horizon(model: Model) -> float:
    """Return the seconds from a prediction time to the end of the time at risk."""
    outcome = model.definition.outcome
    gap = seconds(getattr(outcome, "gap", None) or "0h")
    return gap + seconds(getattr(outcome, "time_at_risk", None) or "0h")


def _last_known(times: LabelledTimes) -> pd.Timestamp:
    events = times.events
    found = events.connection.execute(
        f"SELECT max(coalesce(known_time, time)) FROM {events.relation} "
        "WHERE isfinite(coalesce(known_time, time))"
    ).fetchall()[0][0]
    return pd.Timestamp(found)


def _until(events: Any, moment: pd.Timestamp) -> Any:
    """Return the events that became known before a moment."""
    from dataclasses import replace

    name = "magml_monitored_before"
    events.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM {events.relation} "
        "WHERE coalesce(known_time, time) < ? OR time IS NULL", [moment.to_pydatetime()]
    )  # fmt: skip
    return replace(events, relation=name)


def _moment(value: Any, option: str) -> pd.Timestamp | None:
    if value is None:
        return None
    try:
        found = pd.Timestamp(value)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{option} is no moment", "a date or ISO 8601 moment", "correct it"
        ) from error
    if found.tzinfo is not None:
        found = found.tz_convert("UTC").tz_localize(None)
    return found
