"""Is a lower AUROC the model's fault, or are these people harder to tell apart?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def model_based_auroc(risk: ArrayLike) -> float:
    """Return the AUROC that these risks would have if every one of them were right.

    Each pair of people counts with the probability that the first is a case and the second is
    not. An observed AUROC well below it speaks against the model's coefficients; a low one of
    both kinds speaks of people who are alike.

    Parameters
    ----------
    risk
        Predicted risks, 0 to 1, shape (n,).

    Returns
    -------
    float
        0.5 to 1; NaN for fewer than two rows.

    References
    ----------
    van Klaveren D et al. Stat Med 2016;35:4136-52 (model-based concordance).

    Examples
    --------
    Risks 0.8 and 0.2: the pair is ordered rightly with weight 0.8 x 0.8, wrongly with 0.2 x 0.2.

    >>> round(model_based_auroc([0.8, 0.2]), 6)
    0.941176
    """
    p: NDArray[np.float64] = np.sort(np.asarray(risk, dtype=np.float64))
    if len(p) < 2:
        return float("nan")
    q = 1 - p
    first = np.searchsorted(p, p, side="left")
    last = np.searchsorted(p, p, side="right")
    below = np.concatenate([[0.0], np.cumsum(q)])
    ties = below[last] - below[first] - q  # nobody is compared with oneself
    won = float((p * (below[first] + ties / 2)).sum())
    pairs = float(p.sum() * q.sum() - (p * q).sum())
    return won / pairs if pairs > 0 else float("nan")
