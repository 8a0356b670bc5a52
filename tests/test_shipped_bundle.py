"""The bundle that comes with magml: whole, small, and by the definitions that pages describe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import magml
from magml.bundle.shipped import bundle_folder, reasons_to_rebuild, shipped_bundles
from magml.definitions import read_experiment
from magml.simulation.tables import table_hash

NAME = "low_body_status"


@pytest.fixture(scope="module")
def model():
    return magml.load(NAME)


def test_the_bundle_is_whole_and_under_five_megabytes(model):
    folder = shipped_bundles()[NAME]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 5e6
    assert model.definition.name == NAME  # loading checked every file against the manifest
    assert "simulator recovery" in (folder / "card.md").read_text(encoding="utf-8").lower()


def test_the_simulator_is_the_one_frozen_before_the_training(model):
    stated = read_experiment(NAME).source.options["parameters"]
    assert model.training["data"]["simulator"] == stated == table_hash(), (
        "simulation/*.yaml changed: train the bundle again (make bundle)"
    )


def test_nothing_but_the_catalogue_may_have_changed_since(model):
    # A concept with another meaning asks for a new training and leaves the scores as they are;
    # another simulator, model file or experiment is a fault of the release.
    reasons = [r for r in reasons_to_rebuild(model) if not r.startswith("the catalogue")]
    assert not reasons, f"train the bundle again (make bundle): {reasons}"


def test_a_changed_definition_asks_for_a_new_training(model, monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    text = Path("models/low_body_status.yaml").read_text(encoding="utf-8")
    changed = text.replace("rounds: ", "rounds: 1")
    (tmp_path / "models" / f"{NAME}.yaml").write_text(changed, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert any("models/low_body_status.yaml" in reason for reason in reasons_to_rebuild(model))


def test_a_folder_goes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bundle_folder(NAME) == shipped_bundles()[NAME]
    (tmp_path / NAME).mkdir()
    assert bundle_folder(NAME) == Path(NAME)
    assert bundle_folder("elsewhere/low_body_status") == Path("elsewhere/low_body_status")


def test_an_unknown_name_is_an_error_that_names_what_is_shipped():
    with pytest.raises(magml.MagmlError, match="low_body_status"):
        magml.load("low_body_statu")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    world = magml.simulate(80, 3, world=2, split="development")
    events = folder / "events.parquet"
    world.events.to_pandas().to_parquet(events)
    world.truth[["subject_id", "prediction_time"]].to_csv(folder / "at.csv", index=False)
    return events, folder / "at.csv", world


def test_score_by_name_from_the_command_line(records, tmp_path):
    events, at, world = records
    out = tmp_path / "scores.csv"
    run = "import sys; sys.argv[0] = 'magml'; from magml.cli import main; main()"
    command = [sys.executable, "-c", run, "score", NAME, "--events", str(events),
               "--at", str(at), "--out", str(out)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scores = pd.read_csv(out)
    assert len(scores) == len(world.truth)
    assert scores["risk"].between(0, 1).all()
    assert scores["warnings"].str.contains("evidence: simulator recovery").all()


@pytest.mark.parametrize("kept", ["VISIT//", "ATC//", "DIET//", "LOINC//"])
def test_any_kind_of_record_may_be_missing(model, records, kept):
    _, _, world = records
    frame = world.events.to_pandas()
    static = frame["code"].str.startswith(("MEDS_BIRTH", "GENDER//"))
    part = frame[static | frame["code"].str.startswith(kept)]
    scores = model.score(part, world.truth[["subject_id", "prediction_time"]])
    assert scores["risk"].notna().all()
