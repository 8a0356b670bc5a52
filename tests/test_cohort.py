"""Cohort and outcome on histories written by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from magml.cohort import build_cohort
from magml.definitions import read_catalogue
from magml.definitions.experiment import Cohort
from magml.definitions.model import SerumOutcome
from magml.errors import CohortError, UnitError
from magml.events import read_events
from magml.outcomes import find_specimens

DAY = pd.Timestamp("2020-03-01 00:00")
MG = "LOINC//19123-9"
THRESHOLD = {"mmol/L": 0.70, "mg/dL": 1.7, "mEq/L": 1.40}


def person(subject: int, *rows: tuple, age: float = 60.0, stay: float = 240.0) -> list[dict]:
    """Return a person's events; a row is (hour drawn, hour known, value, unit)."""
    start = {"subject_id": subject, "time": DAY, "code": "VISIT//icu"}
    found = [
        {**start, "end_time": DAY + pd.Timedelta(hours=stay)},
        {**start, "time": DAY - pd.Timedelta(days=365.25 * age), "code": "MEDS_BIRTH"},
    ]
    for drawn, known, value, unit in rows:
        found.append(
            {
                "subject_id": subject,
                "time": DAY + pd.Timedelta(hours=drawn),
                "known_time": None if known is None else DAY + pd.Timedelta(hours=known),
                "code": MG,
                "numeric_value": value,
                "unit": unit,
            }
        )
    return found


def cohort(people: list[list[dict]], outcome: dict | None = None, **choice):
    frame = pd.DataFrame([row for rows in people for row in rows])
    frame["known_time"] = pd.to_datetime(frame.get("known_time"))
    events = read_events(frame)
    definition = Cohort(**{"anchor": ("VISIT//icu",), "offset": "6h", **choice})
    chosen = {"threshold": THRESHOLD, "time_at_risk": "24h", **(outcome or {})}
    specimens = find_specimens(events, read_catalogue(), "lab.magnesium")
    return build_cohort(
        events,
        definition,
        specimens,
        SerumOutcome(kind="serum_below", concept="lab.magnesium", **chosen),
    )


def outcomes(table) -> dict[int, bool]:
    frame = table.frame()
    return dict(zip(frame["subject_id"], frame["boolean_value"], strict=True))


def test_a_value_is_compared_in_the_unit_reported() -> None:
    """1.7 mg/dL is 0.6996 mmol/L and yet not low; 0.69 mmol/L is; 1.40 mEq/L is not."""
    people = [
        person(1, (8, 9, 1.7, "mg/dL")),
        person(2, (8, 9, 1.6, "mg/dl")),
        person(3, (8, 9, 0.70, "mmol/L")),
        person(4, (8, 9, 0.69, "mmol/L")),
        person(5, (8, 9, 1.40, "mEq/L")),
        person(6, (8, 9, 1.39, "meq/L")),
        # Stored in single precision, 1.7 is 1.7000000477 and 1.8 is 1.7999999523.
        person(7, (8, 9, 1.7000000476837158, "mg/dL")),
    ]
    table = cohort(people)
    assert outcomes(table) == {1: False, 2: True, 3: False, 4: True, 5: False, 6: True, 7: False}
    assert table.frame().set_index("subject_id")["on_threshold"].to_dict() == {
        1: True, 2: False, 3: True, 4: False, 5: True, 6: False, 7: True,
    }  # fmt: skip


def test_single_precision_at_another_threshold() -> None:
    people = [person(1, (8, 9, 1.7999999523162842, "mg/dL")), person(2, (8, 9, 1.7, "mg/dL"))]
    assert outcomes(cohort(people, {"threshold": {"mg/dL": 1.8}})) == {1: False, 2: True}


@pytest.mark.parametrize(("select", "low"), [("first", False), ("any", True), ("lowest", True)])
def test_which_value_decides(select: str, low: bool) -> None:
    rows = person(1, (8, 9, 2.0, "mg/dL"), (20, 21, 1.5, "mg/dL"), (29, 30, 1.9, "mg/dL"))
    assert outcomes(cohort([rows, person(2, (8, 9, 1.0, "mg/dL"))], {"select": select})) == {
        1: low,
        2: True,
    }


def test_the_time_at_risk_begins_at_the_prediction_time_and_excludes_its_end() -> None:
    people = [
        person(1, (6, 7, 1.0, "mg/dL")),  # exactly at the prediction time: in
        person(2, (29.99, 31, 1.0, "mg/dL")),  # just before the end: in
        person(3, (30, 31, 1.0, "mg/dL")),  # exactly at the end: out
        person(4, (-1, 0, 1.0, "mg/dL"), (31, 32, 1.0, "mg/dL")),
    ]
    assert outcomes(cohort(people)) == {1: True, 2: True}


