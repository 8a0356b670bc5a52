"""What every model is compared with, on the same rows and with the same calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.definitions.experiment import BaselineName
from magml.definitions.model import CalibrationChoice
from magml.errors import InputError, nearest
from magml.models.calibration import Calibrator, fit_calibrator
from magml.models.logistic import Margin, choose_strength, fit_logistic
from magml.models.mds import drinking_points, kidney_points
from magml.models.roles import columns_of
from magml.models.seeds import derive_seed
from magml.models.selection import select_columns
from magml.models.splits import spread_folds

BASELINES: tuple[str, ...] = get_args(BaselineName)

#: Learns from rows of a matrix, outcomes, weights and a seed; returns a log-odds function.
Learner = Callable[
    [NDArray[np.float32], NDArray[np.float64], NDArray[np.float64] | None, int], Margin
]


@dataclass(frozen=True)
class NotComputable:
    """A baseline that the data do not allow, and why.

    Attributes
    ----------
    name, reason
        Name of the baseline, and what the data lack.
    """

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class FittedBaseline:
    """A calibrated baseline.

    Attributes
    ----------
    name
        Name of the baseline.
    names
        Names of the columns its matrix must have, in order.
    margin
        Function from a matrix, shape (n, p), to log-odds, shape (n,).
    calibrator
        Map from log-odds to risks, fitted on cross-fitted log-odds.
    note
        What the reader should know, such as items of a score that the data do not hold.
    """

    name: str
    names: tuple[str, ...]
    margin: Margin
    calibrator: Calibrator
    note: str = ""

    def risk(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return calibrated risks, shape (n,), of a matrix with the columns `names`.

        Raises
        ------
        InputError
            If the number of columns differs.
        """
        matrix = np.asarray(X, dtype=np.float32)
        if matrix.ndim != 2 or matrix.shape[1] != len(self.names):
            raise InputError(
                f"a matrix of shape {matrix.shape} for the baseline {self.name}",
                f"two dimensions and {len(self.names)} columns",
                "pass the columns the baseline was fitted on",
            )
        return self.calibrator.risk(self.margin(matrix))


def fit_baseline(
    name: str,
    X: ArrayLike,
    y: ArrayLike,
    names: Sequence[str],
    groups: ArrayLike,
    seed: int,
    *,
    weights: ArrayLike | None = None,
    features: Sequence[str] | None = None,
    calibration: CalibrationChoice | None = None,
    threads: int | None = None,
) -> FittedBaseline | NotComputable:
    """Fit a baseline and calibrate it as the model is calibrated.

    - ``last_magnesium``: logistic regression on the last serum magnesium.
    - ``age_sex``: logistic regression on age, its square, and sex.
    - ``weight_age_sex``: the same with the last weight and its square.
    - ``magnesium_depletion_score``: logistic regression on the score, age and sex. It needs the
      kidney item and at least one of the drug items, since with less it would be another name
      for age and kidney function; items that the data do not hold are left out and named in
      `note`. A diagnosis of alcohol use stands in for heavy drinking.
    - ``last_magnesium_and_score``: logistic regression on the last serum magnesium, the score, age
      and sex.
    - ``logistic``: L2-penalised logistic regression on the model's features.
    - ``plain_xgboost``: one XGBoost with the library's defaults on the model's features.

    Parameters
    ----------
    name
        One of :data:`BASELINES`.
    X
        Matrix, shape (n, p), with all features there are; NaN is missing.
    y
        Outcome, 0 or 1, shape (n,).
    names
        The p names of the columns.
    groups
        What folds keep together, shape (n,).
    seed
        Seed of folds and learners.
    weights
        Weights of rows, shape (n,).
    features
        Names of the features the model may use; default all.
    calibration
        Methods and folds; default those of a model definition.
    threads
        Folds fitted at once.

    Returns
    -------
    FittedBaseline or NotComputable

    Raises
    ------
    InputError
        If there is no baseline of that name.

    Examples
    --------
    >>> X = np.array([[1.2], [1.5], [2.0], [2.2]] * 5)
    >>> fitted = fit_baseline(
    ...     "last_magnesium", X, X[:, 0] < 1.7, ["lab.magnesium.last"], range(20), seed=0
    ... )
    >>> bool(fitted.risk([[1.0]])[0] > fitted.risk([[2.5]])[0])
    True
    >>> fit_baseline("age_sex", X, X[:, 0] < 1.7, ["lab.magnesium.last"], range(20), seed=0).reason
    'age is not recorded'
    """
    if name not in BASELINES:
        raise InputError(f"no baseline {name!r}", nearest(name, BASELINES), "correct the name")
    matrix = np.ascontiguousarray(X, dtype=np.float32)
    outcome = np.asarray(y, dtype=np.float64)
    weight = None if weights is None else np.asarray(weights, dtype=np.float64)
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    allowed = set(names if features is None else features)
    if name in ("logistic", "plain_xgboost"):
        selected = select_columns(matrix, tuple(names)).kept
        use = np.array([place for place in selected if names[place] in allowed], dtype=np.int64)
        if not len(use):
            return NotComputable(name, "no column differs between rows")
        note = f"{len(use)} features"
        if name == "logistic":
            # The penalty is chosen once, as the model's own search is done once.
            place = derive_seed(seed, "strength")
            strength = choose_strength(matrix[:, use], outcome, group, place, weights=weight)
            note += f", C = {strength:g}"
            learn = _logistic(use, strength)
        else:
            learn = _plain_xgboost(use)
    else:
        prepared = simple_terms(name, matrix, names)
        if isinstance(prepared, str):
            return NotComputable(name, prepared)
        build, note = prepared
        learn = _unpenalised(build)
    return calibrated(
        name, learn, matrix, outcome, names, group, seed, weight, calibration, threads, note
    )


