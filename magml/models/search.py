"""Search for an estimator's parameters inside the training rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.definitions.model import Estimator, Search, SearchSpace
from magml.errors import DefinitionError
from magml.models.calibration import fit_calibrator
from magml.models.crossfit import cross_fitted_margins
from magml.models.seeds import derive_seed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_STARTUP = 5
#: A set of parameters replaces the estimator's own if its gain is above this many standard errors.
#: The best of fifteen sets that are all alike is expected to look better by 1.7.
_CLEAR = 2.0
#: Fields of the estimator that may be searched beside the booster's parameters.
_FIELDS = ("rounds", "subsample_people")


@dataclass(frozen=True)
class Trial:
    """One set of parameters and the log loss it had.

    Attributes
    ----------
    number
        0 for the estimator as defined, then 1, 2, ...
    parameters
        The searched parameters.
    loss
        Log loss of cross-fitted, logistically calibrated predictions.
    gain
        The first trial's loss less this one's.
    gain_error
        Standard error of `gain`, paired on the same rows, groups as clusters.
    """

    number: int
    parameters: dict[str, float | int | str]
    loss: float
    gain: float = 0.0
    gain_error: float = 0.0


def search(
    X: NDArray[np.float32],
    y: ArrayLike,
    groups: ArrayLike,
    estimator: Estimator,
    search: Search,
    seed: int,
    *,
    persons: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    evaluated: NDArray[np.bool_] | None = None,
    features: Sequence[str] | None = None,
    monotone: Mapping[str, int] | None = None,
    threads: int | None = None,
    history: Sequence[Trial] = (),
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Estimator, tuple[Trial, ...]]:
    """Try parameter sets on grouped folds of the training rows and return the best.

    The first trial is the estimator as defined; the next are random, then proposed by a
    tree-structured Parzen estimator. Every trial has a sampler of its own, seeded by the trial's
    number and told the trials before it, so a search resumed from its history equals one that was
    never interrupted. All trials see the same folds and the same subsamples.

    The best of many trials is in part luck, and on small data mostly: a set is only taken if it
    beats the estimator as defined, on the same rows, by more than twice the standard error of the
    difference.

    Parameters
    ----------
    X, y, groups, persons, weights, evaluated, features, monotone, threads
        As for :func:`magml.models.crossfit.cross_fitted_margins`.
    estimator
        The starting point.
    search
        Number of trials and folds, members of the small bags used, and the space.
    seed
        Seed of folds, bags and samplers.
    history
        Trials of an earlier, interrupted call with the same arguments.
    progress
        Called with (trials done, trials).

    Returns
    -------
    Estimator
        `estimator` with the parameters of lowest log loss among those that are clearly better
        than its own; else `estimator` itself.
    tuple of Trial
        All trials in order.

    Raises
    ------
    DefinitionError
        If the estimator's own value of a searched parameter lies outside its range.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(90, 1)).astype(np.float32)
    >>> space = {"max_depth": SearchSpace(low=1, high=3, integer=True)}
    >>> plan = Search(trials=2, folds=2, members=1, space=space)
    >>> start = Estimator(members=1, rounds=3, parameters={"max_depth": 2})
    >>> best, trials = search(X, X[:, 0] > 0, range(90), start, plan, seed=1)
    >>> [trial.number for trial in trials]
    [0, 1]
    """
    if not search.trials or not search.space:
        return estimator, ()
    distributions = {name: _distribution(space) for name, space in sorted(search.space.items())}
    defaults = _defaults(estimator, search.space)
    trials = list(history)[: search.trials]
    wanted = np.ones(len(X), dtype=bool) if evaluated is None else evaluated
    weight = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=np.float64)
    _, cluster = np.unique(np.asarray(groups)[wanted], return_inverse=True)

    def losses(parameters: Mapping[str, float | int | str]) -> NDArray[np.float64]:
        margin = cross_fitted_margins(
            X,
            y,
            groups,
            with_parameters(estimator, parameters).model_copy(update={"members": search.members}),
            search.folds,
            derive_seed(seed, "search"),
            persons=persons,
            weights=weights,
            evaluated=evaluated,
            features=features,
            monotone=monotone,
            threads=threads,
        )[wanted]
        outcome = np.asarray(y, dtype=np.float64)[wanted]
        calibrator = fit_calibrator(margin, outcome, ["logistic"], weights=weight[wanted])
        odds = calibrator.log_odds(margin)
        return np.logaddexp(0, odds) - outcome * odds

    # A resumed search needs the rows of the first trial again, to pair later ones with.
    first = losses(defaults) if len(trials) < search.trials else np.zeros(0)
    for number in range(len(trials), search.trials):
        found = _propose(trials, distributions, seed) if number else defaults
        own = losses(found) if number else first
        loss, _ = _mean(own, weight[wanted], cluster)
        gain, error = _mean(first - own, weight[wanted], cluster)
        trials.append(Trial(number, found, loss, gain, error))
        if progress is not None:
            progress(number + 1, search.trials)
    return with_parameters(estimator, chosen_trial(trials).parameters), tuple(trials)


def chosen_trial(trials: Sequence[Trial]) -> Trial:
    """Return the trial of lowest loss among those clearly better than the first, else the first.

    Examples
    --------
    >>> first, lucky = Trial(0, {}, 0.50), Trial(1, {}, 0.49, gain=0.01, gain_error=0.008)
    >>> chosen_trial([first, lucky]).number
    0
    >>> chosen_trial([first, lucky, Trial(2, {}, 0.48, gain=0.02, gain_error=0.005)]).number
    2
    """
    clear = [trial for trial in trials[1:] if trial.gain > _CLEAR * trial.gain_error]
    return min(clear, key=lambda trial: (trial.loss, trial.number), default=trials[0])


def with_parameters(estimator: Estimator, parameters: Mapping[str, float | int | str]) -> Estimator:
    """Return the estimator with searched parameters in their places.

    Examples
    --------
    >>> found = with_parameters(Estimator(), {"rounds": 50, "max_depth": 2})
    >>> found.rounds, found.parameters["max_depth"]
    (50, 2)
    """
    fields = {name: value for name, value in parameters.items() if name in _FIELDS}
    others = {name: value for name, value in parameters.items() if name not in _FIELDS}
    merged = {**estimator.parameters, **others}
    return Estimator(**{**estimator.model_dump(), **fields, "parameters": merged})


def _mean(
    value: NDArray[np.float64], weight: NDArray[np.float64], cluster: NDArray[np.intp]
) -> tuple[float, float]:
    """Return a weighted mean and its standard error, rows of a cluster counted together."""
    total = weight.sum()
    mean = float((value * weight).sum() / total)
    sums = np.bincount(cluster, weights=weight * (value - mean))
    clusters = max(len(sums), 2)
    return mean, math.sqrt((sums**2).sum() * clusters / (clusters - 1)) / float(total)


def _defaults(
    estimator: Estimator, space: Mapping[str, SearchSpace]
) -> dict[str, float | int | str]:
    """Return the estimator's own values of what is searched."""
    found: dict[str, float | int | str] = {}
    for name, limits in sorted(space.items()):
        value = getattr(estimator, name) if name in _FIELDS else estimator.parameters.get(name)
        if limits.choices is not None:
            inside = value in limits.choices
        else:
            low, high = _bounds(limits)
            inside = isinstance(value, (int, float)) and low <= value <= high
        if not inside or value is None:
            raise DefinitionError(
                f"the estimator's {name} is {'not given' if value is None else value}",
                f"a value inside its search space ({_text(limits)}), for the first trial",
                f"set estimator.{name} or widen search.space.{name} in the model file",
            )
        found[name] = value
    return found


