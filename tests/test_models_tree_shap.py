"""Exact SHAP values by either path: the definition's values, equal, and computed again if off."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost as xgb

from magml.definitions.model import Estimator
from magml.models import tree_shap
from magml.models.bag import fit_bag
from magml.models.leaf_tables import Forest, add_values
from magml.models.tree_shap import member_blocks, member_contributions, row_blocks, tables_of
from tests.shapley import brute_force_shapley, trees_of


def rows_and_outcome(rows: int = 300, columns: int = 12):
    rng = np.random.default_rng(7)
    X = rng.normal(size=(rows, columns)).astype(np.float32)
    X[rng.random(X.shape) < 0.3] = np.nan
    X[:, 3] = np.round(X[:, 3])  # ties with the cuts
    X[:, 4] = np.abs(X[:, 4]) > 0.5  # asked once at most
    y = np.nan_to_num(X[:, 0] * X[:, 1]) + rng.normal(size=rows) > 0.5
    return X, y


@pytest.fixture(scope="module")
def made():
    X, y = rows_and_outcome()
    estimator = Estimator(members=3, rounds=25, parameters={"min_child_weight": 1.0})
    return fit_bag(X, y, range(len(X)), estimator, seed=1), X


@pytest.fixture
def in_bulk(monkeypatch):
    monkeypatch.setattr(tree_shap, "BULK_ROWS", 1)


def all_blocks(boosters, X, threads=1):
    """Return members' values of all rows, and their log-odds."""
    found = list(member_blocks(boosters, X, threads))
    return np.concatenate([b[1] for b in found], axis=1), np.concatenate([b[2] for b in found])


def grown(depth: int, X, y, rounds: int = 6, **options) -> xgb.Booster:
    settings = {"max_depth": depth, "min_child_weight": 0, "seed": 3, "nthread": 1, **options}
    return xgb.train({"objective": "binary:logistic", **settings}, xgb.DMatrix(X, y), rounds)


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_tables_give_the_values_of_the_definition(depth):
    X, y = rows_and_outcome(columns=5)
    booster = grown(depth, X, y, rounds=2)
    found = np.zeros((5, 8), dtype=np.float32)
    add_values(Forest(booster), np.ascontiguousarray(X[:8].T), found)
    for number in range(8):
        expected = brute_force_shapley(trees_of(booster), X[number], 5)
        np.testing.assert_allclose(found[:, number], expected, atol=1e-6)


@pytest.mark.parametrize("depth", [1, 2, 4, 6, 8])
def test_both_paths_give_xgboosts_values(depth, in_bulk, monkeypatch):
    X, y = rows_and_outcome(600)
    boosters = [grown(depth, X, y), grown(depth, X, ~y)]
    assert tables_of(boosters) is not None
    fast, margins = all_blocks(boosters, X)
    monkeypatch.setattr(tree_shap, "BULK_ROWS", 10**9)
    values, again = all_blocks(boosters, X, 2)
    assert fast.shape == (2, 600, 13)
    np.testing.assert_allclose(fast, values, atol=2e-6)
    np.testing.assert_array_equal(margins, again)


def test_tables_take_trees_of_any_shape(in_bulk):
    X, y = rows_and_outcome()
    stump = grown(4, X, y, rounds=3, gamma=1e9)  # nothing but a leaf
    lean = grown(0, X, y, tree_method="hist", grow_policy="lossguide", max_leaves=6)
    for booster in (stump, lean):
        (fast,), _ = all_blocks([booster], X)
        expected = booster.predict(xgb.DMatrix(X), pred_contribs=True)
        np.testing.assert_allclose(fast, expected, atol=2e-6)


def test_trees_too_deep_for_tables_are_explained_by_xgboost(in_bulk):
    X, y = rows_and_outcome(800)
    booster = grown(11, X, y, rounds=2)
    assert tables_of([booster]) is None
    (values,), _ = all_blocks([booster], X)
    np.testing.assert_array_equal(values, booster.predict(xgb.DMatrix(X), pred_contribs=True))


def test_a_leaf_without_weight_is_left_to_xgboost(in_bulk, tmp_path):
    X, y = rows_and_outcome()
    content = json.loads(grown(3, X, y, rounds=2).save_raw("json"))
    tree = content["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["sum_hessian"][tree["left_children"].index(-1)] = 0.0
    path = tmp_path / "weightless.json"
    path.write_text(json.dumps(content))
    booster = xgb.Booster(model_file=path)
    expected = booster.predict(xgb.DMatrix(X), pred_contribs=True)
    (values,), _ = all_blocks([booster], X)
    np.testing.assert_allclose(values, expected, atol=2e-6)


def test_no_setting_changes_a_bit(made, in_bulk, monkeypatch):
    bag, X = made[0], made[1][:60]
    expected, _ = all_blocks(bag.boosters, X)
    for name, value in (("_TABLE_BYTES", 0), ("_BLOCK_BYTES", 1), ("_SMALL_BLOCK", 7)):
        monkeypatch.setattr(tree_shap, name, value)
        np.testing.assert_array_equal(all_blocks(bag.boosters, X, 3)[0], expected)


def test_rows_that_tables_get_wrong_are_computed_again(made, in_bulk, monkeypatch):
    bag, X = made
    expected, _ = all_blocks(bag.boosters, X)
    real = tree_shap.add_values

    def wrong(trees, columns, total):
        real(trees, columns, total)
        total[0, 5] += 3e-3
        total[0, 9] = np.nan

    monkeypatch.setattr(tree_shap, "add_values", wrong)
    found, _ = all_blocks(bag.boosters, X)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_few_rows_are_xgboosts_to_the_bit(made):
    bag, X = made
    values, margins = member_contributions(bag.boosters, X, 2)
    for number, booster in enumerate(bag.boosters):
        data = xgb.DMatrix(X)
        np.testing.assert_array_equal(values[number], booster.predict(data, pred_contribs=True))
        np.testing.assert_array_equal(margins[:, number], booster.predict(data, output_margin=True))


@pytest.mark.parametrize("bulk", [False, True])
def test_blocks_cover_all_rows_once_and_stay_within_memory(bulk):
    for rows, columns, members in ((0, 5, 2), (1, 5, 2), (9_000, 300, 10), (100_000, 700, 10)):
        blocks = list(row_blocks(rows, columns, members, bulk))
        covered = np.concatenate([np.arange(rows)[block] for block in blocks]) if rows else []
        assert list(covered) == list(range(rows))
        for block in blocks:
            size = block.stop - block.start
            assert size <= 512 or (bulk and 4 * size * members * (columns + 1) <= 100_000_000)
