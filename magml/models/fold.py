"""What the folds of a nested cross-validation fitted and predicted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from magml.definitions.model import Estimator
from magml.models.calibration import Calibrator
from magml.models.search import Trial


@dataclass(frozen=True)
class Fold:
    """What one outer fold fitted.

    Attributes
    ----------
    number
        From 0.
    train, test, train_cases, test_cases
        Rows and cases of the cohort on both sides; rows that only train are not counted.
    features
        Columns in use, in order.
    estimator, calibrator, trials
        Chosen and fitted on the training rows.
    notes
        By baseline or peer, what the reader should know of it.
    """

    number: int
    train: int
    test: int
    train_cases: int
    test_cases: int
    features: tuple[str, ...]
    estimator: Estimator
    calibrator: Calibrator
    trials: tuple[Trial, ...]
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class NestedResult:
    """Risks of every row by models that never saw it, its fold or its group.

    Attributes
    ----------
    fold
        Outer fold of each row, int64, shape (n,); -1 for rows that are not tested.
    risks
        By name (``model``, variants, baselines, peers), calibrated risks, shape (n,); NaN for
        rows that are not tested.
    range_low, range_high
        The model's 10th and 90th percentile over members, shape (n,).
    not_computable
        Baseline to the reason why the data do not allow it.
    folds
        What each fold fitted.
    untested
        By name, risks of further people whose outcome nobody measured, where there are any.
    """

    fold: NDArray[np.int64]
    risks: dict[str, NDArray[np.float64]]
    range_low: NDArray[np.float64]
    range_high: NDArray[np.float64]
    not_computable: dict[str, str]
    folds: tuple[Fold, ...]
    untested: dict[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class FoldResult:
    """What one fold gives: its record, and risks of its rows by name."""

    fold: Fold
    risks: dict[str, NDArray[np.float64]]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    lacking: dict[str, str]


class FinishedFolds(Protocol):
    """Where finished folds are kept, so that a run that was interrupted goes on from there."""

    def fold(self, number: int) -> FoldResult | None:
        """Return what was kept of a fold, or None."""

    def keep_fold(self, number: int, result: FoldResult) -> None:
        """Keep a fold's result."""
