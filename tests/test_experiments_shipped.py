"""The shipped experiments on open data: cohorts by hand-checked counts, features by command."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from magml.cli.app import app
from magml.definitions import read_catalogue, read_experiment, read_model
from magml.definitions.experiment import ExperimentDefinition
from magml.errors import CohortError
from magml.experiments.prepare import cohort_rows, open_data
from magml.experiments.study import read_definitions
from tests.conftest import ROOT


def documented_cohorts() -> list[dict]:
    """Return every YAML block of the page that holds a whole cohort."""
    text = (ROOT / "docs" / "defining-a-cohort.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in text.split("```yaml")[1:]]
    found = []
    for block in blocks:
        content = yaml.safe_load(block)
        if "anchor" in content.get("cohort", {}):
            found.append(content)
    return found


def test_the_cohorts_of_the_documentation_are_valid() -> None:
    cohorts = documented_cohorts()
    assert len(cohorts) == 3
    catalogue = read_catalogue()
    base = {"name": "x", "title": "x", "model": "x", "source": {"layout": "events"}}
    for content in cohorts:
        cohort = ExperimentDefinition.model_validate({**base, **content}).cohort
        for anchor in cohort.anchor:
            assert "//" in anchor or anchor in catalogue.by_name


def experiments() -> list[Path]:
    """Return the shipped experiments that train a model."""
    paths = sorted((ROOT / "experiments").glob("*.yaml"))
    return [path for path in paths if "\nkind: population\n" not in path.read_text()]


@pytest.mark.parametrize("path", experiments(), ids=lambda p: p.stem)
def test_every_experiment_names_a_model_that_exists(path: Path) -> None:
    experiment = read_experiment(path)
    assert experiment.name == path.stem
    assert read_model(experiment.model).name == experiment.model
    found = read_definitions(path, by_labels=False)
    assert found.model.outcome.time_at_risk == (
        experiment.cohort.time_at_risk or read_model(experiment.model).outcome.time_at_risk
    )


@pytest.mark.data
def test_nhanes1_is_a_cohort_of_everyone_with_a_magnesium(shared_data: Path) -> None:
    """9,932 adults, of whom 227 are below 1.40 mEq/L, counted in the file itself."""
    file = pd.read_csv(shared_data / "nhanes1" / "subset_X.csv", index_col=0)
    magnesium = file.loc[file["Age"] >= 18, "Serum Magnesium"].dropna()
    found = read_definitions("nhanes1_screen", by_labels=False)
    events = open_data(found.experiment, shared_data / "nhanes1")
    rows = cohort_rows(found.experiment, found.model, found.catalogue, events)
    assert len(rows.labels) == len(magnesium)
    assert int(rows.labels.sum()) == int((magnesium < 1.40 - 1e-9).sum())
    assert found.experiment.add_on


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("omop_synthea27", "omop_synthea27/Synthea27NjParquet_5.4.zip"),
        ("omop_mimic4_demo", "omop_mimic4_demo"),
    ],
)
def test_omop_sets_give_features_by_the_documented_command(
    name: str, data: str, shared_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "features.parquet"
    arguments = ["features", "--experiment", str(ROOT / "experiments" / f"{name}.yaml")]
    result = CliRunner().invoke(app, [*arguments, "--data", str(shared_data / data), "--out", out])
    assert result.exit_code == 0, result.output
    table = pd.read_parquet(out)
    assert len(table) > 200
    assert not table.duplicated(["subject_id", "prediction_time"]).any()
    assert table["demographic.age.years"].min() >= 18
    if name == "omop_synthea27":
        steps = table.sort_values("prediction_time").groupby("subject_id")["prediction_time"]
        assert set(steps.diff().dropna().dt.days % 182) == {0}


@pytest.mark.data
def test_training_on_few_people_says_why_it_cannot(shared_data: Path) -> None:
    found = read_definitions("omop_synthea27", by_labels=False)
    data = shared_data / "omop_synthea27" / "Synthea27NjParquet_5.4.zip"
    with pytest.raises(CohortError, match="0 cases in 4 prediction times"):
        cohort_rows(
            found.experiment, found.model, found.catalogue, open_data(found.experiment, data)
        )