def test_pending_is_excluded_and_measured_before_is_what_was_known() -> None:
    people = [
        person(1, (5, 5.9, 2.0, "mg/dL"), (8, 9, 1.0, "mg/dL")),  # known before
        person(2, (5, 6, 2.0, "mg/dL"), (8, 9, 1.0, "mg/dL")),  # known exactly at it: pending
        person(3, (5, 7, 2.0, "mg/dL"), (8, 9, 1.0, "mg/dL")),  # pending
        person(4, (8, 9, 1.0, "mg/dL")),  # nobody measured before
        person(5, (5, None, 2.0, "mg/dL"), (8, 9, 1.0, "mg/dL")),  # known at once
    ]
    assert set(outcomes(cohort(people, measured_before="none"))) == {4}
    assert set(outcomes(cohort(people, measured_before="some"))) == {1, 5}
    assert set(outcomes(cohort(people, measured_before="any"))) == {1, 4, 5}
    assert set(outcomes(cohort(people, exclude_pending=False))) == {1, 2, 3, 4, 5}


def test_attrition_counts_every_step() -> None:
    people = [
        person(1, (8, 9, 1.0, "mg/dL")),
        person(2, (8, 9, 1.0, "mg/dL"), age=17.99),
        person(3, (8, 9, 1.0, "mg/dL"), stay=5.0),
        person(4, (8, 9, 1.0, "mg/dL"), stay=6.0),  # left exactly at the prediction time
        person(5, (5, 7, 1.0, "mg/dL")),
        person(6, (40, 41, 1.0, "mg/dL")),
        person(7, (8, 9, 2.0, "mg/dL"), age=18.0),
    ]
    table = cohort(people)
    assert [(step.times, step.left_out) for step in table.attrition] == [
        (7, 0),  # anchors
        (5, 2),  # present
        (5, 0),  # alive
        (5, 0),  # age recorded
        (4, 1),  # adults
        (3, 1),  # pending
        (2, 1),  # measured in the time at risk
    ]
    assert outcomes(table) == {1: True, 7: False}


def test_the_dead_and_the_undated_are_left_out() -> None:
    dead = [*person(1, (8, 9, 1.0, "mg/dL")), {"subject_id": 1, "time": DAY, "code": "MEDS_DEATH"}]
    unknown = [row for row in person(2, (8, 9, 1.0, "mg/dL")) if row["code"] != "MEDS_BIRTH"]
    assert set(outcomes(cohort([dead, unknown, person(3, (8, 9, 1.0, "mg/dL"))]))) == {3}


def test_a_correction_known_later_decides_the_outcome() -> None:
    rows = person(1, (8, 9, 1.0, "mg/dL"), (8, 12, 2.0, "mg/dL"))
    assert outcomes(cohort([rows, person(2, (8, 9, 1.0, "mg/dL"))])) == {1: False, 2: True}


def test_impossible_values_are_no_outcome() -> None:
    people = [person(1, (8, 9, 0.0, "mg/dL")), person(2, (8, 9, 1.0, "mg/dL"))]
    assert set(outcomes(cohort(people))) == {2}


def test_an_empty_cohort_says_where_it_became_empty() -> None:
    with pytest.raises(CohortError, match=r"empty after '18 years or older'.*VISIT//icu.*: 1") as e:
        cohort([person(1, (8, 9, 1.0, "mg/dL"), age=10)])
    assert "What to do" in str(e.value)
    with pytest.raises(CohortError, match="VISIT//ward"):
        cohort([person(1, (8, 9, 1.0, "mg/dL"))], anchor=("VISIT//ward",))


def test_magnesium_without_a_unit_is_refused() -> None:
    with pytest.raises(UnitError, match="1 values of 'LOINC//19123-9' carry no unit"):
        cohort([person(1, (8, 9, 1.0, None))])


def test_each_anchor_or_the_first() -> None:
    rows = person(1, (8, 9, 1.0, "mg/dL"), (58, 59, 1.0, "mg/dL"))
    rows.append({**rows[0], "time": DAY + pd.Timedelta(hours=50)})
    assert len(cohort([rows]).frame()) == 1
    assert len(cohort([rows], select="each").frame()) == 2


def test_the_site_is_the_latest_by_the_prediction_time() -> None:
    rows = person(1, (8, 9, 1.0, "mg/dL"))
    for hour, site in ((-100, "A"), (5, "B"), (7, "C")):
        time = DAY + pd.Timedelta(hours=hour)
        rows.append({"subject_id": 1, "time": time, "code": f"SITE//{site}"})
    static = [*person(2, (8, 9, 1.0, "mg/dL")), {"subject_id": 2, "code": "SITE//Z"}]
    assert cohort([rows, static]).frame()["site"].tolist() == ["B", "Z"]
