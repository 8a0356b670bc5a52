"""Cohorts without code: anchors, calendars, choices, washout, gap and competing events."""

from __future__ import annotations

import pandas as pd
import pytest
from pydantic import ValidationError

from magml.cohort import build_cohort
from magml.definitions import read_catalogue
from magml.definitions.experiment import Cohort, Validation
from magml.definitions.model import SerumOutcome
from magml.errors import CohortError, DefinitionError
from magml.events import read_events
from magml.outcomes import find_specimens

DAY = pd.Timestamp("2020-03-01 00:00")
MG = "LOINC//19123-9"
POTASSIUM = "LOINC//2823-3"
LABEL = "Magnesium, serum or plasma, total"
FUROSEMIDE = "ATC//C03CA01"


def at(days: float) -> pd.Timestamp:
    return DAY + pd.Timedelta(days=days)


def row(subject: int, code: str, start: float, end: float | None = None, **more) -> dict:
    """Return an event that starts and ends so many days after the first day."""
    known = more.pop("known", None)
    return {
        "subject_id": subject,
        "code": code,
        "time": at(start),
        "end_time": None if end is None else at(end),
        "known_time": None if known is None else at(known),
        **more,
    }


def mg(subject: int, drawn: float, value: float, known: float | None = None) -> dict:
    return row(subject, MG, drawn, known=known, numeric_value=value, unit="mg/dL")


def born(*subjects: int) -> list[dict]:
    return [row(subject, "MEDS_BIRTH", -60 * 365.25) for subject in subjects]


def cohort(rows: list[dict], *, gap: str = "0h", risk: str = "24h", label: bool = True, **choice):
    people = sorted({item["subject_id"] for item in rows})
    frame = pd.DataFrame([*rows, *born(*people)])
    for column in ("known_time", "end_time"):
        frame[column] = pd.to_datetime(frame[column])
    events, catalogue = read_events(frame), read_catalogue()
    outcome = SerumOutcome(
        kind="serum_below",
        concept="lab.magnesium",
        threshold={"mg/dL": 1.7},
        time_at_risk=risk,
        gap=gap,
    )
    return build_cohort(
        events,
        Cohort(**{"offset": "0h", "exclude_pending": False, **choice}),
        find_specimens(events, catalogue, "lab.magnesium"),
        outcome,
        label=label,
        catalogue=catalogue,
    )


def rows_of(table) -> list[tuple[int, float]]:
    """Return (person, days after the first day) of the prediction times."""
    frame = table.frame()
    days = (frame["prediction_time"] - DAY) / pd.Timedelta(days=1)
    return list(zip(frame["subject_id"].tolist(), days.tolist(), strict=True))


def steps_of(table) -> dict[str, tuple[int, int]]:
    return {step.name: (step.times, step.left_out) for step in table.attrition}


def test_a_laboratory_draw_is_an_anchor_by_code_or_by_concept() -> None:
    rows = [
        row(1, POTASSIUM, 1, numeric_value=4.0, unit="mmol/L"),
        row(1, "LAB//potassium", 5, numeric_value=4.0, unit="mmol/L"),
        mg(1, 1.5, 1.0),
        mg(1, 5.5, 2.0),
    ]
    assert rows_of(cohort(rows, anchor=[POTASSIUM], select="each")) == [(1, 1.0)]
    both = cohort(rows, anchor=["lab.potassium"], select="each")
    assert rows_of(both) == [(1, 1.0), (1, 5.0)]
    assert both.frame()["boolean_value"].tolist() == [True, False]
    # The result was there 6 hours later: from then on it counts.
    late = [{**rows[0], "known_time": at(1.25)}, *rows[1:]]
    known = cohort(late, anchor=["lab.potassium"], anchor_at="known")
    assert rows_of(known) == [(1, 1.25)]
    assert known.attrition[0].name == "the first lab.potassium, 0h after it was known"


def test_a_prescription_is_an_anchor_while_it_lasts_or_longer() -> None:
    rows = [
        row(1, FUROSEMIDE, 0, 30),
        mg(1, 7.5, 1.0),
        row(2, "DRUG//furosemide 40 mg", 0, 3),
        mg(2, 7.5, 2.0),
        row(3, "ATC//A02BC01", 0, 30),
        mg(3, 7.5, 2.0),
    ]
    anchor = ["medication.loop_diuretic"]
    assert rows_of(cohort(rows, anchor=anchor, offset="7d")) == [(1, 7.0)]
    table = cohort(rows, anchor=anchor, offset="7d", while_open=False)
    assert rows_of(table) == [(1, 7.0), (2, 7.0)]
    assert not any(step.name.startswith("still present") for step in table.attrition)


