"""The calibrated bag as a scikit-learn classifier on any feature matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from magml.definitions.model import BOOSTER_DEFAULTS, Estimator
from magml.errors import CohortError, InputError
from magml.models.bag import Bag, fit_bag
from magml.models.calibration import Calibrator, fit_calibrator
from magml.models.crossfit import cross_fitted_margins
from magml.models.seeds import derive_seed

#: Checks of scikit-learn that do not hold, with the reason, for ``check_estimator``.
EXPECTED_FAILED_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": (
        "members are trained on subsamples of rows, so a row of weight 2 and two equal rows are "
        "drawn differently"
    ),
}


class MagnesiumRiskClassifier(ClassifierMixin, BaseEstimator):
    """Bagged, calibrated XGBoost for a binary outcome, as used by magml's models.

    Each member learns from a subsample of people; the members are averaged on the log-odds, and
    the mean is turned into a risk by a strictly increasing calibrator fitted on predictions that
    are cross-fitted by groups.

    Parameters
    ----------
    members : int, default=10
        Number of boosters.
    subsample_people : float, default=0.9
        Share of people each member learns from.
    rounds : int, default=160
        Boosting rounds of a member.
    learning_rate, max_depth, min_child_weight, reg_lambda, reg_alpha, gamma, subsample, \