def calibrated(
    name: str,
    learn: Learner,
    matrix: NDArray[np.float32],
    outcome: NDArray[np.float64],
    names: Sequence[str],
    group: NDArray[np.int64],
    seed: int,
    weight: NDArray[np.float64] | None = None,
    calibration: CalibrationChoice | None = None,
    threads: int | None = None,
    note: str = "",
    evaluated: NDArray[np.bool_] | None = None,
) -> FittedBaseline:
    """Fit a learner on all rows, and its calibrator on predictions cross-fitted by groups.

    Parameters
    ----------
    name, names, note
        As they will stand in the result.
    learn
        Function that learns from rows and returns a log-odds function.
    matrix, outcome, group, weight
        Training rows.
    seed, calibration, threads
        As for :func:`fit_baseline`.
    evaluated
        Rows of the cohort itself, shape (n,); the others only train. Default all.

    Returns
    -------
    FittedBaseline

    Examples
    --------
    >>> X, y = np.array([[1.0], [2.0]] * 10, dtype=np.float32), np.array([0.0, 1.0] * 10)
    >>> found = calibrated("x", lambda X, y, w, s: lambda X: X[:, 0], X, y, ["x"], np.arange(20), 0)
    >>> bool(found.risk([[2.0]])[0] > 0.5)
    True
    """
    choice = calibration or CalibrationChoice()
    fold = spread_folds(outcome, group, evaluated, choice.folds, derive_seed(seed, "folds"))
    margin = np.full(len(outcome), np.nan)
    count = int(fold.max()) + 1

    def fit(number: int) -> Margin:
        rows = fold != number
        w = None if weight is None else weight[rows]
        return learn(matrix[rows], outcome[rows], w, derive_seed(seed, "learner", number))

    with ThreadPoolExecutor(max(1, threads or 1)) as pool:
        fitted = list(pool.map(fit, range(count + 1)))  # fold `count` is empty: all rows
    for number in range(count):
        rows = fold == number
        margin[rows] = fitted[number](matrix[rows])
    own = np.ones(len(outcome), dtype=bool) if evaluated is None else evaluated
    calibrator = fit_calibrator(
        margin[own],
        outcome[own],
        choice.methods,
        weights=None if weight is None else weight[own],
        groups=group[own],
        seed=derive_seed(seed, "calibration"),
    )
    return FittedBaseline(name, tuple(names), fitted[count], calibrator, note)


Builder = Callable[[NDArray[np.float32]], NDArray[np.float64]]


