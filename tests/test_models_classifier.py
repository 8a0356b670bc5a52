"""The classifier is a scikit-learn estimator, and the same model as magml's own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from magml import MagnesiumRiskClassifier
from magml.definitions.model import Estimator
from magml.errors import InputError
from magml.models.classifier import EXPECTED_FAILED_CHECKS

SMALL = MagnesiumRiskClassifier(members=2, rounds=20, min_child_weight=1.0, random_state=0)


@parametrize_with_checks(
    [SMALL], expected_failed_checks=lambda _: EXPECTED_FAILED_CHECKS, xfail_strict=True
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_defaults_are_those_of_a_model_definition():
    assert MagnesiumRiskClassifier()._estimator() == Estimator()


def test_only_weight_equivalence_is_declared_to_fail():
    assert all("sample_weight_equivalence" in name for name in EXPECTED_FAILED_CHECKS)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(500, 3)), columns=["a", "b", "c"])
    y = np.where(rng.random(500) < expit(2 * X.a - 1), "low", "not low")
    X.loc[::7, "b"] = np.nan
    return X, y


def test_names_classes_and_risks(table):
    X, y = table
    model = clone(SMALL).fit(X[:300], y[:300])
    assert model.classes_.tolist() == ["low", "not low"]
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert model.bag_.features == ("a", "b", "c")
    risk = model.predict_proba(X[300:])
    np.testing.assert_allclose(risk.sum(axis=1), 1)
    assert roc_auc_score(y[300:] == "low", risk[:, 0]) > 0.75
    np.testing.assert_allclose(risk[:, 1], expit(model.decision_function(X[300:])))
    np.testing.assert_allclose(risk[:, 1], model.calibrator_.risk(model.bag_.margin(X[300:])))
    assert (model.predict(X[300:]) == np.where(risk[:, 1] > 0.5, "not low", "low")).all()


def test_uncalibrated_is_the_mean_margin(table):
    X, y = table
    model = clone(SMALL).set_params(calibrate=False).fit(X, y)
    assert model.calibrator_ is None
    np.testing.assert_array_equal(model.decision_function(X), model.bag_.margin(X))


def test_same_seed_same_bytes_whatever_the_jobs(table):
    X, y = table
    one, two = (clone(SMALL).set_params(n_jobs=jobs).fit(X, y) for jobs in (1, 2))
    assert one.bag_.to_bytes() == two.bag_.to_bytes()
    assert one.calibrator_ == two.calibrator_
    other = clone(SMALL).set_params(random_state=1).fit(X, y)
    assert other.bag_.to_bytes() != one.bag_.to_bytes()


def test_people_are_kept_whole_by_folds(table):
    """Columns tell the person and labels are a coin for each: only leakage calibrates upwards."""
    rng = np.random.default_rng(2)
    person = np.repeat(np.arange(120), 5)
    X, y = rng.normal(size=(120, 2))[person], rng.integers(0, 2, 120)[person]
    greedy = clone(SMALL).set_params(
        max_depth=8, learning_rate=0.5, rounds=40, calibration_methods=("logistic",)
    )
    slope = greedy.fit(X, y, groups=person).calibrator_.low
    assert slope < 0.1 < clone(greedy).fit(X, y).calibrator_.low


def test_weights_and_constraints_are_used(table):
    X, y = table
    weight = np.where(y == "low", 5.0, 1.0)
    plain, heavy = clone(SMALL).fit(X, y), clone(SMALL).fit(X, y, sample_weight=weight)
    assert heavy.predict_proba(X)[:, 0].mean() > plain.predict_proba(X)[:, 0].mean() + 0.1
    bound = clone(SMALL).set_params(monotone={"a": 1}).fit(X, y)
    grid = pd.DataFrame({"a": np.linspace(-3, 3, 40), "b": 0.0, "c": 0.0})
    assert (np.diff(bound.decision_function(grid)) >= 0).all()


def test_wrong_input_is_refused(table):
    X, y = table
    with pytest.raises(ValueError, match="Only binary classification"):
        clone(SMALL).fit(X, np.arange(len(X)) % 3)
    with pytest.raises(ValueError, match="only one class"):
        clone(SMALL).fit(X, np.zeros(len(X)))
    with pytest.raises(ValueError, match="max_depth is a whole number"):
        clone(SMALL).set_params(max_depth=2.5).fit(X, y)
    with pytest.raises(InputError, match="32-bit"):
        clone(SMALL).fit(X * 1e300, y)
