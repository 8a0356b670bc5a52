"""Codes with their units by number, and how the rows of each become rows of concepts."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from magml.features.concepts import ConceptMap, Entry, Group, map_concepts
from magml.features.mapped import Mapping
from magml.features.plan import Plan


class Groups:
    """Numbers for codes with units, given in the order in which they are met.

    Threads may ask at the same time. Which number a group has depends on who asked first; nothing
    that is made of the rows does.

    Parameters
    ----------
    plan
        The plan whose concepts they map to.
    concept_map
        The map of all codes and units, where it is known before the events are read: then only
        groups that some concept uses have a number, and what else is met has none.

    Attributes
    ----------
    complete
        Whether nothing is added.
    names
        Code and unit of each number; an empty unit is none.
    """

    def __init__(self, plan: Plan, concept_map: ConceptMap | None = None) -> None:
        self.plan, self.complete = plan, concept_map is not None
        used = [] if concept_map is None else [
            (group, entries)
            for group, entries in concept_map.entries
            if any(entry.used for entry in entries)
        ]  # fmt: skip
        self.names = [(group.code, group.unit) for group, _ in used]
        self._entries: list[tuple[Group, tuple[Entry, ...]]] = used
        self._number = {name: number for number, name in enumerate(self.names)}
        self._mapping: Mapping | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    def numbers(self, met: Sequence[tuple[str, str]]) -> NDArray[np.int32]:
        """Return the numbers of codes and units, -1 for those that have and get none."""
        with self._lock:
            if not self.complete:
                for name in met:
                    if name not in self._number:
                        self._number[name] = len(self.names)
                        self.names.append(name)
            return np.array([self._number.get(name, -1) for name in met], dtype=np.int32)

    def mapping(self) -> Mapping:
        """Return the mapping of all groups met so far."""
        with self._lock:
            known = len(self._entries)
            if self._mapping is None or known < len(self.names):
                new = [Group(code, unit, 0, 0) for code, unit in self.names[known:]]
                self._entries += map_concepts(self.plan, new, strict=False).entries
                self._mapping = Mapping.of(self.plan, ConceptMap(tuple(self._entries), {}))
            return self._mapping
