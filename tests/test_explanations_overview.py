"""Explanations over a cohort: importance, interactions, directions, subgroups, nobody alone."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

from magml.bundle import Model, load, write_bundle
from magml.definitions import Catalogue
from magml.errors import InputError
from magml.explanations import Explanation, explain
from magml.explanations.interactions import pair_interactions
from magml.explanations.overview import overview
from magml.explanations.overview_plots import plot_overview
from magml.explanations.people import People, groups_of_people
from tests import bundle_parts as parts
from tests.test_explanations import matrix_of

N = 400
PERSONS = np.arange(N) // 2  # two prediction times a person


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return load(folder)


@pytest.fixture(scope="module")
def why(model: Model) -> Explanation:
    return explain(model, matrix_of(model, parts.matrix(N, seed=21)[0]))


def test_pair_interactions_are_those_of_xgboost(model: Model) -> None:
    X = parts.matrix(40, seed=8)[0]
    assert np.isnan(X).any(), "missing values must take part"
    expected = np.mean(
        [b.predict(xgb.DMatrix(X), pred_interactions=True) for b in model.bag.boosters], axis=0
    )[:, :-1, :-1].astype(float)
    single = [(i, j) for i in range(7) for j in range(i + 1, 7)]
    found = pair_interactions(model.bag, X, [([i], [j]) for i, j in single])
    by_hand = np.stack([expected[:, i, j] + expected[:, j, i] for i, j in single], axis=1)
    assert np.abs(by_hand).max() > 0.05, "there must be interactions to compare"
    np.testing.assert_allclose(found, by_hand, atol=2e-5)
    groups = pair_interactions(model.bag, X, [([0, 1, 2], [4, 5])])[:, 0]
    whole = expected[:, :3][:, :, 4:6].sum(axis=(1, 2)) + expected[:, 4:6][:, :, :3].sum(
        axis=(1, 2)
    )
    np.testing.assert_allclose(groups, whole, atol=4e-5)
    with pytest.raises(InputError, match="both sides"):
        pair_interactions(model.bag, X, [([0], [0, 1])])


def test_importance_is_the_mean_absolute_sum_with_its_interval(why: Explanation) -> None:
    found = overview(why, PERSONS, replicates=300, seed=1)
    rows = {(row["level"], row["name"]): row for row in found.importance}
    potassium = why.log_odds[:, :3].sum(axis=1)
    row = rows["concept", "lab.potassium"]
    assert row["value"] == pytest.approx(np.abs(potassium).mean())
    assert row["low"] < row["value"] < row["high"]
    # The bootstrap of people's means against the classical standard error over people.
    by_person = np.abs(potassium).reshape(-1, 2).mean(axis=1)
    error = by_person.std(ddof=1) / np.sqrt(len(by_person))
    assert (row["high"] - row["low"]) / 2 == pytest.approx(1.96 * error, rel=0.25)
    for level in ("feature", "concept", "domain"):
        shares = [r["share"] for r in found.importance if r["level"] == level]
        assert sum(shares) == pytest.approx(1.0)
        assert shares == sorted(shares, reverse=True)
    assert (found.n, found.people) == (N, N // 2)
    json.dumps(found.to_dict(), allow_nan=False)


def test_disagreement_with_the_catalogue_is_found(why: Explanation) -> None:
    # In the data loop diuretics raise the risk, as the catalogue's "lowers" (magnesium) expects.
    found = overview(why, PERSONS, replicates=200, seed=1).directions
    assert [(row["concept"], row["verdict"]) for row in found] == [
        ("medication.loop_diuretic", "agrees")
    ]
    given = why.values[:, 4] > 0
    column = why.groups("concept").index("medication.loop_diuretic")
    contribution = why.at_level("concept")[1][:, column]
    expected = contribution[given].mean() - contribution[~given].mean()
    assert found[0]["difference"] == pytest.approx(expected)
    plain = why.catalogue.model_dump(mode="json")
    plain["domains"][1]["concepts"]["loop_diuretic"]["direction"] = "raises"
    plain["domains"][0]["concepts"]["potassium"]["direction"] = "raises"
    turned = replace(why, catalogue=Catalogue.model_validate(plain))
    rows = {row["concept"]: row for row in overview(turned, PERSONS, replicates=200).directions}
    assert rows["medication.loop_diuretic"]["verdict"] == "disagrees"
    # High potassium, lower risk: what raises magnesium lowers the risk.
    assert rows["lab.potassium"]["verdict"] == "agrees"
    assert rows["lab.potassium"]["compared"] == "high and low"
    assert rows["lab.potassium"]["difference"] < 0


def test_subgroups_of_fewer_than_ten_people_are_left_out(why: Explanation) -> None:
    sex = np.where(np.arange(N) < 200, "female", "male").astype(object)
    sex[:18] = "rare"  # nine people
    found = overview(why, PERSONS, subgroups={"sex": sex}, replicates=100).subgroups
    assert {row["subgroup"] for row in found} == {"female", "male"}
    lab = next(r for r in found if (r["subgroup"], r["domain"]) == ("male", "lab"))
    domain = why.at_level("domain")[1][:, why.groups("domain").index("lab")]
    inside = sex == "male"
    assert lab["importance"] == pytest.approx(np.abs(domain[inside]).mean())
    expected = np.abs(domain[inside]).mean() - np.abs(domain[~inside]).mean()
    assert lab["difference"] == pytest.approx(expected)
    assert lab["people"] == 100


def test_interactions_are_computed_for_a_stated_list(model: Model, why: Explanation) -> None:
    found = overview(why, PERSONS, bag=model.bag, replicates=100)
    assert found.interaction_n == 300
    pairs = {(row["first"], row["second"]) for row in found.interactions}
    assert len(pairs) == len(found.interactions) == 10  # five concepts, each with each
    assert all("leading" in row["why"] for row in found.interactions)
    values = [row["value"] for row in found.interactions]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0


def test_no_dot_stands_for_fewer_than_ten_people() -> None:
    rng = np.random.default_rng(0)
    values, codes = rng.normal(size=500), rng.integers(0, 60, 500)
    runs = groups_of_people(values, codes)
    assert sorted(np.concatenate(runs).tolist()) == list(range(500))
    assert min(len(set(codes[run])) for run in runs) >= 10
    assert all(values[a].max() <= values[b].min() for a, b in pairwise(runs))
    assert groups_of_people(values[:9], np.arange(9)) == []


def test_plots_are_files_of_the_same_bytes(why: Explanation, tmp_path: Path) -> None:
    people = People(PERSONS, replicates=50, seed=0)
    found = overview(why, PERSONS, replicates=50)
    first = plot_overview(why, found, people, tmp_path / "a")
    second = plot_overview(why, found, people, tmp_path / "b")
    assert set(first) == {"importance", "beeswarm", "dependence"}
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes()
        assert 5_000 < path.stat().st_size < 400_000
