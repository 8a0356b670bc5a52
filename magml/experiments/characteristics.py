"""Table 1: who the people of a study are, with and without the outcome, in aggregates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.evaluation.checks import SMALL_CELL

if TYPE_CHECKING:
    from magml.definitions import Feature
    from magml.experiments.study import Study

#: Of a domain, at most so many concepts: those recorded most often.
_OF_A_DOMAIN = 12
_SHOWN = {
    "measurement": ("last",),
    "exposure": ("active",),
    "condition": ("present",),
    "age": ("years",),
}
_COLUMNS = ("overall", "with_outcome", "without_outcome")


def characteristics(study: Study) -> list[dict[str, Any]]:
    """Return table 1 as plain rows.

    One feature stands for a concept: its latest value, whether it is current, or whether it was
    recorded. Of each domain the concepts with most people are shown, sex and age always.

    Returns
    -------
    list of dict
        ``domain``, ``feature``, ``label``, ``unit``, ``kind`` (``share`` or ``quantity``); for
        `overall`, `with_outcome` and `without_outcome` the text of that group: ``n (share)`` or
        ``median (lower to upper quartile)``; ``smd`` (standardised mean difference between the
        two), ``missing`` (share of rows without a value). A figure that stands for fewer than ten
        people, or would give such a one away, is left empty.

    References
    ----------
    Austin PC. Commun Stat Simul Comput 2009;38:1228-34 (standardised difference).
    """
    kept = study.rows.evaluated
    labels = study.rows.labels[kept].astype(bool)
    persons = study.rows.persons[kept]
    values = study.matrix.values[kept].astype(np.float64)
    place = {name: number for number, name in enumerate(study.matrix.names)}
    rows: list[dict[str, Any]] = []
    for feature in _chosen(study, values, place):
        column = values[:, place[feature.name]]
        known = ~np.isnan(column)
        share = bool(np.isin(column[known], (0.0, 1.0)).all())
        texts, smd = (_share if share else _quantity)(column, labels, persons)
        rows.append(
            {
                "domain": feature.domain,
                "feature": feature.name,
                "label": feature.label,
                "unit": feature.unit,
                "kind": "share" if share else "quantity",
                **dict(zip(_COLUMNS, texts, strict=True)),
                "smd": smd,
                "missing": share_missing(known, persons),
            }
        )
    return rows


def _chosen(study: Study, values: NDArray[np.float64], place: dict[str, int]) -> list[Feature]:
    """Return the features shown: one a concept, by domain, the most often recorded."""
    catalogue = study.definitions.catalogue
    by_domain: dict[str, dict[str, tuple[int, Feature]]] = {}
    for name in study.matrix.names:
        feature = catalogue.features[name]
        concept = catalogue.by_name.get(feature.concept)
        if concept is None or feature.statistic not in _SHOWN[concept.kind]:
            continue
        column = values[:, place[name]]
        recorded = int((column > 0).sum() if feature.unit == "1" else (~np.isnan(column)).sum())
        known = by_domain.setdefault(feature.domain, {})
        if recorded >= SMALL_CELL and recorded > known.get(feature.concept, (0, feature))[0]:
            known[feature.concept] = (recorded, feature)
    found: list[Feature] = []
    domains = ("demographic", *(file.domain for file in catalogue.domains))
    for domain in dict.fromkeys(domains):
        ordered = sorted(by_domain.get(domain, {}).values(), key=lambda item: -item[0])
        found += [feature for _, feature in ordered[:_OF_A_DOMAIN]]
    return found


def _share(
    column: NDArray[np.float64], labels: NDArray[np.bool_], persons: NDArray[Any]
) -> tuple[Sequence[str | None], float | None]:
    """Return the counts of rows at 1 in the three groups, and the standardised difference."""
    groups = (np.ones(len(labels), dtype=bool), labels, ~labels)
    texts: list[str | None] = []
    shares = []
    small = False
    for chosen in groups:
        here = chosen & ~np.isnan(column)
        ones = here & (column == 1)
        share = float(ones.sum() / here.sum()) if here.any() else float("nan")
        shares.append(share)
        people = [len(np.unique(persons[side])) for side in (ones, here & ~ones)]
        small |= any(0 < count < SMALL_CELL for count in people)
        texts.append(f"{int(ones.sum()):,} ({share:.1%})" if here.any() else None)
    if small:
        # One hidden figure of three would follow from the two others.
        whole = len(np.unique(persons[column == 1])), len(np.unique(persons[column == 0]))
        return [texts[0] if min(whole) >= SMALL_CELL else None, None, None], None
    one, other = shares[1:]
    spread = np.sqrt((one * (1 - one) + other * (1 - other)) / 2)
    return texts, _rounded((one - other) / spread if spread > 0 else 0.0)


def _quantity(
    column: NDArray[np.float64], labels: NDArray[np.bool_], persons: NDArray[Any]
) -> tuple[Sequence[str | None], float | None]:
    """Return medians with quartiles in the three groups, and the standardised difference."""
    known = ~np.isnan(column)
    texts: list[str | None] = []
    for chosen in (known, known & labels, known & ~labels):
        # Ten people beyond each quartile.
        if len(np.unique(persons[chosen])) < 4 * SMALL_CELL:
            texts.append(None)
            continue
        low, middle, high = np.percentile(column[chosen], (25, 50, 75))
        texts.append(f"{middle:.3g} ({low:.3g} to {high:.3g})")
    if texts[1] is None or texts[2] is None:
        return texts, None
    one, other = column[known & labels], column[known & ~labels]
    spread = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2)
    return texts, _rounded((one.mean() - other.mean()) / spread if spread > 0 else 0.0)


def share_missing(known: NDArray[np.bool_], persons: NDArray[Any]) -> float | None:
    """Return the share of rows without a value, unless it speaks of fewer than ten people."""
    few = any(0 < len(np.unique(persons[side])) < SMALL_CELL for side in (known, ~known))
    return None if few else _rounded(1.0 - known.mean())


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
