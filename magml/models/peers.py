"""Other boosted trees, sensibly tuned, for a comparison on the same rows and features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.definitions.model import CalibrationChoice
from magml.errors import InputError, MissingDependencyError, nearest
from magml.models.baselines import FittedBaseline, calibrated
from magml.models.calibration import fit_calibrator, log_loss_of
from magml.models.logistic import Margin
from magml.models.seeds import derive_seed
from magml.models.selection import select_columns
from magml.models.splits import spread_folds

PEERS = ("xgboost", "lightgbm", "catboost")
_ROUNDS, _PATIENCE = 800, 40
_Parameters = dict[str, Any]


def fit_peer(
    name: str,
    X: ArrayLike,
    y: ArrayLike,
    names: Sequence[str],
    groups: ArrayLike,
    seed: int,
    *,
    trials: int = 10,
    folds: int = 3,
    features: Sequence[str] | None = None,
    calibration: CalibrationChoice | None = None,
    threads: int | None = None,
    evaluated: NDArray[np.bool_] | None = None,
) -> FittedBaseline:
    """Tune one booster inside the training rows, fit it, and calibrate it as the model is.

    Depth, learning rate, leaf size, penalty and column share are searched by random draws from a
    sensible space, the first of which is a sensible default; the number of rounds comes from early
    stopping on each inner fold (their median). The best set by log loss of the inner folds is
    fitted on all training rows.

    Parameters
    ----------
    name
        ``xgboost``, ``lightgbm`` or ``catboost``.
    X, y, names, groups, seed, features, calibration, threads
        As for :func:`magml.models.baselines.fit_baseline`.
    trials, folds
        Parameter sets tried, and the inner folds.
    evaluated
        Rows of the cohort itself, shape (n,); the others only train. Default all.

    Returns
    -------
    FittedBaseline
        Its `note` holds the parameters chosen.

    Raises
    ------
    MissingDependencyError
        If the library is not installed.
    InputError
        If there is no peer of that name.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(120, 2)).astype(np.float32)
    >>> peer = fit_peer("xgboost", X, X[:, 0] > 0, ["a", "b"], range(120), 0, trials=1)
    >>> bool(peer.risk([[2.0, 0.0]])[0] > peer.risk([[-2.0, 0.0]])[0])
    True
    """
    if name not in PEERS:
        raise InputError(f"no peer {name!r}", nearest(name, PEERS), "correct the name")
    _require(name)
    matrix = np.ascontiguousarray(X, dtype=np.float32)
    outcome = np.asarray(y, dtype=np.float64)
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    allowed = set(names if features is None else features)
    kept = select_columns(matrix, tuple(names)).kept
    use = np.array([place for place in kept if names[place] in allowed], dtype=np.int64)
    used = np.ascontiguousarray(matrix[:, use])
    own = np.ones(len(outcome), dtype=bool) if evaluated is None else evaluated
    fold = spread_folds(outcome, group, own, folds, derive_seed(seed, "peer folds"))
    rng = np.random.default_rng(derive_seed(seed, "peer space"))
    sets = [_default(), *(_draw(rng) for _ in range(trials - 1))]
    train = {"xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost}[name]
    evaluate = partial(_evaluate, train, used, outcome, fold, own, derive_seed(seed, "peer"))
    with ThreadPoolExecutor(max(1, threads or 1)) as pool:
        found = list(pool.map(evaluate, sets))
    best = min(range(len(sets)), key=lambda place: found[place][0])
    chosen = {**sets[best], "rounds": found[best][1]}

    def learn(
        M: NDArray[np.float32], t: NDArray[np.float64], w: NDArray[np.float64] | None, s: int
    ) -> Margin:
        margin, _ = train(chosen, M[:, use], t, None, s)
        return lambda new: margin(new[:, use])

    note = ", ".join(f"{key} {value:.3g}" for key, value in chosen.items())
    return calibrated(
        name,
        learn,
        matrix,
        outcome,
        names,
        group,
        seed,
        calibration=calibration,
        threads=threads,
        note=note,
        evaluated=evaluated,
    )


def _default() -> _Parameters:
    """Return the first set tried."""
    return {
        "learning_rate": 0.05,
        "depth": 4,
        "leaf_rows": 20.0,
        "penalty": 5.0,
        "columns": 0.5,
        "rounds": _ROUNDS,
    }


def _draw(rng: np.random.Generator) -> _Parameters:
    """Return a random set."""
    return {
        "learning_rate": math.exp(rng.uniform(math.log(0.02), math.log(0.1))),
        "depth": int(rng.integers(2, 7)),
        "leaf_rows": math.exp(rng.uniform(math.log(3), math.log(80))),
        "penalty": math.exp(rng.uniform(math.log(0.5), math.log(50))),
        "columns": rng.uniform(0.2, 0.9),
        "rounds": _ROUNDS,
    }


def _evaluate(
    train: Any,
    X: NDArray[np.float32],
    y: NDArray[np.float64],
    fold: NDArray[np.int64],
    own: NDArray[np.bool_],
    seed: int,
    parameters: _Parameters,
) -> tuple[float, int]:
    """Return the log loss over inner folds, logistically calibrated, and the median of rounds."""
    margin, rounds = np.empty(len(y)), []
    for number in range(int(fold.max()) + 1):
        known, test = fold != number, (fold == number) & own
        function, used = train(parameters, X[known], y[known], (X[test], y[test]), seed)
        margin[test] = function(X[test])
        rounds.append(used)
    calibrator = fit_calibrator(margin[own], y[own], ["logistic"])
    loss = log_loss_of(calibrator.log_odds(margin[own]), y[own])
    return loss, max(1, int(np.median(rounds)))


def _xgboost(
    p: _Parameters, X: NDArray[Any], y: NDArray[Any], held: Any, seed: int
) -> tuple[Margin, int]:
    import xgboost as xgb

    model = xgb.XGBClassifier(
        n_estimators=p["rounds"],
        learning_rate=p["learning_rate"],
        max_depth=p["depth"],
        # XGBoost counts hessian, about prevalence x (1 - prevalence) a row.
        min_child_weight=p["leaf_rows"] * float(y.mean() * (1 - y.mean())),
        reg_lambda=p["penalty"],
        colsample_bytree=p["columns"],
        subsample=0.8,
        n_jobs=1,
        random_state=seed,
        early_stopping_rounds=_PATIENCE if held else None,
    )
    model.fit(X, y, eval_set=[held] if held else None, verbose=False)
    rounds = model.best_iteration + 1 if held else p["rounds"]
    return lambda M: np.asarray(model.predict(M, output_margin=True), dtype=np.float64), rounds


def _lightgbm(
    p: _Parameters, X: NDArray[Any], y: NDArray[Any], held: Any, seed: int
) -> tuple[Margin, int]:
    import lightgbm as lgb

    settings = {
        "objective": "binary",
        "learning_rate": p["learning_rate"],
        "max_depth": p["depth"],
        "num_leaves": 2 ** p["depth"],
        "min_data_in_leaf": max(1, int(p["leaf_rows"])),
        "lambda_l2": p["penalty"],
        "feature_fraction": p["columns"],
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
    }
    data = lgb.Dataset(X, y, params={"verbosity": -1})
    stop = [lgb.early_stopping(_PATIENCE, verbose=False)] if held else []
    booster = lgb.train(
        settings,
        data,
        num_boost_round=p["rounds"],
        valid_sets=[lgb.Dataset(*held, reference=data)] if held else None,
        callbacks=stop,
    )
    rounds = booster.best_iteration if held else p["rounds"]
    return lambda M: np.asarray(booster.predict(M, raw_score=True, num_threads=1)), rounds


def _catboost(
    p: _Parameters, X: NDArray[Any], y: NDArray[Any], held: Any, seed: int
) -> tuple[Margin, int]:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(
        iterations=p["rounds"],
        learning_rate=p["learning_rate"],
        depth=p["depth"],
        l2_leaf_reg=p["penalty"],
        rsm=p["columns"],
        border_count=64,
        random_seed=seed,
        thread_count=1,
        allow_writing_files=False,
        early_stopping_rounds=_PATIENCE if held else None,
        verbose=False,
    )
    model.fit(X, y.astype(int), eval_set=held and (held[0], held[1].astype(int)))
    rounds = model.get_best_iteration() + 1 if held else p["rounds"]
    return lambda M: np.asarray(model.predict(M, prediction_type="RawFormulaVal")), rounds


def _require(name: str) -> None:
    """Raise where a library is not installed."""
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise MissingDependencyError(
            f"{name} is not installed",
            "the optional libraries of the comparison",
            "run: pip install 'magml[peers]'",
        )
