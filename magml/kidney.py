"""Kidney function from serum creatinine: the CKD-EPI equations without race."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def ckd_epi_2021(
    creatinine_mg_dl: ArrayLike, age: ArrayLike, female: ArrayLike
) -> NDArray[np.float64]:
    """Return the estimated glomerular filtration rate by the CKD-EPI creatinine equation of 2021.

    Parameters
    ----------
    creatinine_mg_dl
        Serum creatinine, mg/dL (divide µmol/L by 88.4).
    age
        Age in years. The equation was made for adults.
    female
        1 for a woman, 0 for a man.

    Returns
    -------
    numpy.ndarray
        eGFR in mL/min/1.73 m2, in the shape the inputs broadcast to; NaN where an input is
        missing or creatinine is not positive.

    Notes
    -----
    142 x min(Scr/k, 1)^a x max(Scr/k, 1)^-1.200 x 0.9938^age x 1.012 if female; k is 0.7 for
    women and 0.9 for men, a is -0.241 and -0.302. Source: Inker LA et al., N Engl J Med
    2021;385:1737-49, doi 10.1056/NEJMoa2102953.

    Examples
    --------
    >>> ckd_epi_2021([0.7, 0.9], [0, 0], [1, 0]).round(3)
    array([143.704, 142.   ])
    """
    scr, years, woman, known = _inputs(creatinine_mg_dl, age, female)
    ratio = scr / np.where(woman, 0.7, 0.9)
    below = np.minimum(ratio, 1.0) ** np.where(woman, -0.241, -0.302)
    above = np.maximum(ratio, 1.0) ** -1.200
    rate = 142.0 * below * above * 0.9938**years * np.where(woman, 1.012, 1.0)
    return np.where(known, rate, np.nan)


def ckd_epi_2009(
    creatinine_mg_dl: ArrayLike, age: ArrayLike, female: ArrayLike, black: ArrayLike = 0
) -> NDArray[np.float64]:
    """Return the CKD-EPI creatinine estimate of 2009, with or without its term for race.

    For comparison with older publications; new work uses :func:`ckd_epi_2021`.

    Parameters
    ----------
    creatinine_mg_dl, age, female
        As for :func:`ckd_epi_2021`.
    black
        1 for people recorded as Black, whose rate the equation raises by 15.9%; default nobody,
        which leaves the term out. NaN counts as 0.

    Returns
    -------
    numpy.ndarray
        eGFR in mL/min/1.73 m2; NaN where an input is missing or creatinine is not positive.

    Notes
    -----
    141 x min(Scr/k, 1)^a x max(Scr/k, 1)^-1.209 x 0.993^age x 1.018 if female x 1.159 if Black;
    k is 0.7 and 0.9, a is -0.329 and -0.411. Source: Levey AS et al., Ann Intern Med
    2009;150:604-12, doi 10.7326/0003-4819-150-9-200905050-00006.

    Examples
    --------
    >>> ckd_epi_2009([0.7, 0.9, 0.9], [0, 0, 0], [1, 0, 0], [0, 0, 1]).round(3)
    array([143.538, 141.   , 163.419])
    """
    scr, years, woman, known = _inputs(creatinine_mg_dl, age, female)
    ratio = scr / np.where(woman, 0.7, 0.9)
    below = np.minimum(ratio, 1.0) ** np.where(woman, -0.329, -0.411)
    above = np.maximum(ratio, 1.0) ** -1.209
    term = np.where(np.asarray(black, dtype=np.float64) > 0.5, 1.159, 1.0)
    rate = 141.0 * below * above * 0.993**years * np.where(woman, 1.018, 1.0) * term
    return np.where(known, rate, np.nan)


def _inputs(creatinine: ArrayLike, age: ArrayLike, female: ArrayLike) -> tuple[Any, Any, Any, Any]:
    """Return float64 inputs safe to compute with, and where all of them are known."""
    scr = np.asarray(creatinine, dtype=np.float64)
    years = np.asarray(age, dtype=np.float64)
    woman = np.asarray(female, dtype=np.float64)
    known = (scr > 0) & np.isfinite(scr) & np.isfinite(years) & np.isfinite(woman)
    return np.where(scr > 0, scr, 1.0), years, woman > 0.5, known
