"""The Magnesium Depletion Score of Fan and colleagues."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def magnesium_depletion_score(
    *,
    diuretic: ArrayLike,
    ppi: ArrayLike,
    egfr: ArrayLike,
    drinks_per_day: ArrayLike,
    female: ArrayLike,
) -> Any:
    """Return the Magnesium Depletion Score, 0 (least) to 5 (most at risk of depletion).

    One point each for current use of a diuretic, current use of a proton pump inhibitor and
    heavy drinking (more than 1 drink a day for women, 2 for men); one point for an eGFR of 60 to
    below 90 and two for one below 60 mL/min/1.73 m2.

    Parameters
    ----------
    diuretic, ppi
        1 where the drug is in current use, 0 where it is not.
    egfr
        Estimated glomerular filtration rate, mL/min/1.73 m2, as by
        :func:`magml.kidney.ckd_epi_2021`.
    drinks_per_day
        Alcoholic drinks a day; one drink is 14 g of ethanol.
    female
        1 for a woman, 0 for a man.

    Returns
    -------
    float, numpy.ndarray or pandas.Series
        The score in the shape the inputs broadcast to; a Series, with its index, if an input is
        one; a float if all inputs are scalars. **NaN where any input is missing**, for a sum
        without an item is not the score; sex is needed only where it decides (above 1 and up to
        2 drinks a day).

    Notes
    -----
    Exactly 60 counts 1 and exactly 90 counts 0, which publications do not state alike.
    Source: Fan L et al., J Nutr 2021;151:2226-35, doi 10.1093/jn/nxab138.

    Examples
    --------
    >>> magnesium_depletion_score(diuretic=1, ppi=1, egfr=45, drinks_per_day=3, female=0)
    5.0
    >>> magnesium_depletion_score(
    ...     diuretic=[0, 0], ppi=[0, 1], egfr=[95, 75], drinks_per_day=[1.5, 1.5], female=[0, 1]
    ... )
    array([0., 3.])
    """
    score = (
        _points(diuretic)
        + _points(ppi)
        + kidney_points(egfr)
        + drinking_points(drinks_per_day, female)
    )
    inputs: tuple[Any, ...] = (diuretic, ppi, egfr, drinks_per_day, female)
    for given in inputs:
        if hasattr(given, "to_frame"):
            return type(given)(score, index=given.index, name="magnesium_depletion_score")
    return float(score) if score.ndim == 0 else score


def kidney_points(egfr: ArrayLike) -> NDArray[np.float64]:
    """Return the points for kidney function: 2 below 60, 1 from 60 to below 90, else 0.

    Parameters
    ----------
    egfr
        mL/min/1.73 m2; NaN gives NaN.

    Examples
    --------
    >>> kidney_points([59.9, 60, 89.9, 90, float("nan")])
    array([ 2.,  1.,  1.,  0., nan])
    """
    rate = np.asarray(egfr, dtype=np.float64)
    points = (rate < 90).astype(np.float64) + (rate < 60)
    return np.where(np.isnan(rate), np.nan, points)


def drinking_points(drinks_per_day: ArrayLike, female: ArrayLike) -> NDArray[np.float64]:
    """Return the point for heavy drinking: more than 1 drink a day for women, 2 for men.

    Parameters
    ----------
    drinks_per_day
        Drinks of 14 g ethanol a day; NaN gives NaN.
    female
        1 for a woman, 0 for a man; NaN gives NaN only above 1 and up to 2 drinks.

    Examples
    --------
    >>> drinking_points([1, 1.5, 1.5, 2.5], [1, 1, 0, float("nan")])
    array([0., 1., 0., 1.])
    """
    drinks = np.asarray(drinks_per_day, dtype=np.float64)
    sex = np.asarray(female, dtype=np.float64)
    points = np.where(drinks > 2, 1.0, np.where(drinks > 1, (sex > 0.5).astype(float), 0.0))
    unknown = np.isnan(drinks) | (np.isnan(sex) & (drinks > 1) & (drinks <= 2))
    return np.where(unknown, np.nan, points)


def _points(item: ArrayLike) -> NDArray[np.float64]:
    """Return 1 for a positive item, 0 for zero, NaN for missing."""
    value = np.asarray(item, dtype=np.float64)
    return np.where(np.isnan(value), np.nan, (value > 0).astype(np.float64))
