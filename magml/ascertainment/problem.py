"""What is corrected: checked input, the folds of the two models, and the columns they see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.errors import CohortError, InputError
from magml.models.splits import inner_folds

Floats = NDArray[np.float64]
#: Columns that correlate beyond this say the same.
ALIKE = 0.95


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

    Columns are ranked by the larger of two absolute differences of means in units of their
    standard errors: measured and unmeasured, and measured with and without the outcome. Without
    the standard error the many chance differences between a few cases and the others would crowd
    out what decides about testing. Whether a value is there counts too. A column that says the
    same as one before it (correlation above 0.95, gaps alike) is left out.

    Examples
    --------
    >>> X = np.array([[0, 5, 0], [0, 6, 0], [1, 5, 2], [1, 6, 2]], dtype=np.float32)
    >>> tested = np.array([False, False, True, True])
    >>> choose_columns(X, tested, np.zeros(4, dtype=bool), 2).tolist()
    [0]
    """
    there = ~np.isnan(X)
    middle = np.array(
        [np.median(x[t]) if t.any() else 0.0 for x, t in zip(X.T, there.T, strict=True)]
    )
    filled, gaps = _standardised(np.where(there, X, middle)), _standardised(there)
    score = np.zeros(X.shape[1])
    for one, other in ((tested, ~tested), (events & tested, ~events & tested)):
        n, m = int(one.sum()), int(other.sum())
        if n and m:
            size = np.sqrt(n * m / (n + m))
            for values in (filled, gaps):
                gap = np.abs(values[one].mean(axis=0) - values[other].mean(axis=0))
                score = np.maximum(score, gap * size)
    chosen: list[int] = []
    for place in np.argsort(-score, kind="stable"):
        if len(chosen) == most or score[place] <= 1e-9:
            break
        alike = np.abs(filled[:, chosen].T @ filled[:, place]) / len(X) > ALIKE
        same_gaps = (there[:, chosen] == there[:, [place]]).mean(axis=0) > ALIKE
        if not (alike & same_gaps).any():
            chosen.append(int(place))
    return np.sort(np.array(chosen, dtype=np.int64))


def _standardised(values: Floats | NDArray[np.bool_]) -> Floats:
    """Return columns of mean 0 and standard deviation 1; zeros where one does not vary."""
    centred = np.asarray(values, dtype=np.float64) - np.mean(values, axis=0, dtype=np.float64)
    spread = centred.std(axis=0)
    return np.asarray(centred / np.where(spread < 1e-12, np.inf, spread))
