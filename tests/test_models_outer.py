"""Leave-one-site-out and the temporal hold-out, on rows written by hand."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from magml.errors import CohortError
from magml.experiments import train
from magml.models.outer import leave_one_site_out, temporal_holdout
from magml.simulation import generate_hospital
from tests.test_train import small_workspace


def days(*numbers: float) -> np.ndarray:
    start = np.datetime64("2020-01-01T00:00", "us")
    return np.array([start + np.timedelta64(round(n * 86_400_000_000), "us") for n in numbers])


def test_every_site_is_held_out_once_and_people_who_moved_join_theirs() -> None:
    persons = [1, 2, 3, 4, 5, 6, 6, 7]
    sites = ["a", "a", "b", "b", "c", "c", "d", "d"]
    y = [0, 1, 0, 1, 1, 0, 0, 1]
    split = leave_one_site_out(y, persons, sites)
    # Person 6 was at c and d: they are held out together.
    assert split.fold.tolist() == [0, 0, 1, 1, 2, 2, 2, 2]
    assert [side.tolist() for side in split.train] == [
        [fold != held for fold in split.fold.tolist()] for held in range(3)
    ]
    assert split.note.startswith("leave one site out: 3 held out in turn (4 sites;")


def test_a_site_may_have_one_class_but_the_others_together_may_not() -> None:
    split = leave_one_site_out([0, 0, 0, 1, 0, 1], range(6), list("aabbcc"))
    assert split.fold.tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(CohortError, match="2 rows with 0 cases to train"):
        leave_one_site_out([0, 0, 0, 1], range(4), list("aabb"))
    with pytest.raises(CohortError, match="2 sites, of which 1"):
        leave_one_site_out([0, 1, 0, 1], [1, 2, 2, 3], list("aabb"))


def test_rows_that_only_train_follow_their_site() -> None:
    evaluated = np.array([True, True, True, True, False, False, False])
    sites = ["a", "a", "b", "b", "a", "b", "c"]
    split = leave_one_site_out([0, 1, 0, 1, 1, 1, 0], [1, 2, 3, 4, 1, 3, 5], sites, evaluated)
    assert split.fold.tolist() == [0, 0, 1, 1, -1, -1, -1]
    # Site c has nothing to test and always trains; the rows of a do not train for a.
    assert split.train[0].tolist() == [False, False, True, True, False, True, True]
    assert split.train[1].tolist() == [True, True, False, False, True, False, True]


def test_a_person_is_on_one_side_and_no_outcome_lies_beyond_the_cut() -> None:
    times = days(0, 1, 9, 9.5, 20, 10, 11, 30)
    persons = [1, 2, 3, 4, 1, 5, 6, 6]
    y = [0, 1, 1, 0, 1, 0, 1, 0]
    split = temporal_holdout(y, persons, times, before=dt.datetime(2020, 1, 11), horizon=86_400)
    # Day 9 ends its day at risk exactly at the cut (day 10) and trains; day 9.5 ends beyond it.
    # Person 1's second time lies after the cut, and person 1 trains: used for neither.
    assert split.train[0].tolist() == [True, True, True, False, False, False, False, False]
    assert split.fold.tolist() == [-1, -1, -1, -1, -1, 0, 0, 0]
    assert "3 prediction times before it train and 3 of people first seen later" in split.note
    assert "2 are used for neither" in split.note


def test_the_latest_share_of_prediction_times_is_held_out() -> None:
    order = np.array([3, 0, 4, 1, 2, 5, 9, 7, 6, 8])
    y = np.arange(10) % 2
    split = temporal_holdout(y[order], order, days(*order), test_share=0.3)
    assert sorted(order[split.fold == 0].tolist()) == [7, 8, 9]
    assert sorted(order[split.train[0]].tolist()) == [0, 1, 2, 3, 4, 5, 6]


def test_a_side_from_which_nothing_can_be_learned_is_refused() -> None:
    with pytest.raises(CohortError, match=r"0 rows with 0 cases to train.*made up"):
        temporal_holdout([0, 1, 0, 1], [1, 2, 3, 4], days(1, 1, 1, 1))
    with pytest.raises(CohortError, match="2 rows with 2 cases to test"):
        temporal_holdout([0, 1, 1, 1], [1, 2, 3, 4], days(1, 2, 3, 4), test_share=0.5)


def run_of(folder: Path, records: Path, validation: dict):
    workspace = small_workspace(folder / "workspace")
    path = workspace / "experiments" / "demo.yaml"
    content = yaml.safe_load(path.read_text())
    content["validation"].update(validation)
    content["baselines"] = ["age_sex"]
    path.write_text(yaml.safe_dump(content))
    return train(
        "demo", data=records, out=folder / "runs", quick=True, track=False, workspace=workspace
    )


def test_a_study_with_a_temporal_holdout(tmp_path: Path) -> None:
    records = generate_hospital(2500, seed=11).write(tmp_path / "hospital")
    run = run_of(tmp_path, records, {"groups": "time", "test_share": 0.4})
    folds = pd.read_csv(run.folder / "results" / "folds.csv")
    assert len(folds) == 1
    attrition = pd.read_csv(run.folder / "results" / "attrition.csv")
    total = attrition["times"].iloc[-1]
    assert run.metrics["n"] == folds["test"].iloc[0] < total
    assert 0.3 * total < run.metrics["n"] < 0.5 * total
    card = (run.bundle / "card.md").read_text()
    assert "Temporal hold-out" in card
    assert "temporal hold-out at" in (run.folder / "results" / "notes.txt").read_text()
    # The final model learned from every row, and its card says from how many.
    assert f"{total:,} prediction times of" in card


def test_a_study_with_one_site_left_out_at_a_time(tmp_path: Path) -> None:
    hospital = generate_hospital(2500, seed=11)
    records = hospital.write(tmp_path / "hospital")
    events = pd.read_parquet(records / "events.parquet")
    people = events["subject_id"].unique()
    named = pd.DataFrame({"subject_id": people, "code": [f"SITE//{p % 3}" for p in people]})
    events = events[~events["code"].str.startswith("SITE//")]
    pd.concat([events, named]).to_parquet(records / "events.parquet", index=False)
    run = run_of(tmp_path, records, {"groups": "leave_one_site_out"})
    folds = pd.read_csv(run.folder / "results" / "folds.csv")
    assert len(folds) == 3
    assert run.metrics["n"] == folds["test"].sum()
    assert run.metrics["groups"] == 3
    assert "Sites held out one at a time" in (run.bundle / "card.md").read_text()
