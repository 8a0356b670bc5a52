"""Body status by measured references and composite rules: labels, and what no model may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.definitions.body_status import (
    MEASURES,
    Composite,
    Criterion,
    LatentClass,
    Level,
    MeasuredReference,
    check_measures,
    level_of,
)
from magml.definitions.catalogue import Catalogue
from magml.errors import DefinitionError, InputError, UnitError
from magml.units import canonical_unit

Floats = NDArray[np.float64]
#: Closer than this is equal: what a value loses in single precision (see `magml.outcomes.serum`).
_EQUAL = 1e-6


@dataclass(frozen=True, eq=False)
class Measured:
    """Values of one measure.

    Attributes
    ----------
    values
        One a person, NaN where it was not measured, shape (n,).
    unit
        Unit as reported, one for all or one a value.
    laboratory_low
        Lower limit that the laboratory states, in the value's own unit, shape (n,).
    """

    values: ArrayLike
    unit: str | ArrayLike
    laboratory_low: ArrayLike | None = None


@dataclass(frozen=True, eq=False)
class StatusLabels:
    """Who has low body status by a definition.

    Attributes
    ----------
    status
        1 where the definition is fulfilled, 0 where not, NaN where what was measured does not
        decide, shape (n,).
    level
        What the definition is worth.
    unknown
        By measure, how many people lack it.
    """

    status: Floats
    level: Level
    unknown: dict[str, int]

    @property
    def cases(self) -> int:
        """People with the outcome."""
        return int((self.status == 1).sum())

    @property
    def known(self) -> int:
        """People in whom the outcome is decided."""
        return int((~np.isnan(self.status)).sum())


def label_status(
    definition: MeasuredReference | Composite, measured: Mapping[str, Measured]
) -> StatusLabels:
    """Apply a measured reference or a composite rule.

    A composite is fulfilled where all criteria are, not fulfilled where one is not (whatever is
    missing), and unknown otherwise: nobody is called healthy for want of a measurement.

    Parameters
    ----------
    definition
        As :func:`magml.definitions.read_outcome` returns it.
    measured
        Values by measure (:data:`magml.definitions.body_status.MEASURES`).

    Returns
    -------
    StatusLabels

    Raises
    ------
    InputError
        If a measure is not given, or lengths differ.
    UnitError
        If a unit has no bound in the definition: bounds are not converted.

    Examples
    --------
    >>> from magml.definitions import read_outcome
    >>> found = label_status(
    ...     read_outcome("nielsen_2016"),
    ...     {
    ...         "magnesium_intake": Measured([200, 200, 300, 200], "mg/d"),
    ...         "urine_magnesium_24h": Measured([2.5, np.nan, np.nan, 3.29], "mmol/d"),
    ...         "serum_magnesium": Measured([0.80, 0.80, 0.80, 0.80], "mmol/L"),
    ...     },
    ... )
    >>> found.status.tolist(), found.level.label
    ([1.0, nan, 0.0, 0.0], 'composite rule')
    """
    criteria = definition.all if isinstance(definition, Composite) else (definition.criterion,)
    check_measures(list(measured))
    status: Floats | None = None
    unknown: dict[str, int] = {}
    for criterion in criteria:
        if criterion.measure not in measured:
            raise InputError(
                f"{definition.name} needs {criterion.measure}, which is not given",
                "values, NaN where it was not measured: " + ", ".join(definition.measures),
                "add the measure, or use another definition",
            )
        met = _met(criterion, measured[criterion.measure], definition.name)
        unknown[criterion.measure] = int(np.isnan(met).sum())
        if status is not None and len(status) != len(met):
            raise InputError(
                f"{len(met)} values of {criterion.measure} beside {len(status)} of another measure",
                "one value a person",
                "align the measures",
            )
        status = met if status is None else _both(status, met)
    assert status is not None
    return StatusLabels(status, level_of(definition), unknown)


def excluded_concepts(
    definition: MeasuredReference | Composite | LatentClass, catalogue: Catalogue
) -> frozenset[str]:
    """Return the catalogue's concepts that tell what defines an outcome.

    Examples
    --------
    >>> from magml.definitions import read_catalogue, read_outcome
    >>> sorted(excluded_concepts(read_outcome("ionised_low"), read_catalogue()))
    ['lab.magnesium_ionised']
    """
    patterns = [pattern for measure in definition.measures for pattern in MEASURES[measure][1]]
    return frozenset(
        name
        for name in (*catalogue.by_name, *catalogue.derived)
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    )


def excluded_features(
    definition: MeasuredReference | Composite | LatentClass, catalogue: Catalogue
) -> frozenset[str]:
    """Return the features that no model of an outcome may see, those derived from them included.

    Examples
    --------
    >>> from magml.definitions import read_catalogue, read_outcome
    >>> found = excluded_features(read_outcome("nielsen_2016"), read_catalogue())
    >>> "lab.magnesium.last" in found, "lab.potassium.last" in found
    (True, False)
    """
    concepts = excluded_concepts(definition, catalogue)

    def tells(name: str) -> bool:
        feature = catalogue.features[name]
        if name in concepts or feature.concept in concepts:
            return True
        return feature.derived and any(tells(n) for n in catalogue.derived[name].input_names)

    return frozenset(name for name in catalogue.features if tells(name))


def check_features(
    definition: MeasuredReference | Composite | LatentClass,
    features: list[str] | tuple[str, ...],
    catalogue: Catalogue,
) -> None:
    """Refuse features of what defines the outcome.

    Raises
    ------
    DefinitionError
        Naming them.
    """
    seen = sorted(excluded_features(definition, catalogue).intersection(features))
    if seen:
        shown = ", ".join(seen[:5]) + (", ..." if len(seen) > 5 else "")
        raise DefinitionError(
            f"{definition.name} is defined by {', '.join(definition.measures)}, and its model "
            f"would see {shown}",
            "features that do not tell what defines the outcome",
            "add them to features.exclude",
        )


def _both(one: Floats, other: Floats) -> Floats:
    """Return one and the other: no where either is no, unknown where that is not settled."""
    no = (one == 0) | (other == 0)
    return np.where(no, 0.0, np.where(np.isnan(one) | np.isnan(other), np.nan, 1.0))


def _met(criterion: Criterion, given: Measured, name: str) -> Floats:
    """Return 1 where a criterion is met, 0 where not, NaN where it was not measured."""
    values = np.asarray(given.values, dtype=np.float64)
    if values.ndim != 1:
        raise InputError(
            f"values of {criterion.measure} of shape {values.shape}", "one value a person"
        )
    found = np.ones(len(values))
    for side in criterion.bounds:
        bound = bound_of(criterion.bounds[side], given, name, criterion.measure)
        ok = {
            "below": values - bound < -_EQUAL,
            "at_most": values - bound <= _EQUAL,
            "above": values - bound > _EQUAL,
            "at_least": values - bound >= -_EQUAL,
        }[side]
        found = np.where(ok, found, 0.0)
    known = ~np.isnan(values)
    if criterion.below_laboratory:
        if given.laboratory_low is None:
            raise InputError(
                f"{name} compares {criterion.measure} with the laboratory's own lower limit",
                "that limit beside each value (laboratory_low)",
                "add it, or use a definition with a stated bound",
            )
        low = np.asarray(given.laboratory_low, dtype=np.float64)
        found = np.where(values - low < -_EQUAL, found, 0.0)
        known &= ~np.isnan(low)
    return np.where(known, found, np.nan)


def bound_of(equivalents: Mapping[str, float], given: Measured, name: str, measure: str) -> Floats:
    """Return each value's bound, in the unit in which it was reported.

    Raises
    ------
    UnitError
        If a value's unit has no bound.
    """
    values = np.asarray(given.values, dtype=np.float64)
    units = np.broadcast_to(np.asarray(given.unit, dtype=object), values.shape)
    known = {canonical_unit(unit): bound for unit, bound in equivalents.items()}
    by_unit = {unit: canonical_unit(str(unit)) for unit in set(units[~np.isnan(values)])}
    for unit, canonical in by_unit.items():
        if canonical not in known:
            raise UnitError(
                f"values of {measure} in {unit!r}, for which {name} states no bound",
                "one of " + ", ".join(equivalents),
                "report the values in one of these units, or add the equivalent",
            )
    return np.array([known[by_unit[unit]] if unit in by_unit else np.nan for unit in units])
