"""The clinical catalogue as frozen objects: concepts, the features made of them, references.

A file of ``features/`` holds one domain. What a concept is (codes, names, unit, direction) is
for a clinician to review; which features are made of it stands beside it under ``features``:
a window (``24h``, ``7d``, ``ever``, ``now``) and the statistics computed in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from magml.clock import checked
from magml.definitions.dose import ORDERS, Dose

Domain = Literal[
    "medication",
    "diet",
    "comorbidity",
    "lab",
    "vital",
    "procedure",
    "demographic",
    "care",
    "genetic",
    "microbiome",
]
_WORD = re.compile(r"[^\W\d_]+|\d+|[%#]")
Kind = Literal["measurement", "exposure", "condition", "age"]
Direction = Literal["lowers", "raises", "mixed", "marker", "none", "unknown"]

#: What can be computed, by kind of concept. `now` is the moment of prediction.
STATISTICS: dict[str, tuple[str, ...]] = {
    "measurement": (
        "last",
        "first",
        "min",
        "max",
        "mean",
        "sum",
        "slope",
        "sd",
        "count",
        "hours_since",
    ),
    "exposure": (
        "active",
        "days",
        "share",
        "eras",
        "count",
        "hours_since_start",
        "hours_since_stop",
        "dose",
        "daily_dose",
    ),
    "condition": ("present", "count", "days_since"),
    "age": ("years",),
}
#: Statistics of the moment, which take the window `now`.
_NOW = {"active", "hours_since_start", "hours_since_stop", "daily_dose", "years"}
#: Statistics that need recorded doses.
DOSES = ("dose", "daily_dose")


class Frozen(BaseModel):
    """Base of every definition: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _plain(code: str) -> str:
    """Return a code or name as two spellings are compared: its words, in lower case."""
    return " ".join(_WORD.findall(code.lower()))


class Usual(Frozen):
    """Where the median and the interquartile range of a population's values usually lie.

    Wide bounds, in the canonical unit: they tell a wrong unit, not an unusual hospital.
    """

    median: tuple[float, float]
    iqr: tuple[float, float] | None = None


