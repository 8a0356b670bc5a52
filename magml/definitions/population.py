"""A study of a population from a survey: ``kind: population`` in a file of ``experiments/``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from magml.definitions.catalogue import Frozen
from magml.definitions.experiment import SourceChoice

Equation = Literal["ckd_epi_2021", "ckd_epi_2009", "ckd_epi_2009_without_race"]
Drinking = Literal["questionnaire", "recall"]


class Variant(Frozen):
    """One way to compute the score."""

    equation: Equation
    drinking: Drinking


class PublishedScore(Frozen):
    """A published distribution of the score, per cent from 0 to 5."""

    n: int
    percent: tuple[float, float, float, float, float, float]
    mean: float
    source: str


class ScoreStudy(Frozen):
    """The Magnesium Depletion Score: its variants, its items, and what was published.

    `diuretics` and `ppi` name concepts of the catalogue, or codes of drugs as the source writes
    them; the score's default variant is the one of which `because` says why.
    """

    default: Variant
    because: str = Field(min_length=10)
    as_published: Variant
    equations: tuple[Equation, ...]
    drinking: tuple[Drinking, ...]
    diuretics: tuple[str, ...]
    ppi: tuple[str, ...]
    grams_a_drink: float = Field(gt=0)
    published: PublishedScore
    within_points: float = Field(gt=0)

    @model_validator(mode="after")
    def _listed(self) -> ScoreStudy:
        for name, variant in (("default", self.default), ("as_published", self.as_published)):
            if variant.equation not in self.equations or variant.drinking not in self.drinking:
                raise ValueError(f"{name} is none of the variants under equations and drinking")
        return self

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All variants, the default first."""
        every = [Variant(equation=e, drinking=d) for d in self.drinking for e in self.equations]
        return (self.default, *(one for one in every if one != self.default))


class IntakeStudy(Frozen):
    """Intake of magnesium by sex beside published means, mg a day."""

    published: dict[Literal["men", "women"], float]
    source: str
    within_percent: float = Field(gt=0)
    variance_ratios: tuple[float, ...]


class PopulationStudy(Frozen):
    """One study of a population."""

    name: str
    kind: Literal["population"]
    title: str
    source: SourceChoice
    adults_from: float = Field(default=20, ge=0)
    score: ScoreStudy
    intake: IntakeStudy
