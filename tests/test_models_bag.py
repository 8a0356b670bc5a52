"""The bag: same bytes, whole people, margins and contributions that add up."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost as xgb

from magml.definitions.model import Estimator
from magml.errors import BundleError, CohortError, InputError
from magml.models import bag as bag_module
from magml.models.bag import Bag, _member_rows, fit_bag

SMALL = Estimator(members=3, rounds=30, parameters={"min_child_weight": 1.0})


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 6)).astype(np.float32)
    X[rng.random(X.shape) < 0.3] = np.nan
    odds = np.nan_to_num(X[:, 0]) - np.nan_to_num(X[:, 1]) - 1.5
    y = (rng.random(600) < 1 / (1 + np.exp(-odds))).astype(int)
    return X, y, np.repeat(np.arange(200), 3)


@pytest.fixture(scope="module")
def bag(rows):
    return fit_bag(*rows, SMALL, seed=5, features=list("abcdef"))


def test_same_bytes_for_any_number_of_threads(rows, bag):
    two = fit_bag(*rows, SMALL, seed=5, features=list("abcdef"), threads=2)
    assert two.to_bytes() == bag.to_bytes()


def test_members_and_seeds_differ(rows, bag):
    members = bag.to_bytes()
    assert len(set(members)) == 3
    other = fit_bag(*rows, SMALL, seed=6, features=list("abcdef"))
    assert not set(other.to_bytes()) & set(members)


def test_saved_member_holds_no_name_path_or_thread_count(bag):
    text = bag.boosters[0].save_raw("json").decode()
    learner = json.loads(text)["learner"]
    assert learner["attributes"] == {}
    assert learner["feature_names"] == []
    assert "nthread" not in text


def test_margins_equal_each_members_own_prediction(rows, bag):
    X = rows[0]
    expected = [m.predict(xgb.DMatrix(X, nthread=1), output_margin=True) for m in bag.boosters]
    np.testing.assert_allclose(bag.margins(X), np.stack(expected, axis=1), atol=1e-6)
    np.testing.assert_allclose(bag.margin(X), np.mean(expected, axis=0), atol=1e-6)


def test_saved_and_loaded_predicts_the_same(rows, bag):
    again = Bag.from_bytes(bag.to_bytes(), bag.features, threads=2)
    np.testing.assert_array_equal(again.margins(rows[0]), bag.margins(rows[0]))
    assert again.to_bytes() == bag.to_bytes()


def test_single_row_equals_its_place_among_many(rows, bag):
    X = rows[0]
    np.testing.assert_array_equal(bag.margins(X[7:8])[0], bag.margins(X)[7])
    assert bag.margins(X[:0]).shape == (0, 3)


def test_contributions_sum_to_margin_and_share_one_base(rows, bag):
    values = bag.contributions(rows[0])
    assert values.shape == (600, 7)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values.sum(axis=1), bag.margin(rows[0]), atol=1e-5, rtol=0)
    assert np.ptp(values[:, -1]) < 1e-6


def test_contributions_are_shapley_values_of_the_mean():
    """Against path-dependent Shapley values computed by hand for one tree of two splits."""
    rng = np.random.default_rng(1)
    X = rng.integers(0, 2, size=(400, 2)).astype(np.float32)
    y = ((X[:, 0] > 0) & (X[:, 1] > 0)).astype(int)
    one = Estimator(
        members=1,
        rounds=1,
        subsample_people=1.0,
        parameters={
            "max_depth": 2,
            "learning_rate": 1.0,
            "subsample": 1.0,
            "colsample_bytree": 1.0,
            "min_child_weight": 0.0,
            "reg_lambda": 1.0,
        },
    )
    bag = fit_bag(X, y, np.arange(400), one, seed=0)
    grid = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    margin = dict(zip([(0, 0), (0, 1), (1, 0), (1, 1)], bag.margin(grid), strict=True))
    tree = bag.boosters[0].trees_to_dataframe()
    root = int(tree.Feature[0][1:])
    # Path-dependent expectations: absent features are averaged with the share of rows (the
    # hessian is equal for all rows in the first tree) that went either way in the tree.
    share = (X[:, root] > 0).mean()
    inner = (X[X[:, root] > 0, 1 - root] > 0).mean()

    def value(known: dict[int, int]) -> float:
        total = 0.0
        for a in (0, 1):
            for b in (0, 1):
                at_root = share if a else 1 - share
                at_inner = inner if b else 1 - inner
                p = (a == known[root]) if root in known else at_root
                q = (b == known[1 - root]) if 1 - root in known else at_inner
                cell = (a, b) if root == 0 else (b, a)
                total += p * q * margin[cell]
        return total

    point = np.array([[1, 1]], dtype=np.float32)
    base, both = value({}), value({0: 1, 1: 1})
    first = 0.5 * (value({0: 1}) - base) + 0.5 * (both - value({1: 1}))
    second = 0.5 * (value({1: 1}) - base) + 0.5 * (both - value({0: 1}))
    np.testing.assert_allclose(bag.contributions(point)[0], [first, second, base], atol=1e-5)


def test_rows_that_do_not_add_up_are_computed_again(rows, bag, monkeypatch):
    real, expected = bag_module.member_blocks, bag.contributions(rows[0])

    def off(boosters, matrix, threads):
        for block, values, margins in real(boosters, matrix, threads):
            values[:, 3] += 0.01
            yield block, values, margins

    monkeypatch.setattr(bag_module, "member_blocks", off)
    np.testing.assert_allclose(bag.contributions(rows[0]), expected, atol=2e-6)


def test_weights_of_zero_leave_rows_without_influence(rows):
    X, y, person = rows
    whole = SMALL.model_copy(
        update={"subsample_people": 1.0, "members": 1, "rounds": 3},
    )
    weights = np.ones(len(y))
    weights[:90] = 0
    flipped = y.copy()
    flipped[:90] = 1 - flipped[:90]
    one = fit_bag(X, y, person, whole, seed=1, weights=weights)
    two = fit_bag(X, flipped, person, whole, seed=1, weights=weights)
    assert one.to_bytes() == two.to_bytes()
    assert one.to_bytes() != fit_bag(X, y, person, whole, seed=1).to_bytes()


def test_starting_point_is_the_prevalence(rows):
    X, y, person = rows
    none = SMALL.model_copy(update={"subsample_people": 1.0, "members": 1, "rounds": 1})
    stump = none.model_copy(update={"parameters": {**none.parameters, "min_child_weight": 1e6}})
    margin = fit_bag(X, y, person, stump, seed=1).margin(X)
    expected = np.log(y.mean() / (1 - y.mean()))
    np.testing.assert_allclose(margin, expected, atol=1e-5)


def test_people_are_drawn_whole():
    person = np.repeat(np.arange(100), 4)
    y = np.tile([0, 1], 200).astype(np.float32)
    taken = _member_rows(y, person, 0.8, seed=3)
    counts = np.bincount(person[taken], minlength=100)
    assert set(counts.tolist()) == {0, 4}
    assert (counts == 4).sum() == 80


def test_a_draw_without_cases_is_drawn_again():
    y = np.zeros(10, dtype=np.float32)
    y[0] = 1
    for seed in range(30):
        assert y[_member_rows(y, np.arange(10), 0.2, seed)].max() == 1


def test_constraint_is_obeyed(rows):
    X, y, person = rows
    bag = fit_bag(X, y, person, SMALL, seed=5, features=list("abcdef"), monotone={"a": -1, "b": -1})
    grid = np.zeros((50, 6), dtype=np.float32)
    grid[:, 0] = np.linspace(-3, 3, 50)
    assert (np.diff(bag.margin(grid)) <= 0).all()
    free = fit_bag(X, y, person, SMALL, seed=5, features=list("abcdef"))
    assert free.margin(grid)[-1] > free.margin(grid)[0]


def test_wrong_input_is_refused(rows, bag):
    X, y, person = rows
    with pytest.raises(CohortError, match="one class"):
        fit_bag(X, np.zeros(len(y)), person, SMALL, seed=0)
    with pytest.raises(InputError, match="equal length"):
        fit_bag(X, y[:-1], person, SMALL, seed=0)
    with pytest.raises(InputError, match="unknown columns: z"):
        fit_bag(X, y, person, SMALL, seed=0, features=list("abcdef"), monotone={"z": 1})
    with pytest.raises(InputError, match="6 columns"):
        bag.margin(X[:, :5])
    with pytest.raises(BundleError, match="readable booster"):
        Bag.from_bytes([b"junk"], bag.features)
    with pytest.raises(BundleError, match="5 columns"):
        Bag.from_bytes(bag.to_bytes(), bag.features[:5])


def test_estimator_definition_refuses_unknown_and_fractional_parameters():
    with pytest.raises(ValueError, match="did you mean 'max_depth'"):
        Estimator(parameters={"maxdepth": 3})
    with pytest.raises(ValueError, match="whole number"):
        Estimator(parameters={"max_depth": 3.5})
    assert Estimator(parameters={"max_depth": 5}).parameters["learning_rate"] == 0.04
