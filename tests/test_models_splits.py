"""Folds keep groups whole, spread cases, and refuse what cannot be split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magml.errors import CohortError
from magml.models.seeds import derive_seed
from magml.models.selection import select_columns
from magml.models.splits import connected_groups, grouped_folds, inner_folds, spread_folds


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 5))
def test_no_group_is_in_two_folds(seed, folds):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 80, 400)
    y = (rng.random(400) < 0.4).astype(int)
    fold = grouped_folds(y, groups, folds, seed)
    assert set(fold.tolist()) == set(range(folds))
    for group in np.unique(groups):
        assert len(set(fold[groups == group].tolist())) == 1


def test_cases_are_spread_evenly():
    y = np.array([1] * 50 + [0] * 950)
    fold = grouped_folds(y, np.arange(1000), 5, seed=1)
    assert np.bincount(fold[y == 1]).tolist() == [10] * 5
    assert np.bincount(fold).tolist() == [200] * 5
    repeated = grouped_folds(np.repeat(y, 3), np.repeat(np.arange(1000), 3), 5, seed=1)
    assert np.bincount(repeated[np.repeat(y, 3) == 1]).tolist() == [30] * 5


def test_same_seed_same_folds_and_others_differ():
    y, groups = np.tile([0, 1], 50), np.arange(100)
    np.testing.assert_array_equal(grouped_folds(y, groups, 4, 7), grouped_folds(y, groups, 4, 7))
    assert (grouped_folds(y, groups, 4, 7) != grouped_folds(y, groups, 4, 8)).any()
    names = np.array([f"person {g}" for g in groups])
    assert len(np.unique(grouped_folds(y, names, 4, 7))) == 4


def test_too_few_groups_or_cases_are_named():
    with pytest.raises(CohortError, match="2 groups were to be split into 3 folds"):
        grouped_folds([0, 1, 0, 1], [1, 1, 2, 2], 3, 0)
    with pytest.raises(CohortError, match="rarer outcome has 1 rows"):
        grouped_folds([0, 1, 0, 0], [1, 2, 3, 4], 2, 0)
    with pytest.raises(CohortError, match="of one class"):
        grouped_folds([0, 0, 1, 1], [1, 1, 2, 2], 2, 0)
    with pytest.raises(CohortError, match="0 groups"):
        grouped_folds([], [], 2, 0)


def test_inner_folds_are_as_many_as_can_be():
    y, groups = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0]), np.arange(9)
    assert inner_folds(y, groups, 5, 0).max() + 1 == 3
    with pytest.raises(CohortError):
        inner_folds(np.array([1, 0, 0]), np.arange(3), 5, 0)


def test_rows_that_only_train_follow_their_group():
    groups = np.array([1, 2, 3, 4, 1, 2, 9])
    y = np.array([0, 1, 0, 1, 1, 1, 1])
    evaluated = np.array([True] * 4 + [False] * 3)
    fold = spread_folds(y, groups, evaluated, 2, seed=0)
    assert fold[4] == fold[0]
    assert fold[5] == fold[1]
    assert fold[6] == -1
    with pytest.raises(CohortError):
        spread_folds(y, groups, evaluated, 3, seed=0, strict=True)


def test_sites_that_share_a_person_are_joined_through_chains():
    persons = [1, 1, 2, 2, 3, 4, 5]
    sites = ["d", "b", "b", "a", "c", "c", "e"]
    # Person 1 joins d and b, person 2 joins b and a; c and e stand alone.
    assert connected_groups(persons, sites).tolist() == [0, 0, 0, 0, 1, 1, 2]
    assert connected_groups([], []).tolist() == []


def test_seeds_depend_on_every_part_of_the_place():
    places = [(1,), (2,), ("a",), ("a", 1), ("a", 2), (1, "a")]
    seeds = [derive_seed(0, *place) for place in places] + [derive_seed(1, *places[0])]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_selection_drops_what_tells_nothing():
    nan = np.nan
    X = np.array(
        [
            # kept, empty, constant, copy, half measured, minus zero, its copy
            [1, nan, 7, 1, 7, 0.0, -0.0],
            [2, nan, 7, 2, nan, 1.0, 1.0],
            [nan, nan, 7, nan, 7, 0.0, 0.0],
        ],
        dtype=np.float32,
    )
    found = select_columns(X, ("kept", "empty", "constant", "copy", "half", "zero", "zero copy"))
    assert found.kept.tolist() == [0, 4, 5]
    assert found.empty == ("empty",)
    assert found.constant == ("constant",)
    assert found.duplicates == {"copy": "kept", "zero copy": "zero"}
