"""No leaf speaks of a single person: counted apart from the code that sees to it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from magml.definitions.model import Estimator
from magml.models.bag import fit_bag
from magml.models.leaves import LEAST_PEOPLE, least_people
from magml.models.seeds import derive_seed
from tests import bundle_parts as parts


def fewest(bag: object, X: np.ndarray, people: np.ndarray) -> int:
    """Count people by tree and leaf over all rows of the bag, with pandas."""
    found = []
    for booster in bag.boosters:  # type: ignore[attr-defined]
        leaves = booster.predict(xgb.DMatrix(X), pred_leaf=True, validate_features=False)
        table = pd.DataFrame(leaves).melt(var_name="tree", value_name="leaf")
        table["person"] = np.tile(people, leaves.shape[1])
        found.append(table.groupby(["tree", "leaf"])["person"].nunique().min())
    return int(min(found))


def history(rows_each: int = 25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sixty people with many rows each; one of them alone has the outcome and a mark."""
    people = np.repeat(np.arange(60), rows_each)
    rng = np.random.default_rng(1)
    mark = (people == 7) + rng.normal(0, 0.01, len(people))
    X = np.column_stack([mark, rng.normal(size=len(people))]).astype(np.float32)
    y = ((people == 7) | (people % 10 == 0)).astype(np.int8)
    return X, y, people


def settings(weight: float) -> Estimator:
    return Estimator(
        members=2, rounds=5, subsample_people=1.0,
        parameters={"max_depth": 4, "min_child_weight": weight, "subsample": 1.0,
                    "colsample_bytree": 1.0},
    )  # fmt: skip


def test_a_person_with_many_rows_has_no_leaf_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, people = history()
    bag = fit_bag(X, y, people, settings(1.0), seed=3)
    assert fewest(bag, X, people) >= 5  # as docs/integrity-and-privacy.md promises
    # The same data, without what sees to it, does isolate somebody.
    monkeypatch.setattr("magml.models.leaves.LEAST_PEOPLE", 0)
    assert fewest(fit_bag(X, y, people, settings(1.0), seed=3), X, people) == 1


def test_weights_isolate_nobody() -> None:
    X, y, _ = history(1)
    rng = np.random.default_rng(2)
    X, y = np.repeat(X, 10, axis=0), np.repeat(y, 10)
    X[:, 1] = rng.normal(size=len(X))
    people = np.arange(len(X))
    weights = np.where(rng.random(len(X)) < 0.02, 200.0, 1.0)
    bag = fit_bag(X, y, people, settings(5.0), seed=3, weights=weights)
    assert fewest(bag, X, people) >= LEAST_PEOPLE


def test_the_settings_of_the_models_guarantee_it() -> None:
    """A row adds at most 1/4 to the weight of a leaf: 5 means 20 rows or more of the sample."""
    X, y = parts.matrix()
    people = np.arange(len(y)) // 2  # two rows a person, as with one training offset
    bag = fit_bag(X, y, people, parts.DEFINITION.estimator, seed=7)
    assert fewest(bag, X, people) >= 10 - 1


def test_the_count_equals_the_one_made_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, people = history(3)
    booster = xgb.train(
        {"max_depth": 3, "min_child_weight": 0, "seed": derive_seed(1, "a", 0)},
        xgb.DMatrix(X, label=y), 4,
    )  # fmt: skip
    one = type("Bag", (), {"boosters": [booster]})()
    assert least_people(booster, X, people) == fewest(one, X, people)
    mixed = np.random.default_rng(5).permutation(len(X))
    for block in (1, 7, 100):  # a person is never counted in two blocks
        monkeypatch.setattr("magml.models.leaves._BLOCK", block)
        assert least_people(booster, X, people[mixed], mixed) == fewest(one, X, people)
