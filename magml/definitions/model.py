"""A model definition: outcome, features, estimator, calibration, intended use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from magml.clock import checked
from magml.definitions.body_status import LEVELS, BodyStatusDefinition, Level, level_of
from magml.definitions.catalogue import Domain, Frozen
from magml.errors import nearest


class SerumOutcome(Frozen):
    """Serum concentration below a threshold within the time at risk after the prediction time.

    `threshold` is a set of equivalents, one for each unit, compared with the value in the unit
    in which it was reported: 1.7 mg/dL is not below 1.7 mg/dL, whatever a conversion rounds to.
    The time at risk begins `gap` after the prediction time; what is drawn in the gap is no outcome.
    """

    kind: Literal["serum_below"]
    concept: str
    threshold: dict[str, float]
    time_at_risk: str
    gap: str = "0h"
    select: Literal["first", "any", "lowest"] = "first"

    @property
    def analyte(self) -> str:
        """The analyte that is compared."""
        return self.concept

    @field_validator("time_at_risk", "gap")
    @classmethod
    def _duration(cls, value: str) -> str:
        return checked(value)

    @field_validator("threshold")
    @classmethod
    def _some(cls, value: dict[str, float]) -> dict[str, float]:
        if not value:
            raise ValueError("a threshold needs at least one unit")
        return value


class BodyStatusOutcome(Frozen):
    """Low body status by a definition of ``models/outcomes/``, named in the model's file.

    The labels are given (``--events`` with ``--labels``): measured in people, or known of
    simulated ones (``labels: simulated``, whose level of evidence is the simulator's). What the
    definition rests on is never among the model's features.
    """

    kind: Literal["body_status"]
    definition: BodyStatusDefinition
    labels: Literal["measured", "simulated"] = "measured"
    time_at_risk: str = "0h"
    gap: str = "0h"

    @property
    def analyte(self) -> str:
        """The analyte whose earlier values a cohort may ask for."""
        return "lab.magnesium"

    @property
    def level(self) -> Level:
        """What such labels are worth."""
        return LEVELS["simulator"] if self.labels == "simulated" else level_of(self.definition)


class Features(Frozen):
    """Which features of the catalogue a model may use.

    `exclude` holds names or patterns (``medication.magnesium*``) of features or concepts;
    `plugins` names features of installed packages that are used as well.
    """

    domains: tuple[Domain, ...]
    exclude: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()


#: Booster parameters where a model file states no others: shallow, slow and regularised, which
#: suits some thousands of rows with a few hundred cases. Around them, performance is flat.
BOOSTER_DEFAULTS: dict[str, float | int | str] = {
    "learning_rate": 0.04,
    "max_depth": 4,
    "min_child_weight": 5.0,
    "reg_lambda": 5.0,
    "reg_alpha": 0.0,
    "gamma": 0.0,
    "subsample": 0.7,
    "colsample_bytree": 0.3,
    "colsample_bynode": 1.0,
    "max_bin": 64,
}
_WHOLE = ("max_depth", "max_bin")


class Estimator(Frozen):
    """Bagged XGBoost: number of members, share of people in each, booster parameters.

    `parameters` are XGBoost's names; those not given take :data:`BOOSTER_DEFAULTS`. With
    `early_stopping` a member stops when so many trees did not lower the log loss of the people
    left out of it; `rounds` is then the most. `device: cuda` trains on a graphics processor; where
    there is none, training says so and stops.
    """

    members: int = Field(default=10, ge=1)
    subsample_people: float = Field(default=0.9, gt=0, le=1)
    rounds: int = Field(default=160, ge=1)
    early_stopping: int | None = Field(default=None, ge=1)
    device: Literal["cpu", "cuda"] = "cpu"
    parameters: dict[str, float | int | str] = Field(default_factory=dict, validate_default=True)

    @model_validator(mode="after")
    def _somebody_left_out(self) -> Estimator:
        if self.early_stopping is not None and self.subsample_people == 1:
            raise ValueError(
                "early_stopping needs people left out of each member: set subsample_people below 1"
            )
        return self

    @field_validator("parameters")
    @classmethod
    def _known(cls, value: dict[str, float | int | str]) -> dict[str, float | int | str]:
        for name, given in value.items():
            if name not in BOOSTER_DEFAULTS:
                raise ValueError(f"unknown parameter {name!r}: {nearest(name, BOOSTER_DEFAULTS)}")
            if isinstance(given, str):
                raise ValueError(f"{name} is a number, not {given!r}")
            if name in _WHOLE and given != int(given):
                raise ValueError(f"{name} is a whole number, not {given}")
        return {
            name: int(given) if name in _WHOLE else float(given)
            for name, given in {**BOOSTER_DEFAULTS, **value}.items()
        }


class SearchSpace(Frozen):
    """One searched parameter: a range (optionally logarithmic) or a list of choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    choices: tuple[float | int | str, ...] | None = None

    @model_validator(mode="after")
    def _range_or_choices(self) -> SearchSpace:
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("give either low and high, or choices")
        return self


def _whole(name: str, space: SearchSpace) -> SearchSpace:
    """Return the space with whole numbers only: JSON may write 100 as 100.0."""
    choices = space.choices
    if choices is None:
        return space.model_copy(update={"integer": True})
    if any(isinstance(choice, str) or choice != int(choice) for choice in choices):
        raise ValueError(f"{name} is a whole number: choices {', '.join(map(str, choices))}")
    return space.model_copy(update={"choices": tuple(int(choice) for choice in choices)})


def _default_space() -> dict[str, SearchSpace]:
    """Return the space searched where a model file states no other."""
    return {
        "rounds": SearchSpace(low=100, high=250, integer=True),
        "learning_rate": SearchSpace(low=0.025, high=0.06, log=True),
        "max_depth": SearchSpace(low=3, high=5, integer=True),
        "min_child_weight": SearchSpace(low=3, high=15, log=True),
        "reg_lambda": SearchSpace(low=2, high=15, log=True),
        "colsample_bytree": SearchSpace(low=0.2, high=0.5),
    }


class Search(Frozen):
    """Optuna search inside the training folds.

    `space` may hold booster parameters, `rounds` and `subsample_people`; the estimator's own
    values, which are the first trial, must lie inside it. No trials or no space: no search.
    A set that is not clearly better than the estimator's own does not replace it.
    """

    trials: int = Field(default=15, ge=0)
    folds: int = Field(default=3, ge=2)
    members: int = Field(default=2, ge=1)
    space: dict[str, SearchSpace] = Field(default_factory=_default_space)

    @field_validator("space")
    @classmethod
    def _known(cls, value: dict[str, SearchSpace]) -> dict[str, SearchSpace]:
        known = ["rounds", "subsample_people", *BOOSTER_DEFAULTS]
        for name in value:
            if name not in known:
                raise ValueError(f"unknown parameter {name!r}: {nearest(name, known)}")
        whole = ("rounds", *_WHOLE)
        return {k: _whole(k, space) if k in whole else space for k, space in value.items()}


class CalibrationChoice(Frozen):
    """Candidates for the calibrator, and the folds whose bags never saw the row.

    Those bags have `members` members, or the estimator's number if that is lower: five calibrate
    as ten do (slopes within 1%), at half the time.
    """

    methods: tuple[Literal["logistic", "beta"], ...] = Field(
        default=("logistic", "beta"), min_length=1
    )
    folds: int = Field(default=5, ge=2)
    members: int = Field(default=5, ge=1)


class Band(Frozen):
    """A named band of risk with its lower bound."""

    name: str
    at_least: float = Field(ge=0, lt=1)


class ModelDefinition(Frozen):
    """One file of ``models/``."""

    name: str
    title: str
    intended_use: str
    not_for: str = ""
    screening: bool
    adults_only: bool = True
    outcome: Annotated[SerumOutcome | BodyStatusOutcome, Field(discriminator="kind")]
    features: Features
    estimator: Estimator = Estimator()
    search: Search = Search()
    calibration: CalibrationChoice = CalibrationChoice()
    bands: tuple[Band, ...]

    @field_validator("bands")
    @classmethod
    def _ordered(cls, value: tuple[Band, ...]) -> tuple[Band, ...]:
        bounds = [band.at_least for band in value]
        if not value or bounds[0] != 0 or bounds != sorted(set(bounds)):
            raise ValueError("bands start at 0 and rise")
        return value