def simple_terms(
    name: str, X: NDArray[np.float32], names: Sequence[str]
) -> tuple[Builder, str] | str:
    """Return a function that makes a simple baseline's few columns, and a note; or what is lacking.

    Parameters
    ----------
    name
        ``last_magnesium``, ``age_sex``, ``weight_age_sex``, ``magnesium_depletion_score`` or
        ``last_magnesium_and_score``.
    X, names
        Matrix of training rows, shape (n, p), and the names of its columns.

    Examples
    --------
    >>> simple_terms("age_sex", np.zeros((2, 1), dtype=np.float32), ["lab.magnesium.last"])
    'age is not recorded'
    """
    if name == "last_magnesium_and_score":
        serum, score = (
            simple_terms(part, X, names) for part in ("last_magnesium", "magnesium_depletion_score")
        )
        if isinstance(serum, str) or isinstance(score, str):
            return serum if isinstance(serum, str) else str(score)
        return (lambda M: np.column_stack([serum[0](M), score[0](M)])), score[1]
    if name == "last_magnesium":
        last = columns_of("last_magnesium", names, X)
        if not last:
            return "no earlier magnesium is known for anybody"
        return (lambda M: M[:, last].astype(np.float64)), f"{names[last[0]]}"
    age, sex = columns_of("age", names, X), columns_of("sex", names, X)
    if not age:
        return "age is not recorded"
    if not sex:
        return "sex is not recorded"
    if name == "age_sex":
        return (lambda M: np.column_stack([M[:, age], M[:, age] ** 2, M[:, sex]])), ""
    if name == "weight_age_sex":
        weight = columns_of("weight", names, X)
        if not weight:
            return "weight is not recorded"
        squared = age + weight
        return (lambda M: np.column_stack([M[:, squared], M[:, squared] ** 2, M[:, sex]])), ""
    egfr, diuretic = columns_of("egfr", names, X), columns_of("diuretic", names, X)
    ppi, drinking = columns_of("ppi", names, X), columns_of("drinking", names, X)
    items = {"eGFR": egfr, "diuretics": diuretic, "PPIs": ppi, "alcohol": drinking}
    lacking = [label for label, columns in items.items() if not columns]
    if not egfr or not (diuretic or ppi):
        what = " and ".join(label for label in lacking if label != "alcohol")
        return f"{what} not recorded: what is left is not the score"
    pure = bool(drinking) and names[drinking[0]].startswith("diet.")
    notes = [f"without {', '.join(lacking)} (not recorded)"] if lacking else []
    if drinking and not pure:
        notes.append("a diagnosis of alcohol use stands in for heavy drinking")

    def build(M: NDArray[np.float32]) -> NDArray[np.float64]:
        kidney = kidney_points(M[:, egfr[0]])
        score = np.nan_to_num(kidney)
        for columns in (diuretic, ppi, () if pure else drinking):
            if columns:
                score = score + (np.nan_to_num(M[:, columns]) > 0).any(axis=1)
        if pure:
            points = drinking_points(M[:, drinking[0]], M[:, sex[0]])
            score = score + np.nan_to_num(points)
        return np.column_stack([score, np.isnan(kidney), M[:, age], M[:, sex]])

    return build, "; ".join(notes)


def _unpenalised(build: Callable[[NDArray[np.float32]], NDArray[np.float64]]) -> Learner:
    """Return a learner: logistic regression with next to no penalty on a few columns."""

    def learn(
        X: NDArray[np.float32], y: NDArray[np.float64], w: NDArray[np.float64] | None, seed: int
    ) -> Margin:
        margin = fit_logistic(build(X), y, strength=100.0, weights=w)
        return lambda M: margin(build(M))  # type: ignore[arg-type]

    return learn


def _logistic(use: NDArray[np.int64], strength: float) -> Learner:
    """Return a learner: penalised logistic regression on some columns."""

    def learn(
        X: NDArray[np.float32], y: NDArray[np.float64], w: NDArray[np.float64] | None, seed: int
    ) -> Margin:
        margin = fit_logistic(X[:, use], y, strength=strength, weights=w)
        return lambda new: margin(new[:, use])

    return learn


def _plain_xgboost(use: NDArray[np.int64]) -> Learner:
    """Return a learner: XGBoost with its own defaults."""

    def learn(
        X: NDArray[np.float32], y: NDArray[np.float64], w: NDArray[np.float64] | None, seed: int
    ) -> Margin:
        import xgboost as xgb

        model = xgb.XGBClassifier(n_jobs=1, random_state=seed)
        model.fit(X[:, use], y, sample_weight=w)
        return lambda M: np.asarray(model.predict(M[:, use], output_margin=True), dtype=np.float64)

    return learn
