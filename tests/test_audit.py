"""The leak audit: five leaks planted in a synthetic hospital, and a clean run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from magml.experiments.audit import Audit, audit_study
from magml.experiments.audit_rows import feature_aurocs
from magml.experiments.study import Study, build_study, read_definitions
from magml.models.splits import spread_folds
from magml.progress import silent
from magml.simulation import generate_hospital
from tests.conftest import ROOT
from tests.test_train import small_workspace

MAGNESIUM, POTASSIUM, ALBUMIN = "LOINC//19123-9", "LOINC//2823-3", "LOINC//1751-7"


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    return generate_hospital(1500, seed=21).events.to_pandas()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Two prediction times a person: the same patient has several rows.
    return small_workspace(tmp_path_factory.mktemp("workspace"), training_offsets=["4h"])


def study_of(events: pd.DataFrame, workspace: Path, folder: Path) -> Study:
    folder.mkdir()
    events.to_parquet(folder / "events.parquet")
    definitions = read_definitions("demo", by_labels=False, workspace=workspace)
    return build_study(definitions, data=folder, threads=1, report=silent)


def audited(study: Study) -> Audit:
    fold = spread_folds(study.rows.labels, study.folds_by, study.rows.evaluated, 3, seed=1)
    return audit_study(study, np.where(study.rows.evaluated, fold, -1), seed=1, threads=1)


def found(audit: Audit) -> set[str]:
    return {check.name for check in audit.findings}


def admissions(events: pd.DataFrame) -> pd.Series:
    visits = events[events["code"] == "VISIT//inpatient"]
    return visits.set_index("subject_id")["time"]


def outcomes(events: pd.DataFrame) -> pd.Series:
    """Each tested person's magnesium in mmol/L."""
    rows = events[events["code"] == MAGNESIUM]
    values = rows["numeric_value"].where(rows["unit"] == "mmol/L", rows["numeric_value"] / 2.4305)
    return pd.Series(values.to_numpy(), index=rows["subject_id"].to_numpy())


def rows_for(people: np.ndarray, time: pd.Series, code: str) -> pd.DataFrame:
    moments = time.loc[people].to_numpy()
    return pd.DataFrame(
        {"subject_id": people, "time": moments, "known_time": moments, "code": code}
    )


def test_a_clean_run_has_no_finding(events: pd.DataFrame, workspace: Path, tmp_path: Path) -> None:
    audit = audited(study_of(events, workspace, tmp_path / "clean"))
    assert found(audit) == set()
    assert audit.lines() == ()
    plain = audit.to_dict()
    assert plain["clean"] is True
    # In a clean run every check was possible except that no diagnosis is made in the visit.
    assert [c["name"] for c in plain["checks"] if c["found"] is None] == ["backdated diagnoses"]


def test_a_future_lab_is_found(events: pd.DataFrame, workspace: Path, tmp_path: Path) -> None:
    # Potassium drawn in the evening stands in the records as known in the morning.
    leaked = events.copy()
    start = leaked["subject_id"].map(admissions(events))
    late = (leaked["code"] == POTASSIUM) & (leaked["time"] > start + pd.Timedelta(hours=6))
    leaked.loc[late, "known_time"] = start[late] + pd.Timedelta(hours=1)
    audit = audited(study_of(leaked, workspace, tmp_path / "future"))
    assert "known before it happened" in found(audit)
    check = next(c for c in audit.checks if c.name == "known before it happened")
    assert [item["code"] for item in check.details["codes"]] == [POTASSIUM]


def test_a_feature_that_sees_the_future_is_found(
    events: pd.DataFrame, workspace: Path, tmp_path: Path
) -> None:
    # A builder that forgets the rule of knowledge: the last potassium of the whole stay.
    study = study_of(events, workspace, tmp_path / "builder")
    last = events[events["code"] == POTASSIUM].sort_values("time").groupby("subject_id")
    value = last["numeric_value"].last().reindex(study.rows.persons).to_numpy()
    values = study.matrix.values.copy()
    values[:, study.matrix.names.index("lab.potassium.last")] = value
    audit = audited(replace(study, matrix=replace(study.matrix, values=values)))
    assert found(audit) == {"features of the past alone"}
    check = next(c for c in audit.checks if c.name == "features of the past alone")
    assert check.details["differing"] == ["lab.potassium.last"]


