"""Which features of the catalogue a model may see."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from magml.definitions import Catalogue, ModelDefinition
from magml.definitions.model import BodyStatusOutcome
from magml.errors import DefinitionError, nearest
from magml.outcomes.composite import excluded_features

#: A concept with this in `reveals` shows that somebody already thinks of low magnesium.
REVEALED = "hypomagnesemia"
_ORDERED = {"last", "first", "min", "max", "mean", "active", "present", "days", "years"}
_ORDERED |= {"share", "dose", "daily_dose"}


def model_features(
    catalogue: Catalogue, definition: ModelDefinition, domains: Iterable[str] | None = None
) -> tuple[str, ...]:
    """Return the names of the features that a model may use, in the catalogue's order.

    A screening model never sees its outcome's analyte, nor a concept that reveals the outcome
    (a magnesium order or infusion, a diagnosis of hypomagnesemia), whatever its file says; a
    model of body status never sees what defines its outcome. What is excluded is excluded from
    derived features as well.

    Parameters
    ----------
    catalogue
        The clinical catalogue.
    definition
        The model; its `features` choose domains and exclusions.
    domains
        Fewer domains than the model's, for an ablation.

    Raises
    ------
    DefinitionError
        If an exclusion matches nothing, or nothing is left.
    """
    wanted = set(definition.features.domains)
    if domains is not None:
        wanted &= set(domains)
    for pattern in definition.features.exclude:
        if not any(_matches(pattern, f.name, f.concept) for f in catalogue.features.values()):
            _check_concept(catalogue, definition, pattern)

    _check_plugins(catalogue, definition)

    defining: frozenset[str] = frozenset()
    if isinstance(definition.outcome, BodyStatusOutcome):
        defining = excluded_features(definition.outcome.definition, catalogue)

    def allowed(name: str) -> bool:
        feature = catalogue.features[name]
        if any(_matches(p, name, feature.concept) for p in definition.features.exclude):
            return False
        if feature.derived:
            return all(allowed(needed) for needed in catalogue.derived[name].input_names)
        if feature.plugin:
            return True
        if name in defining:
            return False
        if not definition.screening:
            return True
        concept = catalogue.by_name[feature.concept]
        return feature.concept != definition.outcome.analyte and REVEALED not in concept.reveals

    names = tuple(
        name
        for name, feature in catalogue.features.items()
        if feature.domain in wanted and allowed(name)
    )
    if not names:
        raise DefinitionError(
            f"no feature is left for {definition.name} in the domains {', '.join(sorted(wanted))}",
            "at least one feature of the catalogue",
            "widen features.domains or shorten features.exclude",
        )
    return names


def monotone_features(
    catalogue: Catalogue, definition: ModelDefinition, names: Iterable[str]
) -> dict[str, int]:
    """Return the sign that each feature's effect on the risk must have, where one is declared.

    A concept's `constraint` is keyed by the model's name; most concepts have none, because
    the direction of a mechanism need not be the direction in records.
    """
    signs: dict[str, int] = {}
    for name in names:
        feature = catalogue.features[name]
        if not feature.derived and feature.statistic in _ORDERED:
            sign = catalogue.by_name[feature.concept].constraint.get(definition.name)
            if sign is not None:
                signs[name] = sign
    return signs


def _matches(pattern: str, name: str, concept: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(concept, pattern)


def _check_plugins(catalogue: Catalogue, definition: ModelDefinition) -> None:
    """Refuse a plug-in that a screening model must not use, or whose domain it leaves out."""
    for plugin in catalogue.plugins:
        guarded = definition.screening or isinstance(definition.outcome, BodyStatusOutcome)
        if guarded and plugin.reads_magnesium:
            kind = "screening" if definition.screening else "body status"
            raise DefinitionError(
                f"the plug-in {plugin.name} reads magnesium, and {definition.name} is a {kind} "
                "model",
                "a plug-in with reads_magnesium=False",
                "remove it from features.plugins",
            )
        if plugin.domain not in definition.features.domains:
            raise DefinitionError(
                f"{definition.name} names the plug-in {plugin.name} and leaves out its domain",
                f"{plugin.domain} among features.domains",
                "add the domain, or remove the plug-in",
            )


def _check_concept(catalogue: Catalogue, definition: ModelDefinition, pattern: str) -> None:
    """Refuse an exclusion that names nothing: a misspelt one would let a leak through."""
    if any(fnmatchcase(concept, pattern) for concept in catalogue.by_name):
        return
    raise DefinitionError(
        f"models/{definition.name}.yaml excludes {pattern!r}, which matches nothing",
        nearest(pattern, [*catalogue.by_name, *catalogue.features]),
        "correct the pattern",
    )
