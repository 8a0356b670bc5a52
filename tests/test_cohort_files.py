"""A cohort as files: what an experiment labels, in the form that other commands take."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import magml
from magml.cli.app import app
from magml.definitions import read_catalogue, read_experiment
from magml.definitions.read import read_model
from magml.errors import InputError
from magml.events import read_events
from magml.experiments.cohort_files import write_cohort
from magml.experiments.demo import FOLLOW, WORLD
from magml.experiments.prepare import cohort_rows, open_data


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "hospital"
    return magml.simulate(500, seed=3, world=WORLD).write(folder) / "records"


def test_the_files_hold_the_rows_that_a_training_would_label(records: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours"
    done = CliRunner().invoke(
        app, ["cohort", FOLLOW, "--data", str(records), "--out", str(out), "--json"]
    )
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    experiment, catalogue = read_experiment(FOLLOW), read_catalogue()
    rows = cohort_rows(
        experiment, read_model(experiment.model), catalogue,
        open_data(experiment, records, catalogue),
    )  # fmt: skip
    labels = pd.read_csv(out / "labels.csv", parse_dates=["prediction_time"])
    assert labels["subject_id"].tolist() == rows.persons.tolist()
    assert labels["boolean_value"].astype(int).tolist() == rows.labels.tolist()
    assert (answer["labelled"], answer["cases"]) == (len(labels), int(rows.labels.sum()))
    times = pd.read_csv(out / "times.csv", parse_dates=["prediction_time"])
    assert answer["rows"] == len(times) > len(labels)
    keys = ["subject_id", "prediction_time"]
    assert len(labels.merge(times, on=keys)) == len(labels)
    assert not times.duplicated(keys).any()
    assert read_events(out / "events.parquet").count() == rows.events.count()


def test_a_folder_that_cannot_be_made_is_refused(records: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_cohort(FOLLOW, records, tmp_path / "file" / "below")


@pytest.mark.data
def test_the_demo_of_eicu_has_the_cohort_of_its_study(shared_data: Path, tmp_path: Path) -> None:
    found = write_cohort("eicu_follow", shared_data / "eicu_demo", tmp_path)
    # As docs/results.md has it: 424 prediction times, 50 cases.
    assert (found.labelled, found.cases) == (424, 50)
    subjects = pd.read_parquet(tmp_path / "subjects.parquet")
    assert subjects["subject_id"].is_unique
