"""Outcomes of body magnesium status: what they are defined by, and what that is worth.

Serum magnesium alone is never one: it holds 0.3% of body magnesium and bone keeps it up.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from magml.definitions.catalogue import Frozen
from magml.errors import nearest

Measure = Literal[
    "serum_magnesium",
    "ionised_magnesium",
    "red_cell_magnesium",
    "urine_magnesium_24h",
    "loading_test_retention",
    "fractional_excretion_magnesium",
    "magnesium_intake",
    "calcium_magnesium_ratio",
]
#: What can be measured of magnesium status: its unit, and patterns of the catalogue's concepts and
#: features that tell it, or much of it. A model of an outcome never sees those of its measures.
MEASURES: dict[str, tuple[str, tuple[str, ...]]] = {
    "serum_magnesium": ("mmol/L", ("lab.magnesium",)),
    "ionised_magnesium": ("mmol/L", ("lab.magnesium_ionised",)),
    "red_cell_magnesium": ("mmol/L", ("lab.magnesium_red_cell",)),
    "urine_magnesium_24h": (
        "mmol/d",
        ("lab.magnesium_urine*", "lab.fractional_excretion_magnesium"),
    ),
    # The test is calculated from the urine after the infusion.
    "loading_test_retention": (
        "%",
        ("lab.magnesium_urine*", "lab.fractional_excretion_magnesium", "medication.magnesium*"),
    ),
    "fractional_excretion_magnesium": (
        "%",
        ("lab.fractional_excretion_magnesium", "lab.magnesium_urine*"),
    ),
    "magnesium_intake": ("mg/d", ("diet.*magnesium*",)),
    "calcium_magnesium_ratio": ("1", ("lab.magnesium", "lab.*calcium_magnesium*")),
}
#: Measures that are serum magnesium, or a restatement of it.
SERUM_ONLY = frozenset({"serum_magnesium", "calcium_magnesium_ratio"})
_WHY = (
    "serum magnesium alone does not define body status: it holds 0.3% of body magnesium, bone "
    "keeps it up, and it does not go with retention in a loading test (Gullestad 1994); add "
    "another measure, or use a serum outcome and call it that"
)


class Level(Frozen):
    """How much an outcome's definition is worth.

    Attributes
    ----------
    rank
        1 is the strongest.
    label, meaning
        For scores, cards and pages.
    """

    rank: int
    label: str
    meaning: str


LEVELS: dict[str, Level] = {
    "measured_reference": Level(
        rank=1,
        label="measured reference",
        meaning="A physiological test of body status, measured in these people.",
    ),
    "composite": Level(
        rank=2,
        label="composite rule",
        meaning="Several measures combined by a published rule; agreement with a loading test is "
        "not established.",
    ),
    "latent_class": Level(
        rank=3,
        label="latent class",
        meaning="A class that a statistical model found in imperfect indicators; nobody measured "
        "it, and its name is an interpretation.",
    ),
    "simulator": Level(
        rank=4,
        label="simulator recovery",
        meaning="Learned from simulated people whose truth is known; never clinical performance.",
    ),
}


class Criterion(Frozen):
    """One measure against bounds.

    Bounds are sets of equivalents, one for each unit, compared in the unit reported. `below` and
    `at_most` are upper, `above` and `at_least` lower bounds. With `below_laboratory` the bound
    is the lower limit that the laboratory states beside the value.
    """

    measure: Measure
    below: dict[str, float] | None = None
    at_most: dict[str, float] | None = None
    above: dict[str, float] | None = None
    at_least: dict[str, float] | None = None
    below_laboratory: bool = False

    @property
    def bounds(self) -> dict[str, dict[str, float]]:
        """The bounds that are stated."""
        stated = {name: getattr(self, name) for name in ("below", "at_most", "above", "at_least")}
        return {name: bound for name, bound in stated.items() if bound}

    @model_validator(mode="after")
    def _bounded(self) -> Criterion:
        if not self.bounds and not self.below_laboratory:
            raise ValueError(f"no bound for {self.measure}")
        return self


class _Named(Frozen):
    """What every definition of body status states."""

    name: str
    title: str
    source: str
    verified: bool = False
    note: str = ""


class MeasuredReference(_Named):
    """One physiological measure beyond a bound."""

    kind: Literal["measured_reference"]
    criterion: Criterion

    @property
    def measures(self) -> tuple[str, ...]:
        """What it is defined by."""
        return (self.criterion.measure,)

    @model_validator(mode="after")
    def _not_serum(self) -> MeasuredReference:
        return _refuse_serum(self)


class Composite(_Named):
    """Several measures, all beyond their bounds."""

    kind: Literal["composite"]
    all: tuple[Criterion, ...] = Field(min_length=2)

    @property
    def measures(self) -> tuple[str, ...]:
        """What it is defined by."""
        return tuple(criterion.measure for criterion in self.all)

    @model_validator(mode="after")
    def _not_serum(self) -> Composite:
        return _refuse_serum(self)


class Indicator(Frozen):
    """One imperfect sign of depletion.

    `depleted` says on which side depletion lies. With `cutoff` (a set of equivalents) the
    indicator is present or absent; without, its value is used, or with `scale: log` its logarithm.
    Intake, urine and concentrations vary by factors: on their plain scale two classes describe
    the shape of one skewed distribution (Bauer and Curran, Psychol Methods 2003;8:338-63).
    """

    measure: Measure
    depleted: Literal["low", "high"]
    cutoff: dict[str, float] | None = None
    scale: Literal["plain", "log"] = "plain"

    @model_validator(mode="after")
    def _one_use(self) -> Indicator:
        if self.cutoff is not None and self.scale == "log":
            raise ValueError("a cut-off and a logarithm: with a cut-off the value itself is unused")
        return self


class LatentClass(_Named):
    """Classes found in imperfect indicators, one of them called depleted by a stated rule.

    The depleted class is the one that lies farthest on the depleted side of the indicators, on
    average in standard deviations; it is only called so if at least the share `agreeing` of the
    indicators lie on that side of all other people.
    """

    kind: Literal["latent_class"]
    indicators: tuple[Indicator, ...] = Field(min_length=3)
    classes: int = Field(default=2, ge=2, le=6)
    agreeing: float = Field(default=0.75, gt=0.5, le=1)
    starts: int = Field(default=20, ge=1)

    @property
    def measures(self) -> tuple[str, ...]:
        """What it is defined by."""
        return tuple(indicator.measure for indicator in self.indicators)

    @model_validator(mode="after")
    def _possible(self) -> LatentClass:
        if len(set(self.measures)) < len(self.measures):
            raise ValueError("an indicator stands twice: the classes would be that indicator")
        return _refuse_serum(self)


BodyStatusDefinition = Annotated[
    MeasuredReference | Composite | LatentClass, Field(discriminator="kind")
]


def level_of(definition: MeasuredReference | Composite | LatentClass) -> Level:
    """Return what a definition is worth.

    Examples
    --------
    >>> from magml.definitions.read import read_outcome
    >>> level_of(read_outcome("loading_test_retention")).label
    'measured reference'
    """
    return LEVELS[definition.kind]


def check_measures(names: tuple[str, ...] | list[str]) -> None:
    """Refuse measures that are unknown.

    Raises
    ------
    InputError
        Naming the nearest one.
    """
    from magml.errors import InputError

    for name in names:
        if name not in MEASURES:
            raise InputError(f"the measure {name!r}", nearest(name, MEASURES), "correct the name")


def _refuse_serum(definition: Any) -> Any:
    """Refuse a definition by serum magnesium alone."""
    if set(definition.measures) <= SERUM_ONLY:
        raise ValueError(_WHY)
    return definition
