"""The same settings at the other thresholds: same rows and folds, no search."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from magml.errors import CohortError, InputError
from magml.experiments import train
from magml.experiments.study import Study, build_study, cross_validate, measure, read_definitions
from magml.experiments.thresholds import THRESHOLDS, measure_thresholds, relabelled
from magml.models import fit as fit_module
from magml.models.splits import check_folds
from magml.progress import silent
from magml.simulation import generate_hospital
from tests.test_train import small_workspace

MAGNESIUM = "LOINC//19123-9"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_hospital(1200, seed=31).write(tmp_path_factory.mktemp("records") / "hospital")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def study(records: Path, workspace: Path) -> Study:
    definitions = read_definitions("demo", by_labels=False, workspace=workspace)
    return build_study(definitions, data=records, threads=1, report=silent)


def test_labels_at_a_threshold_are_compared_in_the_unit_reported(study: Study, records) -> None:
    events = pd.read_parquet(records / "events.parquet")
    rows = events[events["code"] == MAGNESIUM].set_index("subject_id")
    value, unit = rows["numeric_value"], rows["unit"]
    for threshold in THRESHOLDS:
        bound = unit.map(threshold)
        low = (value < bound - 1e-9).loc[study.rows.persons].to_numpy()
        other = relabelled(study, threshold)
        np.testing.assert_array_equal(other.rows.labels == 1, low)
        assert other.definitions.model.outcome.threshold == threshold
    # 1.8 mg/dL is 0.7406 mmol/L: low at 0.75 mmol/L if converted first, and not a case here.
    on = (unit == "mg/dL") & np.isclose(value, 1.8)
    assert on.loc[study.rows.persons].any()


def test_folds_and_settings_are_those_of_the_first_and_nothing_is_searched(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cross_validate(study, seed=5, quick=True, threads=1, report=silent)
    performance = measure(study, first, seed=5)

    def no_search(*_: object, **__: object) -> None:
        raise AssertionError("searched again")

    monkeypatch.setattr(fit_module, "search", no_search)
    table = measure_thresholds(study, first, performance, seed=5, threads=1)
    assert table["threshold"].unique().tolist() == [
        "0.7 mmol/L / 1.7 mg/dL / 1.4 mEq/L",
        "0.75 mmol/L / 1.8 mg/dL / 1.5 mEq/L",
        "0.85 mmol/L / 2.1 mg/dL / 1.7 mEq/L",
    ]
    auroc = table[(table["metric"] == "auroc") & (table["model"] == "model")]
    assert auroc["own"].tolist() == [True, False, False]
    assert auroc["value"].iloc[0] == performance.value("auroc")[0]
    # A higher threshold has more cases on the same rows.
    assert auroc["n"].nunique() == 1
    assert auroc["events"].is_monotonic_increasing
    assert auroc["events"].is_unique
    again = cross_validate(
        relabelled(study, THRESHOLDS[1]), seed=5, quick=True, threads=1, report=silent, like=first
    )
    np.testing.assert_array_equal(again.fold, first.fold)
    assert [f.estimator for f in again.folds] == [f.estimator for f in first.folds]


def test_a_threshold_with_too_few_cases_is_named(study: Study, monkeypatch) -> None:
    first = cross_validate(study, seed=5, quick=True, threads=1, report=silent)
    performance = measure(study, first, seed=5)
    monkeypatch.setattr(
        "magml.experiments.thresholds.THRESHOLDS", ({"mmol/L": 0.2, "mg/dL": 0.5, "mEq/L": 0.4},)
    )
    table = measure_thresholds(study, first, performance, seed=5, threads=1)
    missing = table[table["value"].isna()]
    assert missing["threshold"].tolist() == ["0.2 mmol/L / 0.5 mg/dL / 0.4 mEq/L"]
    assert "one class: 0 cases" in missing["reason"].iloc[0]


def test_a_fold_of_one_class_is_refused() -> None:
    with pytest.raises(CohortError, match="fold 2 of 2"):
        check_folds(np.array([0, 0, 1, 1]), [0, 1, 1, 1], 2)


def test_a_run_writes_them_and_refuses_them_for_labels_given(
    records: Path, workspace: Path, tmp_path: Path
) -> None:
    options = {"quick": True, "track": False, "threads": 1}
    result = train(
        "demo", data=records, workspace=workspace, out=tmp_path, thresholds="all", **options
    )
    table = pd.read_csv(result.folder / "results" / "thresholds.csv")
    assert table["threshold"].nunique() == 3
    training = json.loads((result.bundle / "training.json").read_text())
    assert training["events"] == int(table[table["own"]]["events"].iloc[0])
    with pytest.raises(InputError, match="labels were given"):
        train("m", events="e", labels="l", out=tmp_path, thresholds="all", **options)
    with pytest.raises(InputError, match="'own' or 'all'"):
        train("demo", data=records, out=tmp_path, thresholds="both", **options)  # type: ignore[arg-type]
