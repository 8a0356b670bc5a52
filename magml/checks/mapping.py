"""Codes and units of the events mapped to the concepts of the whole catalogue."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from magml.checks.profile import Profile
from magml.definitions.catalogue import Catalogue
from magml.features.compile import compile_plan
from magml.features.concepts import Entry, Group, map_concepts
from magml.features.names import matches

if TYPE_CHECKING:
    from magml.features.plan import Plan

Entries = tuple[tuple[Group, tuple[Entry, ...]], ...]


@dataclass(frozen=True)
class Mapped:
    """How the codes and units found map to concepts.

    Attributes
    ----------
    plan
        The catalogue's plan, not compiled for any engine: only its concepts are looked at.
    entries
        As the feature engine makes them, so that the check says what training will do.
    concepts
        Concepts by code, those without features too.
    """

    catalogue: Catalogue
    plan: Plan
    entries: Entries
    concepts: dict[str, tuple[str, ...]]

    def with_assumed(self, units: dict[str, str]) -> Mapped:
        """Return the same with units taken for codes that stand without one."""
        if not units:
            return self
        plan = self.plan.with_assumed({**self.plan.assumed, **units})
        entries = map_concepts(plan, (group for group, _ in self.entries), strict=False).entries
        return Mapped(self.catalogue, plan, entries, self.concepts)

    @cached_property
    def used_rows(self) -> dict[str, int]:
        """Rows by concept that features can be made of: of measurements, those with a value."""
        used: Counter[str] = Counter()
        for group, found in self.entries:
            for entry in found:
                if entry.used:
                    concept = self.plan.concepts[entry.concept_id]
                    used[concept.name] += group.values if entry.value is None else group.rows
        return dict(used)


def map_codes(catalogue: Catalogue, profile: Profile) -> Mapped:
    """Map the codes and units of a profile to the concepts of a catalogue."""
    plan = compile_plan(catalogue, dialects=())
    groups = [Group(c.code, c.unit, c["rows"], c["values"]) for c in profile.codes]
    entries = map_concepts(plan, groups, strict=False).entries
    concepts = {code.code: matches(catalogue, code.code) for code in profile.codes}
    return Mapped(catalogue, plan, entries, concepts)
