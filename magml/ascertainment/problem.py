"""What is corrected: checked input, the folds of the two models, and the columns they see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.errors import CohortError, InputError
from magml.models.splits import inner_folds

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Problem:
    """Checked input."""

    matrix: NDArray[np.float32]
    names: tuple[str, ...]
    tested: NDArray[np.bool_]
    events: NDArray[np.bool_]
    risks: dict[str, Floats]
    persons: NDArray[np.int64]
    groups: NDArray[np.intp]
    thresholds: Floats

    @classmethod
    def of(
        cls,
        X: ArrayLike,
        tested: ArrayLike,
        labels: ArrayLike,
        risks: Mapping[str, ArrayLike],
        persons: ArrayLike,
        names: Sequence[str] | None,
        groups: ArrayLike | None,
        thresholds: Sequence[float],
    ) -> Problem:
        """Check the input of :func:`magml.ascertainment.correct`."""
        from magml.evaluation.checks import (
            check_groups,
            check_labels,
            check_risks,
            check_thresholds,
        )

        matrix = np.asarray(X, dtype=np.float32)
        measured = np.asarray(tested, dtype=bool)
        n = len(measured)
        given = np.asarray(labels, dtype=np.float64)
        if matrix.ndim != 2 or len(matrix) != n or given.shape != (n,):
            raise InputError(
                f"columns of shape {matrix.shape} and {given.size} labels for {n} rows",
                "one row each",
                "pass tables of the same people in the same order",
            )
        if measured.all() or not measured.any():
            raise InputError(
                "nobody was measured" if not measured.any() else "everybody was measured",
                "measured and unmeasured people",
                "evaluate without a correction",
            )
        known = check_labels(given[measured])
        events = np.zeros(n, dtype=bool)
        events[measured] = known
        codes = check_groups(persons, n)
        cuts = check_thresholds(list(thresholds)) if len(thresholds) else np.zeros(0)
        return cls(
            matrix,
            tuple(names) if names is not None else tuple(f"x{i}" for i in range(matrix.shape[1])),
            measured,
            events,
            check_risks(risks, n),
            codes.astype(np.int64),
            codes if groups is None else check_groups(groups, n),
            cuts,
        )


def folds_of(problem: Problem, folds: int, seed: int) -> NDArray[np.int64]:
    """Return folds by person that each hold every kind of row."""
    kind = np.where(problem.tested, 1 + problem.events, 0)
    rarest = min(np.bincount(kind, minlength=3))
    if rarest < 2 * folds:
        raise CohortError(
            f"{rarest} rows of the rarest kind (measured with the outcome, measured without, "
            f"unmeasured) for {folds} folds",
            f"at least {2 * folds} of each",
            "widen the cohort, lower ascertainment.folds, or leave ascertainment out",
        )
    return inner_folds(
        kind == np.argmin(np.bincount(kind, minlength=3)), problem.persons, folds, seed
    )


def choose_columns(
    X: NDArray[np.float32],
    tested: NDArray[np.bool_],
    events: NDArray[np.bool_],
    most: int,
) -> NDArray[np.int64]:
    """Return the columns that tell most of who is measured and of what is found, at most `most`.

    Columns are ranked by the larger of two absolute standardised mean differences: measured and
    unmeasured, and measured with and without the outcome. Whether a value is there counts too.

    Examples
    --------
    >>> X = np.array([[0, 5], [0, 6], [1, 5], [1, 6]], dtype=np.float32)
    >>> tested = np.array([False, False, True, True])
    >>> choose_columns(X, tested, np.zeros(4, dtype=bool), 1).tolist()
    [0]
    """
    score = np.zeros(X.shape[1])
    for place in range(X.shape[1]):
        column = X[:, place].astype(np.float64)
        there = ~np.isnan(column)
        if not there.any():
            continue
        filled = np.where(there, column, np.median(column[there]))
        for values in (filled, there.astype(np.float64)):
            spread = values.std()
            if spread < 1e-12:
                continue
            for one, other in ((tested, ~tested), (events & tested, ~events & tested)):
                if one.any() and other.any():
                    gap = abs(values[one].mean() - values[other].mean()) / spread
                    score[place] = max(score[place], gap)
    best = np.argsort(-score, kind="stable")[:most]
    return np.sort(best[score[best] > 0]).astype(np.int64)
