"""What a reader should know before using one row's score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from magml.definitions.model import BodyStatusOutcome

if TYPE_CHECKING:
    from magml.definitions import Catalogue, Feature, ModelDefinition

NO_EVENTS = "no events before the prediction time"
NO_RECENT = "no recent values"
AGE_UNKNOWN = "age unknown"
UNDER_AGE = "under 18"
MEASURED = "outcome's analyte known before: the model is for people never measured"
NOT_MEASURED = "outcome's analyte not known before: the model is for people measured earlier"
FILTRATION = "filtration below 60: a loading test is not valid there"
ADULT_AGE = 18.0
#: Filtration (mL/min/1.73 m2) below which urine after a load tells nothing, and its feature.
LEAST_FILTRATION, _FILTRATION = 60.0, "lab.egfr"
#: Statistics that are missing where nothing was measured.
_VALUES = frozenset({"last", "first", "min", "max", "mean", "sum", "slope", "sd"})

Measured = Literal["none", "some", "any"]


def check_features(
    definition: ModelDefinition, catalogue: Catalogue, features: Iterable[str]
) -> tuple[str, ...]:
    """Return a model's features and those its warnings need, for the plan of its bundle.

    The added ones are computed when scoring and shown to no booster: age, when the model is for
    adults, whether the outcome's analyte is already known, and filtration for body status.

    Parameters
    ----------
    definition
        The model's definition.
    catalogue
        The catalogue.
    features
        The model's features in order.

    Returns
    -------
    tuple of str
        `features`, then the added ones.
    """
    found = list(features)
    if (
        isinstance(definition.outcome, BodyStatusOutcome)
        and _FILTRATION in catalogue.features
        and _FILTRATION not in found
    ):
        found.append(_FILTRATION)
    for feature in catalogue.features.values():
        age = definition.adults_only and feature.statistic == "years"
        if (age or _tells_known(definition, feature)) and feature.name not in found:
            found.append(feature.name)
    return tuple(found)


def measured_before(definition: ModelDefinition, experiment: Mapping[str, Any]) -> Measured:
    """Return whom a model is for: people never measured, measured earlier, or either.

    Parameters
    ----------
    definition
        The model's definition; a screening model is for people never measured.
    experiment
        The experiment as plain values, or empty; its cohort decides where it is restricted.
    """
    stated = (experiment.get("cohort") or {}).get("measured_before")
    if stated == "some" or stated == "none":
        found: Measured = stated
        return found
    return "none" if definition.screening else "any"


@dataclass(frozen=True)
class Checks:
    """Columns of the plan's matrix from which warnings are made, found once for a model.

    Attributes
    ----------
    recent
        Columns of values measured within a bounded window.
    age
        Column of the age in years, or None.
    known
        Columns of which one is above 0 when the outcome's analyte is known.
    measured
        Whom the model is for.
    evidence
        What every score rests on; empty for an outcome that is measured as a matter of course.
    filtration
        Column of the filtration, where the outcome is not valid at a low one; else None.
    """

    recent: tuple[int, ...]
    age: int | None
    known: tuple[int, ...]
    measured: Measured
    evidence: str = ""
    filtration: int | None = None

    @classmethod
    def of(
        cls,
        definition: ModelDefinition,
        features: Sequence[Feature],
        measured: Measured,
        evidence: str = "",
    ) -> Checks:
        """Return the checks of a model.

        Parameters
        ----------
        definition
            The model's definition.
        features
            Features of the plan, in the order of its columns.
        measured
            Whom the model is for.
        evidence
            What its scores rest on (`evidence_of_scores`).
        """
        recent, age, known, filtration = [], None, [], None
        status = isinstance(definition.outcome, BodyStatusOutcome)
        for column, feature in enumerate(features):
            if status and feature.name == _FILTRATION:
                filtration = column
            if feature.derived:
                continue
            if feature.statistic in _VALUES and feature.window not in ("ever", "now"):
                recent.append(column)
            if feature.statistic == "years" and definition.adults_only:
                age = column
            if _tells_known(definition, feature):
                known.append(column)
        return cls(tuple(recent), age, tuple(known), measured, evidence, filtration)

    def texts(self, values: NDArray[np.float32], empty: NDArray[np.bool_]) -> list[str]:
        """Return each row's warnings joined by ``; ``, empty where there is none.

        Parameters
        ----------
        values
            The plan's matrix, shape (n, q).
        empty
            Rows without any visible event, shape (n,).
        """
        seen = ~np.asarray(empty, dtype=bool)
        marks: list[tuple[str, Any]] = [(NO_EVENTS, ~seen)]
        if self.recent:
            missing = np.isnan(values[:, list(self.recent)]).all(axis=1)
            marks.append((NO_RECENT, missing & seen))
        if self.age is not None:
            age = values[:, self.age]
            marks.append((UNDER_AGE, age < ADULT_AGE))
            marks.append((AGE_UNKNOWN, np.isnan(age) & seen))
        if self.known and self.measured != "any":
            known = (np.nan_to_num(values[:, list(self.known)]) > 0).any(axis=1)
            if self.measured == "none":
                marks.append((MEASURED, known))
            else:
                marks.append((NOT_MEASURED, ~known & seen))
        if self.filtration is not None:
            marks.append((FILTRATION, values[:, self.filtration] < LEAST_FILTRATION))
        if self.evidence:
            marks.append((self.evidence, np.ones(len(values), dtype=bool)))
        # Few combinations occur: each is put into words once.
        which = np.zeros(len(values), dtype=np.int64)
        for number, (_, mark) in enumerate(marks):
            which |= mark.astype(np.int64) << number
        kinds, kind = np.unique(which, return_inverse=True)
        found = ["; ".join(t for k, (t, _) in enumerate(marks) if b >> k & 1) for b in kinds]
        return [found[k] for k in kind.tolist()]


def evidence_of_scores(definition: ModelDefinition, training: Mapping[str, Any]) -> str:
    """Return what the scores of a body-status model rest on; empty for a serum outcome.

    Parameters
    ----------
    definition
        The model's definition.
    training
        Summary of the training; a recalibration on measured people stands in it.

    Examples
    --------
    >>> from magml.definitions import read_model
    >>> evidence_of_scores(read_model("low_body_status"), {})
    'evidence: simulator recovery'
    """
    if not isinstance(definition.outcome, BodyStatusOutcome):
        return ""
    text = f"evidence: {definition.outcome.level.label}"
    updates = training.get("recalibrations") or []
    return text + (f", recalibrated on {updates[-1]['people']} people" if updates else "")


def _tells_known(definition: ModelDefinition, feature: Feature) -> bool:
    """Return whether a feature shows that the outcome's analyte was ever known."""
    return (
        feature.concept == definition.outcome.analyte
        and feature.statistic in ("last", "count")
        and feature.window == "ever"
    )