def test_anchors_that_were_not_known_yet_are_told() -> None:
    rows = [
        row(1, "ICD10CM//I50.9", 0, known=5),
        mg(1, 1.5, 1.0),
        row(2, "ICD10CM//I50.9", 0, known=1),  # exactly at the prediction time
        mg(2, 1.5, 1.0),
        row(3, "ICD10CM//I50.9", 0, known=0.5),
        mg(3, 1.5, 1.0),
    ]
    choice = {"anchor": ["ICD10CM//I50.9"], "offset": "1d"}
    table = cohort(rows, **choice)
    assert len(table.notes) == 1
    assert table.notes[0].startswith("1 of 3 prediction times follow an anchor that was not known")
    assert cohort(rows, **choice, anchor_at="known", risk="9d", select="each").notes == ()


def test_anchors_that_are_no_concept_or_a_dated_diagnosis_are_refused() -> None:
    rows = [mg(1, 1, 1.0)]
    with pytest.raises(DefinitionError, match=r"lab.potasium.*lab.potassium"):
        cohort(rows, anchor=["lab.potasium"])
    with pytest.raises(DefinitionError, match="anchor_at: known"):
        cohort(rows, anchor=["comorbidity.heart_failure"])


def test_a_calendar_ends_with_the_observation_period() -> None:
    rows = [
        row(1, "OBSERVATION_PERIOD", 0, 90),
        # 30 and 60 lie within it; 90 is its end and does not.
        mg(1, 30.5, 1.0),
        mg(1, 60.5, 2.0),
        mg(1, 90.5, 1.0),
        row(2, "OBSERVATION_PERIOD", 0, 20),
        mg(2, 0.5, 1.0),
    ]
    choice = {"anchor": ["OBSERVATION_PERIOD"], "every": "30d"}
    assert rows_of(cohort(rows, select="each", offset="30d", **choice)) == [(1, 30.0), (1, 60.0)]
    assert rows_of(cohort(rows, select="each", **choice)) == [(1, 30.0), (1, 60.0), (2, 0.0)]
    # The first moment of a person is day 0, after which person 1 was not measured in 24 h.
    assert rows_of(cohort(rows, select="first", **choice)) == [(2, 0.0)]


def test_a_calendar_within_the_records_of_a_person() -> None:
    rows = [
        row(1, "LAB//sodium", 10, numeric_value=140.0, unit="mmol/L"),
        mg(1, 20.5, 1.0),
        mg(1, 30.5, 2.0),
        mg(1, 40.0, 2.0),
        row(1, "MEDS_DEATH", 200),
    ]
    table = cohort(rows, anchor=["RECORDS"], every="10d", select="each")
    # 10, 20, 30: the last record stands at 40, which is no longer within.
    assert table.attrition[0].times == 3
    assert rows_of(table) == [(1, 20.0), (1, 30.0)]


def test_overlapping_visits_give_each_moment_once() -> None:
    rows = [
        row(1, "VISIT//inpatient", 0, 3),
        row(1, "VISIT//icu", 0, 2),
        mg(1, 0.5, 1.0),
        mg(1, 1.5, 1.0),
        mg(1, 2.5, 1.0),
    ]
    anchors = ["VISIT//inpatient", "VISIT//icu"]
    table = cohort(rows, anchor=anchors, every="1d", select="each")
    assert rows_of(table) == [(1, 0.0), (1, 1.0), (1, 2.0)]


