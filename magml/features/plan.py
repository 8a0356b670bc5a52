"""The feature plan: what is computed, and the SQL that computes it, as plain data.

A plan is compiled once from a catalogue and then runs anywhere without Ibis: it is JSON, it holds
the definitions it needs, and its hash tells whether two plans compute the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, cast

from magml.definitions.catalogue import (
    Catalogue,
    Concept,
    Domain,
    DomainFile,
    PluginDeclaration,
)
from magml.errors import BundleError, DefinitionError, nearest
from magml.files import canonical_json, sha256_bytes

#: Raised whenever the meaning of a plan or of its queries changes.
PLAN_VERSION = 1
#: Engines that Ibis compiles for without their drivers.
DIALECTS = ("duckdb", "postgres", "snowflake", "bigquery", "databricks")
#: Relations that the queries read; `Plan.statement` puts the real names in their place.
INPUTS = ("events", "concept_map", "prediction_times", "mapped")
#: Put before the names of `INPUTS` in the SQL.
PREFIX = "magml_in_"

MICROSECONDS = 1_000_000
#: Moment of static rows: before every dated row, and far enough from overflow.
STATIC = -(2**62)
#: End of an exposure that has none.
OPEN = 2**62

#: What changes the values of a concept's features; labels and citations do not.
_MEANING = (
    "kind",
    "codes",
    "not_codes",
    "names",
    "not_names",
    "values",
    "unit",
    "molar_mass",
    "valence",
    "equations",
    "plausible",
)
#: The same, of concepts that state them: the others mean what they meant before there were any.
_STATED = ("molar_masses", "gap", "lasts", "orders", "dose")
#: Statistics that are 0, not missing, when nothing is recorded.
ZERO_WHEN_ABSENT = ("count", "present", "active", "days", "share", "eras", "dose", "daily_dose")


@dataclass(frozen=True)
class PlannedConcept:
    """A concept of the plan; its position is its id in the queries.

    Attributes
    ----------
    windows
        Lengths of its bounded windows in seconds, rising.
    older
        Whether some feature also uses what is older than every bounded window.
    columns
        ``(feature, statistic, window)`` with the window as a position in `windows`, and
        ``len(windows)`` for the whole history.
    doses_of
        Name of the exposure of whose drugs this is one: it takes the doses alone, and the
        exposure has the columns.
    """

    name: str
    definition: Concept
    windows: tuple[int, ...]
    older: bool
    columns: tuple[tuple[str, str, int], ...]
    doses_of: str | None = None

    @property
    def exposure(self) -> bool:
        """Whether it is a period rather than a moment."""
        return self.definition.kind == "exposure" and self.doses_of is None

    @property
    def moment(self) -> bool:
        """Whether it is neither a period nor the doses of one."""
        return self.definition.kind != "exposure"


@dataclass(frozen=True)
class PlannedDerived:
    """A derived feature: a named formula of other features of the same row."""

    name: str
    formula: str
    inputs: tuple[tuple[str | None, str], ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """A compiled feature plan.

    Attributes
    ----------
    features
        Names of the columns it makes, in order.
    concepts, derived
        What is computed for them: concepts in the order of their ids, those of moments first and
        doses last, and derived features in an order in which every input comes before its use.
    sql
        ``dialect -> part -> SQL``.
    assumed
        Codes without a unit that training found to be in the concept's own unit,
        ``code -> unit``.
    hash
        SHA-256 of the definitions used, the features and the plan's version.
    plugins
        Features that Python functions of installed packages compute.
    hidden
        Concepts by name whose rows plug-ins do not see unless they say that they must.
    """

    features: tuple[str, ...]
    concepts: tuple[PlannedConcept, ...]
    derived: tuple[PlannedDerived, ...]
    sql: Mapping[str, Mapping[str, str]]
    hash: str
    assumed: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[PluginDeclaration, ...] = ()
    hidden: tuple[tuple[str, Concept], ...] = ()

    @cached_property
    def first_exposure(self) -> int:
        """Id of the first concept that is an exposure."""
        return sum(concept.moment for concept in self.concepts)

    @cached_property
    def first_dose(self) -> int:
        """Id of the first drug whose doses are added up; its rows are totals of the record.

        Rates of the same drugs follow behind all concepts, in the same order.
        """
        return sum(concept.doses_of is None for concept in self.concepts)

    @cached_property
    def drugs(self) -> int:
        """Number of drugs whose doses are added up."""
        return len(self.concepts) - self.first_dose

    @cached_property
    def row_ids(self) -> int:
        """Number of ids that mapped rows can have."""
        return len(self.concepts) + self.drugs

    @cached_property
    def exposure_windows(self) -> tuple[int, ...]:
        """Lengths in seconds of all bounded windows of exposures, rising."""
        return tuple(sorted({w for c in self.concepts if c.exposure for w in c.windows}))

    @cached_property
    def computed(self) -> tuple[str, ...]:
        """Names of all features computed from events, requested or needed by derived ones."""
        return tuple(column[0] for concept in self.concepts for column in concept.columns)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The concepts of the plan as a catalogue, for matching codes."""
        return _catalogue((concept.name, concept.definition) for concept in self.concepts)

    @cached_property
    def withheld(self) -> Catalogue:
        """The concepts that plug-ins do not see as a catalogue, for matching codes."""
        return _catalogue(self.hidden)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Id of each concept by name."""
        return {concept.name: k for k, concept in enumerate(self.concepts)}

    @cached_property
    def entries(self) -> dict[tuple[str, str], Any]:
        """How codes and units met so far map to concepts (`magml.features.concepts`)."""
        return {}

    def statement(self, dialect: str, part: str, relations: Mapping[str, str]) -> str:
        """Return the SQL of a part with the names of the relations it reads.

        Parameters
        ----------
        dialect
            One of `DIALECTS` that the plan was compiled for.
        part
            ``profile``, ``map``, ``points``, ``exposures`` or ``doses``.
        relations
            Name for each of `INPUTS` that the part reads, quoted as the engine needs it.
        """
        if dialect not in self.sql:
            raise DefinitionError(
                f"the plan holds no SQL for {dialect!r}",
                nearest(dialect, self.sql),
                "compile the plan again with this dialect",
            )
        text = self.sql[dialect][part]
        for name, relation in relations.items():
            for quote in ('"', "`"):
                text = text.replace(f"{quote}{PREFIX}{name}{quote}", relation)
        return text

    def with_assumed(self, assumed: Mapping[str, str]) -> Plan:
        """Return the plan with the units that training assumed for codes without one."""
        return replace(self, assumed=dict(sorted(assumed.items())))

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        own = {
            "plugins": [plugin.model_dump(mode="json") for plugin in self.plugins],
            "hidden": [
                {"name": name, "definition": concept.model_dump(mode="json", exclude_defaults=True)}
                for name, concept in self.hidden
            ],
        }
        return {
            "version": PLAN_VERSION,
            "hash": self.hash,
            "features": list(self.features),
            "concepts": [
                {
                    "name": concept.name,
                    "definition": concept.definition.model_dump(mode="json", exclude_defaults=True),
                    "windows": list(concept.windows),
                    "older": concept.older,
                    "columns": [list(column) for column in concept.columns],
                    **({"doses_of": concept.doses_of} if concept.doses_of else {}),
                }
                for concept in self.concepts
            ],
            "derived": [
                {"name": d.name, "formula": d.formula, "inputs": [list(pair) for pair in d.inputs]}
                for d in self.derived
            ],
            "assumed": dict(self.assumed),
            "sql": {dialect: dict(parts) for dialect, parts in self.sql.items()},
            "sql_hash": _sql_hash(self.sql),
            # Plans without plug-ins are what they were before there were any.
            **(own if self.plugins else {}),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Plan:
        """Return the plan that `to_dict` wrote.

        Raises
        ------
        BundleError
            If it was written by another version of magml, or was changed since.
        """
        if content.get("version") != PLAN_VERSION:
            raise BundleError(
                f"a feature plan of version {content.get('version')}",
                f"version {PLAN_VERSION}",
                "train the model again, or use the magml that wrote it",
            )
        plan = cls(
            features=tuple(content["features"]),
            concepts=tuple(
                PlannedConcept(
                    name=item["name"],
                    definition=Concept.model_validate(item["definition"]),
                    windows=tuple(item["windows"]),
                    older=item["older"],
                    columns=tuple((f, s, w) for f, s, w in item["columns"]),
                    doses_of=item.get("doses_of"),
                )
                for item in content["concepts"]
            ),
            derived=tuple(
                PlannedDerived(
                    item["name"], item["formula"], tuple((k, v) for k, v in item["inputs"])
                )
                for item in content["derived"]
            ),
            sql={dialect: dict(parts) for dialect, parts in content["sql"].items()},
            hash=content["hash"],
            assumed=dict(content["assumed"]),
            plugins=tuple(
                PluginDeclaration.model_validate(item) for item in content.get("plugins", ())
            ),
            hidden=tuple(
                (item["name"], Concept.model_validate(item["definition"]))
                for item in content.get("hidden", ())
            ),
        )
        computed = plan_hash(plan.features, plan.concepts, plan.derived, plan.plugins, plan.hidden)
        if computed != plan.hash:
            raise BundleError(
                "the definitions of a feature plan do not give its hash",
                "an unchanged plan",
                "restore the file, or train the model again",
            )
        if _sql_hash(plan.sql) != content["sql_hash"]:
            raise BundleError(
                "the SQL of a feature plan does not give its hash",
                "an unchanged plan",
                "restore the file, or train the model again",
            )
        return plan


def _catalogue(concepts: Iterable[tuple[str, Concept]]) -> Catalogue:
    """Return concepts as a catalogue, for matching codes."""
    files: dict[str, dict[str, Concept]] = {}
    for name, definition in concepts:
        domain, _, key = name.partition(".")
        files.setdefault(domain, {})[key] = definition
    return Catalogue(
        domains=tuple(
            DomainFile.model_construct(
                domain=cast(Domain, domain), title="", defaults={}, concepts=own, derived={}
            )
            for domain, own in files.items()
        )
    )


def _definition(concept: Concept) -> dict[str, Any]:
    """Return what of a concept decides its values."""
    content = concept.model_dump(mode="json")
    found = {key: content[key] for key in _MEANING}
    return {**found, **{key: content[key] for key in _STATED if content[key]}}


def _sql_hash(sql: Mapping[str, Mapping[str, str]]) -> str:
    return sha256_bytes(canonical_json({k: dict(v) for k, v in sql.items()}).encode())


def plan_hash(
    features: tuple[str, ...],
    concepts: Iterable[PlannedConcept],
    derived: Iterable[PlannedDerived],
    plugins: Sequence[PluginDeclaration] = (),
    hidden: Iterable[tuple[str, Concept]] = (),
) -> str:
    """Return the hash of everything that decides the values of a plan's features."""
    content = {
        "version": PLAN_VERSION,
        "features": list(features),
        "concepts": {
            c.name: {
                "definition": _definition(c.definition),
                "windows": list(c.windows),
                "columns": [list(column) for column in c.columns],
            }
            for c in concepts
        },
        "derived": [[d.name, d.formula, [list(pair) for pair in d.inputs]] for d in derived],
    }
    if plugins:
        meant = ("name", "codes", "reads_magnesium", "entry_point", "sha256")
        dumped = [plugin.model_dump(mode="json") for plugin in plugins]
        content["plugins"] = [{key: item[key] for key in meant} for item in dumped]
        content["hidden"] = {name: _definition(concept) for name, concept in hidden}
    return sha256_bytes(canonical_json(content).encode())


@lru_cache(maxsize=16)
def used_statistics(plan: Plan, *, exposures: bool = False) -> frozenset[str]:
    """Return the statistics of moments, or those of exposures, that a plan's features need."""
    return frozenset(
        column[1]
        for concept in plan.concepts
        if concept.moment != exposures
        for column in concept.columns
    )


def bin_groups(concepts: Sequence[PlannedConcept]) -> list[tuple[int, tuple[int, ...], bool]]:
    """Return ``(first id after the group, windows, older)`` for runs of equal windows."""
    groups = []
    end = 0
    moments = [c for c in concepts if c.moment]
    for (windows, older), run in itertools.groupby(moments, key=lambda c: (c.windows, c.older)):
        end += len(list(run))
        groups.append((end, windows, older))
    return groups
