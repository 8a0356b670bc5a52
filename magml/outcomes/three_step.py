"""What goes with a latent class, and how well risks tell it, free of the error of classification.

Sources: Bolck A, Croon M, Hagenaars J. Polit Anal 2004;12:3-27 (three steps, BCH). Vermunt JK.
Polit Anal 2010;18:450-69 (ML). Morin S et al. StepMix, J Stat Softw 2025;113(8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.errors import InputError
from magml.outcomes.latent import Floats, LatentClasses, ordered, stepmix_model

if TYPE_CHECKING:
    import pandas as pd


def three_step(
    classes: LatentClasses,
    X: ArrayLike,
    *,
    kind: Literal["predictors", "distal"] = "predictors",
    correction: Literal["BCH", "ML"] = "ML",
) -> pd.DataFrame:
    """Relate other variables to the classes by StepMix's three steps.

    The classes are found first, people are assigned, and the error of that is corrected in the
    third step; the other variables never shape the classes.

    Parameters
    ----------
    classes
        As :func:`fit_classes` returned them.
    X
        Complete columns, shape (n, p), standardised for predictors.
    kind
        ``predictors`` of the class (logistic regression, correction ML), or ``distal`` variables
        whose means differ between classes.
    correction
        ``BCH`` or ``ML``.

    Returns
    -------
    pandas.DataFrame
        For predictors `column`, `coefficient` (log odds ratio of the depleted class against the
        others; two classes only). For distal variables `column`, `depleted`, `others`: means.
    """
    import pandas as pd

    matrix = np.asarray(X, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) != len(classes.probabilities) or np.isnan(matrix).any():
        raise InputError(
            f"columns of shape {matrix.shape}, or with gaps",
            f"complete columns of {len(classes.probabilities)} people",
            "fill the gaps, and align the rows",
        )
    definition = classes.definition
    if kind == "predictors" and (definition.classes != 2 or correction != "ML"):
        raise InputError(
            f"predictors of {definition.classes} classes with the correction {correction}",
            "two classes and the correction ML",
            "use kind='distal', or two classes",
        )
    structural = "covariate" if kind == "predictors" else "gaussian_diag"
    model = stepmix_model(definition, classes._seed, structural=structural, correction=correction)
    frame = ordered(classes._indicators, definition)
    model.fit(frame, pd.DataFrame(matrix))
    p = np.asarray(model.predict_proba(frame))
    # The same classes, perhaps in another order.
    agreement = [float(np.corrcoef(p[:, k], classes.probability)[0, 1]) for k in range(p.shape[1])]
    place = int(np.argmax(agreement))
    names = [f"x{number}" for number in range(matrix.shape[1])]
    found = model.get_parameters()["structural"]
    if kind == "predictors":
        beta = np.asarray(found["beta"])  # classes by intercept and columns
        change = beta[place] - beta[1 - place]
        return pd.DataFrame({"column": ["intercept", *names], "coefficient": change})
    means = np.asarray(found["means"])
    weight = classes.shares[_matching(p, classes)]
    others = [k for k in range(len(means)) if k != place]
    rest = np.average(means[others], axis=0, weights=weight[others])
    return pd.DataFrame({"column": names, "depleted": means[place], "others": rest})


def evaluate_classes(classes: LatentClasses, risks: ArrayLike) -> dict[str, float]:
    """Measure risks against the depleted class, free of the error of classification.

    Valid where the risks are unrelated to the indicators within a class, as those of a model are
    that never saw what defines the outcome.

    Returns
    -------
    dict of str to float
        The measures of :data:`magml.ascertainment.robust.ROBUST`.
    """
    from magml.ascertainment.robust import robust_measurer

    risk = np.asarray(risks, dtype=np.float64)
    if risk.shape != (len(classes.probabilities),) or np.isnan(risk).any():
        raise InputError(
            f"risks of shape {risk.shape}, or with gaps",
            f"a risk for each of {len(classes.probabilities)} people",
        )
    measurer = robust_measurer(risk, np.array([0.5]))
    return measurer.measure(classes.corrected(), np.ones(len(risk)))[0]


def _matching(p: Floats, classes: LatentClasses) -> NDArray[np.intp]:
    """Return for each class of a refit the class it was in the first fit."""
    own = classes.probabilities
    return np.array(
        [np.argmax([np.abs(p[:, k] - own[:, m]).sum() * -1 for m in range(own.shape[1])])
         for k in range(p.shape[1])]
    )  # fmt: skip
