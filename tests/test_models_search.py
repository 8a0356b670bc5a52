"""Cross-fitting never sees the row; the search resumes, starts at the defaults, finds signal."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from magml.definitions.model import Estimator, Search, SearchSpace
from magml.errors import DefinitionError
from magml.models import crossfit as crossfit_module
from magml.models import search as search_module
from magml.models.calibration import fit_calibrator, log_loss_of
from magml.models.crossfit import cross_fitted_margins
from magml.models.search import search
from magml.models.seeds import derive_seed

GREEDY = Estimator(
    members=2,
    rounds=40,
    parameters={
        "max_depth": 8,
        "min_child_weight": 0.0,
        "reg_lambda": 0.0,
        "learning_rate": 0.5,
        "colsample_bytree": 1.0,
        "subsample": 1.0,
    },
)
SPACE = {
    "rounds": SearchSpace(low=2, high=30, integer=True),
    "reg_lambda": SearchSpace(low=0.1, high=50, log=True),
    "max_depth": SearchSpace(choices=(2, 3, 4)),
}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)).astype(np.float32)
    y = (rng.random(300) < 1 / (1 + np.exp(-1.5 * X[:, 0]))).astype(int)
    return X, y


def test_a_row_is_never_predicted_by_what_saw_its_group():
    """Labels are a coin for each person and columns tell the person: only leakage can help."""
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(150), 4)
    y = rng.integers(0, 2, 150)[person]
    X = np.column_stack([rng.normal(size=150)[person], rng.normal(size=150)[person]])
    X = X.astype(np.float32)
    honest = cross_fitted_margins(X, y, person, GREEDY, 5, seed=1)
    leaking = cross_fitted_margins(X, y, np.arange(600), GREEDY, 5, seed=1)
    assert abs(roc_auc_score(y, honest) - 0.5) < 0.1
    assert roc_auc_score(y, leaking) > 0.9


def test_whole_bags_train_without_the_fold_and_rows_that_only_train_are_not_predicted(
    rows, monkeypatch
):
    X, y = rows
    X = np.column_stack([np.arange(300), X]).astype(np.float32)
    groups = np.arange(300) // 2
    evaluated = np.arange(300) % 2 == 0
    seen: list[set[int]] = []
    real = crossfit_module.fit_bag

    def spy(matrix, *args, **kwargs):
        seen.append(set(matrix[kwargs["rows"], 0].astype(int).tolist()))
        return real(matrix, *args, **kwargs)

    monkeypatch.setattr(crossfit_module, "fit_bag", spy)
    small = Estimator(members=1, rounds=2)
    margin = cross_fitted_margins(X, y, groups, small, 4, seed=0, evaluated=evaluated)
    assert np.isfinite(margin[evaluated]).all()
    assert np.isnan(margin[~evaluated]).all()
    assert len(seen) == 4
    for number in range(150):
        pair = {2 * number, 2 * number + 1}
        # Both rows of a person are out of one bag together and in all the others.
        assert sorted(len(pair & rows_seen) for rows_seen in seen) == [0, 2, 2, 2]


def test_resumed_search_equals_an_uninterrupted_one(rows):
    X, y = rows
    start = Estimator(members=3, rounds=10)
    plan = Search(trials=8, folds=2, members=1, space=SPACE)
    best, trials = search(X, y, np.arange(300), start, plan, seed=3)
    _, first = search(X, y, np.arange(300), start, plan.model_copy(update={"trials": 6}), seed=3)
    assert first == trials[:6]
    again, resumed = search(X, y, np.arange(300), start, plan, seed=3, history=first)
    assert resumed == trials
    assert again == best
    assert len({str(trial.parameters) for trial in trials}) > 5
    assert search(X, y, np.arange(300), start, plan, seed=4)[1] != trials


def test_first_trial_is_the_estimator_and_the_best_is_returned(rows):
    X, y = rows
    start = Estimator(members=3, rounds=2, parameters={"max_depth": 3, "reg_lambda": 10.0})
    plan = Search(trials=6, folds=3, members=2, space=SPACE)
    best, trials = search(X, y, np.arange(300), start, plan, seed=5)
    assert trials[0].parameters == {"max_depth": 3, "reg_lambda": 10.0, "rounds": 2}
    # The loss of the first trial, worked out without the search.
    margin = cross_fitted_margins(
        X,
        y,
        np.arange(300),
        start.model_copy(update={"members": 2}),
        3,
        derive_seed(5, "search"),
    )
    calibrator = fit_calibrator(margin, y, ["logistic"])
    expected = log_loss_of(calibrator.log_odds(margin), y)
    assert trials[0].loss == pytest.approx(expected, rel=1e-12)
    winner = min(trials, key=lambda trial: trial.loss)
    assert winner.loss < trials[0].loss
    assert winner.gain == pytest.approx(trials[0].loss - winner.loss)
    assert best.members == 3
    assert best.rounds == winner.parameters["rounds"]
    assert best.parameters["max_depth"] == winner.parameters["max_depth"]


def test_luck_does_not_replace_the_estimator(rows):
    """On labels that mean nothing all sets are alike, and the best of ten is the luckiest."""
    X, _ = rows
    coin = np.random.default_rng(7).integers(0, 2, 300)
    plan = Search(trials=10, folds=3, members=1, space=SPACE)
    start = Estimator(members=3, rounds=5)
    best, trials = search(X, coin, np.arange(300), start, plan, seed=2)
    assert min(trial.loss for trial in trials) < trials[0].loss
    assert best == start


def test_gain_and_its_error_by_hand():
    value, weight = np.array([1.0, 2.0, 6.0]), np.array([1.0, 1.0, 2.0])
    mean, error = search_module._mean(value, weight, np.array([0, 0, 1]))
    # Mean (1 + 2 + 12) / 4; deviations -2.75, -1.75 and twice 2.25 sum to -4.5 and 4.5.
    assert mean == 3.75
    assert error == pytest.approx(np.sqrt(2 * (4.5**2 + 4.5**2)) / 4)
    sample = np.random.default_rng(0).normal(size=50)
    _, plain = search_module._mean(sample, np.ones(50), np.arange(50))
    assert plain == pytest.approx(sample.std(ddof=1) / np.sqrt(50))


def test_parameters_stay_in_their_space_and_others_stay_as_they_were(rows):
    X, y = rows
    plan = Search(trials=10, folds=2, members=1, space=SPACE)
    best, trials = search(X, y, np.arange(300), Estimator(rounds=5), plan, seed=1)
    for trial in trials:
        assert 2 <= trial.parameters["rounds"] <= 30
        assert 0.1 <= trial.parameters["reg_lambda"] <= 50
        assert trial.parameters["max_depth"] in (2, 3, 4)
    assert best.parameters["learning_rate"] == 0.04


def test_no_trials_no_search(rows, monkeypatch):
    monkeypatch.setattr(search_module, "cross_fitted_margins", None)
    start = Estimator()
    for plan in (Search(trials=0), Search(space={})):
        assert search(*rows, np.arange(300), start, plan, seed=0) == (start, ())


def test_default_outside_the_space_is_named(rows):
    plan = Search(trials=2, space={"rounds": SearchSpace(low=10, high=20, integer=True)})
    with pytest.raises(DefinitionError, match=r"rounds is 160.*10.* to 20"):
        search(*rows, np.arange(300), Estimator(), plan, seed=0)


def test_definition_refuses_an_unknown_searched_parameter():
    with pytest.raises(ValueError, match="did you mean 'gamma'"):
        Search(space={"gama": SearchSpace(low=0, high=1)})


def test_default_space_holds_the_default_estimator(rows):
    plan = Search(trials=1, folds=2, members=1)
    _, trials = search(*rows, np.arange(300), Estimator(), plan, seed=0)
    assert set(trials[0].parameters) == set(plan.space)


def test_a_whole_number_stays_one_when_json_made_it_a_fraction() -> None:
    space = {
        "rounds": {"low": 100.0, "high": 250.0},
        "max_depth": {"choices": [3.0, 4.0]},
        "gamma": {"low": 0.0, "high": 1.0},
    }
    found = Search.model_validate({"space": space}).space
    assert found["rounds"].integer
    assert found["max_depth"].choices == (3, 4)
    assert all(isinstance(choice, int) for choice in found["max_depth"].choices)
    assert not found["gamma"].integer


def test_half_a_level_is_no_choice_of_a_depth() -> None:
    with pytest.raises(ValidationError, match="max_depth is a whole number"):
        Search.model_validate({"space": {"max_depth": {"choices": [3, 2.5]}}})
