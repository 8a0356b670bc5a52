"""Unstable reasons: the members' ranks, and which reasons are shown as undecided."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb

from magml.bundle import Model, load, write_bundle
from magml.explanations import Explanation, explain
from magml.explanations.stability import is_stable, rank_range, ranks
from magml.explanations.waterfall import bars
from tests import bundle_parts as parts
from tests.test_explanations import matrix_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return load(folder)


@pytest.fixture(scope="module")
def why(model: Model) -> Explanation:
    return explain(model, matrix_of(model, parts.matrix(60, seed=2)[0]))


def test_ranks_over_members_by_hand() -> None:
    # Three members, one row, three reasons: places (1,2,3), (2,1,3), (1,3,2).
    members = np.array([[[5.0, 3.0, 1.0]], [[-2.0, 4.0, 0.0]], [[9.0, 0.1, -0.2]]])
    np.testing.assert_array_equal(ranks(members)[:, 0], [[1, 2, 3], [2, 1, 3], [1, 3, 2]])
    # 10th and 90th percentile of {1,1,2}, {1,2,3}, {2,3,3}, rounded outwards.
    np.testing.assert_array_equal(rank_range(members)[0], [[1, 2], [1, 3], [2, 3]])


def test_a_reason_is_unstable_in_direction_or_in_place() -> None:
    place = np.array([[1, 1, 2, 5, 5]])
    ends = np.array([[[1, 5], [1, 5], [1, 8], [2, 13], [2, 14]]])
    agreeing = np.array([[1.0, 0.79, 1.0, 0.8, 1.0]])
    assert is_stable(agreeing, place, ends).tolist() == [[True, False, False, True, False]]


def test_ranks_are_those_of_each_booster(model: Model, why: Explanation) -> None:
    X = parts.matrix(60, seed=2)[0]
    members = np.stack(
        [b.predict(xgb.DMatrix(X), pred_contribs=True)[:, :-1] for b in model.bag.boosters]
    ).astype(float)
    places = 1 + (np.abs(members)[..., :, None] < np.abs(members)[..., None, :]).sum(axis=-1)
    unique = np.array([[len(set(np.abs(row))) == row.size for row in m] for m in members]).all(0)
    assert unique.sum() > 20
    low = np.floor(np.percentile(places, 10, axis=0))
    high = np.ceil(np.percentile(places, 90, axis=0))
    np.testing.assert_array_equal(why.ranks["feature"][unique, :, 0], low[unique])
    np.testing.assert_array_equal(why.ranks["feature"][unique, :, 1], high[unique])


def test_tables_and_plots_show_what_is_undecided(why: Explanation) -> None:
    for level, table in (
        ("feature", why.features),
        ("concept", why.concepts),
        ("domain", why.domains),
    ):
        assert {"stable", "rank_low", "rank_high"} <= set(table.columns)
        stable = why.stable(level)  # type: ignore[arg-type]
        np.testing.assert_array_equal(table["stable"].to_numpy(), stable.ravel())
        assert (table["rank_low"] <= table["rank_high"]).all()
        # Whatever fewer than four of five members agree on is never shown as settled.
        assert not table.loc[table["stability"] < 0.8, "stable"].any()
    undecided = np.argwhere(~why.stable("concept") & (why.at_level("concept")[1] != 0))
    assert len(undecided)
    row = int(undecided[0, 0])
    drawn = bars(why, row, "concept", "risk", 10)
    assert any(not bar.stable for bar in drawn)
