"""Nested cross-validation: everything that is fitted is fitted inside the outer folds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.definitions.model import Estimator, ModelDefinition
from magml.errors import InputError
from magml.models.baselines import FittedBaseline, NotComputable, fit_baseline
from magml.models.fit import fit_model, quick_plan
from magml.models.fold import FinishedFolds, Fold, FoldResult, NestedResult
from magml.models.outer import OuterSplit
from magml.models.peers import PEERS, fit_peer
from magml.models.seeds import derive_seed
from magml.models.splits import check_folds, spread_folds, training_sides

#: Name of the model itself among the risks.
MODEL = "model"
#: Called with fold (from 1), folds, stage, steps done and steps, from several threads.
NestedProgress = Callable[[int, int, str, int, int], None]


def nested_cross_validation(
    X: ArrayLike,
    names: Sequence[str],
    y: ArrayLike,
    persons: ArrayLike,
    groups: ArrayLike,
    definition: ModelDefinition,
    *,
    folds: int,
    seed: int,
    features: Sequence[str] | None = None,
    baselines: Sequence[str] = (),
    variants: Mapping[str, Sequence[str]] | None = None,
    peers: Sequence[str] = (),
    peer_trials: int = 10,
    peer_rows: Literal["cohort", "all"] = "cohort",
    quick: bool = False,
    threads: int | None = None,
    weights: ArrayLike | None = None,
    evaluated: NDArray[np.bool_] | None = None,
    monotone: Mapping[str, int] | None = None,
    split: OuterSplit | None = None,
    like: NestedResult | None = None,
    finished: FinishedFolds | None = None,
    progress: NestedProgress | None = None,
) -> NestedResult:
    """Predict every row by a model whose columns, search and calibration never saw its fold.

    Parameters
    ----------
    X
        Matrix, shape (n, p), with all features there are; NaN is missing.
    names
        The p names of its columns.
    y, persons, groups, definition, quick, threads, weights, evaluated, monotone
        As for :func:`magml.models.fit.fit_model`. Baselines learn from the cohort's own rows.
        Weights of shape (folds, n) are those of each fold's training rows.
    folds
        Number of outer folds.
    seed
        Seed of everything random.
    features
        Names of the columns the model, ``logistic`` and ``plain_xgboost`` may use; default all.
    baselines
        Names of :data:`magml.models.baselines.BASELINES`.
    variants
        Name to the columns of a variant of the model, such as one without medication. A variant
        takes the parameters that the fold's search chose for the model.
    peers, peer_trials
        Names of :data:`magml.models.peers.PEERS`, and the parameter sets each tries in a fold.
    peer_rows
        ``cohort``: peers learn from the cohort's own rows, as baselines do; ``all``: from all
        training rows, as the model does.
    split
        Which rows test and train, in place of `folds` folds of `groups`.
    like
        An earlier result on the same rows: its folds are used again, and each fold's settings
        in place of a search, as for the same model at another threshold of the outcome.
    finished
        Where folds done before are found and new ones are kept; the same call without it gives
        the same result.
    progress
        Called with fold (from 1), folds, stage, steps done and steps; folds run side by side, so
        calls of several folds are mixed and come from several threads.

    Returns
    -------
    NestedResult

    Raises
    ------
    CohortError
        If the folds cannot be made, or nothing can be learned from one.
    InputError
        If a feature is not a column, or a name is used twice.

    Examples
    --------
    >>> from magml.definitions.model import CalibrationChoice, Search
    >>> plan = ModelDefinition.model_construct(
    ...     estimator=Estimator(members=1, rounds=3),
    ...     search=Search(trials=0),
    ...     calibration=CalibrationChoice(folds=2),
    ... )
    >>> X = np.random.default_rng(0).normal(size=(60, 1)).astype(np.float32)
    >>> people = np.arange(60)
    >>> found = nested_cross_validation(
    ...     X, ["lab.a.last"], X[:, 0] > 0, people, people, plan, folds=2, seed=0
    ... )
    >>> found.risks["model"].shape, len(found.folds)
    ((60,), 2)
    """
    if quick:
        definition = quick_plan(definition)
    matrix, outcome = np.ascontiguousarray(X, dtype=np.float32), np.asarray(y)
    columns = {MODEL: tuple(names if features is None else features), **dict(variants or {})}
    every = [*columns, *baselines, *peers]
    clash = sorted({name for name in every if every.count(name) > 1})
    unknown = sorted({name for used in columns.values() for name in used} - set(names))
    if clash or unknown:
        raise InputError(
            f"the names {', '.join(clash)} are used twice"
            if clash
            else f"no column {unknown[0]!r}",
            "a name of its own for each model, and features that are columns",
            "rename the variant or build the missing features",
        )
    person, group = np.asarray(persons), np.asarray(groups)
    weight = None if weights is None else np.asarray(weights, dtype=np.float64)
    cohort = np.ones(len(outcome), dtype=bool) if evaluated is None else np.asarray(evaluated)
    if split is not None:
        fold, side, folds = split.fold, list(split.train), len(split.train)
    else:
        if like is None:
            spread_seed = derive_seed(seed, "outer")
            fold = spread_folds(outcome, group, cohort, folds, spread_seed, strict=True)
            fold = np.where(cohort, fold, -1)
        else:
            fold = check_folds(like.fold, outcome, folds)
        side = training_sides(fold, group, folds)
    workers = max(1, min(folds, threads if threads is not None else os.cpu_count() or 1))
    setting = _Setting(
        matrix=matrix,
        names=tuple(names),
        outcome=outcome,
        person=person,
        group=group,
        weight=weight,
        cohort=cohort,
        definition=definition,
        columns=columns,
        baselines=tuple(baselines),
        peers=tuple(peers),
        peer_trials=peer_trials,
        peer_rows=peer_rows,
        quick=quick,
        # Folds run side by side and so do a fold's members: the last fold is not left alone with
        # one thread. Every booster has one thread, so more of them than processors do no harm.
        threads=threads or os.cpu_count() or 1,
        monotone=monotone,
        seed=seed,
        estimators=() if like is None else tuple(done.estimator for done in like.folds),
    )

    def work(number: int) -> FoldResult:
        report = _of_fold(progress, number + 1, folds)
        if finished is not None and (found := finished.fold(number)) is not None:
            return found
        result = _fit_fold(setting, number, side[number], fold == number, report)
        if finished is not None:
            finished.keep_fold(number, result)
        return result

    from threadpoolctl import threadpool_limits

    # One thread for linear algebra: its sums depend on the number of threads, and folds running
    # side by side already use the processors.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(workers, thread_name_prefix="magml-folds") as pool,
    ):
        results = list(pool.map(work, range(folds)))

    risks = {name: np.full(len(outcome), np.nan) for name in every}
    low, high = np.full(len(outcome), np.nan), np.full(len(outcome), np.nan)
    lacking: dict[str, str] = {}
    for number, result in enumerate(results):
        test = fold == number
        low[test], high[test] = result.low, result.high
        for name, risk in result.risks.items():
            risks[name][test] = risk
        lacking.update(result.lacking)
    for name in lacking:
        # A baseline that one fold lacks is not compared at all: its rows would be others.
        del risks[name]
    return NestedResult(fold, risks, low, high, lacking, tuple(result.fold for result in results))


@dataclass(frozen=True, eq=False)
class _Setting:
    """What all folds share."""

    matrix: NDArray[np.float32]
    names: tuple[str, ...]
    outcome: NDArray[Any]
    person: NDArray[Any]
    group: NDArray[Any]
    weight: NDArray[np.float64] | None
    cohort: NDArray[np.bool_]
    definition: ModelDefinition
    columns: dict[str, Sequence[str]]
    baselines: tuple[str, ...]
    peers: tuple[str, ...]
    peer_trials: int
    peer_rows: str
    quick: bool
    threads: int
    monotone: Mapping[str, int] | None
    seed: int
    estimators: tuple[Estimator, ...]


def _fit_fold(
    setting: _Setting,
    number: int,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    report: Callable[[str, int, int], None] | None,
) -> FoldResult:
    """Fit everything on a fold's training rows and predict its test rows."""
    matrix, outcome, weight = setting.matrix, setting.outcome, setting.weight
    if weight is not None and weight.ndim == 2:
        weight = weight[number]
    own = train & setting.cohort
    risks: dict[str, NDArray[np.float64]] = {}
    estimator = setting.estimators[number] if setting.estimators else None
    for name, allowed in setting.columns.items():
        place = np.array([p for p, n in enumerate(setting.names) if n in set(allowed)])
        used = [setting.names[p] for p in place]
        model = fit_model(
            matrix[np.ix_(train, place)],
            used,
            outcome[train],
            setting.person[train],
            setting.group[train],
            setting.definition,
            seed=derive_seed(setting.seed, "fold", number, name),
            quick=setting.quick,
            threads=setting.threads,
            weights=None if weight is None else weight[train],
            evaluated=setting.cohort[train],
            monotone=setting.monotone,
            estimator=estimator,
            progress=_named(report, name),
        )
        new = matrix[np.ix_(test, place)]
        risks[name] = model.risk(new, used)
        if name == MODEL:
            estimator, first = model.estimator, model
            low, high = model.risk_range(new, used)
    notes: dict[str, str] = {}
    lacking: dict[str, str] = {}
    compared = (*setting.baselines, *setting.peers)
    for step, name in enumerate(compared):
        rows = train if name in setting.peers and setting.peer_rows == "all" else own
        fitted = _comparison(
            name,
            matrix[rows],
            outcome[rows],
            setting.names,
            setting.group[rows],
            derive_seed(setting.seed, "fold", number, name),
            weights=None if weight is None else weight[rows],
            features=setting.columns[MODEL],
            calibration=setting.definition.calibration,
            threads=setting.threads,
            evaluated=setting.cohort[rows],
            trials=setting.peer_trials,
        )
        if isinstance(fitted, NotComputable):
            lacking[name] = fitted.reason
        else:
            risks[name] = fitted.risk(matrix[test])
            notes[name] = fitted.note
        if report is not None:
            report("baselines", step + 1, len(compared))
    record = Fold(
        number=number,
        train=int(own.sum()),
        test=int(test.sum()),
        train_cases=int(outcome[own].sum()),
        test_cases=int(outcome[test].sum()),
        features=first.features,
        estimator=first.estimator,
        calibrator=first.calibrator,
        trials=first.trials,
        notes=notes,
    )
    return FoldResult(record, risks, low, high, lacking)


def _comparison(
    name: str, *arguments: Any, evaluated: NDArray[np.bool_], trials: int, **options: Any
) -> FittedBaseline | NotComputable:
    """Fit a baseline or a peer."""
    if name in PEERS:
        options.pop("weights")
        return fit_peer(name, *arguments, evaluated=evaluated, trials=trials, **options)
    return fit_baseline(name, *arguments, **options)


def _of_fold(
    progress: NestedProgress | None, number: int, folds: int
) -> Callable[[str, int, int], None] | None:
    """Return a progress function of one fold."""
    if progress is None:
        return None
    return lambda stage, done, total: progress(number, folds, stage, done, total)


def _named(
    report: Callable[[str, int, int], None] | None, name: str
) -> Callable[[str, int, int], None] | None:
    """Return a progress function whose stages carry the name of a variant."""
    if report is None or name == MODEL:
        return report
    return lambda stage, done, total: report(f"{name}: {stage}", done, total)
