"""Simulated institutions: reproducible, selective, and silent about the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import magml
from magml.cli.app import app
from magml.errors import InputError
from magml.kidney import ckd_epi_2021
from magml.simulation.laboratory import creatinine
from magml.simulation.world import World, simulate

MAGNESIUM = ("LOINC//19123-9", "LOINC//2601-3", "LOINC//21377-7")


@pytest.fixture(scope="module")
def world() -> World:
    return simulate(1500, seed=7, world=0, split="development", days=400)


@pytest.fixture(scope="module")
def events(world: World) -> pd.DataFrame:
    return world.events.to_pandas()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        simulate(150, seed=3, days=60).write(tmp_path / name)
    for file in ("records/events.parquet", "truth/truth.parquet", "truth/serum.parquet",
                 "truth/losses.parquet", "world.json"):  # fmt: skip
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    other = simulate(150, seed=4, days=60)
    assert not other.events.equals(simulate(150, seed=3, days=60).events)


def test_records_hold_nothing_of_the_truth(world: World, events: pd.DataFrame) -> None:
    assert set(events.columns).isdisjoint(
        {"retention", "depleted", "depletion", "exchangeable", "main_cause", "tested"}
    )
    assert not events["code"].str.contains("retention|deplet|truth", case=False).any()
    # Drugs that are not on the list and diagnoses that nobody coded leave no row.
    causes = set(world.truth["main_cause"])
    assert "intake" in causes


def test_everything_is_known_before_the_prediction_and_not_before_it_happened(
    world: World, events: pd.DataFrame
) -> None:
    at = world.truth["prediction_time"].iloc[0]
    assert (world.truth["prediction_time"] == at).all()
    results = events[events["code"].str.startswith("LOINC") & events["known_time"].notna()]
    assert (results["known_time"] >= results["time"]).all()
    assert (results["time"] < at).all()


def test_magnesium_is_measured_selectively_and_in_the_sites_units(
    world: World, events: pd.DataFrame
) -> None:
    magnesium = events[events["code"].isin(MAGNESIUM)]
    assert set(magnesium["subject_id"]) == set(world.truth.loc[world.truth["tested"], "subject_id"])
    assert 0.1 < world.truth["tested"].mean() < 0.7
    assert set(magnesium["unit"].dropna()) == {"mmol/L", "mg/dL", "meq/L"}
    assert 0 < magnesium["unit"].isna().mean() < 0.06
    # Clinicians ask where the record gives a reason to.
    asked = set(magnesium["subject_id"])
    drinkers = set(events.loc[events["code"] == "ICD10CM//F10.20", "subject_id"])
    assert len(drinkers & asked) / len(drinkers) > 1.2 * world.truth["tested"].mean()
    middle = magnesium.groupby("unit")["numeric_value"].median()
    assert middle["mg/dL"] / middle["mmol/L"] == pytest.approx(2.4305, rel=0.06)


def test_testing_can_depend_on_what_nobody_records() -> None:
    plain = simulate(1500, seed=9, days=200).truth
    hidden = simulate(1500, seed=9, days=200, unrecorded=25.0).truth
    gaps = [
        truth.loc[~truth["tested"], "serum"].mean() - truth.loc[truth["tested"], "serum"].mean()
        for truth in (plain, hidden)
    ]
    assert gaps[1] > 1.5 * gaps[0]


def test_creatinine_is_the_inverse_of_the_equation() -> None:
    rng = np.random.default_rng(0)
    gfr, age, female = rng.uniform(10, 140, 300), rng.uniform(18, 95, 300), rng.random(300) < 0.5
    found = creatinine(gfr, age, female)
    np.testing.assert_allclose(ckd_epi_2021(found, age, female), gfr, rtol=1e-9)


def test_the_features_of_the_catalogue_see_the_records(world: World) -> None:
    at = world.truth[["subject_id", "prediction_time"]].head(400)
    X = magml.build_features(world.events, at)
    assert X["demographic.age.years"].between(18, 105).all()
    assert X["lab.egfr"].notna().mean() > 0.5
    assert X["medication.proton_pump_inhibitor.active"].sum() > 10
    known = X["lab.magnesium.last"].dropna()
    assert known.between(0.3, 1.5).all()  # every site's unit was converted


def test_the_truth_agrees_with_itself(world: World) -> None:
    truth = world.truth
    assert (truth["depleted"] == (truth["retention"] > 0.275)).all()
    assert truth["depletion"].max() < 1
    valid = truth["gfr"] >= 60
    r = np.corrcoef(truth.loc[valid, "retention"], truth.loc[valid, "depletion"])[0, 1]
    assert r > 0.6  # what the test shows is what is missing


def test_the_command_writes_records_and_truth_apart(tmp_path: Path) -> None:
    run = CliRunner()
    done = run.invoke(
        app, ["simulate", "--subjects", "200", "--out", str(tmp_path / "w"), "--json"]
    )
    assert json.loads(done.stdout)["subjects"] == 200
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == [
        "records", "source.yaml", "truth", "world.json",
    ]  # fmt: skip
    # Nothing of the truth stands in the folder that a model is trained from.
    assert [path.name for path in (tmp_path / "w" / "records").iterdir()] == ["events.parquet"]
    assert run.invoke(app, ["simulate"]).exit_code != 0
    with pytest.raises(InputError, match="days"):
        simulate(10, days=3)
