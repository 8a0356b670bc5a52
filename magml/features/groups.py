"""Codes with their units by number, and how the rows of each become rows of concepts."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from magml.features.arrow import texts_of, to_numpy
from magml.features.concepts import ConceptMap, Entry, Group, map_concepts
from magml.features.mapped import Mapping
from magml.features.plan import Plan

Ints = NDArray[np.int64]


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
        # Of pairs met in files: places of code and unit, and the number.
        self._codes, self._units = _Texts(), _Texts()
        self._keys = np.empty(0, dtype=np.int64)
        self._known = np.empty(0, dtype=np.int32)

    def __len__(self) -> int:
        return len(self.names)

    def numbers(self, met: Sequence[tuple[str, str]]) -> NDArray[np.int32]:
        """Return the numbers of codes and units, -1 for those that have and get none."""
        with self._lock:
            return np.array([self._numbered(name) for name in met], dtype=np.int32)

    def of_pairs(self, pairs: Ints, codes: pa.Array, units: pa.Array) -> NDArray[np.int32]:
        """Return the numbers of pairs of a code and a unit.

        Parameters
        ----------
        pairs
            Place in `codes` times the number of `units`, plus the place in `units`; int64 [n].
        codes, units
            Texts.
        """
        # Thousands of pairs come with every block, and nearly all are known: they are looked up
        # together, without a Python object for each.
        code, unit = np.divmod(pairs, len(units))
        with self._lock:
            key = self._codes.places(codes)[code] << 32 | self._units.places(units)[unit]
            place = np.minimum(np.searchsorted(self._keys, key), max(0, len(self._keys) - 1))
            new = np.flatnonzero(self._keys[place] != key) if len(self._keys) else range(len(key))
            if len(new):
                met = [(codes[code[k]].as_py(), units[unit[k]].as_py()) for k in new]
                keys = np.append(self._keys, key[new])
                self._keys, first = np.unique(keys, return_index=True)
                numbers = np.array([self._numbered(name) for name in met], dtype=np.int32)
                self._known = np.append(self._known, numbers)[first]
                place = np.searchsorted(self._keys, key)
            return self._known[place]

    def _numbered(self, name: tuple[str, str]) -> int:
        number = self._number.get(name, -1)
        if number < 0 and not self.complete:
            number = self._number[name] = len(self.names)
            self.names.append(name)
        return number

    def mapping(self) -> Mapping:
        """Return the mapping of all groups met so far."""
        with self._lock:
            known = len(self._entries)
            if self._mapping is None or known < len(self.names):
                new = [Group(code, unit, 0, 0) for code, unit in self.names[known:]]
                self._entries += map_concepts(self.plan, new, strict=False).entries
                self._mapping = Mapping.of(self.plan, ConceptMap(tuple(self._entries), {}))
            return self._mapping


class _Texts:
    """Texts, each with the same number whenever it comes."""

    def __init__(self) -> None:
        self._met = texts_of([])

    def places(self, texts: pa.Array) -> Ints:
        """Return the texts' numbers, int64 [n]."""
        texts = texts.cast(pa.string())
        found = pc.index_in(texts, value_set=self._met)
        if found.null_count:
            new = pc.unique(texts.filter(pc.is_null(found)))
            self._met = pa.concat_arrays([self._met, new])
            found = pc.index_in(texts, value_set=self._met)
        return to_numpy(found).astype(np.int64)
