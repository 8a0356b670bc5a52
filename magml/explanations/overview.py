"""A model's explanations over a cohort: importance, directions, interactions, subgroups.

Everything here is an aggregate over at least ten people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.evaluation.checks import SMALL_CELL
from magml.explanations.directions import direction_rows
from magml.explanations.explain import LEVELS, group_of
from magml.explanations.interactions import pair_interactions
from magml.explanations.people import People
from magml.explanations.words import describe_domain, describe_feature

if TYPE_CHECKING:
    from magml.definitions import Catalogue
    from magml.explanations.explain import Explanation, Level
    from magml.models.bag import Bag

Rows = tuple[dict[str, Any], ...]
#: Rows on which interactions are computed, and the concepts whose pairs are looked at beside the
#: catalogue's own.
INTERACTION_ROWS = 300
_LEADING = 5


@dataclass(frozen=True)
class Overview:
    """What a model uses over a cohort, as rows of plain values.

    Attributes
    ----------
    n, people
        Prediction times and people explained.
    replicates
        Bootstrap resamples of people behind the 95% intervals.
    importance
        ``level``, ``name``, ``label``, ``value`` (mean absolute contribution, log-odds), ``low``,
        ``high``, ``share`` (of the level's sum), the largest first within a level.
    directions
        Concepts with a stated direction: see `magml.explanations.directions`.
    interactions
        ``first``, ``second`` (concepts), ``labels``, ``why`` it is on the list, ``value`` (mean
        absolute interaction, log-odds), ``low``, ``high``.
    interaction_n
        Prediction times on which interactions were computed.
    subgroups
        ``dimension``, ``subgroup``, ``people``, ``domain``, ``label``, ``importance``,
        ``difference`` (to everybody else), ``low``, ``high``.
    """

    n: int
    people: int
    replicates: int
    importance: Rows
    directions: Rows
    interactions: Rows
    interaction_n: int
    subgroups: Rows

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-safe values."""
        tables = ("importance", "directions", "interactions", "subgroups")
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in tables:
            plain[name] = [{key: _plain(cell) for key, cell in row.items()} for row in plain[name]]
        return plain


def overview(
    why: Explanation,
    persons: ArrayLike,
    *,
    bag: Bag | None = None,
    subgroups: Mapping[str, NDArray[Any]] | None = None,
    replicates: int = 500,
    seed: int = 0,
) -> Overview:
    """Summarise explanations over people.

    Parameters
    ----------
    why
        Explanations of n prediction times.
    persons
        Person of each, shape (n,).
    bag
        The boosters; without them interactions are left out.
    subgroups
        By dimension (``sex``), each row's subgroup; None leaves a row out.
    replicates, seed
        Bootstrap resamples of people, and their seed.
    """
    people = People(persons, replicates=replicates, seed=seed)
    importance = _importance(why, people)
    pairs = [] if bag is None else _pairs(why, importance)
    rows = np.unique(np.linspace(0, len(why) - 1, min(INTERACTION_ROWS, len(why))).astype(int))
    return Overview(
        n=len(why),
        people=people.count,
        replicates=replicates,
        importance=importance,
        directions=direction_rows(why, people),
        interactions=() if bag is None else _interactions(why, people, bag, pairs, rows),
        interaction_n=0 if bag is None else len(rows),
        subgroups=_subgroups(why, people, subgroups or {}),
    )


def level_labels(why: Explanation, level: Level) -> list[str]:
    """Return the names of a level's groups in words, in their order."""
    catalogue: Catalogue = why.catalogue
    if level == "domain":
        return [describe_domain(name, catalogue) for name in why.groups(level)]
    if level == "concept":
        return [catalogue.described(name).label for name in why.groups(level)]
    return [describe_feature(feature) for feature in why.schema]


def _importance(why: Explanation, people: People) -> Rows:
    """Return mean absolute contributions at every level."""
    found: list[dict[str, Any]] = []
    for level in LEVELS[::-1]:
        names, log_odds, _ = why.at_level(level)
        value, low, high = people.mean(np.abs(log_odds))
        labels = level_labels(why, level)
        whole = float(value.sum())
        for k in np.argsort(-value, kind="stable"):
            found.append(
                {
                    "level": level,
                    "name": names[k],
                    "label": labels[k],
                    "value": float(value[k]),
                    "low": float(low[k]),
                    "high": float(high[k]),
                    "share": float(value[k]) / whole if whole else 0.0,
                }
            )
    return tuple(found)


def _pairs(why: Explanation, importance: Rows) -> list[tuple[str, str, str]]:
    """Return the pairs to look at: those the catalogue multiplies, and the leading concepts'."""
    names = set(why.groups("concept"))
    catalogue = why.catalogue
    found: dict[tuple[str, str], str] = {}
    for item in catalogue.derived.values():
        if item.formula == "product" and len(item.input_names) == 2:
            one, other = (catalogue.features[name].concept for name in item.input_names)
            if {one, other} <= names:
                found[one, other] = "catalogue"
    leading = [row["name"] for row in importance if row["level"] == "concept"][:_LEADING]
    for k, one in enumerate(leading):
        for other in leading[k + 1 :]:
            if (one, other) not in found and (other, one) not in found:
                found[one, other] = f"two of the {_LEADING} leading"
    return [(one, other, why_) for (one, other), why_ in found.items()]


def _interactions(
    why: Explanation,
    people: People,
    bag: Bag,
    pairs: Sequence[tuple[str, str, str]],
    rows: NDArray[np.intp],
) -> Rows:
    """Return the mean absolute interaction of each pair, the strongest first."""
    groups, names = group_of(why.schema, "concept")
    columns = {name: np.flatnonzero(groups == k).tolist() for k, name in enumerate(names)}
    values = np.abs(
        pair_interactions(bag, why.values[rows], [(columns[a], columns[b]) for a, b, _ in pairs])
    )
    whole = np.zeros((len(why), len(pairs)))
    whole[rows] = values
    chosen = np.zeros(len(why), dtype=bool)
    chosen[rows] = True
    value, low, high = people.mean(whole, chosen)
    label = {name: why.catalogue.described(name).label for name in names}
    return tuple(
        {
            "first": pairs[k][0],
            "second": pairs[k][1],
            "labels": f"{label[pairs[k][0]]} × {label[pairs[k][1]]}",
            "why": pairs[k][2],
            "value": float(value[k]),
            "low": float(low[k]),
            "high": float(high[k]),
        }
        for k in np.argsort(-value, kind="stable")
    )


def _subgroups(why: Explanation, people: People, dimensions: Mapping[str, NDArray[Any]]) -> Rows:
    """Return each domain's importance in each subgroup of ten people or more."""
    names, log_odds, _ = why.at_level("domain")
    labels = level_labels(why, "domain")
    size = np.abs(log_odds)
    found: list[dict[str, Any]] = []
    for dimension, values in dimensions.items():
        described = np.array([value is not None for value in values])
        for name in sorted({value for value in values if value is not None}):
            inside = np.asarray(values == name, dtype=bool)
            outside = described & ~inside
            if min(people.within(inside), people.within(outside)) < SMALL_CELL:
                continue
            own, _, _ = people.mean(size, inside)
            difference, low, high = people.difference(size, inside, outside)
            for k, domain in enumerate(names):
                found.append(
                    {
                        "dimension": dimension,
                        "subgroup": str(name),
                        "people": people.within(inside),
                        "domain": domain,
                        "label": labels[k],
                        "importance": float(own[k]),
                        "difference": float(difference[k]),
                        "low": float(low[k]),
                        "high": float(high[k]),
                    }
                )
    return tuple(found)


def _plain(cell: Any) -> Any:
    """Return a cell as JSON knows it."""
    return None if isinstance(cell, float) and not np.isfinite(cell) else cell
