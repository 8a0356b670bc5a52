"""Training one model from a matrix: columns, search, cross-fitted calibration, final bag."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.definitions.model import Estimator, ModelDefinition
from magml.errors import CohortError, InputError
from magml.models.bag import Bag, fit_bag
from magml.models.calibration import Calibrator, fit_calibrator
from magml.models.crossfit import cross_fitted_margins
from magml.models.search import Trial, search
from magml.models.seeds import derive_seed
from magml.models.selection import Selection, select_columns

#: Called with the name of a stage, the steps done and the steps there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A calibrated bag and how it came about.

    Attributes
    ----------
    bag, calibrator
        The boosters, and the map from their mean log-odds to a risk.
    estimator
        The estimator in use, after the search.
    selection
        Which columns were kept and why others were not.
    trials
        The search's trials; empty where none was made.
    margins, risks
        Of the training rows, by bags that never saw them, shape (n,); NaN for rows that only
        train. The risks are calibrated on these very margins, so they are not a measure of
        performance: that takes folds around the whole of this.
    """

    bag: Bag
    calibrator: Calibrator
    estimator: Estimator
    selection: Selection
    trials: tuple[Trial, ...]
    margins: NDArray[np.float64]
    risks: NDArray[np.float64]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns in use, in order."""
        return self.bag.features

    def columns(self, X: ArrayLike, names: Sequence[str]) -> NDArray[np.float32]:
        """Return the columns in use of a matrix that may have more, float32, shape (n, p).

        Raises
        ------
        InputError
            If a column is missing.
        """
        matrix = np.asarray(X, dtype=np.float32)
        if tuple(names) == self.features:
            return matrix
        place = {name: position for position, name in enumerate(names)}
        missing = [name for name in self.features if name not in place]
        if missing:
            raise InputError(
                f"{len(missing)} columns are missing, the first is {missing[0]!r}",
                f"the {len(self.features)} columns the model was trained on",
                "build the features with the catalogue the model was trained with",
            )
        return np.ascontiguousarray(matrix[:, [place[name] for name in self.features]])

    def risk(self, X: ArrayLike, names: Sequence[str]) -> NDArray[np.float64]:
        """Return calibrated risks of rows, shape (n,).

        Parameters
        ----------
        X
            Matrix, shape (n, q), with at least the columns in use.
        names
            The q names of its columns.
        """
        return self.calibrator.risk(self.bag.margin(self.columns(X, names)))

    def risk_range(
        self, X: ArrayLike, names: Sequence[str]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the 10th and 90th percentile of the members' calibrated risks, each shape (n,).

        An instability range of the prediction, not a confidence interval of the risk.
        """
        risks = self.calibrator.risk(self.bag.margins(self.columns(X, names)))
        low, high = np.percentile(risks, [10, 90], axis=1)
        return low, high

    def mean_contributions(
        self, X: ArrayLike, names: Sequence[str], *, limit: int = 1000
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the base log-odds and each column's mean absolute contribution.

        Parameters
        ----------
        X, names
            As for :meth:`risk`.
        limit
            At most this many rows, evenly spread over the matrix, are explained.

        Returns
        -------
        float
            Base of the contributions, the same for every row.
        numpy.ndarray
            Mean absolute contribution of each column in use, log-odds, shape (p,).
        """
        matrix = self.columns(X, names)
        rows = np.unique(np.linspace(0, len(matrix) - 1, min(limit, len(matrix))).astype(int))
        values = self.bag.contributions(matrix[rows])
        return float(values[0, -1]), np.abs(values[:, :-1]).mean(axis=0)


def fit_model(
    X: ArrayLike,
    names: Sequence[str],
    y: ArrayLike,
    persons: ArrayLike,
    groups: ArrayLike,
    definition: ModelDefinition,
    *,
    seed: int,
    quick: bool = False,
    threads: int | None = None,
    weights: ArrayLike | None = None,
    evaluated: NDArray[np.bool_] | None = None,
    monotone: Mapping[str, int] | None = None,
    estimator: Estimator | None = None,
    progress: Progress | None = None,
) -> FittedModel:
    """Train one model: select columns, search, calibrate on cross-fitted bags, fit the last bag.

    Parameters
    ----------
    X
        Feature matrix, shape (n, p); NaN is missing.
    names
        The p names of its columns.
    y
        Outcome, 0 or 1, shape (n,).
    persons
        Person of each row, shape (n,); members subsample people.
    groups
        What folds keep together, shape (n,): people, or sites joined by
        :func:`magml.models.splits.connected_groups`.
    definition
        Estimator, search and calibration are taken from it.
    seed
        Seed of everything random.
    quick
        Leave out the search and calibrate on three folds (:func:`quick_plan`).
    threads
        Members trained at once; never changes a result.
    weights
        Weights of rows, shape (n,).
    evaluated
        Rows of the cohort itself, shape (n,); the others (such as other prediction times of the
        same people) only train the boosters, and are never searched or calibrated on.
    monotone
        Column name to +1 or -1; columns not in use are passed over.
    estimator
        Use this estimator and no search, as for a variant of a model already searched.
    progress
        Called with stage (``search``, ``calibration``, ``final``), steps done and steps.

    Returns
    -------
    FittedModel

    Raises
    ------
    CohortError
        If nothing can be learned from the rows (one class, too few groups, no column left).

    Examples
    --------
    >>> from magml.definitions.model import CalibrationChoice, Search
    >>> plan = ModelDefinition.model_construct(
    ...     estimator=Estimator(members=1, rounds=3),
    ...     search=Search(trials=0),
    ...     calibration=CalibrationChoice(folds=2),
    ... )
    >>> X = np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32)
    >>> people = np.arange(40)
    >>> model = fit_model(X, ["lab.a.last"], X[:, 0] > 0, people, people, plan, seed=0)
    >>> model.risk(X[:2], ["lab.a.last"]).shape
    (2,)
    """
    matrix = np.ascontiguousarray(X, dtype=np.float32)
    outcome = np.asarray(y)
    if quick:
        definition = quick_plan(definition)
    selection = select_columns(matrix, tuple(names))
    if not len(selection.kept):
        raise CohortError(
            f"all {len(names)} columns are empty or constant on the training rows",
            "at least one column that differs between rows",
            "check that the source's codes are mapped to concepts",
        )
    used = tuple(names[position] for position in selection.kept)
    if len(used) < len(names):
        matrix = np.ascontiguousarray(matrix[:, selection.kept])
    constraints = {name: sign for name, sign in (monotone or {}).items() if name in used}
    chosen = estimator or definition.estimator
    trials: tuple[Trial, ...] = ()
    if estimator is None:
        chosen, trials = search(
            matrix,
            outcome,
            groups,
            definition.estimator,
            definition.search,
            derive_seed(seed, "search"),
            persons=persons,
            weights=weights,
            evaluated=evaluated,
            features=used,
            monotone=constraints,
            threads=threads,
            progress=_stage(progress, "search"),
        )
    fewer = min(chosen.members, definition.calibration.members)
    margins = cross_fitted_margins(
        matrix,
        outcome,
        groups,
        chosen.model_copy(update={"members": fewer}),
        definition.calibration.folds,
        derive_seed(seed, "crossfit"),
        persons=persons,
        weights=weights,
        evaluated=evaluated,
        features=used,
        monotone=constraints,
        threads=threads,
        progress=_stage(progress, "calibration"),
    )
    rows = np.ones(len(outcome), dtype=bool) if evaluated is None else evaluated
    calibrator = fit_calibrator(
        margins[rows],
        outcome[rows],
        definition.calibration.methods,
        weights=None if weights is None else np.asarray(weights)[rows],
        groups=np.asarray(groups)[rows],
        seed=derive_seed(seed, "calibration"),
    )
    bag = fit_bag(
        matrix,
        outcome,
        persons,
        chosen,
        seed=derive_seed(seed, "final"),
        weights=weights,
        threads=threads,
        features=used,
        monotone=constraints,
    )
    if progress is not None:
        progress("final", 1, 1)
    risks = np.full(len(outcome), np.nan)
    risks[rows] = calibrator.risk(margins[rows])
    return FittedModel(bag, calibrator, chosen, selection, trials, margins, risks)


def quick_plan(definition: ModelDefinition) -> ModelDefinition:
    """Return a definition without search and with at most three calibration folds.

    Examples
    --------
    >>> from magml.definitions.model import CalibrationChoice, Search
    >>> plan = ModelDefinition.model_construct(search=Search(), calibration=CalibrationChoice())
    >>> quick_plan(plan).search.trials, quick_plan(plan).calibration.folds
    (0, 3)
    """
    calibration = definition.calibration
    return definition.model_copy(
        update={
            "search": definition.search.model_copy(update={"trials": 0}),
            "calibration": calibration.model_copy(update={"folds": min(3, calibration.folds)}),
        }
    )


def _stage(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    """Return a progress function of one stage."""
    if progress is None:
        return None
    return lambda done, total: progress(stage, done, total)
