"""An experiment definition: source, cohort, model, validation, baselines."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from magml.clock import checked, seconds
from magml.definitions.catalogue import Domain, Frozen

BaselineName = Literal[
    "last_magnesium",
    "age_sex",
    "weight_age_sex",
    "magnesium_depletion_score",
    "last_magnesium_and_score",
    "logistic",
    "plain_xgboost",
]

#: The anchor that lasts from a person's first dated record to the last.
RECORDS = "RECORDS"
_SHORTEST_INTERVAL = 3600


class SourceChoice(Frozen):
    """Which layout the data are in, and its options (see the source's documentation).

    `unfit_units`: ``refuse`` stops at values whose unit cannot be right; ``set aside`` leaves them
    out, site by site, with those whose unit is doubtful or missing, and says so in the results.
    """

    layout: str
    options: dict[str, Any] = Field(default_factory=dict)
    unfit_units: Literal["refuse", "set aside"] = "refuse"


class Cohort(Frozen):
    """Who gets a prediction, and when.

    `anchor` names codes (``VISIT//inpatient``), concepts of the catalogue (``lab.potassium``,
    ``medication.loop_diuretic``) or ``RECORDS``, which lasts from a person's first record to the
    last. The prediction time is `offset` after the anchor: after its start, or with
    ``anchor_at: known`` after the moment at which it was known. With `every`, prediction times
    follow each other until the anchor ends. `while_open` demands that the anchor has not ended.

    `select` keeps the first, the last, a random (by `seed`) or each prediction time of a person:
    among all (``select_among: anchors``), or among those that fulfil every other condition
    (``eligible``).

    `measured_before`: whether the outcome's analyte was known before the prediction time
    (`none`: nobody measured; `some`: only people measured; `any`: both). `observed_before` is how
    long the records must reach back, `washout` how long there was no known value beyond the
    outcome's threshold. `gap` and `time_at_risk` take the place of the model's.

    `competing_events` end what can be observed: ``death``, and ``discharge`` from all visits that
    are open at the prediction time. People in whom one comes before any measurement are counted
    and not labelled; with ``competing_rule: end`` it also ends the time at risk.

    `training_offsets` are further prediction times of the same people, under the same rules, that
    only train the boosters (landmarking; van Houwelingen, Scand J Stat 2007;34:70-85). Nothing is
    searched, calibrated or evaluated on them, and a fold keeps all times of a person together.
    """

    anchor: tuple[str, ...] = Field(min_length=1)
    anchor_at: Literal["start", "known"] = "start"
    offset: str
    every: str | None = None
    while_open: bool = True
    training_offsets: tuple[str, ...] = ()
    select: Literal["first", "each", "last", "random"] = "first"
    select_among: Literal["anchors", "eligible"] = "anchors"
    seed: int = 20260324
    measured_before: Literal["none", "some", "any"] = "any"
    observed_before: str | None = None
    washout: str | None = None
    gap: str | None = None
    time_at_risk: str | None = None
    competing_events: tuple[Literal["death", "discharge"], ...] = ()
    competing_rule: Literal["count", "end"] = "count"
    minimum_age: float = 18.0
    exclude_pending: bool = True

    @field_validator("offset", "observed_before", "washout", "gap", "time_at_risk")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        return None if value is None else checked(value)

    @field_validator("every")
    @classmethod
    def _interval(cls, value: str | None) -> str | None:
        if value is not None and seconds(checked(value)) < _SHORTEST_INTERVAL:
            raise ValueError(f"{value!r} between prediction times; expected at least 1h")
        return value

    @field_validator("training_offsets")
    @classmethod
    def _durations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked(offset) for offset in value)

    @model_validator(mode="after")
    def _fits(self) -> Cohort:
        if self.competing_rule == "end" and not self.competing_events:
            raise ValueError("competing_rule: end needs competing_events")
        if RECORDS in self.anchor and len(self.anchor) > 1:
            raise ValueError(f"the anchor {RECORDS} stands alone")
        return self


class Validation(Frozen):
    """How performance is estimated, always on people whom nothing fitted has seen.

    `groups` names what folds and the bootstrap keep together: people (``subject``) or sites
    (``site``, in `folds` folds; ``leave_one_site_out``, one fold a site). ``time`` holds out what
    came last instead of folds: people first seen before `train_before` (or before the moment that
    leaves the latest `test_share` of prediction times) train, and the others test. A person is
    never on both sides.
    """

    groups: Literal["subject", "site", "leave_one_site_out", "time"] = "subject"
    folds: int = Field(default=5, ge=2)
    train_before: dt.datetime | None = None
    test_share: float = Field(default=0.3, gt=0, lt=1)
    replicates: int = Field(default=1000, ge=100)
    seed: int = 20260324

    @property
    def by_site(self) -> bool:
        """Whether folds are made of sites."""
        return self.groups in ("site", "leave_one_site_out")

    @model_validator(mode="after")
    def _only_time(self) -> Validation:
        if self.train_before is not None:
            if self.groups != "time":
                raise ValueError("train_before belongs to groups: time")
            if self.train_before.tzinfo is not None:
                raise ValueError("train_before has no time zone: it is in the source's")
        return self


class Ascertainment(Frozen):
    """Correct figures for who was tested: raw and corrected stand side by side.

    The target population is everybody who fulfils the cohort's conditions at a prediction time,
    measured or not, except those in whom a competing event of the cohort came first. `model` is
    who predicts the chance of being measured and what would have been found: penalised
    ``logistic`` regression with bends, a ``bag`` of XGBoost, or the ``average`` of both. They
    see the model's own features, at most `most_columns` of them, in `folds` folds by person.
    Weights are cut at the quantile `truncate`, and everything is fitted again in each of
    `replicates` resamples.

    `odds_ratios` is the stated range of what the records may not tell: how many times the odds
    of the outcome are in the unmeasured what they are in measured people with the same records.

    With `train_weighted` the model and the baselines also learn with such weights, found in each
    fold from its training side alone.
    """

    model: Literal["logistic", "bag", "average"] = "logistic"
    folds: int = Field(default=5, ge=2)
    truncate: float = Field(default=0.99, gt=0.5, le=1)
    replicates: int = Field(default=200, ge=20)
    most_columns: int = Field(default=40, ge=1)
    odds_ratios: tuple[float, ...] = (0.33, 0.5, 0.67, 1.0, 1.5, 2.0, 3.0)
    train_weighted: bool = False

    @field_validator("odds_ratios")
    @classmethod
    def _around_one(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(ratio <= 0 for ratio in value):
            raise ValueError("odds ratios are above 0")
        return tuple(sorted({1.0, *value}))


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
    ascertainment: Ascertainment | None = None
    minimum_cases: int = Field(default=20, ge=20)
    note: str = ""

    @model_validator(mode="after")
    def _target_known(self) -> ExperimentDefinition:
        if self.ascertainment is not None and self.validation.groups == "time":
            raise ValueError("ascertainment needs folds: it does not go with groups: time")
        weighted = self.ascertainment is not None and self.ascertainment.train_weighted
        if weighted and self.cohort.training_offsets:
            raise ValueError(
                "ascertainment.train_weighted: rows of cohort.training_offsets have no chance of "
                "being tested; leave one of the two out"
            )
        return self
