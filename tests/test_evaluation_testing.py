"""Tests needed per case found, on cohorts small enough to count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from magml.errors import InputError
from magml.evaluation.testing import AS_ORDERED, RANDOM_ORDER, yield_of_testing

N = 100


def cohort() -> tuple[np.ndarray, np.ndarray]:
    """100 people, 20 cases: 8 among the ten of highest risk, 6 in the next ten, 6 in the rest."""
    labels = np.zeros(N, dtype=int)
    labels[:8] = labels[10:16] = labels[94:] = 1
    return labels, np.linspace(0.9, 0.1, N)


def at(table: pd.DataFrame, model: str, kind: str, value: float) -> pd.Series:
    found = table[(table["model"] == model) & (table["kind"] == kind)]
    return found[np.isclose(found["at"], value)].iloc[0]


def test_tests_a_case_are_those_counted_by_hand() -> None:
    labels, risks = cohort()
    table = yield_of_testing(
        labels, {"m": risks}, groups=np.arange(N), capacities=[0.1, 0.2, 0.5], replicates=50
    )
    # 10 tests find 8; 20 find 14; 50 find 14.
    for share, needed, found in ((0.1, 10 / 8, 8 / 20), (0.2, 20 / 14, 0.7), (0.5, 50 / 14, 0.7)):
        row = at(table, "m", "capacity", share)
        assert row["tests_per_case"] == pytest.approx(needed)
        assert row["found"] == pytest.approx(found)
        assert row["low"] <= row["tests_per_case"] <= row["high"]
        assert row["fewer"] == pytest.approx(5 - needed)
        assert (row["n"], row["events"]) == (100, 20)
    ordered = at(table, AS_ORDERED, "all", 1.0)
    assert ordered["tests_per_case"] == pytest.approx(5.0)
    random = at(table, RANDOM_ORDER, "capacity", 0.2)
    assert random["tests_per_case"] == pytest.approx(5.0)
    assert random["found"] == pytest.approx(0.2)


def test_a_threshold_tests_those_at_or_above_it() -> None:
    labels = np.array([1] * 10 + [0] * 10 + [1] * 5 + [0] * 25)
    risks = np.array([0.6] * 20 + [0.2] * 30)
    table = yield_of_testing(
        labels, {"m": risks}, groups=np.arange(50), thresholds=[0.2, 0.6, 0.7], replicates=50
    )
    upper = at(table, "m", "threshold", 0.6)
    assert upper["tested"] == pytest.approx(0.4)
    assert upper["tests_per_case"] == pytest.approx(2.0)
    assert upper["found"] == pytest.approx(10 / 15)
    everybody = at(table, "m", "threshold", 0.2)
    assert everybody["tests_per_case"] == pytest.approx(50 / 15)
    assert everybody["fewer"] == pytest.approx(0.0)
    assert np.isnan(at(table, "m", "threshold", 0.7)["tests_per_case"])  # nobody is tested


def test_equal_risks_are_taken_in_random_order() -> None:
    # All risks equal: any capacity finds its share of the cases, as a random order does.
    labels = np.array([1] * 10 + [0] * 30)
    table = yield_of_testing(labels, {"m": np.full(40, 0.3)}, groups=np.arange(40), replicates=20)
    for share in (0.3, 0.5):
        row = at(table, "m", "capacity", share)
        assert row["found"] == pytest.approx(share)
        assert row["tests_per_case"] == pytest.approx(4.0)
        assert row["fewer_low"] == pytest.approx(0.0)


def test_fewer_than_ten_people_tested_are_not_shown() -> None:
    labels, risks = cohort()
    table = yield_of_testing(labels, {"m": risks}, groups=np.arange(N), replicates=20)
    hidden = table[(table["model"] == "m") & (table["at"] < 0.1)]
    assert len(hidden) == 3  # 1%, 2% and 5% of 100
    assert hidden[["tested", "found", "tests_per_case", "low", "high", "fewer"]].isna().all().all()
    assert not np.isnan(at(table, "m", "capacity", 0.1)["tests_per_case"])


def test_intervals_come_from_resampled_groups() -> None:
    labels, risks = cohort()
    options = {"capacities": [0.2], "replicates": 400, "seed": 3}
    people = yield_of_testing(labels, {"m": risks}, groups=np.arange(N), **options)
    again = yield_of_testing(labels, {"m": risks}, groups=np.arange(N), **options)
    pd.testing.assert_frame_equal(people, again)
    # Weight 2 for each row is the same as before.
    doubled = yield_of_testing(
        labels, {"m": risks}, groups=np.arange(N), weights=np.full(N, 2.0), **options
    )
    pd.testing.assert_frame_equal(people, doubled)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"capacities": [1.5]}, "capacity outside"),
        ({"thresholds": [0.0]}, "threshold 0"),
    ],
)
def test_impossible_arguments_are_refused(change: dict, told: str) -> None:
    labels, risks = cohort()
    with pytest.raises(InputError, match=told):
        yield_of_testing(labels, {"m": risks}, groups=np.arange(N), **change)
    with pytest.raises(InputError, match="random order"):
        yield_of_testing(labels, {RANDOM_ORDER: risks}, groups=np.arange(N))
