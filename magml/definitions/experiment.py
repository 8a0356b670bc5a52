"""An experiment definition: source, cohort, model, validation, baselines."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from magml.clock import checked
from magml.definitions.catalogue import Domain, Frozen

BaselineName = Literal[
    "last_magnesium",
    "age_sex",
    "magnesium_depletion_score",
    "logistic",
    "plain_xgboost",
]


class SourceChoice(Frozen):
    """Which layout the data are in, and its options (see the source's documentation)."""

    layout: str
    options: dict[str, Any] = Field(default_factory=dict)


class Cohort(Frozen):
    """Who gets a prediction, and when.

    `anchor` is a code whose start is the anchor; the prediction time is `offset` after it.
    `measured_before`: whether the outcome's analyte was known before the prediction time
    (`none`: nobody measured; `some`: only people measured; `any`: both).

    `training_offsets` are further prediction times of the same people, under the same rules, that
    only train the boosters (landmarking; van Houwelingen, Scand J Stat 2007;34:70-85). Nothing is
    searched, calibrated or evaluated on them, and a fold keeps all times of a person together.
    """

    anchor: tuple[str, ...]
    offset: str
    training_offsets: tuple[str, ...] = ()
    select: Literal["first", "each"] = "first"
    measured_before: Literal["none", "some", "any"] = "any"
    minimum_age: float = 18.0
    exclude_pending: bool = True

    @field_validator("offset")
    @classmethod
    def _duration(cls, value: str) -> str:
        return checked(value)

    @field_validator("training_offsets")
    @classmethod
    def _durations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked(offset) for offset in value)


class Validation(Frozen):
    """How performance is estimated: grouped, nested cross-validation with a bootstrap.

    `groups` names what folds and the bootstrap keep together: people, or sites. A fold never
    shares a person either way.
    """

    groups: Literal["subject", "site"] = "subject"
    folds: int = Field(default=5, ge=2)
    replicates: int = Field(default=1000, ge=100)
    seed: int = 20260324


class Ablation(Frozen):
    """A variant of the model that sees fewer domains, evaluated on the same rows."""

    name: str
    domains: tuple[Domain, ...]


class ExperimentDefinition(Frozen):
    """One file of ``experiments/``."""

    name: str
    title: str
    model: str
    source: SourceChoice
    cohort: Cohort
    validation: Validation = Validation()
    baselines: tuple[BaselineName, ...] = (
        "last_magnesium",
        "age_sex",
        "magnesium_depletion_score",
        "logistic",
        "plain_xgboost",
    )
    ablations: tuple[Ablation, ...] = ()
    net_benefit_thresholds: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
    add_on: bool = False
    minimum_cases: int = Field(default=20, ge=20)
    note: str = ""
