"""Example patients in a report: only people who were asked for by name."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.errors import InputError
from magml.explanations import missing_tests
from magml.explanations.missing import NOTE as MISSING_NOTE
from magml.explanations.words import (
    describe_domain,
    describe_feature,
    describe_percent,
    describe_unit,
    describe_value,
)
from magml.report.blocks import Block, Cell, Figure, Notice, Section, Table, Text
from magml.report.cells import records

if TYPE_CHECKING:
    from magml.bundle import Model
    from magml.explanations import Explanation

_REASONS, _TESTS, _MOST = 10, 5, 10
#: A test whose results all give the same risk within half a point is not worth a line.
_NOTICEABLE = 0.005


def patient_sections(model: Model, events: Any, at: Any, patients: Sequence[int]) -> list[Section]:
    """Return one section for each person named.

    Parameters
    ----------
    model
        The model.
    events, at
        Records and prediction times, as for `Model.score`.
    patients
        The people, at most ten; each at the latest of its prediction times.

    Raises
    ------
    InputError
        If records or times are missing, somebody has no prediction time, or too many are named.
    """
    from magml.events import read_events, read_prediction_times

    if events is None or at is None:
        raise InputError(
            "people to show, and no records of them",
            "events with prediction times",
            "add --events with --at, or --experiment with --data",
        )
    if len(patients) > _MOST:
        raise InputError(f"{len(patients)} people", f"at most {_MOST}", "name fewer")
    read = read_events(events)
    relation = read_prediction_times(at, read.connection, read)
    times = read.connection.execute(
        f"SELECT subject_id, max(prediction_time) AS prediction_time FROM {relation} "
        "GROUP BY subject_id"
    ).df()
    read.connection.execute(f"DROP TABLE IF EXISTS {relation}")
    chosen = times.set_index("subject_id").reindex(list(dict.fromkeys(patients)))
    lost = int(chosen["prediction_time"].isna().sum())
    if lost:
        raise InputError(
            f"{lost} of {len(chosen)} people named have no prediction time",
            "people of the events and times given",
            "check the ids",
        )
    frame = chosen.reset_index()
    why = model.explain(read, frame, evidence=_REASONS)
    scored = records(model.score(read, frame))
    return [_section(model, why, scored[row], row) for row in range(len(why))]


def _section(model: Model, why: Explanation, score: dict[str, Any], row: int) -> Section:
    """Return one person's section."""
    when = np.datetime_as_string(why.prediction_time[row], unit="m").replace("T", " ")
    risk = describe_percent(float(why.risk[row]))
    low, high = (describe_percent(score[key]) for key in ("risk_low", "risk_high"))
    blocks: list[Block] = [
        Notice(
            "This section holds data of a person, because it was asked for. Share the report "
            "accordingly.",
            "warning",
        ),
        Text(
            f"Risk {risk} (band: {score['band']}; the model's members range from {low} to {high}), "
            f"at {when}." + (f" To know first: {score['warnings']}." if score["warnings"] else "")
        ),
        Figure(
            f"patient-{row + 1}",
            _waterfall(why, row),
            "From the model's starting risk to this risk, by concept. Grey reasons are undecided.",
        ),
        _reasons(why, row),
    ]
    blocks += _tests(model, why, row)
    subject = int(why.subject_id[row])
    return Section(f"patient-{row + 1}", f"Example: person {subject}", tuple(blocks))


def _reasons(why: Explanation, row: int) -> Table:
    """Return the largest reasons with value, place in the cohort and evidence."""
    order = np.argsort(-np.abs(why.log_odds[row]), kind="stable")[:_REASONS]
    stable = why.stable("feature")[row]
    rows: list[tuple[Cell, ...]] = []
    for column in order:
        feature = why.schema[column]
        position = why.position(row, feature.name)
        points = 100 * why.risks[row, column]
        rows.append(
            (
                f"{describe_feature(feature)} ({describe_domain(feature.domain, why.catalogue)})",
                describe_value(feature, float(why.values[row, column]), why.catalogue),
                "" if position is None else position.words(),
                f"{points:+.1f} points".replace("-", "−"),
                "yes" if stable[column] else "undecided",
                why.evidence.get((row, feature.name), ""),
            )
        )
    head = ("Reason", "Value", "In the cohort", "Adds", "Settled", "Recorded")
    return Table(head, tuple(rows), "The largest reasons, by predictor.", small=True)


def _tests(model: Model, why: Explanation, row: int) -> list[Block]:
    """Return the missing tests that would most change the answer."""
    if model.reference is None or why.matrix is None:
        return []
    missing = missing_tests(model, why.matrix.values[row])
    found = [test for test in missing if test.high - test.low >= _NOTICEABLE][:_TESTS]
    if not found:
        some = f"None of the {len(missing)} tests" if missing else "No test that the model uses is"
        rest = " without a result" + (" would move the risk by half a point" if missing else "")
        return [Text(f"{some}{rest}.", strong="What to measure.")]
    rows = tuple(
        (
            test.label,
            _at(test.low, test.value_at_low, test.unit),
            _at(test.high, test.value_at_high, test.unit),
            " or ".join(test.bands),
        )
        for test in found
    )
    head = ("Test without a result", "Lowest risk", "Highest risk", "Band it could lie in")
    return [Table(head, rows, MISSING_NOTE)]


def _at(risk: float, value: float, unit: str | None) -> str:
    """Return a risk with the result that gives it.

    Examples
    --------
    >>> _at(0.745, 0.903984, "mmol/L")
    '74.5% (at 0.904 mmol/L)'
    """
    return f"{describe_percent(risk)} (at {value:.3g} {describe_unit(unit)}".rstrip() + ")"


def _waterfall(why: Explanation, row: int) -> bytes:
    """Return a row's waterfall as PNG."""
    with tempfile.TemporaryDirectory(prefix="magml-") as folder:
        return why.plot(row, path=Path(folder) / "waterfall.png").read_bytes()
