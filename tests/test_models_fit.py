"""One model from a matrix, and nested cross-validation around the whole of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from magml.definitions.model import Estimator, ModelDefinition
from magml.errors import CohortError, InputError
from magml.models import nested as nested_module
from magml.models.bag import fit_bag
from magml.models.calibration import fit_calibrator
from magml.models.crossfit import cross_fitted_margins
from magml.models.fit import fit_model
from magml.models.nested import nested_cross_validation
from magml.models.search import chosen_trial
from magml.models.seeds import derive_seed

NAMES = ("lab.a.last", "lab.b.last", "lab.copy.last", "lab.empty.last", "care.c.last")


def definition(**changes) -> ModelDefinition:
    value = {
        "name": "test",
        "title": "Test",
        "intended_use": "Tests",
        "screening": False,
        "outcome": {
            "kind": "serum_below",
            "concept": "lab.magnesium",
            "threshold": {"mmol/L": 0.7},
            "time_at_risk": "24h",
        },
        "features": {"domains": ["lab", "care"]},
        "estimator": {"members": 3, "rounds": 25, "parameters": {"min_child_weight": 2}},
        "search": {
            "trials": 3,
            "folds": 2,
            "members": 1,
            "space": {"rounds": {"low": 10, "high": 60, "integer": True}},
        },
        "calibration": {"folds": 3},
        "bands": [{"name": "all", "at_least": 0}],
    }
    return ModelDefinition.model_validate({**value, **changes})


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    n, person = 600, np.repeat(np.arange(300), 2)
    X = rng.normal(size=(n, 5)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 2], X[:, 3] = X[:, 0], np.nan
    y = (rng.random(n) < expit(1.5 * np.nan_to_num(X[:, 0]) + np.nan_to_num(X[:, 4]) - 1)) * 1
    return X, y, person


@pytest.fixture(scope="module")
def model(rows):
    X, y, person = rows
    return fit_model(X, NAMES, y, person, person, definition(), seed=3)


def test_columns_that_tell_nothing_are_left_out(rows, model):
    assert model.features == ("lab.a.last", "lab.b.last", "care.c.last")
    assert model.selection.empty == ("lab.empty.last",)
    assert model.selection.duplicates == {"lab.copy.last": "lab.a.last"}


def test_stages_are_reported_and_the_search_is_used(rows):
    X, y, person = rows
    stages: list[tuple[str, int, int]] = []
    model = fit_model(
        X, NAMES, y, person, person, definition(), seed=3, progress=lambda *a: stages.append(a)
    )
    assert stages == [
        *[("search", step, 3) for step in (1, 2, 3)],
        *[("calibration", step, 3) for step in (1, 2, 3)],
        ("final", 1, 1),
    ]
    assert len(model.trials) == 3
    assert model.estimator.rounds == chosen_trial(model.trials).parameters["rounds"]
    quick = fit_model(X, NAMES, y, person, person, definition(), seed=3, quick=True)
    assert quick.trials == ()
    assert quick.estimator == definition().estimator


def test_same_bytes_for_any_number_of_threads(rows, model):
    X, y, person = rows
    two = fit_model(X, NAMES, y, person, person, definition(), seed=3, threads=2)
    assert two.bag.to_bytes() == model.bag.to_bytes()
    assert two.calibrator == model.calibrator
    assert two.trials == model.trials
    np.testing.assert_array_equal(two.margins, model.margins)


def test_risk_takes_columns_by_name(rows, model):
    X = rows[0]
    expected = model.calibrator.risk(model.bag.margins(X[:, [0, 1, 4]]).mean(axis=1))
    np.testing.assert_array_equal(model.risk(X, NAMES), expected)
    np.testing.assert_array_equal(model.risk(X[:, ::-1], NAMES[::-1]), expected)
    with pytest.raises(InputError, match=r"'lab\.b\.last'"):
        model.risk(X[:, :1], NAMES[:1])


def test_margins_are_cross_fitted_by_bags_of_the_calibrations_size(rows):
    X, y, person = rows
    plan = definition(calibration={"folds": 3, "members": 2, "methods": ["logistic"]})
    model = fit_model(X, NAMES, y, person, person, plan, seed=3, quick=True)
    expected = cross_fitted_margins(
        X[:, [0, 1, 4]],
        y,
        person,
        plan.estimator.model_copy(update={"members": 2}),
        3,
        derive_seed(3, "crossfit"),
    )
    np.testing.assert_array_equal(model.margins, expected)
    assert model.calibrator == fit_calibrator(expected, y, ["logistic"])
    np.testing.assert_array_equal(model.risks, model.calibrator.risk(expected))
    assert len(model.bag.boosters) == 3


def test_range_is_the_members_percentiles(rows, model):
    X = rows[0][:20]
    low, high = model.risk_range(X, NAMES)
    members = np.sort(model.calibrator.risk(model.bag.margins(X[:, [0, 1, 4]])), axis=1)
    # Of three members the 10th percentile lies a fifth of the way from the first to the second.
    np.testing.assert_allclose(low, members[:, 0] + 0.2 * (members[:, 1] - members[:, 0]))
    np.testing.assert_allclose(high, members[:, 2] - 0.2 * (members[:, 2] - members[:, 1]))


def test_mean_contributions_name_the_base(rows, model):
    X = rows[0]
    base, mean = model.mean_contributions(X, NAMES, limit=50)
    values = model.bag.contributions(X[:, [0, 1, 4]])
    assert base == pytest.approx(values[0, -1])
    assert mean.shape == (3,)
    assert int(mean.argmax()) == 0


def test_constraint_on_a_column_not_in_use_is_passed_over(rows):
    X, y, person = rows
    model = fit_model(
        X,
        NAMES,
        y,
        person,
        person,
        definition(),
        seed=3,
        quick=True,
        monotone={"lab.a.last": -1, "lab.empty.last": 1},
    )
    grid = np.full((30, 5), 0.0, dtype=np.float32)
    grid[:, 0] = np.linspace(-2, 2, 30)
    assert (np.diff(model.risk(grid, NAMES)) <= 0).all()


def test_nothing_to_learn_from_is_named(rows):
    X, y, person = rows
    with pytest.raises(CohortError, match="all 5 columns are empty or constant"):
        fit_model(X * np.nan, NAMES, y, person, person, definition(), seed=0)


def test_no_fold_trains_on_its_own_groups_or_people(rows, monkeypatch):
    X, y, person = rows
    marked = np.column_stack([np.arange(600), X]).astype(np.float32)
    names = ("lab.row.last", *NAMES)
    seen: dict[str, list[set[int]]] = {"model": [], "baseline": []}
    real_model, real_baseline = nested_module.fit_model, nested_module.fit_baseline

    def spy_model(matrix, *args, **kwargs):
        if args[0][0] == "lab.row.last":  # the variant does not see this column
            seen["model"].append(set(matrix[:, 0].astype(int).tolist()))
        return real_model(matrix, *args, **kwargs)

    def spy_baseline(name, matrix, *args, **kwargs):
        seen["baseline"].append(set(matrix[:, 0].astype(int).tolist()))
        return real_baseline(name, matrix, *args, **kwargs)

    monkeypatch.setattr(nested_module, "fit_model", spy_model)
    monkeypatch.setattr(nested_module, "fit_baseline", spy_baseline)
    evaluated = np.arange(600) % 2 == 0
    evaluated[::10] = False  # some people have no row in the cohort at all
    result = nested_cross_validation(
        marked,
        names,
        y,
        person,
        person,
        definition(),
        folds=3,
        seed=1,
        quick=True,
        baselines=["logistic", "last_magnesium"],
        variants={"labs": NAMES[:2]},
        evaluated=evaluated,
        threads=1,  # folds one after the other, so that the calls can be told apart
    )
    assert len(seen["model"]) == 3
    for number in range(3):
        test = result.fold == number
        held = set(np.flatnonzero(np.isin(person, person[test])).tolist())
        for trained in (seen["model"][number], seen["baseline"][2 * number]):
            assert not trained & held
        assert seen["model"][number] == set(range(600)) - held
        assert seen["baseline"][2 * number] == set(np.flatnonzero(evaluated).tolist()) - held
    assert (result.fold[~evaluated] == -1).all()
    assert sorted(result.risks) == ["labs", "logistic", "model"]
    for risk in result.risks.values():
        assert np.isfinite(risk[evaluated]).all()
        assert np.isnan(risk[~evaluated]).all()
    assert (result.range_low[evaluated] <= result.range_high[evaluated]).all()
    assert list(result.not_computable) == ["last_magnesium"]
    assert sum(fold.test for fold in result.folds) == evaluated.sum()
    assert sum(fold.test_cases for fold in result.folds) == y[evaluated].sum()


def test_no_signal_is_no_performance_and_signal_is_found(rows):
    """The whole procedure, search included, on labels that mean nothing."""
    X, y, person = rows
    rng = np.random.default_rng(5)
    coin = rng.integers(0, 2, 300)[person]
    arguments = {"folds": 3, "seed": 1}
    none = nested_cross_validation(X, NAMES, coin, person, person, definition(), **arguments)
    some = nested_cross_validation(X, NAMES, y, person, person, definition(), **arguments)
    assert abs(roc_auc_score(coin, none.risks["model"]) - 0.5) < 0.1
    assert roc_auc_score(y, some.risks["model"]) > 0.7
    assert abs(some.risks["model"].mean() - y.mean()) < 0.03


def test_variant_takes_the_parameters_found_and_sees_its_columns_only(rows):
    X, y, person = rows
    stages: list[str] = []
    result = nested_cross_validation(
        X,
        NAMES,
        y,
        person,
        person,
        definition(),
        folds=2,
        seed=1,
        variants={"noise": NAMES[1:2]},
        progress=lambda fold, folds, stage, done, total: stages.append(stage),
    )
    assert "search" in stages
    assert "noise: calibration" in stages
    assert "noise: search" not in stages
    assert abs(roc_auc_score(y, result.risks["noise"]) - 0.5) < 0.1


def test_peers_stand_beside_the_model(rows):
    X, y, person = rows
    evaluated = np.arange(600) % 2 == 0
    found = [
        nested_cross_validation(
            X,
            NAMES,
            y,
            person,
            person,
            definition(),
            folds=2,
            seed=1,
            quick=True,
            peers=["xgboost"],
            peer_trials=1,
            peer_rows=peer_rows,
            evaluated=evaluated,
        ).risks["xgboost"]
        for peer_rows in ("cohort", "all")
    ]
    for risk in found:
        assert np.isnan(risk[~evaluated]).all()
        assert roc_auc_score(y[evaluated], risk[evaluated]) > 0.65
    assert (found[0][evaluated] != found[1][evaluated]).any()


def test_wrong_names_and_too_few_groups_are_refused(rows):
    X, y, person = rows
    arguments = (X, NAMES, y, person, person, definition())
    with pytest.raises(InputError, match=r"'lab\.z\.last'"):
        nested_cross_validation(*arguments, folds=2, seed=1, features=["lab.z.last"])
    with pytest.raises(InputError, match="used twice"):
        nested_cross_validation(
            *arguments, folds=2, seed=1, baselines=["logistic"], variants={"logistic": NAMES}
        )
    with pytest.raises(InputError, match="names lightgbm are used twice"):
        nested_cross_validation(*arguments, folds=2, seed=1, peers=["lightgbm", "lightgbm"])
    with pytest.raises(CohortError, match="2 groups were to be split into 3"):
        nested_cross_validation(X, NAMES, y, person, person % 2, definition(), folds=3, seed=1)


def test_margins_for_the_calibrator_know_nothing_of_their_own_outcome() -> None:
    """Outcomes are drawn by chance: a bag that saw a row knows its outcome, another does not."""
    rng = np.random.default_rng(8)
    X, y = rng.normal(size=(300, 5)).astype(np.float32), rng.integers(0, 2, 300)
    deep = Estimator(members=2, rounds=30, parameters={"max_depth": 5, "min_child_weight": 1.0})
    margin = cross_fitted_margins(X, y, np.arange(300), deep, folds=3, seed=1)
    # Chance alone: 0.5 with a standard error of sqrt(601 / (12 * 150 * 150)) = 0.047.
    assert abs(roc_auc_score(y, margin) - 0.5) < 3 * 0.047
    seen = fit_bag(X, y, np.arange(300), deep, seed=1).margin(X)
    assert roc_auc_score(y, seen) > 0.5 + 5 * 0.047
