"""Inverse-probability weights: stabilised, truncated, with what tells whether to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
#: A chance of being measured below this is next to none.
RARELY = 0.05
#: A standardised mean difference from here on counts as imbalance.
#: Austin PC. Stat Med 2009;28:3083-107.
IMBALANCE = 0.1


def inverse_weights(
    chance: Floats, tested: NDArray[np.bool_], draws: Floats, truncate: float
) -> Floats:
    """Return stabilised, truncated weights of the measured rows, 0 for the others.

    The weight is the share measured over the person's own chance, cut at the quantile `truncate`
    of the measured, and scaled so that the measured weigh 1 on average: together they then stand
    for the whole target population.

    Parameters
    ----------
    chance
        Probability of being measured, shape (n,).
    tested
        Who was measured, shape (n,).
    draws
        How often a resample drew each row, shape (n,); ones for the sample itself.
    truncate
        Quantile at which weights are cut; 1 leaves them as they are.

    Returns
    -------
    numpy.ndarray
        Shape (n,); draws are not multiplied in.

    References
    ----------
    Cole SR, Hernan MA. Am J Epidemiol 2008;168:656-64.

    Examples
    --------
    >>> inverse_weights(
    ...     np.array([0.25, 0.5, 0.5]), np.array([True, True, False]), np.ones(3), 1.0
    ... ).round(4).tolist()
    [1.3333, 0.6667, 0.0]
    """
    used = tested & (draws > 0)
    raw = np.zeros(len(chance))
    raw[used] = 1.0 / np.maximum(chance[used], 1e-6)
    if truncate < 1.0:
        raw = np.minimum(raw, _quantile(raw[used], draws[used], truncate))
    return raw * (draws[used].sum() / (raw * draws).sum())


def _quantile(values: Floats, draws: Floats, share: float) -> float:
    """Return the value below which a share of the draws lies."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(draws[order])
    return float(values[order][np.searchsorted(reached, share * reached[-1])])


@dataclass(frozen=True)
class Diagnostics:
    """Whether the weights can be trusted.

    Attributes
    ----------
    target, tested
        Rows of the target population, and those measured.
    effective
        Effective sample size of the measured under the weights (Kish).
    largest, before_truncation
        Largest weight after and before truncation; 1 is the average.
    truncated
        Measured rows whose weight was cut.
    least, greatest
        Smallest and largest chance of being measured in the target population.
    rarely
        Share of the target population whose chance is below 5%.
    unlike
        Share of the unmeasured whose chance is below that of 99% of the measured: nobody like
        them was measured, and what is said of them is extrapolation.
    auroc
        How well the records tell who is measured; 0.5 is not at all.
    inverse_sum
        Sum of the untruncated inverse chances of the measured over the target population: 1
        where the chances are right on average.
    imbalanced_before, imbalanced_after
        Columns whose standardised mean difference is 0.1 or more, without and with weights.
    """

    target: int
    tested: int
    effective: float
    largest: float
    before_truncation: float
    truncated: int
    least: float
    greatest: float
    rarely: float
    unlike: float
    auroc: float
    inverse_sum: float
    imbalanced_before: int
    imbalanced_after: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)

    def concerns(self) -> tuple[str, ...]:
        """Return what speaks against trusting the weights, in words."""
        found = []
        if self.effective < 0.25 * self.tested:
            found.append(
                f"the {self.tested} measured count as {self.effective:.0f} under the weights: a "
                "few people carry the corrected figures"
            )
        if self.unlike > 0.05:
            found.append(
                f"{self.unlike:.0%} of the unmeasured are unlike nearly everybody measured: "
                "what is said of them is extrapolation"
            )
        if self.imbalanced_after:
            found.append(
                f"{self.imbalanced_after} columns still differ between the weighted measured and "
                "the target population"
            )
        if abs(self.inverse_sum - 1.0) > 0.2:
            found.append(
                f"the inverse chances add up to {self.inverse_sum:.2f} of the target population "
                "in place of 1: the ascertainment model fits poorly"
            )
        return tuple(found)


def diagnose(
    chance: Floats,
    tested: NDArray[np.bool_],
    weights: Floats,
    truncate: float,
    balance_table: pd.DataFrame,
) -> Diagnostics:
    """Describe weights that :func:`inverse_weights` made with all draws 1."""
    from magml.evaluation.discrimination import auroc

    used = weights[tested]
    raw = inverse_weights(chance, tested, np.ones(len(chance)), 1.0)[tested]
    cut = 1.0 / np.maximum(chance[tested], 1e-6)
    bound = np.percentile(chance[tested], 1)
    return Diagnostics(
        target=len(chance),
        tested=int(tested.sum()),
        effective=float(used.sum() ** 2 / (used**2).sum()),
        largest=float(used.max()),
        before_truncation=float(raw.max()),
        truncated=int((cut > _quantile(cut, np.ones(len(cut)), truncate)).sum()),
        least=float(chance.min()),
        greatest=float(chance.max()),
        rarely=float((chance < RARELY).mean()),
        unlike=float((chance[~tested] < bound).mean()) if (~tested).any() else 0.0,
        auroc=auroc(tested, np.clip(chance, 0, 1)) if (~tested).any() else 0.5,
        inverse_sum=float(cut.sum() / len(chance)),
        imbalanced_before=int((balance_table["before"].abs() >= IMBALANCE).sum()),
        imbalanced_after=int((balance_table["after"].abs() >= IMBALANCE).sum()),
    )


def balance(
    X: NDArray[np.floating],
    names: Sequence[str],
    tested: NDArray[np.bool_],
    weights: Floats,
) -> pd.DataFrame:
    """Compare the measured with the target population, without and with weights.

    Parameters
    ----------
    X
        Columns with gaps, shape (n, p). Whether a value is there is compared as well, for
        columns with gaps.
    names
        Names of the columns.
    tested, weights
        Shape (n,).

    Returns
    -------
    pandas.DataFrame
        `column`, `before`, `after`: mean of the measured minus mean of the target population,
        over the target population's standard deviation; largest before first.

    Examples
    --------
    >>> table = balance(
    ...     np.array([[0.0], [1.0], [0.0], [1.0]]), ["age"],
    ...     np.array([False, True, True, True]), np.array([0.0, 0.75, 1.5, 0.75]),
    ... )
    >>> table.round(3).values.tolist()
    [['age', 0.333, 0.0]]
    """
    import pandas as pd

    rows = []
    for place, name in enumerate(names):
        column = X[:, place].astype(np.float64)
        there = ~np.isnan(column)
        parts = [(name, column, there)]
        if not there.all() and there.any():
            parts.append((f"{name} is recorded", there.astype(np.float64), np.ones_like(there)))
        for label, values, known in parts:
            spread = values[known].std() if known.any() else 0.0
            among = known & tested
            if not spread or not among.any() or not weights[among].sum():
                continue
            whole = values[known].mean()
            before = (values[among].mean() - whole) / spread
            after = (np.average(values[among], weights=weights[among]) - whole) / spread
            rows.append({"column": label, "before": before, "after": after})
    table = pd.DataFrame(rows, columns=["column", "before", "after"])
    order = (-table["before"].abs()).sort_values(kind="stable").index
    return table.loc[order].reset_index(drop=True)
