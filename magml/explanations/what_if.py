"""What the model would answer if something modifiable were otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError, nearest
from magml.explanations.missing import check_row
from magml.explanations.scenario import LEVEL_STATISTICS, changed_rows, features_of
from magml.features.plan import ZERO_WHEN_ABSENT

if TYPE_CHECKING:
    from magml.bundle.model import Model
    from magml.definitions import Catalogue, Concept, Feature

Change = float | Literal["absent"]
NOTE = (
    "The model's answer for records that differ in this alone. It is not the effect of a "
    "treatment: people with and without it differ in other ways, and the model does not tell these "
    "apart."
)


@dataclass(frozen=True)
class WhatIf:
    """The model's answer as it is and under a stated change.

    Attributes
    ----------
    statement
        The change in words.
    before, after
        Calibrated risks.
    difference
        `after` - `before`.
    low, high
        10th and 90th percentile of the members' differences: how far the model's own members
        agree, not a confidence interval.
    features
        Feature, value before and after, for each that changed; NaN is missing.
    along
        Concepts that changed with those named because they are part of them.
    kept
        Concepts that hold more than those named and therefore stayed as they are.
    not_recomputed
        Derived features that stayed as they are because the bundle lacks what they are made of.
    note
        How to read it.
    """

    statement: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    features: tuple[tuple[str, float, float], ...]
    along: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    not_recomputed: tuple[str, ...] = ()
    note: str = NOTE


def what_if(model: Model, values: NDArray[np.float32], changes: Mapping[str, Change]) -> WhatIf:
    """Return the model's answer under a stated change of something modifiable.

    Parameters
    ----------
    model
        The model.
    values
        One row of the plan's matrix (`Model.build`, `Explanation.matrix`), shape (q,).
    changes
        By concept (``medication.proton_pump_inhibitor``): ``"absent"``, as if an exposure or a
        condition had never been recorded, or for a measurement the value that it is to have
        throughout, in the concept's unit.

    Returns
    -------
    WhatIf

    Raises
    ------
    InputError
        If a concept is not modifiable by the catalogue, or the model does not use it; if the
        change does not fit its kind; or if the row is not one of the plan's matrix.
    """
    row = check_row(model, values)
    place = {name: number for number, name in enumerate(model.plan.features)}
    if not changes:
        raise InputError("no change", "a concept and what it is to be", "name one")
    new: dict[str, NDArray[np.float64]] = {}
    words, along, kept = [], set[str](), set[str]()
    for concept, change in changes.items():
        described = _modifiable(model, concept)
        _check_change(concept, described, change)
        inside, outside = _related(model, concept)
        along |= inside - set(changes) if change == "absent" else set()
        kept |= outside - set(changes) if change == "absent" else set()
        for name in (concept, *(sorted(inside) if change == "absent" else ())):
            for feature in features_of(model.plan, model.catalogue, name):
                value = _changed(feature, float(row[place[feature.name]]), change)
                if value is not None:
                    new[feature.name] = np.array([value])
        words.append(_words(described, change))
    rows, stale = changed_rows(model.plan, row, new)
    both = model.columns(np.concatenate([row[None, :], rows]))
    risk = model.score_matrix(both).risk
    members = model.calibrator.risk(model.bag.margins(both))
    low, high = np.percentile(members[1] - members[0], (10, 90))
    differs = (row != rows[0]) & ~(np.isnan(row) & np.isnan(rows[0]))
    touched = {model.catalogue.features[name].concept for name, k in place.items() if differs[k]}
    return WhatIf(
        "; ".join(words),
        float(risk[0]),
        float(risk[1]),
        float(risk[1] - risk[0]),
        float(low),
        float(high),
        tuple((name, float(row[k]), float(rows[0, k])) for name, k in place.items() if differs[k]),
        tuple(sorted(along & touched)),
        tuple(sorted(kept)),
        stale,
    )


def modifiable_concepts(model: Model) -> tuple[str, ...]:
    """Return the concepts whose change `what_if` accepts, in the order of the model's features."""
    catalogue = model.catalogue
    names = dict.fromkeys(catalogue.features[name].concept for name in model.plan.features)
    return tuple(
        name for name in names if name in catalogue.by_name and catalogue.by_name[name].modifiable
    )


def _modifiable(model: Model, concept: str) -> Concept:
    """Return a concept that may be changed."""
    known = modifiable_concepts(model)
    described = model.catalogue.by_name.get(concept)
    if described is not None and not described.modifiable:
        raise InputError(
            f"{concept} ({described.label}) is not modifiable by the catalogue",
            f"something that can be changed, such as {', '.join(known[:5]) or 'nothing here'}",
            "ask about something modifiable; age, sex and diagnoses are as they are",
        )
    if described is None or concept not in known:
        raise InputError(
            f"the model uses no concept {concept!r}", nearest(concept, known), "correct the name"
        )
    return described


def _check_change(concept: str, described: Concept, change: Change) -> None:
    """Refuse a change that does not fit the concept's kind."""
    if described.kind == "measurement":
        if isinstance(change, str) or not np.isfinite(change):
            raise InputError(
                f"{concept} is to be {change!r}",
                f"a value in {described.unit}",
                "state the value that it is to have",
            )
        low, high = described.plausible or (-np.inf, np.inf)
        if not low <= change <= high:
            raise InputError(
                f"{concept} is to be {change:g} {described.unit}",
                f"a plausible value, {low:g} to {high:g}",
                "check the value's unit",
            )
    elif change != "absent":
        raise InputError(f"{concept} is to be {change!r}", "'absent'", "ask what holds without it")


def _changed(feature: Feature, before: float, change: Change) -> float | None:
    """Return a feature's value under a change of its concept; None where it stays."""
    if change == "absent":
        return 0.0 if feature.statistic in ZERO_WHEN_ABSENT else float("nan")
    if feature.statistic in LEVEL_STATISTICS:
        return float(change)
    if feature.statistic in ("slope", "sd"):
        return before if np.isnan(before) else 0.0
    if feature.statistic == "count":
        return max(1.0, np.nan_to_num(before))
    return None


def _words(described: Concept, change: Change) -> str:
    """Return a change in words."""
    from magml.explanations.words import describe_unit

    if change == "absent":
        return f"{described.label}: as if not recorded"
    return f"{described.label}: {change:g} {describe_unit(described.unit)}".strip()


def _related(model: Model, concept: str) -> tuple[set[str], set[str]]:
    """Return exposures that are part of this one, and those that this one is part of."""
    names = {model.catalogue.features[name].concept for name in model.plan.features}
    inside, outside = set(), set()
    for other in names - {concept}:
        if _part_of(model.catalogue, other, concept):
            inside.add(other)
        elif _part_of(model.catalogue, concept, other):
            outside.add(other)
    return inside, outside


def _part_of(catalogue: Catalogue, part: str, whole: str) -> bool:
    """Return whether all that one exposure is recorded by also records another."""
    one, other = catalogue.by_name.get(part), catalogue.by_name.get(whole)
    if one is None or other is None or {one.kind, other.kind} != {"exposure"}:
        return False
    if not (one.names or one.codes):
        return False
    codes = all(
        code in other.codes or (code.startswith("ATC//") and code.startswith(tuple(_atc(other))))
        for code in one.codes
    )
    return codes and {*map(str.casefold, one.names)} <= {*map(str.casefold, other.names)}


def _atc(concept: Concept) -> list[str]:
    return [code for code in concept.codes if code.startswith("ATC//")]
