"""Training from records to a bundle, on a small synthetic hospital."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import magml
from magml.definitions import read_catalogue, read_experiment, read_model
from magml.errors import CohortError, DefinitionError, InputError, UnitError
from magml.experiments import train
from magml.experiments.inputs import model_features
from magml.simulation import generate_hospital
from tests.conftest import ROOT


def small_workspace(
    folder: Path, *, members: int = 3, rounds: int = 60, calibrating: int = 3, **cohort: object
) -> Path:
    """Write the shipped definitions, made small enough for tests."""
    model = yaml.safe_load((ROOT / "models" / "hypomagnesemia_screen.yaml").read_text())
    model["estimator"] = {"members": members, "rounds": rounds}
    model["calibration"] = {"methods": ["logistic"], "folds": 2, "members": calibrating}
    experiment = yaml.safe_load((ROOT / "experiments" / "demo.yaml").read_text())
    experiment["validation"] = {"folds": 2, "replicates": 100, "seed": 5}
    experiment["baselines"] = ["last_magnesium", "age_sex", "logistic"]
    experiment["cohort"].update(cohort)
    for kind, name, content in (
        ("models", model["name"], model),
        ("experiments", "demo", experiment),
    ):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_hospital(2500, seed=11).write(tmp_path_factory.mktemp("records") / "hospital")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def run(records: Path, workspace: Path, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("runs")
    return train("demo", data=records, out=out, quick=True, track=False, workspace=workspace)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_equal_training_gives_equal_bytes_for_one_and_two_threads(
    run, records: Path, workspace: Path, tmp_path: Path
) -> None:
    other = train(
        "demo",
        data=records,
        out=tmp_path,
        quick=True,
        track=False,
        workspace=workspace,
        threads=1,
    )
    assert files_of(other.bundle) == files_of(run.bundle)
    changed = train(
        "demo",
        data=records,
        out=tmp_path / "seed",
        quick=True,
        track=False,
        workspace=workspace,
        seed=6,
    )
    assert files_of(changed.bundle) != files_of(run.bundle)


def test_every_figure_has_n_events_and_interval(run) -> None:
    metrics = run.metrics
    attrition = pd.read_csv(run.folder / "results" / "attrition.csv")
    assert metrics["n"] == attrition["times"].iloc[-1]
    assert 20 <= metrics["events"] < metrics["n"]
    auroc = metrics["auroc"]
    assert auroc["low"] < auroc["value"] < auroc["high"]
    # The generator makes magnesium depend on what is recorded: a coin would be a defect.
    assert auroc["low"] > 0.5
    assert "last_magnesium" in metrics["not_computable"]
    gain = metrics["differences"]["age_sex"]["auroc"]["value"]
    baseline = metrics["models"]["age_sex"]["auroc"]["value"]
    assert math.isclose(gain, auroc["value"] - baseline, abs_tol=1e-12)
    table = pd.read_csv(run.folder / "results" / "metrics.csv")
    assert {"n", "events", "low", "high"} <= set(table.columns)


def test_results_hold_no_row_of_a_patient(run, records: Path) -> None:
    ids = pd.read_parquet(records / "subjects.parquet")["source_id"].astype(str)
    text = b"".join(files_of(run.folder).values()).decode("utf-8", errors="ignore")
    assert not [source for source in ids if source in text]
    assert str(records) not in text


def test_scores_have_a_row_for_every_prediction_time_in_order(run, records: Path) -> None:
    model = magml.load(run.bundle)
    at = pd.DataFrame(
        {
            "subject_id": [3, 999_999, 1],  # nobody knows the second
            "prediction_time": pd.to_datetime(["2024-12-30"] * 3),
        }
    )
    scores = model.score(records / "events.parquet", at)
    assert scores["subject_id"].tolist() == [3, 999_999, 1]
    assert scores["risk"].between(0, 1).all()
    assert (scores["risk_low"] <= scores["risk_high"]).all()
    assert "no events" in scores["warnings"].iloc[1]
    assert "no events" not in scores["warnings"].iloc[0]


def test_reasons_add_up_and_domains_equal_features(run, records: Path) -> None:
    model = magml.load(run.bundle)
    why = model.explain(records / "events.parquet", "2024-12-30")
    table = why.reasons()
    scores = model.score(records / "events.parquet", "2024-12-30")
    by_row = table.groupby(["subject_id", "prediction_time"])
    risk = by_row["risk"].sum().to_numpy() + model.baseline.base_risk
    expected = scores.sort_values("subject_id")["risk"].to_numpy()
    np.testing.assert_allclose(risk, expected, atol=1e-6)


def test_what_a_screening_model_may_see() -> None:
    catalogue = read_catalogue()
    names = model_features(catalogue, read_model("hypomagnesemia_screen"))
    assert names
    for name in names:
        # Magnesium that is eaten is no measured magnesium; what is given after a value is.
        if not name.startswith("diet."):
            assert not name.split(".")[1].startswith("magnesium"), name
        assert "parenteral_magnesium" not in name
        concept = catalogue.by_name.get(catalogue.features[name].concept)
        assert concept is None or "hypomagnesemia" not in concept.reveals
    follow = model_features(catalogue, read_model("hypomagnesemia_follow"))
    assert "lab.magnesium.last" in follow or any(
        name.startswith("lab.magnesium.last") for name in follow
    )


def test_an_exclusion_that_matches_nothing_is_refused() -> None:
    model = read_model("hypomagnesemia_screen")
    wrong = model.features.model_copy(update={"exclude": ("lab.magnesum*",)})
    with pytest.raises(DefinitionError, match=r"lab.magnesum.*did you mean 'lab.magnesium'"):
        model_features(read_catalogue(), model.model_copy(update={"features": wrong}))


def test_training_offsets_only_train(records: Path, tmp_path: Path, run) -> None:
    from magml.experiments.study import build_study, read_definitions
    from magml.progress import silent

    extra = small_workspace(tmp_path, training_offsets=["3h"])
    definitions = read_definitions("demo", by_labels=False, workspace=extra)
    study = build_study(definitions, data=records, report=silent)
    assert int(study.rows.evaluated.sum()) == run.metrics["n"]
    assert len(study.rows.labels) > run.metrics["n"]


def test_labels_given_are_trained_on(records: Path, workspace: Path, tmp_path: Path) -> None:
    events = pd.read_parquet(records / "events.parquet")
    start = events[events["code"] == "VISIT//inpatient"].head(200)
    labels = pd.DataFrame(
        {
            "subject_id": start["subject_id"].to_numpy(),
            "prediction_time": start["time"].to_numpy() + np.timedelta64(6, "h"),
            "boolean_value": [index % 3 == 0 for index in range(len(start))],
        }
    )
    result = train(
        workspace / "models" / "hypomagnesemia_screen.yaml",
        events=records / "events.parquet",
        labels=labels,
        out=tmp_path,
        quick=True,
        track=False,
    )
    assert result.metrics["n"] == 200
    assert result.metrics["events"] == 67  # every third of 200, the first among them
    assert result.bundle.is_dir()


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"minimum_age": 200.0}, CohortError, "empty after '200 years or older'"),
        ({"anchor": ["VISIT//moon"]}, CohortError, "VISIT//moon"),
    ],
)
def test_a_cohort_that_cannot_be_is_told_and_nothing_is_written(
    change: dict, error: type, told: str, records: Path, tmp_path: Path
) -> None:
    broken = small_workspace(tmp_path / "w", **change)
    with pytest.raises(error, match=told):
        train("demo", data=records, out=tmp_path / "out", track=False, workspace=broken)
    assert not (tmp_path / "out").exists()


def test_faults_of_the_outcome_are_told(records: Path, workspace: Path, tmp_path: Path) -> None:
    events = pd.read_parquet(records / "events.parquet")
    magnesium = events["code"] == "LOINC//19123-9"

    def attempt(changed: pd.DataFrame) -> None:
        folder = tmp_path / "events"
        folder.mkdir(exist_ok=True)
        changed.to_parquet(folder / "events.parquet")
        out = tmp_path / "out"
        train("demo", data=folder, out=out, quick=True, track=False, workspace=workspace)

    high = events.copy()
    high.loc[magnesium, "numeric_value"] = np.where(high["unit"][magnesium] == "mg/dL", 2.0, 0.9)
    with pytest.raises(CohortError, match="one class: 0 cases"):
        attempt(high)
    few = high.copy()
    few.loc[few.index[magnesium][-15:], "numeric_value"] = 0.66
    with pytest.raises(CohortError, match="at least 20 of each"):
        attempt(few)
    unknown = events.copy()
    unknown.loc[magnesium, "unit"] = "furlong"
    with pytest.raises(UnitError, match="furlong"):
        attempt(unknown)
    early = events.copy()
    early["time"] = early["time"].where(
        early["code"].isin(["MEDS_BIRTH", "VISIT//inpatient"]),
        early["time"] + pd.Timedelta(days=9000),
    )
    early["known_time"] += pd.Timedelta(days=9000)
    with pytest.raises(CohortError):
        attempt(early)
    with pytest.raises(InputError, match="no column 'code'"):
        attempt(events.drop(columns="code"))
    assert not (tmp_path / "out").exists()


def test_a_model_without_rows_says_what_to_add(workspace: Path) -> None:
    with pytest.raises(InputError, match="--events and --labels"):
        train(workspace / "models" / "hypomagnesemia_screen.yaml")
    with pytest.raises(InputError, match="needs data"):
        train("demo", workspace=workspace)


def test_a_folder_that_is_no_run_is_not_replaced(
    records: Path, workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not a run of magml"):
        train("demo", data=records, out=tmp_path, quick=True, track=False, workspace=workspace)
    assert (tmp_path / "demo" / "thesis.txt").read_text() == "years of work"


def test_the_summary_of_a_bundle_names_the_experiment(run) -> None:
    training = json.loads((run.bundle / "training.json").read_text())
    assert training["experiment"]["name"] == "demo"
    assert training["n"] == run.metrics["n"]
    assert read_experiment("demo").name == "demo"


def test_results_hold_testing_subgroups_and_sensitivity(run) -> None:
    results = run.folder / "results"
    testing = pd.read_csv(results / "testing.csv")
    ordered = testing[testing["model"] == "as ordered"].iloc[0]
    assert ordered["tests_per_case"] == pytest.approx(run.metrics["n"] / run.metrics["events"])
    assert set(testing["model"]) >= {"model", "age_sex", "logistic", "random order"}
    details = json.loads((results / "details.json").read_text())
    attrition = pd.read_csv(results / "attrition.csv")
    # Of those present at 6 h, the last step leaves whom somebody tested.
    share = attrition["times"].iloc[-1] / attrition["times"].iloc[-2]
    assert details["ordering"]["share_tested"] == pytest.approx(share)
    subgroups = pd.read_csv(results / "subgroups.csv")
    assert {"sex", "age", "site", "kidney function"} <= set(subgroups["dimension"])
    assert subgroups["events"].min() >= 10
    sex = subgroups[(subgroups["dimension"] == "sex") & (subgroups["metric"] == "auroc")]
    assert sex["n"].sum() == run.metrics["n"]
    assert sex["events"].sum() == run.metrics["events"]
    assert (results / "plots" / "testing.png").stat().st_size > 10_000
    audit = json.loads((results / "audit.json").read_text())
    assert audit["clean"] is True
    assert len(audit["checks"]) == 8
    card = json.loads((run.bundle / "card.json").read_text())
    assert not [limit for limit in card["limits"] if "Leak audit" in limit]
    # The generator gives nobody magnesium.
    assert not details["sensitivity"]["computable"]
    assert not (results / "sensitivity.csv").exists()


def test_a_bundle_says_what_it_expects_after_go_live(run, records: Path) -> None:
    from magml import monitor
    from magml.monitoring import Baseline

    model = magml.load(run.bundle)
    expected = Baseline.of_training(model)
    assert set(expected.features) == set(model.features)
    assert sum(expected.bands.values()) == pytest.approx(1, abs=1e-5)
    codes = {(use.concept, use.code, use.unit) for use in expected.codes}
    assert ("lab.potassium", "LOINC//2823-3", "mmol/L") in codes
    # The people it was trained on are what it expects.
    found = monitor(
        model, experiment=ROOT / "experiments" / "demo.yaml", data=records, every="year"
    )
    assert not {a.kind for a in found.alarms} & {"unit", "code", "recorded"}


def test_a_leak_stands_in_the_card_the_results_and_the_summary(
    records: Path, workspace: Path, tmp_path: Path
) -> None:
    events = pd.read_parquet(records / "events.parquet")
    start = events["subject_id"].map(
        events[events["code"] == "VISIT//inpatient"].set_index("subject_id")["time"]
    )
    late = (events["code"] == "LOINC//2823-3") & (events["time"] > start + pd.Timedelta(hours=6))
    events.loc[late, "known_time"] = start[late] + pd.Timedelta(hours=1)
    (tmp_path / "leak").mkdir()
    events.to_parquet(tmp_path / "leak" / "events.parquet")
    result = train(
        "demo",
        data=tmp_path / "leak",
        out=tmp_path / "runs",
        quick=True,
        track=False,
        workspace=workspace,
    )
    told = "Leak audit, known before it happened"
    audit = json.loads((result.folder / "results" / "audit.json").read_text())
    assert audit["clean"] is False
    assert told in (result.bundle / "card.md").read_text()
    assert told in result.summary()