class Concept(Frozen):
    """One clinical concept and the features made of it.

    Of exposures alone: a record that starts at most `gap` after the last stop continues the era,
    and the time between counts as covered; a record counts as running for `lasts` at least (a
    single dose); `orders` keeps rows that say all of it (``as needed``, ``outpatient``); `dose`
    says what recorded doses add up to.
    """

    label: str
    kind: Kind
    codes: tuple[str, ...] = ()
    not_codes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    not_names: tuple[str, ...] = ()
    values: dict[str, float] = Field(default_factory=dict)
    unit: str | None = None
    molar_mass: float | None = Field(default=None, gt=0)
    #: By code or name, what a mole of the substance weighed under it is in grams, where it is
    #: another than `molar_mass`: urea itself (60.056) beside the nitrogen in it (28.014).
    molar_masses: dict[str, float] = Field(default_factory=dict)
    valence: int | None = Field(default=None, gt=0)
    #: By unit, ``(scale, shift)`` to the concept's unit, where a published equation and not a
    #: quantity links the two (HbA1c of IFCC and NGSP).
    equations: dict[str, tuple[float, float]] = Field(default_factory=dict)
    plausible: tuple[float, float] | None = None
    usual: Usual | None = None
    reference: tuple[float, float] | None = None
    gap: str | None = None
    lasts: str | None = None
    orders: tuple[str, ...] = ()
    dose: Dose | None = None
    features: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    direction: Direction = "unknown"
    mechanism: str = ""
    modifiable: bool = False
    consequence: bool = False
    reveals: tuple[str, ...] = ()
    constraint: dict[str, Literal[-1, 1]] = Field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    verified: bool = False
    note: str = ""

    def for_code(self, code: str) -> Concept:
        """Return the concept with the molar mass that holds for a code.

        Examples
        --------
        >>> urea = Concept(label="Urea", kind="measurement", unit="mmol/L", molar_mass=28.014,
        ...                molar_masses={"LAB//urea": 60.056})
        >>> urea.for_code("LAB//Urea").molar_mass, urea.for_code("LAB//BUN").molar_mass
        (60.056, 28.014)
        """
        if not self.molar_masses:
            return self
        wanted = _plain(code)
        for name, mass in self.molar_masses.items():
            if _plain(name) == wanted:
                return self.model_copy(update={"molar_mass": mass, "molar_masses": {}})
        return self

    @field_validator("features")
    @classmethod
    def _windows(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for window in value:
            if window not in ("ever", "now"):
                checked(window)
        return value

    @field_validator("gap", "lasts")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        return None if value is None else checked(value)

    @field_validator("orders")
    @classmethod
    def _orders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for order in value:
            if order not in ORDERS:
                raise ValueError(f"{order!r} is none of {', '.join(ORDERS)}")
        return value

    @model_validator(mode="after")
    def _fits_kind(self) -> Concept:
        for window, statistics in self.features.items():
            for statistic in statistics:
                if statistic not in STATISTICS[self.kind]:
                    raise ValueError(
                        f"statistic {statistic!r} does not exist for a concept of kind "
                        f"{self.kind}; choose from {', '.join(STATISTICS[self.kind])}"
                    )
                if (statistic in _NOW) != (window == "now"):
                    raise ValueError(
                        f"{statistic!r} stands under the window {window!r}; "
                        + ("it belongs under now" if statistic in _NOW else "now has no length")
                    )
                if statistic == "share" and window == "ever":
                    raise ValueError("'share' needs a window with a length")
                if statistic in DOSES and self.dose is None:
                    raise ValueError(f"{statistic!r} needs `dose`: what a dose adds up to")
        if self.kind == "measurement" and self.unit is None and not self.values:
            raise ValueError("a measurement needs a unit ('1' for a plain number)")
        if self.kind != "exposure" and (self.gap or self.lasts or self.orders or self.dose):
            raise ValueError("gap, lasts, orders and dose are of exposures")
        return self


class Derived(Frozen):
    """A feature computed from other features of the same row by a named formula."""

    label: str
    formula: str
    inputs: dict[str, str] | tuple[str, ...]
    unit: str | None = None
    direction: Direction = "unknown"
    modifiable: bool = False
    evidence: tuple[str, ...] = ()
    verified: bool = False
    note: str = ""

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the features it needs, in order."""
        return tuple(self.inputs.values() if isinstance(self.inputs, dict) else self.inputs)


class DomainFile(Frozen):
    """One file of ``features/``: a domain's concepts and derived features.

    `defaults` holds, by kind, the windows and statistics of concepts that state none.
    """

    domain: Domain
    title: str = ""
    defaults: dict[Kind, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    concepts: dict[str, Concept] = Field(default_factory=dict)
    derived: dict[str, Derived] = Field(default_factory=dict)


class Reference(Frozen):
    """A publication that a definition points to."""

    citation: str
    doi: str | None = None
    url: str | None = None
    read: Literal["source", "secondary", "not checked"] = "not checked"


class PluginDeclaration(Frozen):
    """A feature that an institution's Python function computes (`magml.features.plugins`).

    `name` is the whole name, ``domain.name``; `codes` are patterns of the codes it sees;
    `entry_point` and `sha256` (of the modules behind it) tell whether it is still the same.
    """

    name: str
    domain: Domain
    label: str
    unit: str | None
    codes: tuple[str, ...] = Field(min_length=1)
    reads_magnesium: bool = False
    entry_point: str
    sha256: str
    direction: Direction = "unknown"
    modifiable: bool = False
    evidence: tuple[str, ...] = ()


class Feature(Frozen):
    """One column of the feature matrix.

    Its name is ``domain.concept.statistic`` with ``.window`` when the window has a length;
    a derived feature is ``domain.name``.
    """

    name: str
    domain: Domain
    concept: str
    statistic: str
    window: str
    unit: str | None
    label: str
    derived: bool = False
    plugin: bool = False


class Catalogue(Frozen):
    """All concepts, derived features and references, as parsed from ``features/``.

    `plugins` are those that a model names; the files of ``features/`` hold none.
    """

    domains: tuple[DomainFile, ...]
    references: dict[str, Reference] = Field(default_factory=dict)
    plugins: tuple[PluginDeclaration, ...] = ()

    def concepts(self) -> Iterator[tuple[str, Domain, Concept]]:
        """Yield ``(domain.concept, domain, concept)`` in the order of the files."""
        for file in self.domains:
            for key, concept in file.concepts.items():
                yield f"{file.domain}.{key}", file.domain, concept

    @cached_property
    def by_name(self) -> dict[str, Concept]:
        """Concepts by ``domain.concept``."""
        return {name: concept for name, _, concept in self.concepts()}

    @cached_property
    def derived(self) -> dict[str, Derived]:
        """Derived features by name."""
        return {
            f"{file.domain}.{key}": item
            for file in self.domains
            for key, item in file.derived.items()
        }

    @cached_property
    def features(self) -> dict[str, Feature]:
        """Every feature by name, computed ones first and derived ones last."""
        found: dict[str, Feature] = {}
        for name, domain, concept in self.concepts():
            for window, statistics in concept.features.items():
                for statistic in statistics:
                    suffix = "" if window in ("ever", "now") else f".{window}"
                    feature = Feature(
                        name=f"{name}.{statistic}{suffix}",
                        domain=domain,
                        concept=name,
                        statistic=statistic,
                        window=window,
                        unit=statistic_unit(
                            statistic, concept.dose.unit if concept.dose else concept.unit
                        ),
                        label=concept.label,
                    )
                    found[feature.name] = feature
        for file in self.domains:
            for key, item in file.derived.items():
                name = f"{file.domain}.{key}"
                found[name] = Feature(
                    name=name,
                    domain=file.domain,
                    concept=name,
                    statistic=item.formula,
                    window="now",
                    unit=item.unit,
                    label=item.label,
                    derived=True,
                )
        for plugin in self.plugins:
            found[plugin.name] = Feature(
                name=plugin.name,
                domain=plugin.domain,
                concept=plugin.name,
                statistic="plugin",
                window="now",
                unit=plugin.unit,
                label=plugin.label,
                plugin=True,
            )
        return found

    def described(self, name: str) -> Concept | Derived | PluginDeclaration:
        """Return the concept, derived feature or plug-in of a name."""
        declared = {plugin.name: plugin for plugin in self.plugins}
        return self.by_name.get(name) or self.derived.get(name) or declared[name]


def statistic_unit(statistic: str, unit: str | None) -> str | None:
    """Return the unit of a statistic of values in `unit`.

    Examples
    --------
    >>> statistic_unit("slope", "mmol/L"), statistic_unit("hours_since", "mmol/L")
    ('mmol/L/d', 'h')
    """
    fixed = {
        "count": "1",
        "present": "1",
        "active": "1",
        "share": "1",
        "eras": "1",
        "hours_since": "h",
        "hours_since_start": "h",
        "hours_since_stop": "h",
        "days": "d",
        "days_since": "d",
        "years": "a",
    }
    if statistic in fixed:
        return fixed[statistic]
    if statistic == "daily_dose":
        return f"{unit}/d"
    if statistic == "slope":
        return f"{unit}/d" if unit and unit != "1" else "1/d"
    return unit