def test_first_last_and_random_choose_one_moment_a_person() -> None:
    rows = []
    for person in range(1, 41):
        rows += [row(person, "VISIT//inpatient", 0, 4)]
        rows += [mg(person, day + 0.5, 1.0) for day in range(4)]
    choice = {"anchor": ["VISIT//inpatient"], "every": "1d"}
    assert {day for _, day in rows_of(cohort(rows, select="first", **choice))} == {0.0}
    assert {day for _, day in rows_of(cohort(rows, select="last", **choice))} == {3.0}
    chosen = rows_of(cohort(rows, select="random", **choice))
    assert [person for person, _ in chosen] == list(range(1, 41))
    assert {day for _, day in chosen} == {0.0, 1.0, 2.0, 3.0}
    assert rows_of(cohort(rows[::-1], select="random", **choice)) == chosen
    assert rows_of(cohort(rows, select="random", seed=1, **choice)) != chosen
    # Who else is in the records changes nothing.
    assert rows_of(cohort(rows[:25], select="random", **choice)) == chosen[:5]


def test_the_choice_is_made_among_all_or_among_the_eligible() -> None:
    rows = [
        row(1, "VISIT//inpatient", 0, 2),
        mg(1, -1, 2.0),
        mg(1, 0.5, 1.0),
        row(1, "VISIT//inpatient", 50, 52),
        mg(1, 50.5, 1.0),
    ]
    choice = {"anchor": ["VISIT//inpatient"], "washout": "30d", "select": "last"}
    assert rows_of(cohort(rows, **choice)) == [(1, 50.0)]
    # A low value of day 49 rules the second stay out.
    low = [*rows, mg(1, 49, 1.0)]
    with pytest.raises(CohortError, match=f"no low {LABEL} in the 30d before"):
        cohort(low, **choice)
    table = cohort(low, select_among="eligible", **choice)
    assert rows_of(table) == [(1, 0.0)]
    assert steps_of(table)["the last prediction time of each person"] == (1, 0)


def test_the_washout_asks_for_low_values_that_were_known() -> None:
    def one(*specimens: dict) -> list[tuple[int, float]]:
        stays = [row(p, "VISIT//inpatient", 100, 110) for p in (1, 2)]
        outcome = [mg(p, 100.5, 1.0) for p in (1, 2)]
        table = cohort([*stays, *outcome, *specimens], anchor=["VISIT//inpatient"], washout="30d")
        return rows_of(table)

    both, second = [(1, 100.0), (2, 100.0)], [(2, 100.0)]
    assert one(mg(1, 90, 1.6)) == second
    assert one(mg(1, 90, 1.7)) == both  # on the threshold is not below it
    assert one(mg(1, 70, 1.0)) == second  # 30 days before, to the moment
    assert one(mg(1, 69.9, 1.0)) == both
    assert one(mg(1, 99.9, 1.0, known=100)) == both  # not yet known
    assert one(mg(1, 99.9, 1.0, known=99.99)) == second


def test_a_washout_also_holds_for_scoring_and_needs_an_outcome() -> None:
    rows = [row(1, "VISIT//inpatient", 0, 2), row(2, "VISIT//inpatient", 0, 2), mg(1, -1, 1.0)]
    table = cohort(rows, anchor=["VISIT//inpatient"], washout="7d", label=False)
    assert rows_of(table) == [(2, 0.0)]
    assert not table.labelled
    with pytest.raises(DefinitionError, match="washout without an outcome"):
        build_cohort(
            table.events,
            Cohort(anchor=["VISIT//inpatient"], offset="0h", washout="7d"),
            find_specimens(table.events, read_catalogue(), "lab.magnesium"),
            None,
        )


def test_observation_before_by_period_or_by_first_record() -> None:
    visits = [row(p, "VISIT//outpatient", 100, 101) for p in (1, 2, 3)]
    outcome = [mg(p, 100.5, 1.0) for p in (1, 2, 3)]
    sodium = {"numeric_value": 140.0, "unit": "mmol/L"}
    records = [
        row(1, "LAB//sodium", 70, **sodium),  # exactly 30 days before
        row(2, "LAB//sodium", 71, **sodium),
        row(3, "ICD10CM//I10", 10, known=101),  # dated back later
    ]
    choice = {"anchor": ["VISIT//outpatient"], "observed_before": "30d"}
    table = cohort([*visits, *outcome, *records], **choice)
    assert rows_of(table) == [(1, 100.0)]
    assert steps_of(table)["observed for 30d before, by the first record"] == (1, 2)
    periods = [
        row(1, "OBSERVATION_PERIOD", 80, 200),
        row(2, "OBSERVATION_PERIOD", 70, 100),  # ends at the prediction time
        row(3, "OBSERVATION_PERIOD", 0, 99),
    ]
    table = cohort([*visits, *outcome, *records, *periods], **choice)
    assert rows_of(table) == [(2, 100.0)]
    assert steps_of(table)["observed for 30d before, by observation period"] == (1, 2)


