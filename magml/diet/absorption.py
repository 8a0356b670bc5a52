"""How much of the magnesium in food could be absorbed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Atomic mass of magnesium, g/mol.
MAGNESIUM = 24.305
#: Largest amount that the saturable path takes up a meal, mmol.
SATURABLE = 1.7
#: Amount in a meal at which the saturable path runs at half of it, mmol.
HALF_SATURATION = 1.5
#: Share that is absorbed whatever the amount.
LINEAR = 0.07


def potential_absorption(intake: ArrayLike, meals: int = 3) -> NDArray[np.float64]:
    """Return the magnesium that a healthy gut would absorb of a day's food, mg/d.

    A saturable and a linear part, a meal: ``1.7 x / (1.5 + x) + 0.07 x`` mmol of `x` mmol.

    Parameters
    ----------
    intake
        Magnesium in food, mg/d; NaN gives NaN, a negative amount NaN.
    meals
        Equal meals that it is eaten in; the same amount in more meals is absorbed better.

    Returns
    -------
    numpy.ndarray
        float64, in the shape of `intake`.

    Notes
    -----
    Fine KD et al., J Clin Invest 1991;88:396-402 give the form, a linear part of 7% and fractions
    of 65% to 11% from the smallest to the largest meal. The two saturable constants are not in
    the abstract; they are fitted to these end points.

    Examples
    --------
    >>> potential_absorption([0.0, 300.0]).round(1)
    array([  0. , 111.8])
    """
    daily = np.asarray(intake, dtype=np.float64)
    meal = np.where(daily >= 0, daily, np.nan) / MAGNESIUM / meals
    absorbed = SATURABLE * meal / (HALF_SATURATION + meal) + LINEAR * meal
    return absorbed * MAGNESIUM * meals
