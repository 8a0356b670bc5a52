"""Which test, if it were done, would most change the model's answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError
from magml.explanations.scenario import LEVEL_STATISTICS, changed_rows, features_of

if TYPE_CHECKING:
    from magml.bundle.model import Model
    from magml.definitions import Feature
    from magml.explanations.reference import ReferenceCohort

#: The middle of each tenth of the cohort: ten results of equal weight.
_TENTHS = tuple(range(5, 100, 10))
#: Fewer results than these say nothing of a spread.
_LEAST = 3
NOTE = (
    "The model's answer if a first result were any of those usual in the cohort. A test is ordered "
    "for the patient's sake, not to move a risk."
)


@dataclass(frozen=True)
class MissingTest:
    """A test without any result yet, and what its result would do to the model's answer.

    Attributes
    ----------
    concept, label, unit
        What is measured.
    risk
        The calibrated risk as it is.
    low, high
        The lowest and the highest risk over the results of the cohort's tenths.
    change
        Mean distance of these risks from `risk`: what tests are ranked by.
    value_at_low, value_at_high
        The results that give `low` and `high`.
    bands
        The bands that the risk could then lie in, lowest first.
    """

    concept: str
    label: str
    unit: str | None
    risk: float
    low: float
    high: float
    change: float
    value_at_low: float
    value_at_high: float
    bands: tuple[str, ...]


def missing_tests(
    model: Model,
    values: NDArray[np.float32],
    *,
    domains: Sequence[str] = ("lab",),
    top: int | None = None,
) -> tuple[MissingTest, ...]:
    """Rank the tests without any result by how far a result would move the model's answer.

    A test counts as missing when the model uses its level and none of those features has a value.
    Each is then given, in turn, the result in the middle of each tenth of the cohort, as a first
    result of usual age: all its features are set together, and derived ones are computed again.
    The results are the cohort's, whatever else is known of the patient. The outcome's own analyte
    is left out.

    Parameters
    ----------
    model
        The model.
    values
        One row of the plan's matrix (`Model.build`, `Explanation.matrix`), shape (q,).
    domains
        Domains of tests that can be ordered.
    top
        Return at most so many.

    Returns
    -------
    tuple of MissingTest
        The largest change first.

    Raises
    ------
    InputError
        If the bundle holds no table of the cohort, or the row is not one of the plan's matrix.
    """
    reference = model.reference
    if reference is None:
        raise InputError(
            "this bundle holds no percentiles of its cohort",
            "a bundle of format 2 or later",
            "train the model again with this version of magml",
        )
    row = check_row(model, values)
    place = {name: number for number, name in enumerate(model.plan.features)}
    own = model.columns(row[None, :])
    risk = float(model.score_matrix(own).risk[0])
    found = []
    for concept in dict.fromkeys(model.catalogue.features[name].concept for name in place):
        described = model.catalogue.by_name.get(concept)
        if described is None or described.kind != "measurement":
            continue
        if concept == model.definition.outcome.analyte or concept.split(".")[0] not in domains:
            continue
        features = features_of(model.plan, model.catalogue, concept)
        levels = [f.name for f in features if f.statistic in LEVEL_STATISTICS]
        if not levels or not all(np.isnan(row[place[name]]) for name in levels):
            continue
        results = _results(reference, levels)
        if len(results) < _LEAST:
            continue
        changes = {
            f.name: new
            for f in features
            if (new := _first_result(f, row[place[f.name]], results, reference)) is not None
        }
        rows, _ = changed_rows(model.plan, row, changes)
        changed = model.columns(rows)
        if np.array_equal(changed, np.repeat(own, len(rows), axis=0), equal_nan=True):
            continue  # the model does not look at it
        risks = model.score_matrix(changed).risk
        least, most = int(np.argmin(risks)), int(np.argmax(risks))
        bands = model.bands(np.sort(np.append(risks, risk)))
        found.append(
            MissingTest(
                concept,
                described.label,
                described.unit,
                risk,
                float(risks[least]),
                float(risks[most]),
                float(np.abs(risks - risk).mean()),
                float(results[least]),
                float(results[most]),
                tuple(dict.fromkeys(str(band) for band in bands)),
            )
        )
    found.sort(key=lambda test: (-test.change, test.concept))
    return tuple(found if top is None else found[:top])


def check_row(model: Model, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a row of the plan's matrix as float32.

    Raises
    ------
    InputError
        If its length is another.
    """
    row = np.asarray(values, dtype=np.float32)
    if row.shape != (len(model.plan.features),):
        raise InputError(
            f"a row of shape {row.shape}",
            f"one row of the plan's matrix, {len(model.plan.features)} values",
            "take a row of Model.build(...).values",
        )
    return row


def _results(reference: ReferenceCohort, levels: list[str]) -> NDArray[np.float64]:
    """Return the results of the cohort's tenths, of the feature that most people have."""
    by_feature = [reference.values(name, _TENTHS) for name in levels]
    return np.array(max(by_feature, key=len))


def _first_result(
    feature: Feature, before: float, results: NDArray[np.float64], reference: ReferenceCohort
) -> NDArray[np.float64] | None:
    """Return a feature's values once there is one result; None where it has none of it."""
    if feature.statistic in (*LEVEL_STATISTICS, "sum"):
        return results
    if feature.statistic == "count":
        return np.full(len(results), np.nan_to_num(before) + 1.0)
    if feature.statistic == "hours_since":
        usual = reference.values(feature.name, (50,))
        return np.full(len(results), usual[0] if usual else 0.0)
    return None  # a slope or a spread needs two
