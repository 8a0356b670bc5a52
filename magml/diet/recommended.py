"""Dietary reference intakes of magnesium.

They stand in the code, as the coefficients of kidney equations do, because a model's features must
not change with a file that is read when it scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Lower bounds of the bands of age, years.
_AGES = np.array([1.0, 4.0, 9.0, 14.0, 19.0, 31.0])
_EAR = {
    "men": np.array([65.0, 110.0, 200.0, 340.0, 330.0, 350.0]),
    "women": np.array([65.0, 110.0, 200.0, 300.0, 255.0, 265.0]),
}
_RDA = {
    "men": np.array([80.0, 130.0, 240.0, 410.0, 400.0, 420.0]),
    "women": np.array([80.0, 130.0, 240.0, 360.0, 310.0, 320.0]),
}
#: From 14, 19 and 31 years.
_PREGNANT = {"ear": np.array([335.0, 290.0, 300.0]), "rda": np.array([400.0, 350.0, 360.0])}
_LACTATING = {"ear": np.array([300.0, 255.0, 265.0]), "rda": np.array([360.0, 310.0, 320.0])}


@dataclass(frozen=True)
class RecommendedIntake:
    """Estimated average requirement and recommended dietary allowance, mg/d, float64 [n]."""

    ear: NDArray[np.float64]
    rda: NDArray[np.float64]


def recommended_intake(
    age: ArrayLike, female: ArrayLike, pregnant: ArrayLike = 0, lactating: ArrayLike = 0
) -> RecommendedIntake:
    """Return the magnesium requirement and allowance by age, sex, pregnancy and lactation.

    Parameters
    ----------
    age
        Years; below 1 or missing gives NaN.
    female
        1 for a woman, 0 for a man; NaN gives NaN from the age of 14, where it matters.
    pregnant, lactating
        1 where true; missing counts as not. Applies to women of 14 and older; pregnancy comes
        before lactation.

    Returns
    -------
    RecommendedIntake
        mg of magnesium a day, in the shape the inputs broadcast to.

    Notes
    -----
    Source: Institute of Medicine, Dietary Reference Intakes, 1997. The values for 14-18 years
    were read there, those of adults and of pregnancy in secondary sources; the requirements below
    14 years and those of lactation are from general knowledge.

    Examples
    --------
    >>> recommended_intake([25, 25, 60], [0, 1, 1]).ear
    array([330., 255., 265.])
    >>> recommended_intake(35, 1, pregnant=1).rda
    array(360.)
    """
    years, woman, carries, nurses = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64) for x in (age, female, pregnant, lactating))
    )
    known = np.isfinite(years) & (years >= 1) & (np.isfinite(woman) | (years < 14))
    band = np.clip(np.searchsorted(_AGES, np.where(known, years, 1.0), side="right") - 1, 0, None)
    is_woman = np.where(np.isnan(woman), 0.0, woman) > 0.5
    grown = is_woman & (band >= 3)
    late = np.clip(band - 3, 0, None)

    def table(by_sex: dict[str, NDArray[np.float64]], key: str) -> NDArray[np.float64]:
        plain = np.where(is_woman, by_sex["women"][band], by_sex["men"][band])
        fed = np.where(grown & (nurses > 0.5), _LACTATING[key][late], plain)
        full = np.where(grown & (carries > 0.5), _PREGNANT[key][late], fed)
        return np.where(known, full, np.nan)

    return RecommendedIntake(ear=table(_EAR, "ear"), rda=table(_RDA, "rda"))
