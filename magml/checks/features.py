"""Which features of the catalogue are lost with a concept, and how much of it the data hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from magml.checks.report import DomainLine
from magml.definitions.catalogue import Catalogue


def features_of(catalogue: Catalogue, concepts: Iterable[str]) -> tuple[str, ...]:
    """Return the features made of concepts, and the derived ones that need any of these.

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> features_of(read_catalogue(), ["lab.magnesium_red_cell"])
    ('lab.magnesium_red_cell.last', 'lab.magnesium_red_cell.hours_since')
    """
    wanted = set(concepts)
    lost = {name for name, feature in catalogue.features.items() if feature.concept in wanted}
    while True:
        more = {
            name
            for name, item in catalogue.derived.items()
            if name not in lost and lost.intersection(item.input_names)
        }
        if not more:
            return tuple(name for name in catalogue.features if name in lost)
        lost |= more


def domain_lines(catalogue: Catalogue, used_rows: Mapping[str, int]) -> tuple[DomainLine, ...]:
    """Return how much of each domain the data hold.

    Parameters
    ----------
    catalogue
        The clinical catalogue.
    used_rows
        Rows by concept that can be used.
    """
    with_features = {feature.concept for feature in catalogue.features.values()}
    lines = []
    for file in catalogue.domains:
        names = [
            f"{file.domain}.{key}"
            for key in file.concepts
            if f"{file.domain}.{key}" in with_features
        ]
        if not names:
            continue
        missing = tuple(name for name in names if not used_rows.get(name))
        own = [f for f in catalogue.features.values() if f.domain == file.domain]
        lost = set(features_of(catalogue, missing))
        lines.append(
            DomainLine(
                domain=file.domain,
                concepts=len(names),
                found=len(names) - len(missing),
                rows=sum(used_rows.get(name, 0) for name in names),
                features=len(own),
                features_lost=sum(feature.name in lost for feature in own),
                missing=missing,
            )
        )
    return tuple(lines)
