"""Exact tree SHAP values of a bag on two scales, and how far its members agree.

`magml.models.tree_shap` gives each member's values; the mean of exact SHAP values is the exact
SHAP value of the mean margin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.errors import MagmlError
from magml.explanations.stability import agreement, rank_range
from magml.models.tree_shap import in_threads, member_blocks

if TYPE_CHECKING:
    from magml.models.bag import Bag
    from magml.models.calibration import Calibrator

#: Contributions and base must give the log-odds, and the risk, within this.
TOLERANCE = 1e-5
RISK_TOLERANCE = 1e-6
#: Rows whose places are found together; few, so that they stay in the processor's cache.
_AT_ONCE = 128
#: Rows whose sums are settled together, so that many need no second matrix.
_SETTLED = 4_096
#: Below this distance from the base the secant is taken to be the calibrator's derivative.
_NEAR = 1e-6


@dataclass(frozen=True, eq=False)
class Contributions:
    """What each feature adds to each row's log-odds, and the members' agreement.

    Attributes
    ----------
    margin
        Log-odds of each row, shape (n,).
    log_odds
        Contributions, shape (n, p); with the base they sum to `margin`.
    stability
        Share of members whose contribution has the sign of the mean, by level: ``feature``
        (n, p), and each level given, (n, its number of groups).
    ranks
        By level, between which places by size most members put each contribution
        (`magml.explanations.stability.rank_range`), with a last axis of 2.
    """

    margin: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    stability: dict[str, NDArray[np.float32]]
    ranks: dict[str, NDArray[np.int16]]


def contributions(
    bag: Bag, X: NDArray[np.float32], base: float, levels: Mapping[str, NDArray[np.intp]]
) -> Contributions:
    """Return the exact contributions of every feature, checked row by row.

    Parameters
    ----------
    bag
        The boosters.
    X
        Matrix, shape (n, p).
    base
        The bag's base log-odds.
    levels
        By the name of a level, the group of each feature, 0 .. g - 1, shape (p,).

    Returns
    -------
    Contributions

    Raises
    ------
    MagmlError
        If base and contributions of a row differ from its log-odds by more than 1e-5.
    """
    rows, columns = X.shape
    sizes = {name: int(groups.max()) + 1 if columns else 0 for name, groups in levels.items()}
    log_odds = np.zeros((rows, columns))
    shapes = {"feature": columns, **sizes}
    stability = {name: np.zeros((rows, size), dtype=np.float32) for name, size in shapes.items()}
    ranks = {name: np.zeros((rows, size, 2), dtype=np.int16) for name, size in shapes.items()}
    margin = np.zeros(rows)

    def compare(first: int, members: NDArray[np.float32], start: int) -> None:
        """Fill in how far members agree on a few rows of a block that begins at `first`."""
        some = np.ascontiguousarray(members[:, start : start + _AT_ONCE])
        here = slice(first + start, first + start + some.shape[1])
        for name in shapes:
            sums = some if name == "feature" else sum_groups(some, levels[name], sizes[name])
            stability[name][here] = agreement(sums)
            ranks[name][here] = rank_range(sums)

    for block, found, margins in member_blocks(bag.boosters, X, bag.threads):
        members = found[..., :-1]
        log_odds[block] = members.mean(axis=0, dtype=np.float64)
        margin[block] = margins.mean(axis=1)
        starts = range(0, members.shape[1], _AT_ONCE)
        in_threads(partial(compare, block.start, members), starts, bag.threads)
    off = np.abs(base + log_odds.sum(axis=1) - margin) > TOLERANCE
    if off.any():
        # Summed in float64 over short runs of trees, which the bag itself knows how to do.
        log_odds[off] = bag.contributions(X[off])[:, :-1]
    check_sums(base + log_odds.sum(axis=1), margin, TOLERANCE, "log-odds")
    _settle(log_odds, margin - base)
    return Contributions(margin, log_odds, stability, ranks)


def risk_contributions(
    log_odds: NDArray[np.float64], base: float, calibrator: Calibrator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return contributions on the scale of calibrated risk, and the risks they sum to.

    Each row's contributions are multiplied by one ratio: (risk - base risk) / (log-odds - base),
    the slope of the calibrated curve between the two points. At the base itself that slope is
    the calibrator's derivative. Order, sign and shares within a row stay those of the log-odds.

    Parameters
    ----------
    log_odds
        Contributions, shape (n, p), whose sums are the rows' distances from the base.
    base
        Base log-odds.
    calibrator
        Log-odds to risk.

    Returns
    -------
    numpy.ndarray
        Contributions to the risk, shape (n, p); a row sums to its risk minus the base risk.
    numpy.ndarray
        Calibrated risks, shape (n,).

    Raises
    ------
    MagmlError
        If a row's sum is off by more than 1e-6.

    Examples
    --------
    >>> from magml.models.calibration import Calibrator
    >>> values, risk = risk_contributions(
    ...     np.array([[2.0, -1.0]]), 0.0, Calibrator("logistic", 0.0, 1.0, 1.0))
    >>> values.round(4), risk.round(4)
    (array([[ 0.4621, -0.2311]]), array([0.7311]))
    """
    distance = log_odds.sum(axis=1)
    risk = calibrator.risk(base + distance)
    base_risk = float(calibrator.risk(base))
    near = np.abs(distance) < _NEAR
    ratio = np.where(
        near,
        calibrator.derivative(base + distance / 2),
        (risk - base_risk) / np.where(near, 1.0, distance),
    )
    values = log_odds * ratio[:, None]
    check_sums(base_risk + values.sum(axis=1), risk, RISK_TOLERANCE, "risk")
    return values, risk


def check_sums(
    found: NDArray[np.float64], expected: NDArray[np.float64], tolerance: float, scale: str
) -> None:
    """Refuse explanations that do not add up.

    Raises
    ------
    MagmlError
        With the number of rows and the largest difference.
    """
    off = np.abs(found - expected)
    # "not within" rather than "beyond", so that NaN is a violation too.
    bad = int((~(off <= tolerance)).sum())
    if bad:
        raise MagmlError(
            f"the contributions of {bad} of {len(off)} rows differ from their {scale} by up to "
            f"{np.nanmax(off) if np.isfinite(off).any() else np.nan:.1e}",
            f"a difference of at most {tolerance:.0e}",
            "report this as a defect with the versions of magml and xgboost",
        )


def sum_groups(values: NDArray[Any], groups: NDArray[np.intp], size: int) -> NDArray[np.float64]:
    """Return sums over the last axis by group, shape (..., size).

    Examples
    --------
    >>> sum_groups(np.array([[1.0, 2.0, 4.0]]), np.array([0, 1, 0]), 2)
    array([[5., 2.]])
    """
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(size))
    return np.add.reduceat(values[..., order], starts, axis=-1, dtype=np.float64)


def _settle(values: NDArray[np.float64], total: NDArray[np.float64]) -> None:
    """Make contributions sum to `total`, the float32 rounding spread over them by size.

    It is below the tolerance that was checked; without this the rest would show on the risk
    scale, where sums are held to 1e-6.
    """
    for start in range(0, len(values), _SETTLED):
        some = values[start : start + _SETTLED]
        rest = total[start : start + _SETTLED] - some.sum(axis=1)
        size = np.abs(some)
        whole = size.sum(axis=1, keepdims=True)
        some += np.divide(size, whole, out=np.zeros_like(size), where=whole > 0) * rest[:, None]