def test_the_time_at_risk_begins_after_the_gap() -> None:
    rows = [row(p, "VISIT//inpatient", 0, 9) for p in (1, 2, 3, 4)]
    rows += [
        mg(1, 0.4, 1.0),  # in the gap: no outcome, and the later value decides
        mg(1, 0.6, 2.0),
        mg(2, 0.5, 1.0),  # exactly at its end
        mg(3, 1.49, 1.0),
        mg(4, 1.5, 1.0),  # exactly at the end of the time at risk: out
    ]
    table = cohort(rows, anchor=["VISIT//inpatient"], gap="12h")
    frame = table.frame()
    assert dict(zip(frame["subject_id"], frame["boolean_value"], strict=True)) == {
        1: False,
        2: True,
        3: True,
    }
    assert table.attrition[-1].name.endswith("measured within 24h, from 12h after")


def competing_rows() -> list[dict]:
    """Return stays: what ended them, and when magnesium was measured."""
    return [
        row(1, "VISIT//inpatient", 0, 5),
        mg(1, 0.5, 1.0),
        row(2, "VISIT//inpatient", 0, 0.3),  # discharged before anybody measured
        row(3, "VISIT//inpatient", 0, 0.4),
        row(3, "MEDS_DEATH", 0.4),  # died, which is also the end of the stay
        row(4, "VISIT//inpatient", 0, 0.3),
        mg(4, 0.8, 1.0),  # discharged, and measured by somebody else afterwards
        row(5, "VISIT//inpatient", 0, 5),  # stayed and was not measured
        row(6, "VISIT//inpatient", 0, 1),  # discharged when the time at risk was over
        row(7, "VISIT//inpatient", 0, 0.9),
        mg(7, 0.2, 2.0),  # measured, then died
        row(7, "MEDS_DEATH", 0.9),
        row(8, "VISIT//icu", 0, 0.2),  # left intensive care, not the hospital
        row(8, "VISIT//inpatient", -1, 5),
    ]


def test_competing_events_are_counted_and_not_labelled() -> None:
    anchor = ["VISIT//inpatient", "VISIT//icu"]
    rows = competing_rows()
    choice = {"anchor": anchor, "select": "last", "competing_events": ["death", "discharge"]}
    table = cohort(rows, **choice)
    steps = steps_of(table)
    assert steps[f"no death before {LABEL} was measured"] == (7, 1)  # 3
    assert steps[f"no discharge before {LABEL} was measured"] == (6, 1)  # 2
    assert table.attrition[-1].left_out == 3  # 5, 6 and 8: nobody measured
    assert rows_of(table) == [(1, 0.0), (4, 0.0), (7, 0.0)]
    assert table.attrition[-2].reason == "competing event: discharge; counted, not labelled"


def test_a_competing_event_may_end_the_time_at_risk() -> None:
    rows = [item for item in competing_rows() if item["subject_id"] != 8]
    choice = {
        "anchor": ["VISIT//inpatient"],
        "competing_events": ["death", "discharge"],
        "competing_rule": "end",
    }
    table = cohort(rows, **choice)
    assert rows_of(table) == [(1, 0.0), (7, 0.0)]
    assert steps_of(table)[f"no discharge before {LABEL} was measured"] == (4, 2)  # 2 and 4


def test_definitions_that_do_not_fit_are_refused() -> None:
    for wrong, why in (
        ({"every": "10min"}, "at least 1h"),
        ({"anchor": ["RECORDS", "VISIT//icu"]}, "stands alone"),
        ({"competing_rule": "end"}, "needs competing_events"),
        ({"washout": "30"}, "not a duration"),
        ({"anchor": []}, "at least 1"),
    ):
        with pytest.raises(ValidationError, match=why):
            Cohort(**{"anchor": ["VISIT//icu"], "offset": "1h", **wrong})
    with pytest.raises(ValidationError, match="belongs to groups: time"):
        Validation(train_before="2020-01-01")
    with pytest.raises(ValidationError, match="no time zone"):
        Validation(groups="time", train_before="2020-01-01T00:00Z")