colsample_bytree, colsample_bynode, max_bin
        Booster parameters, as XGBoost names them.
    calibrate : bool, default=True
        Whether risks are calibrated; without, they are the logistic function of the mean
        log-odds.
    calibration_methods : tuple of str, default=("logistic", "beta")
        Candidates, chosen between by cross-validated log loss.
    calibration_folds : int, default=5
        Folds of the cross-fitted predictions; fewer where the data do not allow as many. Data
        too small for two folds stay uncalibrated (``calibrator_`` is then None).
    monotone : dict or None, default=None
        Feature name (or ``f0``, ``f1``, ... for arrays) to +1 or -1.
    n_jobs : int or None, default=None
        Members trained at once (None: 1). It never changes a result.
    random_state : int, RandomState instance or None, default=None
        Seed of everything random.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The two classes; the second is the one whose risk is predicted.
    bag_ : Bag
        The boosters.
    calibrator_ : Calibrator or None
        Map from mean log-odds to risk.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray
        Names of the columns, where `X` had them.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> y = (X[:, 0] + rng.normal(size=200) > 0).astype(int)
    >>> model = MagnesiumRiskClassifier(members=2, rounds=20, random_state=0).fit(X, y)
    >>> model.predict_proba(X[:2]).shape
    (2, 2)
    """

    def __init__(
        self,
        members: int = 10,
        *,
        subsample_people: float = 0.9,
        rounds: int = 160,
        learning_rate: float = 0.04,
        max_depth: int = 4,
        min_child_weight: float = 5.0,
        reg_lambda: float = 5.0,
        reg_alpha: float = 0.0,
        gamma: float = 0.0,
        subsample: float = 0.7,
        colsample_bytree: float = 0.3,
        colsample_bynode: float = 1.0,
        max_bin: int = 64,
        calibrate: bool = True,
        calibration_methods: tuple[str, ...] = ("logistic", "beta"),
        calibration_folds: int = 5,
        monotone: dict[str, int] | None = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.members = members
        self.subsample_people = subsample_people
        self.rounds = rounds
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.min_child_weight = min_child_weight
        self.reg_lambda = reg_lambda
        self.reg_alpha = reg_alpha
        self.gamma = gamma
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.colsample_bynode = colsample_bynode
        self.max_bin = max_bin
        self.calibrate = calibrate
        self.calibration_methods = calibration_methods
        self.calibration_folds = calibration_folds
        self.monotone = monotone
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> MagnesiumRiskClassifier:
        """Train the bag and its calibrator.

        Parameters
        ----------
        X
            Features, shape (n, p); NaN is missing.
        y
            Two classes, shape (n,).
        sample_weight
            Weights of rows, shape (n,). A row of weight 0 is left out.
        groups
            Person of each row, shape (n,), kept whole by subsamples and folds; default each row.

        Returns
        -------
        MagnesiumRiskClassifier
            Itself.
        """
        X, y = validate_data(
            self, X, y, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=2
        )
        check_classification_targets(y)
        self.classes_, code = np.unique(y, return_inverse=True)
        if len(self.classes_) > 2:
            # The wording that scikit-learn asks of binary classifiers.
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"{type_of_target(y)}, with {len(self.classes_)} classes."
            )
        if len(self.classes_) < 2:
            raise ValueError(
                "MagnesiumRiskClassifier can't train when only one class is present: "
                f"{self.classes_[0]!r}."
            )
        weight = None
        rows = np.ones(len(code), dtype=bool)
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
            rows = weight > 0
            weight = weight[rows]
        person = np.arange(len(code)) if groups is None else np.asarray(groups)
        check_consistent_length(X, person)
        matrix, outcome, person = _as_float32(X)[rows], code[rows], person[rows]
        seed = self.random_state
        if not isinstance(seed, (int, np.integer)):
            seed = check_random_state(seed).randint(2**31 - 1)
        names = tuple(getattr(self, "feature_names_in_", ())) or None
        shared: dict[str, Any] = {
            "weights": weight,
            "threads": self.n_jobs,
            "features": names,
            "monotone": self.monotone,
        }
        estimator = self._estimator()
        try:
            self.calibrator_ = self._calibrator(matrix, outcome, person, estimator, seed, shared)
            self.bag_: Bag = fit_bag(
                matrix, outcome, person, estimator, seed=derive_seed(seed, "final"), **shared
            )
        except CohortError as error:
            raise ValueError(str(error)) from error
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return calibrated log-odds of the second class, shape (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        margin = self.bag_.margin(_as_float32(X))
        return margin if self.calibrator_ is None else self.calibrator_.log_odds(margin)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the risks of both classes, shape (n, 2)."""
        from scipy.special import expit

        odds = self.decision_function(X)
        return np.column_stack([expit(-odds), expit(odds)])

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likelier class, shape (n,).

        At a risk of one half. Where a treatment or test is decided, choose the threshold by its
        harms and benefits instead.
        """
        chosen = (self.decision_function(X) > 0).astype(int)
        return np.asarray(self.classes_[chosen])

    def _estimator(self) -> Estimator:
        """Return the parameters as an estimator's definition, which checks them."""
        return Estimator(
            members=self.members,
            subsample_people=self.subsample_people,
            rounds=self.rounds,
            parameters={name: getattr(self, name) for name in BOOSTER_DEFAULTS},
        )

    def _calibrator(
        self,
        matrix: NDArray[np.float32],
        outcome: NDArray[Any],
        person: NDArray[Any],
        estimator: Estimator,
        seed: int,
        shared: dict[str, Any],
    ) -> Calibrator | None:
        """Return the calibrator, or None where it is not wanted or the data are too small."""
        if not self.calibrate:
            return None
        place = derive_seed(seed, "crossfit")
        try:
            margin = cross_fitted_margins(
                matrix, outcome, person, estimator, self.calibration_folds, place, **shared
            )
        except CohortError:
            return None
        return fit_calibrator(
            margin,
            outcome,
            self.calibration_methods,  # type: ignore[arg-type]
            weights=shared["weights"],
            groups=person,
            seed=derive_seed(seed, "calibration"),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_class = False
        return tags


def _as_float32(X: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the matrix in the precision of the boosters; too large numbers are refused."""
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(X, dtype=np.float32)
    if np.isinf(matrix).any():
        raise InputError(
            f"{int(np.isinf(matrix).sum())} numbers too large for 32-bit floats",
            "numbers up to 3e38",
            "check the units of the features",
        )
    return matrix