def test_the_outcomes_specimen_is_found(
    events: pd.DataFrame, workspace: Path, tmp_path: Path
) -> None:
    # The magnesium of the outcome arrives early, under the name of albumin.
    magnesium = outcomes(events)
    leaked = events.copy()
    albumin = (leaked["code"] == ALBUMIN) & leaked["subject_id"].isin(magnesium.index)
    leaked.loc[albumin, "numeric_value"] = 2 * leaked["subject_id"].map(magnesium)[albumin] + 2
    audit = audited(study_of(leaked, workspace, tmp_path / "specimen"))
    assert found(audit) == {"single features"}
    assert "lab.albumin" in audit.lines()[0]


def test_a_magnesium_order_is_found(events: pd.DataFrame, workspace: Path, tmp_path: Path) -> None:
    # An institution's own concept, whose author did not say that it reveals the outcome.
    own = tmp_path / "workspace"
    shutil.copytree(workspace, own)
    shutil.copytree(ROOT / "features", own / "features")
    care = yaml.safe_load((own / "features" / "care.yaml").read_text())
    care["concepts"]["replacement"] = {
        "label": "Electrolyte replacement ordered",
        "kind": "condition",
        "codes": ["ORDER//MgSO4 2 g IV"],
        "features": {"24h": ["present"]},
    }
    (own / "features" / "care.yaml").write_text(yaml.safe_dump(care))
    magnesium = outcomes(events)
    # 1.7 mg/dL is 0.699 mmol/L and no case; below 0.69 all are, in either unit.
    people = magnesium.index[magnesium < 0.69].to_numpy()[::3]
    orders = rows_for(people, admissions(events) + pd.Timedelta(hours=2), "ORDER//MgSO4 2 g IV")
    leaked = pd.concat([events, orders], ignore_index=True)
    audit = audited(study_of(leaked, own, tmp_path / "order"))
    # Nobody but later cases has the order, which the check of single features sees as well.
    assert found(audit) == {"concepts that reveal the outcome", "single features"}
    assert "care.replacement" in " ".join(audit.lines())


def test_a_backdated_diagnosis_is_found(
    events: pd.DataFrame, workspace: Path, tmp_path: Path
) -> None:
    # Coded at discharge in truth; the records date it to the admission. Cases and others have it.
    people = outcomes(events).index.to_numpy()[::4]
    coded = rows_for(people, admissions(events), "ICD10CM//E87.6")
    leaked = pd.concat([events, coded], ignore_index=True)
    audit = audited(study_of(leaked, workspace, tmp_path / "diagnosis"))
    assert found(audit) == {"backdated diagnoses"}
    # The same diagnosis known at the end of the visit is as it should be.
    stay = events[events["code"] == "VISIT//inpatient"].set_index("subject_id")["end_time"]
    coded["known_time"] = stay.loc[people].to_numpy()
    honest = pd.concat([events, coded], ignore_index=True)
    assert found(audited(study_of(honest, workspace, tmp_path / "honest"))) == set()


def test_a_patient_in_both_splits_is_found(
    events: pd.DataFrame, workspace: Path, tmp_path: Path
) -> None:
    study = study_of(events, workspace, tmp_path / "split")
    rows = np.arange(len(study.rows.labels))
    audit = audited(replace(study, folds_by=rows))  # folds made of rows, not of people
    assert "patient in both splits" in found(audit)


def test_a_patient_under_two_ids_is_found(
    events: pd.DataFrame, workspace: Path, tmp_path: Path
) -> None:
    again = events[events["subject_id"] <= 300].assign(subject_id=lambda e: e["subject_id"] + 5000)
    twice = pd.concat([events, again], ignore_index=True)
    audit = audited(study_of(twice, workspace, tmp_path / "twice"))
    assert "patient in both splits" in found(audit)
    check = next(c for c in audit.checks if c.name == "patient in both splits")
    assert check.details["people"] == 0
    assert check.details["equal_rows"] > 0


def test_feature_aurocs_are_counted_by_hand() -> None:
    labels = np.array([True] * 10 + [False] * 10)
    # Ten cases at 1; of the others five at 1 and five at 2: 25 ties of 100 pairs count a half
    # each of 50, 50 pairs are right.
    values = np.r_[np.ones(10), np.ones(5), np.full(5, 2.0)]
    assert feature_aurocs(values, labels) == (0.75, 0.5)
    # Nine cases with a value are too few to judge it; presence differs by 9/10 - 10/10.
    values[0] = np.nan
    by_value, by_presence = feature_aurocs(values, labels)
    assert np.isnan(by_value)
    assert by_presence == pytest.approx(0.55)
