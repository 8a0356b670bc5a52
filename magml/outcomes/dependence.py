"""Whether indicators of a latent class go together beyond the classes.

Source: Bandeen-Roche K et al. J Am Stat Assoc 1997;92:1375-86 (local dependence).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
#: Bivariate residuals from here on speak of local dependence: the 5% point of chi-squared, 1 df.
DEPENDENT = 3.84


def bivariate_residuals(X: Floats, p: Floats, names: tuple[str, ...]) -> pd.DataFrame:
    """Compare how each pair of indicators goes together with what the classes explain.

    The residual is n times the squared correlation that is left within classes, which is about
    chi-squared on 1 df if the pair is independent within classes.

    Parameters
    ----------
    X
        Indicators with gaps, shape (n, p).
    p
        Class probabilities, shape (n, classes).
    names
        Of the indicators.

    Returns
    -------
    pandas.DataFrame
        As in :class:`LatentClasses`.
    """
    import pandas as pd

    rows = []
    for i in range(X.shape[1]):
        for j in range(i + 1, X.shape[1]):
            both = ~np.isnan(X[:, i]) & ~np.isnan(X[:, j])
            x, y, w = X[both, i], X[both, j], p[both]
            share = w.sum(axis=0) / w.sum()
            mx, my = (w.T @ x) / w.sum(axis=0), (w.T @ y) / w.sum(axis=0)
            spread = x.std() * y.std()
            expected = float((share * (mx - x.mean()) * (my - y.mean())).sum() / spread)
            observed = float(((x - x.mean()) * (y - y.mean())).mean() / spread)
            # What is left, over the variance within classes.
            within_x = x.var() - float((share * (mx - x.mean()) ** 2).sum())
            within_y = y.var() - float((share * (my - y.mean()) ** 2).sum())
            left = (observed - expected) * spread / np.sqrt(max(within_x * within_y, 1e-12))
            rows.append(
                {
                    "first": names[i],
                    "second": names[j],
                    "observed": observed,
                    "expected": expected,
                    "residual": float(both.sum() * left**2),
                }
            )
    return pd.DataFrame(rows)
