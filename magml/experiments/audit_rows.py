"""Checks of the leak audit that need the matrix, the labels and the folds alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.evaluation import auroc
from magml.evaluation.checks import SMALL_CELL
from magml.experiments.audit import Check
from magml.models.seeds import derive_seed

if TYPE_CHECKING:
    from magml.experiments.study import Study

#: The cheap model of the shuffled labels: enough to learn a leak, far too little to be good.
_MEMBERS, _ROUNDS, _FOLDS = 2, 40, 3
#: Standard errors above one half from which shuffled labels count as predicted.
_ERRORS = 4.0
#: A yes-or-no feature whose carriers are cases this often is suspect where few others are.
_TELLTALE = 0.9
#: Equal values of so many results of two people are no coincidence.
_EQUAL_RESULTS = 8
_SHOWN = 20


def shuffled_labels(study: Study, *, seed: int, threads: int | None = None) -> Check:
    """Train on labels shuffled between people: they must not be predictable.

    Labels move between people, and a person's rows keep one label, so that a person on both sides
    of a fold would be recognised.
    """
    from magml.models.crossfit import cross_fitted_margins
    from magml.models.selection import select_columns

    name = "shuffled labels"
    rows = study.rows
    people, person = np.unique(rows.persons, return_inverse=True)
    ill = np.zeros(len(people), dtype=bool)
    np.logical_or.at(ill, person[rows.evaluated], rows.labels[rows.evaluated] == 1)
    present = np.zeros(len(people), dtype=bool)
    present[person[rows.evaluated]] = True
    random = np.random.default_rng(derive_seed(seed, "audit", "shuffle"))
    shuffled = ill.copy()
    shuffled[present] = random.permutation(ill[present])
    cases = int(ill[present].sum())
    others = int(present.sum()) - cases
    if min(cases, others) < SMALL_CELL:
        return Check(name, None, "too few people with or without the outcome")
    labels = shuffled[person].astype(np.int8)
    columns = _columns(study)
    matrix = study.matrix.values[:, columns]
    kept = select_columns(matrix, study.features).kept
    chosen = study.definitions.model.estimator.model_copy(
        update={"members": _MEMBERS, "rounds": _ROUNDS}
    )
    margins = cross_fitted_margins(
        matrix[:, kept],
        labels,
        study.folds_by,
        chosen,
        _FOLDS,
        derive_seed(seed, "audit", "folds"),
        persons=rows.persons,
        evaluated=rows.evaluated,
        threads=threads,
    )
    value = auroc(labels[rows.evaluated], 1.0 / (1.0 + np.exp(-margins[rows.evaluated])))
    # Of the area under a curve that knows nothing (Hanley and McNeil 1982), people counted once.
    error = float(np.sqrt((cases + others + 1) / (12.0 * cases * others)))
    bound = 0.5 + _ERRORS * error
    found = value > bound
    return Check(
        name,
        bool(found),
        f"AUROC {value:.3f} on shuffled labels, where at most {bound:.3f} is chance"
        + ("; the folds share people or rows" if found else ""),
        {"auroc": value, "bound": bound, "people": cases + others, "cases": cases},
    )


def single_features(study: Study, strong: float) -> Check:
    """Look for a feature that separates the outcome alone, by its value or by being there."""
    rows = study.rows
    labels = rows.labels[rows.evaluated] == 1
    found = []
    prevalence = float(labels.mean())
    for name, position in zip(study.features, _columns(study), strict=True):
        values = study.matrix.values[rows.evaluated, position]
        by_value, by_presence = feature_aurocs(values, labels)
        carriers = values == 1
        told = float(labels[carriers].mean()) if carriers.sum() >= SMALL_CELL else 0.0
        binary = bool(np.isin(values[~np.isnan(values)], (0, 1)).all())
        telltale = binary and prevalence <= 0.5 and told >= _TELLTALE
        best = max(value for value in (by_value, by_presence, 0.5) if value == value)
        if best >= strong or telltale:
            found.append(
                {
                    "feature": name,
                    "auroc_of_value": None if by_value != by_value else round(by_value, 4),
                    "auroc_of_presence": round(by_presence, 4),
                    "cases_among_carriers": round(told, 4) if telltale else None,
                }
            )
    named = ", ".join(str(item["feature"]) for item in found[:3])
    return Check(
        "single features",
        bool(found),
        f"{len(found)} features tell the outcome alone ({named})"
        if found
        else f"none of {len(study.features)} features reaches an AUROC of {strong:g} alone",
        {"bound": strong, "features": len(study.features), "suspect": found[:_SHOWN]},
    )


def patient_in_both(study: Study, fold: NDArray[np.int64]) -> Check:
    """Count people who stand on both sides of an outer fold, under one id or two."""
    rows = study.rows
    _, person = np.unique(rows.persons, return_inverse=True)
    _, group = np.unique(study.folds_by, return_inverse=True)
    both: set[int] = set()
    for number in range(int(fold.max()) + 1):
        test = fold == number
        held = np.zeros(int(group.max()) + 1, dtype=bool)
        held[group[test]] = True
        train = ~held[group]
        both |= set(np.intersect1d(person[test], person[train]).tolist())
    twins = _twins(study, person, fold)
    return Check(
        "patient in both splits",
        bool(both or twins),
        f"{len(both)} people have rows on both sides of a fold, and {twins} rows equal another "
        "person's of another fold in all results"
        if both or twins
        else "no person has rows on both sides of a fold",
        {"people": len(both), "equal_rows": twins},
    )


def _twins(study: Study, person: NDArray[np.intp], fold: NDArray[np.int64]) -> int:
    """Count rows whose results equal those of another person in another fold: one person twice."""
    place = [
        position
        for position, name in enumerate(study.matrix.names)
        if name.split(".")[0] in ("lab", "vital") and name.endswith(".last")
    ]
    results = study.matrix.values[:, place]
    kept = np.flatnonzero((~np.isnan(results)).sum(axis=1) >= _EQUAL_RESULTS)
    seen: dict[bytes, list[int]] = {}
    for row in kept:
        seen.setdefault(results[row].tobytes(), []).append(int(row))
    return sum(
        1
        for alike in seen.values()
        if len(alike) > 1
        for row in alike
        if any(person[row] != person[other] and fold[row] != fold[other] for other in alike)
    )


def feature_aurocs(values: NDArray[np.floating], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """Return how well a feature separates the outcome by its value and by having one.

    Parameters
    ----------
    values
        A column, NaN where missing, shape (n,).
    labels
        Outcomes, shape (n,).

    Returns
    -------
    by_value, by_presence : float
        AUROC, the larger of both directions; by value on the rows that have one, NaN where fewer
        than ten cases or ten others have.

    Examples
    --------
    >>> labels = np.array([True] * 10 + [False] * 10)
    >>> feature_aurocs(np.r_[np.zeros(10), np.ones(10)], labels)
    (1.0, 0.5)
    >>> feature_aurocs(np.r_[np.full(10, np.nan), np.ones(10)], labels)
    (nan, 1.0)
    """
    present = ~np.isnan(values)
    share = present[labels].mean() - present[~labels].mean()
    by_presence = 0.5 + 0.5 * abs(float(share))
    used, outcome = values[present], labels[present]
    cases = int(outcome.sum())
    others = len(outcome) - cases
    if min(cases, others) < SMALL_CELL:
        return float("nan"), by_presence
    order = np.argsort(used, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(used[order]) != 0, True))
    starts = np.append(0, ends[:-1] + 1)
    middle = (starts + ends) / 2.0 + 1.0  # the mean rank of equal values
    hits = np.add.reduceat(outcome[order].astype(np.float64), starts)
    area = (float((hits * middle).sum()) - cases * (cases + 1) / 2.0) / (cases * others)
    return max(area, 1.0 - area), by_presence


def _columns(study: Study) -> list[int]:
    """Return the positions of the model's features in the matrix."""
    place = {name: position for position, name in enumerate(study.matrix.names)}
    return [place[name] for name in study.features]
