"""Usual drinking from the alcohol questionnaire of NHANES."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from magml.sources.tables import source_table

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

#: Variables read where a cycle has them.
VARIABLES = ("ALQ101", "ALQ110", "ALQ111", "ALQ120Q", "ALQ120U", "ALQ121", "ALQ130")


def usual_drinks(answers: pd.DataFrame) -> NDArray[np.float64]:
    """Return usual alcoholic drinks a day over the past 12 months.

    Days with a drink a year x drinks on such a day / 365.25. To 2015-16 the days are ALQ120Q per
    ALQ120U, from 2017 on ALQ121. Who never drank (fewer than 12 drinks in life: ALQ101 and
    ALQ110 are 2; ALQ111 is 2) and who had no drink in the year has 0; who refused, did not know
    or was not asked is missing.

    Parameters
    ----------
    answers
        One row a person with those of `VARIABLES` that the cycle has.

    Returns
    -------
    numpy.ndarray
        Shape (n,), drinks of about 14 g ethanol a day.

    Examples
    --------
    >>> import pandas as pd
    >>> weekly = {"ALQ120Q": [7.0, 0.0, 999.0], "ALQ120U": [1.0, None, None]}
    >>> usual_drinks(pd.DataFrame({**weekly, "ALQ130": [3.0, None, 2.0]})).round(2)
    array([ 3.,  0., nan])
    """
    settings = source_table("nhanes")
    asked = answers.reindex(columns=list(VARIABLES))
    amounts = asked[["ALQ120Q", "ALQ130"]]
    amounts = amounts.where(~amounts.isin(settings["refused"]["drinks"]))
    counted = amounts["ALQ120Q"] * asked["ALQ120U"].map(settings["alcohol_units"])
    days = asked["ALQ121"].map(settings["alcohol_frequency"]).fillna(counted)
    usual = np.minimum(days, 365.25) * amounts["ALQ130"] / 365.25
    never = ((asked["ALQ101"] == 2) & (asked["ALQ110"] == 2)) | (asked["ALQ111"] == 2)
    none = never | (amounts["ALQ120Q"] == 0) | (asked["ALQ121"] == 0)
    return np.where(none, 0.0, usual.to_numpy(dtype=np.float64))
