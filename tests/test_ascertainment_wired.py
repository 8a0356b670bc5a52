"""An experiment that declares ascertainment reports raw and corrected figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import magml
from magml.definitions.experiment import ExperimentDefinition
from magml.errors import CohortError
from magml.experiments import train
from magml.experiments.study import build_study, read_definitions
from magml.progress import silent
from magml.report import write_report
from magml.simulation import generate_hospital
from tests.test_train import small_workspace

DECLARED = {"replicates": 20, "folds": 3, "most_columns": 10, "odds_ratios": [0.5, 2.0]}


def declare(folder: Path, **more: object) -> Path:
    workspace = small_workspace(folder)
    path = workspace / "experiments" / "demo.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "ascertainment": {**DECLARED, **more}}))
    return workspace


def declare_weighted(folder: Path) -> Path:
    return declare(folder, train_weighted=True)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_hospital(1500, seed=11).write(tmp_path_factory.mktemp("records") / "hospital")


@pytest.fixture(scope="module")
def runs(records: Path, tmp_path_factory: pytest.TempPathFactory):
    found = {}
    kinds = (("plain", small_workspace), ("corrected", declare), ("weighted", declare_weighted))
    for name, make in kinds:
        folder = tmp_path_factory.mktemp(name)
        found[name] = train(
            "demo", data=records, out=folder / "runs", quick=True, track=False, threads=1,
            workspace=make(folder),
        )  # fmt: skip
    return found


def test_figures_of_the_tested_are_the_same_with_and_without_the_correction(runs) -> None:
    plain, corrected = runs["plain"].metrics, runs["corrected"].metrics
    assert corrected["models"]["model"] == plain["models"]["model"]
    for name, metrics in plain["models"].items():  # regressions differ in the last bits
        for metric, value in metrics.items():
            assert corrected["models"][name][metric] == pytest.approx(value, abs=1e-9)
    for name in ("folds.csv", "attrition.csv"):
        assert (runs["plain"].folder / "results" / name).read_bytes() == (
            runs["corrected"].folder / "results" / name
        ).read_bytes()


def test_raw_and_corrected_stand_side_by_side(runs) -> None:
    result = runs["corrected"]
    results = result.folder / "results"
    found = json.loads((results / "ascertainment.json").read_text())
    attrition = pd.read_csv(results / "attrition.csv")
    assert found["tested"] == result.metrics["n"] == attrition["times"].iloc[-1]
    assert found["target"] == attrition["times"].iloc[-2]
    table = pd.read_csv(results / "ascertainment.csv")
    row = table[(table["model"] == "model") & (table["metric"] == "auroc")].iloc[0]
    # Raw is what the run reports anyway, whoever computes it.
    assert row["raw"] == pytest.approx(result.metrics["auroc"]["value"], abs=1e-9)
    assert {"age_sex", "logistic"} <= set(table["model"].dropna())
    assert row["robust_low"] <= row["robust"] <= row["robust_high"]
    assert (results / "plots" / "ascertainment.png").stat().st_size > 10_000
    assert result.metrics["ascertainment"]["robust"]["auroc"]["value"] == row["robust"]
    assert "who could have been tested" in result.summary()
    card = (result.bundle / "card.md").read_text()
    assert "could have been tested" in card


def test_the_report_shows_raw_and_corrected_or_says_that_nothing_was_corrected(
    runs, tmp_path: Path
) -> None:
    pages = {}
    for name in ("plain", "corrected"):
        result = runs[name]
        path = tmp_path / f"{name}.md"
        write_report(result.folder, markdown=path)
        text = path.read_text(encoding="utf-8")
        pages[name] = text.partition("## Who gets tested")[2].partition("\n## ")[0]
    assert "No correction was made for who gets tested" in pages["plain"]
    assert "Everybody, doubly robust" not in pages["plain"]
    assert "No correction was made" not in pages["corrected"]
    table = pd.read_csv(runs["corrected"].folder / "results" / "ascertainment.csv")
    row = table[(table["model"] == "model") & (table["metric"] == "auroc")].iloc[0]
    line = next(x for x in pages["corrected"].splitlines() if x.startswith("| AUROC |"))
    for estimate in ("raw", "weighted", "robust"):
        assert f"{row[estimate]:.3f} ({row[f'{estimate}_low']:.3f} to" in line
    ratios = [x for x in pages["corrected"].splitlines() if x.startswith(("| 0.5 |", "| 2 |"))]
    assert len(ratios) == 2
    assert "not at hand" in _of_bundle(runs["corrected"].bundle, tmp_path)


def _of_bundle(bundle: Path, folder: Path) -> str:
    alone = shutil.copytree(bundle, folder / "alone")
    write_report(alone, markdown=folder / "bundle.md")
    text = (folder / "bundle.md").read_text(encoding="utf-8")
    return text.partition("## Who gets tested")[2][:600]


def test_nobody_who_was_not_tested_trains_or_is_predicted_by_who_saw_them(
    records: Path, tmp_path: Path
) -> None:
    from magml.experiments.untested import joint_split

    found = read_definitions("demo", by_labels=False, workspace=declare(tmp_path))
    study = build_study(found, data=records, report=silent)
    assert study.untested is not None
    split = joint_split(study, study.untested, 2, seed=5)
    n = len(study.rows.labels)
    persons = np.concatenate([study.rows.persons, study.untested.persons])
    for number, side in enumerate(split.train):
        assert not side[n:].any()
        assert not set(persons[side]) & set(persons[split.fold == number])
    assert (split.fold[n:] >= 0).all()


def test_a_weighted_training_is_another_and_says_so(runs) -> None:
    plain, weighted = runs["corrected"], runs["weighted"]
    assert weighted.metrics["models"]["model"] != plain.metrics["models"]["model"]
    assert weighted.metrics["models"]["logistic"] != plain.metrics["models"]["logistic"]
    assert weighted.metrics["n"] == plain.metrics["n"]
    assert "inverse of its chance" in (weighted.bundle / "card.md").read_text()
    assert "inverse of its chance" not in (plain.bundle / "card.md").read_text()


def test_weights_of_a_fold_come_from_its_training_side_alone(records: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from magml.experiments.untested import final_weights, fold_weights, joint_split

    found = read_definitions("demo", by_labels=False, workspace=declare_weighted(tmp_path))
    study = build_study(found, data=records, report=silent)
    assert study.untested is not None
    split = joint_split(study, study.untested, 2, seed=5)
    weights = fold_weights(study, split, seed=5)
    assert weights is not None
    n = len(study.rows.labels)
    assert not weights[:, n:].any()
    for number, side in enumerate(split.train):
        assert (weights[number, side] > 0).all()
        assert weights[number, side].mean() == pytest.approx(1)
        assert not weights[number, split.fold == number].any()
    # What is recorded of those whom fold 0 tests, tested or not, is turned upside down.
    test = split.fold == 0
    values, others = study.matrix.values.copy(), study.untested.values.copy()
    values[test[:n]] *= -3
    others[test[n:]] *= -3
    moved = replace(
        study,
        matrix=replace(study.matrix, values=values),
        untested=replace(study.untested, values=others),
    )
    again = fold_weights(moved, split, seed=5)
    assert again is not None
    np.testing.assert_array_equal(again[0], weights[0])
    assert not np.array_equal(again[1], weights[1])
    final = final_weights(study, seed=5)
    assert final is not None
    assert final.shape == (n,)
    assert final.std() > 0.1


@pytest.mark.parametrize("weighted", [True, False])
def test_a_comparison_trains_as_its_study_does(
    weighted: bool, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen(Exception):
        pass

    def look(values, names, labels, *rest, weights, **more):  # type: ignore[no-untyped-def]
        raise Seen(len(labels), weights)

    monkeypatch.setattr("magml.models.nested.nested_cross_validation", look)
    workspace = declare(tmp_path, train_weighted=weighted)
    with pytest.raises(Seen) as found:
        magml.compare("demo", data=records, quick=True, out=None, workspace=workspace)
    rows, weights = found.value.args
    if weighted:
        assert weights.shape[1] == rows
        assert weights.std() > 0.1
    else:
        assert weights is None


def test_rows_that_only_train_have_no_chance_of_being_tested() -> None:
    content = {
        "name": "x", "title": "x", "model": "m", "source": {"layout": "events"},
        "cohort": {"anchor": ["VISIT//inpatient"], "offset": "6h", "training_offsets": ["12h"]},
        "ascertainment": {"train_weighted": True},
    }  # fmt: skip
    with pytest.raises(ValueError, match="training_offsets"):
        ExperimentDefinition.model_validate(content)


def test_ascertainment_does_not_go_with_a_temporal_hold_out() -> None:
    content = {
        "name": "x", "title": "x", "model": "m", "source": {"layout": "events"},
        "cohort": {"anchor": ["VISIT//inpatient"], "offset": "6h"},
        "validation": {"groups": "time"}, "ascertainment": {},
    }  # fmt: skip
    with pytest.raises(ValueError, match="groups: time"):
        ExperimentDefinition.model_validate(content)


def test_a_cohort_in_which_everybody_was_tested_is_refused(records: Path, tmp_path: Path) -> None:
    from magml.experiments.prepare import cohort_rows, open_data
    from magml.experiments.untested import read_untested
    from magml.features import build_matrix, compile_plan

    found = read_definitions("demo", by_labels=False, workspace=declare(tmp_path))
    events = open_data(found.experiment, records)
    rows = cohort_rows(found.experiment, found.model, found.catalogue, events)
    events.connection.execute(f"DELETE FROM {rows.untested}")
    plan = compile_plan(found.catalogue, ["demographic.age.years"])
    matrix = build_matrix(plan, events, rows.relation)
    with pytest.raises(CohortError, match="nobody without the outcome"):
        read_untested(rows, plan, matrix)
