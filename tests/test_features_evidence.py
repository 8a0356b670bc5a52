"""The rows behind a feature are those it was computed from."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from magml.errors import DefinitionError
from magml.events import read_events
from magml.features import compile_plan, find_evidence
from magml.features.evidence import EvidenceRow
from tests.test_features import T, derived, frame, row, small_catalogue

HOUR = timedelta(hours=1)


def evidence(
    rows: list[dict[str, Any]], name: str, at: datetime = T, catalogue: Any = None
) -> tuple[EvidenceRow, ...]:
    numbered = [{**line, "source": f"row {k}"} for k, line in enumerate(rows)]
    plan = compile_plan(catalogue or small_catalogue())
    return find_evidence(plan, read_events(frame(numbered)), [(1, at, [name])])[0][name]


def sources(*given: Any, **more: Any) -> list[str | None]:
    return [found.source for found in evidence(*given, **more)]


VALUES = [
    row(time=T - 30 * HOUR, numeric_value=9.0),
    row(time=T - 3 * HOUR, numeric_value=2.0),
    row(time=T - 2 * HOUR, numeric_value=0.04, unit="g/L"),
    row(time=T - 1 * HOUR, numeric_value=3.0, known_time=T),
    row(time=T - 5 * HOUR, numeric_value=-1.0),
    row(time=T - 2 * HOUR, numeric_value=1.0, known_time=T - 3 * HOUR),
]


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ("lab.x.last", ["row 2"]),
        ("lab.x.hours_since", ["row 2"]),
        ("lab.x.first", ["row 0"]),
        ("lab.x.min", ["row 1"]),
        ("lab.x.max", ["row 0"]),
        ("lab.x.mean", ["row 0", "row 1", "row 2"]),
        ("lab.x.count.24h", ["row 1", "row 2"]),
    ],
)
def test_measurements_show_the_rows_that_count(feature: str, expected: list[str]) -> None:
    assert sources(VALUES, feature) == expected


def test_a_row_shows_its_value_as_recorded_and_as_used() -> None:
    found = evidence(VALUES, "lab.x.last")[0]
    assert (found.value, found.unit, found.code) == (0.04, "g/L", "LAB//x")
    assert found.used == pytest.approx(4.0)
    assert found.time == T - 2 * HOUR


def test_exposures_show_no_end_that_was_not_known() -> None:
    rows = [
        row("DRUG//d", T - 400 * HOUR, end_time=T - 300 * HOUR),
        row("DRUG//d", T - 100 * HOUR, end_time=T - 90 * HOUR),
        row("DRUG//e", T - 5 * HOUR, end_time=T + HOUR),
        row("DRUG//d", T, end_time=None),
    ]
    active = evidence(rows, "medication.d.active")
    assert [(r.source, r.end_time) for r in active] == [("row 2", None)]
    assert sources(rows, "medication.d.days.7d") == ["row 1", "row 2"]


def test_a_derived_feature_shows_the_rows_of_its_inputs() -> None:
    catalogue = derived("ratio", ["lab.x.first", "lab.x.last"])
    assert sources(VALUES, "lab.d", catalogue=catalogue) == ["row 0", "row 2"]


def test_nothing_recorded_has_no_evidence() -> None:
    assert sources(VALUES, "comorbidity.a.present") == []


def test_a_feature_that_the_plan_does_not_make_is_an_error() -> None:
    with pytest.raises(DefinitionError, match=r"did you mean 'lab\.x\.last'"):
        evidence(VALUES, "lab.x.lasd")
