"""Exact SHAP values by either path: equal values, rows that are off computed again."""

from __future__ import annotations

import numpy as np
import pytest

from magml.definitions.model import Estimator
from magml.models import tree_shap
from magml.models.bag import fit_bag
from magml.models.tree_shap import member_contributions, row_blocks


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(300, 12)).astype(np.float32)
    X[rng.random(X.shape) < 0.3] = np.nan
    X[:, 3] = np.round(X[:, 3])  # ties with the cuts
    y = np.nan_to_num(X[:, 0] * X[:, 1]) + rng.normal(size=300) > 0.5
    estimator = Estimator(members=3, rounds=25, parameters={"min_child_weight": 1.0})
    return fit_bag(X, y, range(300), estimator, seed=1), X


@pytest.fixture
def by_leaves(monkeypatch):
    pytest.importorskip("woodelf")
    monkeypatch.setattr(tree_shap, "BULK_ROWS", 1)


def test_both_paths_give_xgboosts_values(made, by_leaves, monkeypatch):
    bag, X = made
    fast = member_contributions(bag.boosters, X)
    monkeypatch.setattr(tree_shap, "BULK_ROWS", 10**9)
    np.testing.assert_allclose(fast, member_contributions(bag.boosters, X, 2), atol=2e-6)
    assert fast.shape == (3, 300, 13)


def test_rows_that_the_fast_path_gets_wrong_are_computed_again(made, by_leaves, monkeypatch):
    from woodelf import WoodelfExplainer

    bag, X = made
    expected = member_contributions(bag.boosters, X)
    real = WoodelfExplainer.shap_values

    def wrong(self, *arguments, **options):
        values = real(self, *arguments, **options)
        values.iloc[5, 0] += 3e-3
        values.iloc[9, 0] = np.nan
        return values

    monkeypatch.setattr(WoodelfExplainer, "shap_values", wrong)
    found = member_contributions(bag.boosters, X)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_blocks_cover_all_rows_once_and_stay_within_memory():
    for rows, columns, members in ((0, 5, 2), (1, 5, 2), (9_000, 300, 10), (100_000, 700, 10)):
        blocks = list(row_blocks(rows, columns, members))
        covered = np.concatenate([np.arange(rows)[block] for block in blocks]) if rows else []
        assert list(covered) == list(range(rows))
        for block in blocks:
            size = block.stop - block.start
            assert size <= 512 or 4 * size * members * (columns + 1) <= 300_000_000
