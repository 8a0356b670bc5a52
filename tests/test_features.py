"""The rule of knowledge, statistics worked out by hand, units, and the public function."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from magml.definitions import read_catalogue
from magml.definitions.catalogue import Catalogue, Concept, Derived, DomainFile
from magml.errors import DefinitionError, UnitError
from magml.events import read_events, read_prediction_times
from magml.features import FeatureMatrix, build_features, build_matrix, compile_plan

T = datetime(2024, 1, 10, 12, 0)
MICRO = timedelta(microseconds=1)
EVER = ("last", "first", "min", "max", "mean", "sum", "slope", "sd", "count", "hours_since")


def small_catalogue(**more: Concept) -> Catalogue:
    lab = {
        "x": Concept(
            label="X",
            kind="measurement",
            codes=("LAB//x", "LAB//x too"),
            unit="mg/dL",
            plausible=(0.0, 100.0),
            features={"ever": EVER, "24h": ("last", "count")},
        ),
        **more,
    }
    drug = Concept(
        label="Drug",
        kind="exposure",
        codes=("DRUG//d", "DRUG//e"),
        features={
            "now": ("active", "hours_since_start", "hours_since_stop"),
            "7d": ("days",),
        },
    )
    disease = Concept(
        label="Disease",
        kind="condition",
        codes=("ICD10CM//A00",),
        features={"ever": ("present", "count", "days_since"), "30d": ("present",)},
    )
    age = Concept(label="Age", kind="age", codes=("MEDS_BIRTH",), features={"now": ("years",)})
    return Catalogue(
        domains=(
            DomainFile(domain="lab", concepts=lab),
            DomainFile(domain="medication", concepts={"d": drug}),
            DomainFile(domain="comorbidity", concepts={"a": disease}),
            DomainFile(domain="demographic", concepts={"age": age}),
        )
    )


def row(code: str = "LAB//x", time: datetime | None = None, **more: Any) -> dict[str, Any]:
    measured = code.startswith("LAB")
    given = {"subject_id": 1, "code": code, "time": time, "unit": "mg/dL" if measured else None}
    return {**given, "numeric_value": 5.0 if measured else None, **more}


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    for name in ("time", "known_time", "end_time"):
        if name in table:
            table[name] = pd.to_datetime(table[name]).astype("datetime64[us]")
    for name in ("unit", "text_value"):
        if name in table:
            table[name] = table[name].astype("string")
    if "numeric_value" in table:
        table["numeric_value"] = table["numeric_value"].astype("float64")
    return table


def features(rows: list[dict[str, Any]], at: datetime = T, **options: Any) -> dict[str, float]:
    options.setdefault("catalogue", small_catalogue())
    table = build_features(frame(rows), at, **options)
    return {str(name): float(table[name][0]) for name in table.columns[2:]}


@pytest.mark.parametrize(
    ("time", "known", "count"),
    [
        (T - MICRO, None, 1),
        (T, None, 0),
        (T + MICRO, None, 0),
        (T - timedelta(hours=2), T - MICRO, 1),
        (T - timedelta(hours=2), T, 0),
        (T - timedelta(hours=2), T + MICRO, 0),
        (T, T - timedelta(hours=1), 0),  # ordered before, begins at t
        (T + timedelta(hours=1), T - timedelta(hours=1), 0),
        (None, None, 1),
        (None, T - MICRO, 1),
        (None, T, 0),
    ],
)
def test_a_value_counts_from_when_it_is_known(
    time: datetime | None, known: datetime | None, count: int
) -> None:
    old = row(time=datetime(2020, 1, 1), known_time=None, code="LAB//other")
    found = features([row(time=time, known_time=known), old])
    assert found["lab.x.count"] == count
    assert math.isnan(found["lab.x.last"]) == (count == 0)


@pytest.mark.parametrize(
    ("time", "count"),
    [
        (T - timedelta(hours=24), 1),
        (T - timedelta(hours=24) - MICRO, 0),
        (T - MICRO, 1),
        (None, 0),
    ],
)
def test_a_window_holds_its_old_end(time: datetime | None, count: int) -> None:
    found = features([row(time=time), row("LAB//other", time=datetime(2020, 1, 1))])
    assert found["lab.x.count.24h"] == count
    assert found["lab.x.count"] == 1


def test_statistics_worked_out_by_hand() -> None:
    days = timedelta(days=1)
    found = features(
        [
            row(time=T - 4 * days, numeric_value=1.0),
            row(time=T - 3 * days, numeric_value=4.0),
            row(time=T - 1 * days, numeric_value=4.0),
            row(time=None, numeric_value=7.0),
        ]
    )
    assert found["lab.x.last"] == 4
    assert found["lab.x.first"] == 7  # a static row comes before every dated one
    assert (found["lab.x.min"], found["lab.x.max"]) == (1, 7)
    assert (found["lab.x.sum"], found["lab.x.count"], found["lab.x.mean"]) == (16, 4, 4)
    # Deviations from 4: -3, 0, 0, 3; variance 18 / 3.
    assert found["lab.x.sd"] == pytest.approx(math.sqrt(6), rel=1e-6)
    # Dated only: x = -4, -3, -1 (mean -8/3), y = 1, 4, 4 (mean 3).
    # Sxy = (-4/3)(-2) + (-1/3)(1) + (5/3)(1) = 4; Sxx = (16 + 1 + 25)/9 = 14/3.
    assert found["lab.x.slope"] == pytest.approx(4 / (14 / 3), rel=1e-6)
    assert found["lab.x.hours_since"] == 24
    assert found["lab.x.last.24h"] == 4


def test_one_value_has_no_spread_and_no_slope() -> None:
    found = features([row(time=T - timedelta(hours=1))])
    assert math.isnan(found["lab.x.sd"])
    assert math.isnan(found["lab.x.slope"])
    assert found["lab.x.hours_since"] == 1


def test_nothing_recorded_is_zero_only_for_what_is_counted() -> None:
    found = features([row("LAB//other", time=T - timedelta(days=1))])
    zero = {name for name, value in found.items() if value == 0}
    assert zero == {
        "lab.x.count",
        "lab.x.count.24h",
        "medication.d.active",
        "medication.d.days.7d",
        "comorbidity.a.present",
        "comorbidity.a.count",
        "comorbidity.a.present.30d",
    }
    assert all(math.isnan(value) for name, value in found.items() if name not in zero)


def test_a_correction_replaces_the_value_once_it_is_known() -> None:
    drawn = T - timedelta(hours=5)
    rows = [
        row(time=drawn, known_time=drawn + timedelta(hours=1), numeric_value=5.0),
        row(time=drawn, known_time=T, numeric_value=3.0, code="LAB//x too"),
    ]
    before, after = features(rows), features(rows, T + MICRO)
    assert (before["lab.x.last"], before["lab.x.count"], before["lab.x.max"]) == (5, 1, 5)
    assert (after["lab.x.last"], after["lab.x.count"], after["lab.x.max"]) == (3, 1, 3)
    # Known at the same moment: the larger value.
    same = [{**line, "known_time": drawn} for line in rows]
    assert features(same)["lab.x.last"] == 5


def test_exposures_worked_out_by_hand() -> None:
    hour = timedelta(hours=1)
    rows = [
        row("DRUG//d", T - 100 * hour, end_time=T - 90 * hour),
        row("DRUG//e", T - 90 * hour, end_time=T - 80 * hour),  # touches: one era of 20 h
        row("DRUG//d", T - 95 * hour, end_time=T - 85 * hour),  # inside it
        row("DRUG//d", T - 200 * hour, end_time=T - 160 * hour),  # 8 h of it within 7 days
    ]
    found = features(rows)
    assert found["medication.d.active"] == 0
    assert found["medication.d.hours_since_start"] == 100
    assert found["medication.d.hours_since_stop"] == 80
    assert found["medication.d.days.7d"] == pytest.approx(28 / 24, rel=1e-6)
    running = features([*rows, row("DRUG//d", T - 2 * hour, end_time=T + hour)])
    assert running["medication.d.active"] == 1
    assert running["medication.d.hours_since_start"] == 2
    assert math.isnan(running["medication.d.hours_since_stop"])
    assert running["medication.d.days.7d"] == pytest.approx(30 / 24, rel=1e-6)


@pytest.mark.parametrize(("end", "active"), [(None, 1), (T - MICRO, 0), (T, 0), (T + MICRO, 1)])
def test_an_exposure_is_active_until_its_end(end: datetime | None, active: int) -> None:
    found = features([row("DRUG//d", T - timedelta(days=1), end_time=end)])
    assert found["medication.d.active"] == active


def test_an_order_that_has_not_begun_is_no_exposure() -> None:
    found = features([row("DRUG//d", T, known_time=T - timedelta(days=1), end_time=None)])
    assert found["medication.d.active"] == 0
    assert math.isnan(found["medication.d.hours_since_start"])


def test_conditions_and_age_worked_out_by_hand() -> None:
    rows = [
        row("ICD10CM//A00.1", T - timedelta(days=40)),
        row("ICD10CM//A00", T - timedelta(days=40)),  # the same moment counts once
        row("ICD10CM//A009", T - timedelta(days=31)),
        row("MEDS_BIRTH", T - timedelta(days=365.25 * 50)),
    ]
    found = features(rows)
    assert (found["comorbidity.a.present"], found["comorbidity.a.present.30d"]) == (1, 0)
    assert (found["comorbidity.a.count"], found["comorbidity.a.days_since"]) == (2, 31)
    assert found["demographic.age.years"] == 50


def matrix(rows: list[dict[str, Any]], at: Any, *, strict: bool = False) -> FeatureMatrix:
    read = read_events(frame(rows))
    relation = read_prediction_times(at, read.connection, read)
    return build_matrix(compile_plan(small_catalogue()), read, relation, strict=strict)


def test_the_report_counts_what_was_used_and_what_was_not() -> None:
    hour = timedelta(hours=1)
    rows = [
        row(time=T - hour),
        row(time=T - 2 * hour, unit="g/L", numeric_value=0.05),
        row(time=T - 3 * hour, numeric_value=100.0),
        row(time=T - 4 * hour, numeric_value=100.1),
        row(time=T - 5 * hour, numeric_value=None),
        row(time=T - 6 * hour, unit="furlong"),
        row(time=T - 7 * hour, unit=None),
        row("LAB//other", T - hour),
        row(time=T + hour),  # usable by nobody
    ]
    found = matrix(rows, T)
    report = found.report
    assert report.rows == 8
    assert report.mapped == {"lab.x": 3}
    assert report.converted == {"lab.x": 1}
    assert report.implausible == {"lab.x": 1}
    assert report.unmapped == {"LAB//other": 1}
    assert {(r.unit, r.reason, r.rows) for r in report.rejected} == {
        ("furlong", "unknown unit", 1),
        (None, "no unit", 1),
    }
    assert found.column("lab.x.mean") == pytest.approx((5 + 5 + 100) / 3, rel=1e-6)


def test_an_unknown_unit_is_an_error_in_training() -> None:
    rows = [row(time=T - timedelta(hours=1), unit="furlong", numeric_value=1.0)]
    with pytest.raises(UnitError, match=r"LAB//x has 1 values in 'furlong'.*lab\.x is in mg/dL"):
        matrix(rows, T, strict=True)


def test_units_of_concepts_that_nobody_asks_for_do_not_matter() -> None:
    events = read_events(frame([row(time=T - timedelta(hours=1), unit="furlong")]))
    relation = read_prediction_times(T, events.connection, events)
    plan = compile_plan(small_catalogue(), ["demographic.age.years"])
    assert build_matrix(plan, events, relation).report.unmapped == {"LAB//x": 1}


def series(code: str, unit: str | None, values: np.ndarray) -> list[dict[str, Any]]:
    """Return one value for each of many people of one site."""
    return [
        line
        for k, value in enumerate(values)
        for line in (
            row(code, T - timedelta(hours=1), unit=unit, numeric_value=value, subject_id=k),
            row("SITE//a", None, subject_id=k),
        )
    ]


MAGNESIUM_MG_DL = np.random.default_rng(0).normal(1.95, 0.28, 200)
GLUCOSE_MG_DL = np.random.default_rng(0).normal(115, 25, 200)


def test_a_missing_unit_is_inferred_where_the_values_leave_no_doubt() -> None:
    events = read_events(frame(series("LAB//glucose", None, GLUCOSE_MG_DL)))
    relation = read_prediction_times(T, events.connection, events)
    plan = compile_plan(read_catalogue(), ["lab.glucose.last"])
    found = build_matrix(plan, events, relation)
    assert found.report.assumed == {"LAB//glucose": 200}
    assert found.report.assumed_units == {"LAB//glucose": "mg/dL"}
    assert found.values[0, 0] == pytest.approx(GLUCOSE_MG_DL[0] / 18.016, rel=1e-3)
    # Scoring cannot see a distribution: it follows what training found, or leaves values out.
    alone = build_matrix(plan, events, relation, strict=False)
    assert np.isnan(alone.values[0, 0])
    assert alone.report.rejected_rows == 200
    kept = build_matrix(
        plan.with_assumed(found.report.assumed_units), events, relation, strict=False
    )
    assert np.array_equal(kept.values, found.values)


def test_a_missing_unit_that_could_be_another_is_left_out() -> None:
    # As mg/dL the median is 0.80 mmol/L, as mEq/L 0.98: neither is far enough off.
    events = read_events(frame(series("LAB//magnesium", None, MAGNESIUM_MG_DL)))
    relation = read_prediction_times(T, events.connection, events)
    found = build_matrix(compile_plan(read_catalogue(), ["lab.magnesium.last"]), events, relation)
    assert np.isnan(found.values[0, 0])
    assert [(r.reason, r.rows) for r in found.report.rejected] == [("no unit", 200)]


def test_a_unit_that_the_values_contradict_is_an_error_in_training() -> None:
    events = read_events(frame(series("LAB//magnesium", "mmol/L", MAGNESIUM_MG_DL)))
    relation = read_prediction_times(T, events.connection, events)
    plan = compile_plan(read_catalogue(), ["lab.magnesium.last"])
    with pytest.raises(UnitError, match="mg/dL"):
        build_matrix(plan, events, relation)


def test_rows_keep_their_order_and_people_without_events_their_row() -> None:
    at = pd.DataFrame(
        {
            "subject_id": [2, 1, 3, 1],
            "prediction_time": [T, T, T, T - timedelta(days=3)],
        }
    )
    rows = [
        row(time=T - timedelta(hours=1), numeric_value=1.0),
        row(time=T - timedelta(hours=1), numeric_value=2.0, subject_id=2),
        row("LAB//other", time=T - timedelta(hours=1), subject_id=4),
    ]
    found = matrix(rows, at)
    assert found.subject_id.tolist() == [2, 1, 3, 1]
    assert found.prediction_time.tolist() == [T, T, T, T - timedelta(days=3)]
    assert np.array_equal(found.column("lab.x.last"), [2, 1, np.nan, np.nan], equal_nan=True)
    assert found.empty.tolist() == [False, False, True, True]
    assert found.values.dtype == np.float32
    assert found.column("lab.x.count").tolist() == [1, 1, 0, 0]


def test_a_person_with_events_of_no_concept_is_not_empty() -> None:
    found = matrix([row("LAB//other", time=T - MICRO)], T)
    assert found.empty.tolist() == [False]


def derived(formula: str, inputs: Any) -> Catalogue:
    base = small_catalogue()
    item = Derived(label="D", formula=formula, inputs=inputs)
    domains = [f for f in base.domains if f.domain != "lab"]
    lab = base.domains[0].model_copy(update={"derived": {"d": item}})
    return Catalogue(domains=(lab, *domains))


def test_derived_features_follow_their_formula() -> None:
    found = features(
        [row(time=T - timedelta(hours=2), numeric_value=4.0), row(time=T - timedelta(hours=1))],
        catalogue=derived("ratio", ["lab.x.first", "lab.x.last"]),
        features=["lab.d"],
    )
    assert found == {"lab.d": pytest.approx(0.8)}


@pytest.mark.parametrize(
    ("catalogue", "names", "message"),
    [
        (small_catalogue(), ["lab.x.lst"], r"did you mean 'lab\.x\.last'"),
        (small_catalogue(), ["lab.x.last", "lab.x.last"], "twice"),
        (derived("ration", ["lab.x.first"]), None, "did you mean 'ratio'"),
        (derived("ratio", ["lab.x.first"]), None, "given 1 inputs"),
        (derived("bmi", {"weight": "lab.x.last"}), None, "weight, height by name"),
        (
            derived("bmi", {"weight": "lab.x.last", "height": "lab.x.first"}),
            None,
            "is in 'mg/dL'. Expected: 'kg'",
        ),
        (derived("sum", ["lab.d"]), None, r"need each other: lab\.d -> lab\.d"),
    ],
)
def test_definitions_that_cannot_be_compiled(
    catalogue: Catalogue, names: list[str] | None, message: str
) -> None:
    with pytest.raises(DefinitionError, match=message):
        compile_plan(catalogue, names)


def test_the_public_function_returns_a_table() -> None:
    table = build_features(frame([row(time=T - MICRO)]), T, catalogue=small_catalogue())
    assert table.columns[:2].tolist() == ["subject_id", "prediction_time"]
    assert (table.dtypes.iloc[2:] == np.float32).all()
    assert len(table.columns) == 2 + len(small_catalogue().features)
