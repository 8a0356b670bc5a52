"""Scoring with a bundle: risks, ranges, bands, warnings, order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from magml.bundle import Model, load, write_bundle
from magml.bundle.warnings import Checks, check_features, measured_before
from magml.errors import InputError
from magml.tables import SCORES
from tests import bundle_parts as parts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder)


def day(hour: int, minute: int = 0) -> pd.Timestamp:
    return pd.Timestamp(2025, 3, 1, hour, minute)


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    """Return people 1 (adult), 2 (child), 3 (old values only), 4 (magnesium known)."""
    rows = [
        (1, pd.Timestamp(1960, 3, 1), "MEDS_BIRTH", None, None),
        (1, day(2), "LOINC//2823-3", 3.1, "mmol/L"),
        (1, day(5), "LOINC//2823-3", 3.4, "mmol/L"),
        (1, day(8), "LOINC//2823-3", 9.9, "mmol/L"),
        (1, day(4), "LOINC//1751-7", 2.8, "g/dL"),
        (1, day(1), "ATC//C03CA01", None, None),
        (2, pd.Timestamp(2015, 3, 1), "MEDS_BIRTH", None, None),
        (2, day(2), "LOINC//2823-3", 4.1, "mmol/L"),
        (3, pd.Timestamp(2020, 1, 1), "LOINC//2823-3", 4.1, "mmol/L"),
        (4, pd.Timestamp(1980, 1, 1), "MEDS_BIRTH", None, None),
        (4, day(2), "LOINC//2823-3", 4.1, "mmol/L"),
        (4, day(3), "LOINC//19123-9", 0.8, "mmol/L"),
    ]
    return pd.DataFrame(rows, columns=["subject_id", "time", "code", "numeric_value", "unit"])


@pytest.fixture(scope="module")
def at() -> pd.DataFrame:
    """Return prediction times out of order, with somebody who has no events."""
    return pd.DataFrame({"subject_id": [3, 99, 1, 4, 2], "prediction_time": [day(8)] * 5})


def test_scores_have_the_declared_columns_in_the_order_given(
    model: Model, events: pd.DataFrame, at: pd.DataFrame
) -> None:
    table = model.score(events, at)
    assert tuple(table.columns) == SCORES.names
    assert table["subject_id"].tolist() == [3, 99, 1, 4, 2]
    assert table["subject_id"].dtype == np.int64
    assert (table["prediction_time"] == day(8)).all()
    assert table["risk"].between(0, 1).all()
    assert (table["risk_low"] <= table["risk_high"]).all()


def test_warnings_are_those_of_the_row(
    model: Model, events: pd.DataFrame, at: pd.DataFrame
) -> None:
    warnings = model.score(events, at).set_index("subject_id")["warnings"]
    assert warnings[1] == ""
    assert warnings[2] == "under 18"
    assert warnings[3] == "no recent values; age unknown"
    assert warnings[4].startswith("outcome's analyte known before")
    assert warnings[99] == "no events before the prediction time"


def test_risk_is_that_of_the_features_worked_out_by_hand(
    model: Model, events: pd.DataFrame, at: pd.DataFrame
) -> None:
    age = (day(8) - pd.Timestamp(1960, 3, 1)).total_seconds() / 86400 / 365.25
    # Potassium at 8:00 is not known before 8:00; albumin is in g/dL.
    row = np.array([[3.4, 3.1, 2, 28.0, 1, age, 3.4 - 3.1]], dtype=np.float32)
    # Independent of the bag: each booster on a DMatrix, and beta calibration written out.
    margins = [
        float(booster.predict(xgb.DMatrix(row), output_margin=True)[0])
        for booster in model.bag.boosters
    ]
    c = model.calibrator

    def risk(margin: float) -> float:
        p = 1 / (1 + np.exp(-margin))
        odds = c.intercept + c.low * np.log(p) - c.high * np.log(1 - p)
        return 1 / (1 + np.exp(-odds))

    members = sorted(risk(margin) for margin in margins)
    # Linear between order statistics of four: positions 0.3 and 2.7.
    low = members[0] + 0.3 * (members[1] - members[0])
    high = members[2] + 0.7 * (members[3] - members[2])
    found = model.score(events, at).set_index("subject_id").loc[1]
    assert found["risk"] == pytest.approx(risk(float(np.mean(margins))), abs=1e-9)
    assert found["risk_low"] == pytest.approx(low, abs=1e-9)
    assert found["risk_high"] == pytest.approx(high, abs=1e-9)


def test_one_patient_scores_as_in_a_batch(
    model: Model, events: pd.DataFrame, at: pd.DataFrame
) -> None:
    batch = model.score(events, at)
    for number in range(len(at)):
        single = model.score(events, at.iloc[[number]])
        pd.testing.assert_frame_equal(single, batch.iloc[[number]].reset_index(drop=True))


def test_one_moment_scores_everybody_with_events(model: Model, events: pd.DataFrame) -> None:
    table = model.score(events, "2025-03-01 08:00")
    assert table["subject_id"].tolist() == [1, 2, 3, 4]


def test_scoring_leaves_no_relation_behind(model: Model, events: pd.DataFrame) -> None:
    from magml.events import read_events

    read = read_events(events)

    def relations() -> list:
        return read.connection.execute(
            "SELECT table_name FROM information_schema.tables ORDER BY 1"
        ).fetchall()

    before = relations()
    model.score(read, "2025-03-01 08:00")
    assert relations() == before


def test_bands_start_at_their_bounds(model: Model) -> None:
    risks = [0.0, np.nextafter(0.2, 0), 0.2, 0.499999, 0.5, 1.0]
    assert model.bands(risks).tolist() == ["low", "low", "raised", "raised", "high", "high"]


def test_an_empty_matrix_gives_empty_risks(model: Model) -> None:
    found = model.score_matrix(np.zeros((0, len(model.features)), dtype=np.float32))
    assert [len(part) for part in (found.margin, found.risk, found.low, found.high)] == [0] * 4


def test_a_matrix_of_another_width_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="7 columns"):
        model.score_matrix(np.zeros((1, 3), dtype=np.float32))


def test_a_table_of_features_is_put_in_order(model: Model) -> None:
    X = parts.matrix(20, seed=2)[0]
    frame = pd.DataFrame(X, columns=list(parts.FEATURES)).iloc[:, ::-1].assign(more="text")
    np.testing.assert_array_equal(model.matrix_of(frame), X)
    with pytest.raises(InputError, match=r"'lab\.albumin\.last'"):
        model.matrix_of(frame.drop(columns="lab.albumin.last"))
    with pytest.raises(InputError, match="not numeric"):
        model.matrix_of(frame.assign(**{"lab.albumin.last": "high"}))


def test_checks_need_age_and_the_outcomes_analyte() -> None:
    found = check_features(parts.DEFINITION, parts.CATALOGUE, ("lab.albumin.last",))
    assert found == ("lab.albumin.last", "lab.magnesium.last", "demographic.age.years")


def test_whom_a_model_is_for() -> None:
    follow = parts.DEFINITION.model_copy(update={"screening": False})
    assert measured_before(parts.DEFINITION, {}) == "none"
    assert measured_before(follow, {}) == "any"
    assert measured_before(follow, {"cohort": {"measured_before": "some"}}) == "some"


def test_a_model_for_people_measured_earlier_says_when_they_were_not() -> None:
    schema = [parts.CATALOGUE.features[name] for name in ("lab.magnesium.last",)]
    checks = Checks.of(parts.DEFINITION, schema, "some")
    values = np.array([[np.nan], [0.8], [np.nan]], dtype=np.float32)
    texts = checks.texts(values, np.array([False, False, True]))
    assert texts[0].startswith("outcome's analyte not known before")
    assert texts[1] == ""
    assert texts[2] == "no events before the prediction time"


def test_values_left_out_for_their_unit_are_counted(model, events, at):
    wrong = events.copy()
    wrong.loc[wrong["code"] == "LOINC//2823-3", "unit"] = "mg/furlong"
    assert model.score(events, at).attrs["left_out"] == []
    # Of six potassium values the one at the prediction time itself is of no use to anybody.
    assert model.score(wrong, at).attrs["left_out"] == [
        {"concept": "lab.potassium", "unit": "mg/furlong", "rows": 5}
    ]


@pytest.mark.parametrize("rows", [1, 5, 2_000_000])
def test_a_file_is_scored_range_by_range_as_a_table_at_once(
    model: Model, events, at, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("magml.features.ranges.ROWS", rows)
    stray = events.assign(unit=events["unit"].mask(events["subject_id"] == 3, "furlong"))
    stray.to_parquet(tmp_path / "events.parquet", index=False)
    at_once = model.score(stray, at)
    monkeypatch.setattr("magml.features.build_matrix", None)  # the matrix is never made
    by_ranges = model.score(tmp_path / "events.parquet", at)
    pd.testing.assert_frame_equal(by_ranges, at_once, check_exact=True)
    assert by_ranges.attrs["left_out"] == at_once.attrs["left_out"] != []
    assert by_ranges["warnings"].nunique() > 2
