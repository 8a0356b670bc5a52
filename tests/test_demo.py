"""The demonstration: its cohorts, the truth it holds models against, and its page of results."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import magml
from magml.bundle.shipped import shipped_bundles
from magml.definitions import read_catalogue, read_experiment
from magml.definitions.read import read_model
from magml.errors import InputError
from magml.events import read_events
from magml.experiments.demo import FOLLOW, SCREEN, WORLD, run_demo
from magml.experiments.demo_page import write_page
from magml.experiments.demo_truth import VALID, Truth, against_truth, labels_of
from magml.experiments.prepare import cohort_rows, open_data
from magml.features.set_aside import set_aside_unstated


@pytest.fixture(scope="module")
def world() -> magml.simulation.world.World:
    return magml.simulate(900, seed=3, world=WORLD)


def test_the_cohorts_of_both_experiments_are_found_in_the_hospital(world, tmp_path: Path) -> None:
    records = world.write(tmp_path / "hospital") / "records"
    for name, fewest in ((SCREEN, 60), (FOLLOW, 150)):
        experiment, catalogue = read_experiment(name), read_catalogue()
        model = read_model(experiment.model)
        rows = cohort_rows(experiment, model, catalogue, open_data(experiment, records, catalogue))
        assert len(rows.labels) > fewest
        assert 0.05 < rows.labels.mean() < 0.5
        # Values without a unit define no outcome, and the account says so.
        assert any("no unit, and the outcome" in note for note in rows.notes)


def test_values_of_the_outcome_without_a_unit_are_left_out_and_counted() -> None:
    table = pd.DataFrame({
        "subject_id": range(60), "time": pd.Timestamp("2024-01-01"), "code": "LOINC//19123-9",
        "numeric_value": [1.9, 2.0, 2.1] * 20, "unit": ["mg/dL"] * 45 + [None] * 15,
    })  # fmt: skip
    kept = set_aside_unstated(read_events(table), read_catalogue(), "lab.magnesium")
    assert kept.count() == 45
    assert [(item.values, item.unit) for item in kept.set_aside] == [(15, None)]
    again = set_aside_unstated(kept, read_catalogue(), "lab.magnesium")
    assert len(again.set_aside) == 1


def test_labels_are_of_people_in_whom_a_loading_test_is_valid(world) -> None:
    labels = labels_of(world)
    truth = world.truth.set_index("subject_id").loc[labels["subject_id"]]
    assert (truth["gfr"] >= VALID).all()
    assert (labels["boolean_value"].to_numpy() == (truth["retention"] > 0.275)).all()
    assert len(labels) < len(world.truth)


@pytest.mark.skipif(not shipped_bundles(), reason="no bundle is shipped with this checkout")
def test_the_shipped_model_is_held_against_the_loading_test(world) -> None:
    found = against_truth(world, seed=1, replicates=50)
    table = found.figures.set_index(["group", "model"])
    assert set(table.index.get_level_values("group")) == {"everybody", "normal serum"}
    # What weight alone tells of a load that is the same for everybody stands beside it.
    assert table.loc[("everybody", "weight alone"), "auroc"] > 0.6
    # Fewer have normal serum than there are people; each interval holds its figure.
    assert table["n"].nunique() == 2
    assert (table["low"] <= table["auroc"]).all()
    assert (table["auroc"] <= table["high"]).all()
    assert found.found <= min(found.hidden, found.tested)
    assert "everybody" in found.summary()


def test_the_page_says_that_everybody_is_simulated(world, tmp_path: Path) -> None:
    area = {"value": 0.7, "low": 0.6, "high": 0.8}
    own = {"auroc": area, "brier": area, "calibration_slope": area}
    result = SimpleNamespace(metrics={"n": 10, "events": 3, "models": {"model": own}})
    ladder = SimpleNamespace(
        n=800, events=100, folder=None,
        metrics=pd.DataFrame({"model": ["serum magnesium"], "metric": ["auroc"], "value": [0.61],
                              "low": [0.5], "high": [0.7]}),
    )  # fmt: skip
    figures = pd.DataFrame({
        "group": ["everybody"], "model": ["serum measured now"], "n": [800], "events": [100],
        "auroc": [0.66], "low": [0.6], "high": [0.72],
    })  # fmt: skip
    page = write_page(
        tmp_path / "results.html", world, {SCREEN: result}, ladder, Truth(figures, 50, 20, 120)
    )
    text = page.read_text(encoding="utf-8")
    assert "Everybody on this page is simulated" in text
    assert "0.610 (0.500 to 0.700)" in text
    assert "Of 50 depleted people whose serum is normal, 20 are among" in text
    assert "http://" not in text
    assert "https://" not in text
    assert "subject_id" not in text


def test_a_folder_that_is_not_a_demonstration_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not a demonstration"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
