"""Body status as a latent class over imperfect indicators.

No indicator is right, and their errors are not known. A latent class model finds groups of people
whose indicators go together; one is called depleted by a stated rule. What comes out are
probabilities. They are kept: a label of 0 or 1 made from them would carry its misclassification
into everything that is learned from it, and the three-step corrections undo that.

Sources: Bolck A, Croon M, Hagenaars J. Polit Anal 2004;12:3-27 (three steps, BCH). Vermunt JK.
Polit Anal 2010;18:450-69 (ML). Morin S et al. StepMix, J Stat Softw 2025;113(8). Bandeen-Roche K
et al. J Am Stat Assoc 1997;92:1375-86 (local dependence).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.definitions.body_status import LatentClass, Level, level_of
from magml.errors import CohortError, InputError, MissingDependencyError
from magml.outcomes.composite import Measured, bound_of
from magml.outcomes.dependence import DEPENDENT, bivariate_residuals

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
_FEWEST = 100


@dataclass(frozen=True, eq=False)
class LatentClasses:
    """Classes found, the depleted one among them.

    Attributes
    ----------
    definition
        What was asked for.
    probabilities
        Probability of each class, shape (n, classes).
    depleted
        Number of the class that is called depleted.
    shares
        Size of each class, shape (classes,).
    means
        Mean of each indicator in each class: share with the sign, or standard deviations from
        the mean of all (of logarithms with `scale: log`); shape (classes, indicators).
    on_depleted_side
        Whether the depleted class lies on the depleted side, by measure: the rule that named it.
    residuals
        `first`, `second`, `observed`, `expected` (covariance, or correlation of values) and
        `residual` (about chi-squared on 1 df if the two only go together through the class).
    entropy
        How well people are told apart, 0 to 1 (relative entropy).
    bic
        For comparing numbers of classes.
    """

    definition: LatentClass
    probabilities: Floats
    depleted: int
    shares: Floats
    means: Floats
    on_depleted_side: dict[str, bool]
    residuals: pd.DataFrame
    entropy: float
    bic: float
    _indicators: Floats
    _seed: int

    @property
    def level(self) -> Level:
        """What such labels are worth."""
        return level_of(self.definition)

    @property
    def probability(self) -> Floats:
        """Probability of the depleted class, shape (n,)."""
        return np.asarray(self.probabilities[:, self.depleted])

    @property
    def dependent(self) -> tuple[tuple[str, str], ...]:
        """Pairs of indicators that go together beyond the classes."""
        table = self.residuals[self.residuals["residual"] > DEPENDENT]
        return tuple(zip(table["first"], table["second"], strict=True))

    def corrected(self) -> Floats:
        """Return stand-in outcomes, free on average of the error of classification, shape (n,).

        The probabilities alone pull every difference between people towards nothing. These
        (Bolck, Croon and Hagenaars) can lie outside 0 and 1 and average rightly in any group that
        is unrelated to the indicators within a class; use them as outcomes where measures are
        linear in the outcome (:func:`~magml.outcomes.three_step.evaluate_classes`), not as labels
        of single people.
        """
        p = self.probabilities
        assigned = (p.T @ p) / p.sum(axis=0)[:, None]  # class by class it was spread over
        return np.asarray((p @ np.linalg.inv(assigned))[:, self.depleted])

    def training_rows(self) -> tuple[NDArray[np.intp], NDArray[np.int64], Floats]:
        """Return each person twice: row, label 1 and 0, weight the probability of that label.

        For a learner that takes weights: nobody is given a hard label. Calibrate what it learned
        with :func:`~magml.outcomes.three_step.evaluate_classes`, whose intercept and slope are
        free of the classification's error.
        """
        n = len(self.probabilities)
        rows = np.tile(np.arange(n), 2)
        labels = np.repeat([1, 0], n).astype(np.int64)
        return rows, labels, np.concatenate([self.probability, 1.0 - self.probability])

    def to_dict(self) -> dict[str, Any]:
        """Return what a report shows, no row of a person among it."""
        return {
            "definition": self.definition.model_dump(mode="json"),
            "level": self.level.model_dump(mode="json"),
            "n": len(self.probabilities),
            "share_depleted": float(self.shares[self.depleted]),
            "entropy": self.entropy,
            "bic": self.bic,
            "on_depleted_side": dict(self.on_depleted_side),
            "means_of_the_depleted": dict(
                zip(self.definition.measures, self.means[self.depleted].tolist(), strict=True)
            ),
            "locally_dependent": [list(pair) for pair in self.dependent],
        }


def fit_classes(
    definition: LatentClass, measured: Mapping[str, Measured], *, seed: int = 0
) -> LatentClasses:
    """Find latent classes in indicators, and the depleted one among them.

    Parameters
    ----------
    definition
        Indicators, number of classes, and the rule that names one depleted.
    measured
        Values by measure, NaN where not measured. People without any indicator get the classes'
        shares. Where an indicator has no cut-off, all its values must be in one unit, and above 0
        on the scale log.
    seed
        Seed of the starts.

    Returns
    -------
    LatentClasses

    Raises
    ------
    InputError
        If an indicator is not given, lengths differ, an indicator does not vary, or a value at
        or below 0 stands for one on the scale log.
    CohortError
        If there are fewer than 100 people, or no class is depleted by the rule.
    MissingDependencyError
        If StepMix is not installed.
    """
    indicators = _matrix(definition, measured)
    model = stepmix_model(definition, seed)
    frame = ordered(indicators, definition)
    model.fit(frame)
    p = np.asarray(model.predict_proba(frame), dtype=np.float64)
    means = _class_means(indicators, p)
    signs = np.array([1.0 if i.depleted == "high" else -1.0 for i in definition.indicators])
    depleted, sides = _name(definition, means, p, indicators, signs)
    shares = p.mean(axis=0)
    entropy = -(p * np.log(np.clip(p, 1e-12, 1.0))).sum() / (len(p) * np.log(definition.classes))
    return LatentClasses(
        definition=definition,
        probabilities=p,
        depleted=depleted,
        shares=shares,
        means=means,
        on_depleted_side=dict(zip(definition.measures, sides, strict=True)),
        residuals=bivariate_residuals(indicators, p, definition.measures),
        entropy=float(1.0 - entropy),
        bic=float(model.bic(frame)),
        _indicators=indicators,
        _seed=seed,
    )


def _matrix(definition: LatentClass, measured: Mapping[str, Measured]) -> Floats:
    """Return indicators as columns: signs as 0 and 1, values in standard deviations."""
    columns = []
    for indicator in definition.indicators:
        if indicator.measure not in measured:
            raise InputError(
                f"{definition.name} needs {indicator.measure}, which is not given",
                "values, NaN where it was not measured: " + ", ".join(definition.measures),
                "add the measure, or leave the indicator out of the definition",
            )
        given = measured[indicator.measure]
        values = np.asarray(given.values, dtype=np.float64)
        if indicator.cutoff is not None:
            bound = bound_of(indicator.cutoff, given, definition.name, indicator.measure)
            beyond = values < bound - 1e-6 if indicator.depleted == "low" else values > bound + 1e-6
            # 1 is above the cut-off: low stays low.
            column = np.where(np.isnan(values), np.nan, np.where(beyond, 1.0, 0.0))
            column = column if indicator.depleted == "high" else 1.0 - column
        else:
            if not isinstance(given.unit, str):
                raise InputError(
                    f"values of {indicator.measure} in several units",
                    "one unit where an indicator has no cut-off",
                    "convert them, or state a cut-off with its equivalents",
                )
            if indicator.scale == "log":
                values = _logarithms(values, indicator.measure)
            column = (values - np.nanmean(values)) / (np.nanstd(values) or 1.0)
        if not np.nanstd(column) > 0:
            raise InputError(
                f"{indicator.measure} does not vary", "people with and without the sign"
            )
        columns.append(column)
    if len({len(column) for column in columns}) > 1:
        raise InputError("indicators of several lengths", "one value a person", "align them")
    X = np.column_stack(columns)
    if len(X) < _FEWEST:
        raise CohortError(
            f"{len(X)} people for a latent class model",
            f"at least {_FEWEST}",
            "use a composite rule or a measured reference",
        )
    return X


def _logarithms(values: Floats, measure: str) -> Floats:
    """Return logarithms of values above 0."""
    wrong = int((values <= 0).sum())
    if wrong:
        raise InputError(
            f"{wrong} values of {measure} at or below 0",
            "values above 0 where an indicator is used on the scale log",
            "set such values aside, or state `scale: plain`",
        )
    return np.asarray(np.log(values))


def ordered(X: Floats, definition: LatentClass) -> pd.DataFrame:
    """Return the indicators as StepMix takes them: signs first, then values."""
    import pandas as pd

    signs = [k for k, i in enumerate(definition.indicators) if i.cutoff is not None]
    order = signs + [k for k in range(X.shape[1]) if k not in signs]
    names = [definition.indicators[k].measure for k in order]
    return pd.DataFrame(X[:, order], columns=names)


def stepmix_model(definition: LatentClass, seed: int, **structural: Any) -> Any:
    """Return an unfitted StepMix model."""
    try:
        from stepmix.stepmix import StepMix
    except ImportError as error:
        raise MissingDependencyError(
            "stepmix is not installed", "the extra latent", "pip install 'magml[latent]'"
        ) from error
    signs = sum(indicator.cutoff is not None for indicator in definition.indicators)
    values = len(definition.indicators) - signs
    measurement = {}
    if signs:
        measurement["signs"] = {"model": "binary_nan", "n_columns": signs}
    if values:
        measurement["values"] = {"model": "gaussian_diag_nan", "n_columns": values}
    return StepMix(
        n_components=definition.classes,
        measurement=measurement,
        n_steps=3 if structural else 1,
        n_init=definition.starts,
        random_state=seed,
        progress_bar=0,
        verbose=0,
        **structural,
    )


def _class_means(X: Floats, p: Floats) -> Floats:
    """Return the mean of each indicator in each class, gaps left out."""
    known = ~np.isnan(X)
    return np.asarray((p.T @ np.where(known, X, 0.0)) / (p.T @ known.astype(np.float64)))


def _name(
    definition: LatentClass, means: Floats, p: Floats, X: Floats, signs: Floats
) -> tuple[int, list[bool]]:
    """Return the class that the rule calls depleted, and on which indicators it is."""
    score = (means - np.nanmean(X, axis=0)) / np.nanstd(X, axis=0) * signs
    depleted = int(np.argmax(score.mean(axis=1)))
    others = _class_means(X, (1.0 - p[:, [depleted]]))[0]
    sides = [bool(side > 0) for side in (means[depleted] - others) * signs]
    if np.mean(sides) < definition.agreeing:
        against = [m for m, side in zip(definition.measures, sides, strict=True) if not side]
        raise CohortError(
            f"no class is depleted by the rule: the nearest one lies on the other side of "
            f"{', '.join(against)}",
            f"at least {definition.agreeing:.0%} of the indicators on the depleted side",
            "look at the means of the classes; the classes may be of something else",
        )
    return depleted, sides
