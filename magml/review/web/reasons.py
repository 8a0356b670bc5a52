"""A patient's reasons as a waterfall whose bars open: domains, their concepts, their features."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magml.definitions.catalogue import Concept
from magml.review.web.marks import Axis
from magml.review.web.phrases import points, stability

if TYPE_CHECKING:
    from magml.bundle import Model

#: Concepts of a domain, and features of a concept, that are shown at once; the rest are folded.
_CONCEPTS, _FEATURES = 8, 5
_DIRECTIONS = {
    "lowers": "lowers magnesium",
    "raises": "raises magnesium",
    "marker": "marks low magnesium without causing it",
    "mixed": "can act either way",
}
_PLACE = re.compile(r"^(?:(below|above) )?percentile (\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Bar:
    """One bar of a waterfall.

    Attributes
    ----------
    x, width
        The bar, in percent.
    before, after
        Where it starts and ends, in percent.
    kind
        ``raises``, ``lowers`` or ``undecided``.
    points
        What it adds, in words.
    """

    x: str
    width: str
    before: str
    after: str
    kind: str
    points: str


@dataclass(frozen=True)
class Waterfall:
    """The reasons of a page, drawn on one axis."""

    axis: Axis
    ticks: tuple[tuple[str, str], ...]
    start: str
    end: str
    domains: tuple[dict[str, Any], ...]


def waterfall(page: dict[str, Any], model: Model) -> Waterfall:
    """Return a page's reasons with their bars, evidence merged by concept."""
    edges = [page["base_risk"]]
    inner: list[float] = []
    for domain in page["domains"]:
        within = edges[-1]
        for concept in domain["concepts"]:
            within += concept["risk"]
            inner.append(within)
        edges.append(edges[-1] + domain["risk"])
    low, high = min(edges + inner), max(edges + inner)
    pad = max(0.08 * (high - low), 0.002)
    axis = Axis(low - pad, high + pad)
    members = len(model.bag.boosters)
    domains = []
    for place, domain in enumerate(page["domains"]):
        before = edges[place]
        concepts = []
        for concept in domain["concepts"]:
            features = [_feature(concept, one, members) for one in concept["features"]]
            few, more = _folded(features, _FEATURES)
            concepts.append(
                {
                    **concept,
                    "bar": _bar(axis, before, concept),
                    "stability": stability(concept, members),
                    **_catalogued(model, concept),
                    "features": few,
                    "more": more,
                    "more_points": points(sum(one["risk"] for one in more)),
                    "records": _records(concept),
                }
            )
            before += concept["risk"]
        shown, folded = _folded(concepts, _CONCEPTS)
        domains.append(
            {
                **domain,
                "bar": _bar(axis, edges[place], domain),
                "stability": stability(domain, members),
                "shown": shown,
                "folded": folded,
                "folded_points": points(sum(one["risk"] for one in folded)),
            }
        )
    return Waterfall(
        axis,
        tuple((axis.at(tick), f"{100 * tick:g}%") for tick in axis.ticks(7) if 0 <= tick <= 1),
        axis.at(edges[0]),
        axis.at(page["risk"]),
        tuple(domains),
    )


def _folded(found: list[Any], most: int) -> tuple[list[Any], list[Any]]:
    """Return what is shown at once and what is folded; one alone is not worth folding.

    Examples
    --------
    >>> _folded([1, 2, 3], 2), _folded([1, 2, 3, 4], 2)
    (([1, 2, 3], []), ([1, 2], [3, 4]))
    """
    return (found, []) if len(found) <= most + 1 else (found[:most], found[most:])


def _bar(axis: Axis, before: float, reason: dict[str, Any]) -> Bar:
    after = before + reason["risk"]
    kind = "raises" if reason["risk"] > 0 else "lowers"
    return Bar(
        axis.at(min(before, after)),
        axis.width(before, after),
        axis.at(before),
        axis.at(after),
        kind if reason["stable"] else "undecided",
        points(reason["risk"]),
    )


def _catalogued(model: Model, concept: dict[str, Any]) -> dict[str, Any]:
    """Return what the catalogue says of a concept, and whether the model goes against it."""
    item = model.catalogue.by_name.get(concept["name"])
    if not isinstance(item, Concept):
        return {"mechanism": "", "says": "", "modifiable": False, "citations": [], "against": False}
    citations = [
        {"text": found.citation, "doi": found.doi or ""}
        for name in item.evidence
        if (found := model.catalogue.references.get(name)) is not None
    ]
    # An exposure that lowers magnesium and here lowers the risk, or the reverse. A measurement's
    # direction is not that of its value, so nothing can be said of it.
    opposed = {"lowers": -1, "raises": 1}.get(item.direction, 0) if item.unit is None else 0
    return {
        "mechanism": item.mechanism,
        "says": _DIRECTIONS.get(item.direction, ""),
        "modifiable": item.modifiable,
        "citations": citations,
        "against": concept["stable"] and _present(concept) and opposed * concept["risk"] > 0,
    }


def _present(concept: dict[str, Any]) -> bool:
    return any(one["value"] in ("current", "recorded") for one in concept["features"])


def _feature(concept: dict[str, Any], feature: dict[str, Any], members: int) -> dict[str, Any]:
    found = _PLACE.match(feature["place"])
    return {
        **feature,
        "short": short_label(concept["label"], feature["label"]),
        "points": points(feature["risk"]),
        "stability": stability(feature, members),
        "at": None if found is None else f"{float(found.group(2)):g}%",
    }


def short_label(concept: str, feature: str) -> str:
    """Return a feature's label without its concept's.

    Examples
    --------
    >>> short_label("Potassium", "Potassium, latest"), short_label("Age", "Age")
    ('latest', 'as recorded')
    """
    return feature.removeprefix(concept).lstrip(", ") or "as recorded"


def _named(names: list[str]) -> str:
    """Return names in a line that stays short.

    Examples
    --------
    >>> _named(["latest"]), _named(["latest", "lowest", "mean", "first", "count"])
    ('latest', 'latest; lowest; mean and 2 more')
    """
    few, more = _folded(names, 3)
    return "; ".join(few) + (f" and {len(more)} more" if more else "")


def _records(concept: dict[str, Any]) -> dict[str, Any]:
    """Return the rows behind a concept's features, each once, with the features it is behind."""
    behind: dict[tuple[Any, ...], list[str]] = {}
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    looked_up = False
    for feature in concept["features"]:
        if feature["evidence"] is None:
            continue
        looked_up = True
        for row in feature["evidence"]:
            key = tuple(row[name] for name in sorted(row))
            rows[key] = row
            behind.setdefault(key, []).append(short_label(concept["label"], feature["label"]))
    ordered = sorted(rows, key=lambda key: rows[key]["time"] or "", reverse=True)
    return {
        "looked_up": looked_up,
        "rows": [
            {
                **rows[key],
                "code": rows[key]["code"].replace("//", " "),
                "behind": _named(list(dict.fromkeys(behind[key]))),
            }
            for key in ordered
        ],
        "earlier": max((feature["earlier"] for feature in concept["features"]), default=0),
    }
