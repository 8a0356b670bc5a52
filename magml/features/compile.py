"""Compiling a plan: from a catalogue and the features wanted to concepts, bins and SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from magml.clock import seconds
from magml.definitions.catalogue import DOSES, Catalogue, Concept, Derived, Feature
from magml.errors import DefinitionError, nearest
from magml.features.formulas import check_formula
from magml.features.plan import (
    DIALECTS,
    PREFIX,
    Plan,
    PlannedConcept,
    PlannedDerived,
    plan_hash,
)

_WHOLE = ("ever", "now")


def compile_plan(
    catalogue: Catalogue,
    features: Sequence[str] | None = None,
    dialects: Sequence[str] = ("duckdb",),
) -> Plan:
    """Compile the queries that make features of a catalogue.

    Parameters
    ----------
    catalogue
        As `magml.definitions.read_catalogue` returns it.
    features
        Names of the features wanted, in the order of the columns; default all.
    dialects
        Engines to compile for: ``duckdb``, ``postgres``, ``snowflake``, ``bigquery``,
        ``databricks``.

    Returns
    -------
    Plan
        Compiled once for equal definitions, features and dialects within a process.

    Raises
    ------
    DefinitionError
        If a feature, a formula or an engine does not exist.

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> plan = compile_plan(read_catalogue(), ["lab.magnesium.last"])
    >>> plan.features, sorted(plan.sql["duckdb"])
    (('lab.magnesium.last',), ['doses', 'exposures', 'map', 'points', 'points_unique', 'profile'])
    """
    names = tuple(catalogue.features) if features is None else tuple(features)
    _check_names(catalogue, names)
    for dialect in dialects:
        if dialect not in DIALECTS:
            raise DefinitionError(
                f"no engine {dialect!r}", nearest(dialect, DIALECTS), "correct the dialect"
            )
    derived = _derived_needed(catalogue, names)
    needed = [*names, *(name for item in derived for _, name in item.inputs)]
    concepts = _concepts_needed(catalogue, needed)
    plugins = tuple(plugin for plugin in catalogue.plugins if plugin.name in set(names))
    hidden = _hidden(catalogue) if plugins else ()
    digest = plan_hash(names, concepts, derived, plugins, hidden)
    empty = Plan(names, concepts, derived, {}, digest, plugins=plugins, hidden=hidden)
    return replace(empty, sql=_compiled(digest, tuple(dialects), empty))


def _check_names(catalogue: Catalogue, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name not in catalogue.features:
            raise DefinitionError(
                f"no feature {name!r} in the catalogue",
                nearest(name, catalogue.features),
                "correct the name",
            )
        if name in seen:
            raise DefinitionError(
                f"the feature {name!r} is asked for twice", "each feature once", "remove one"
            )
        seen.add(name)


def _derived_needed(catalogue: Catalogue, names: Iterable[str]) -> tuple[PlannedDerived, ...]:
    """Return derived features behind `names`, every input before its use."""
    done: dict[str, PlannedDerived] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name not in catalogue.derived or name in done:
            return
        if name in path:
            raise DefinitionError(
                f"derived features need each other: {' -> '.join([*path, name])}",
                "inputs that do not lead back",
                "correct the inputs",
            )
        item: Derived = catalogue.derived[name]
        for needed in item.input_names:
            visit(needed, (*path, name))
        pairs: tuple[tuple[str | None, str], ...] = (
            tuple(item.inputs.items())
            if isinstance(item.inputs, dict)
            else tuple((None, needed) for needed in item.inputs)
        )
        units = {needed: catalogue.features[needed].unit for needed in item.input_names}
        check_formula(name, item.formula, pairs, units)
        done[name] = PlannedDerived(name, item.formula, pairs)

    for name in names:
        visit(name, ())
    return tuple(done.values())


def _concepts_needed(catalogue: Catalogue, names: Iterable[str]) -> tuple[PlannedConcept, ...]:
    """Return the concepts behind `names` in the order of their ids."""
    wanted: dict[str, list[Feature]] = {}
    for name in dict.fromkeys(names):
        feature = catalogue.features[name]
        if not feature.derived and not feature.plugin:
            wanted.setdefault(feature.concept, []).append(feature)
    found = []
    for concept, features in wanted.items():
        bounded = {f.window: seconds(f.window) for f in features if f.window not in _WHOLE}
        windows = tuple(sorted(set(bounded.values())))
        position = {window: windows.index(length) for window, length in bounded.items()}
        columns = tuple(
            (f.name, f.statistic, position.get(f.window, len(windows)))
            for f in sorted(features, key=lambda feature: feature.name)
        )
        older = any(f.window in _WHOLE for f in features)
        found.append(PlannedConcept(concept, catalogue.by_name[concept], windows, older, columns))
    # Concepts with the same windows stand together, so that the queries tell them by ranges.
    found.sort(key=lambda c: (c.exposure, c.windows, c.older, c.name))
    return (*found, *(drug for concept in found for drug in _drugs(concept)))


def _drugs(planned: PlannedConcept) -> Iterator[PlannedConcept]:
    """Yield the drugs of an exposure whose doses its features add up."""
    concept = planned.definition
    if concept.dose is None or not any(column[1] in DOSES for column in planned.columns):
        return
    for name, drug in concept.dose.drugs.items():
        own = {"codes": drug.codes, "names": drug.names, "lasts": concept.lasts}
        taken = {"not_codes": concept.not_codes, "not_names": concept.not_names}
        definition = Concept(
            label=f"{concept.label}, {name}",
            kind="exposure",
            orders=concept.orders,
            dose=concept.dose.model_copy(update={"drugs": {name: drug}}),
            **own,
            **taken,
        )
        key = f"{planned.name}.dose.{name}"
        yield PlannedConcept(key, definition, (), False, (), doses_of=planned.name)


def _hidden(catalogue: Catalogue) -> tuple[tuple[str, Concept], ...]:
    """Return magnesium, and what reveals that somebody thought of it."""
    return tuple(
        (name, concept)
        for name, _, concept in catalogue.concepts()
        if "hypomagnesemia" in concept.reveals or name == "lab.magnesium"
    )


class _ByDigest:
    """A plan that compares by its hash, so that compiling can be cached."""

    def __init__(self, digest: str, plan: Plan) -> None:
        self.digest, self.plan = digest, plan

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDigest) and other.digest == self.digest


def _compiled(digest: str, dialects: tuple[str, ...], plan: Plan) -> dict[str, dict[str, str]]:
    """Return the SQL of a plan, compiled once for each hash and dialect."""
    return {dialect: _compile_one(_ByDigest(digest, plan), dialect) for dialect in dialects}


@lru_cache(maxsize=64)
def _compile_one(key: _ByDigest, dialect: str) -> dict[str, str]:
    from magml.features.queries import compile_queries

    return compile_queries(key.plan, dialect, PREFIX)