def _propose(
    trials: Sequence[Trial], distributions: dict[str, BaseDistribution], seed: int
) -> dict[str, float | int | str]:
    """Return the next parameters, a function of the trials so far and the seed alone."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=_STARTUP,
            constant_liar=False,
            seed=derive_seed(seed, "trial", len(trials)),
        )
        study = optuna.create_study(sampler=sampler, direction="minimize")
        study.add_trials(
            optuna.trial.create_trial(
                params=trial.parameters, distributions=distributions, value=trial.loss
            )
            for trial in trials
        )
        params: dict[str, Any] = study.ask(distributions).params
    finally:
        optuna.logging.set_verbosity(level)
    return {name: params[name] for name in distributions}


def _distribution(space: SearchSpace) -> BaseDistribution:
    """Return Optuna's form of one searched parameter."""
    from optuna import distributions

    if space.choices is not None:
        return distributions.CategoricalDistribution(space.choices)
    low, high = _bounds(space)
    if space.integer:
        return distributions.IntDistribution(int(low), int(high), log=space.log)
    return distributions.FloatDistribution(low, high, log=space.log)


def _bounds(space: SearchSpace) -> tuple[float, float]:
    """Return a range's ends, which a definition without choices always has."""
    low = -math.inf if space.low is None else space.low
    return low, math.inf if space.high is None else space.high


def _text(space: SearchSpace) -> str:
    """Return a space in words."""
    if space.choices is not None:
        return ", ".join(str(choice) for choice in space.choices)
    return f"{space.low} to {space.high}"
