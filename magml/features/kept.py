"""Ranges of people whose features are built, kept so that a killed building goes on after them.

The key is a hash of the plan, of the content of the events and the prediction times, and of the
libraries: whatever the records went through before, a changed input finds none of the parts. The
content is the files' where they are read as they stand, and else summed over the rows' hashes (64
bits each), so that the order of rows does not matter; that tells changed records apart, not forged
ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.features.groups import Groups
from magml.features.plan import Plan
from magml.features.run import Part
from magml.files import canonical_json, sha256_bytes, sha256_file
from magml.parts import Parts
from magml.versions import library_versions

if TYPE_CHECKING:
    from magml.events.table import Events

#: Columns that features are made of.
_COLUMNS = "subject_id, time, known_time, end_time, code, numeric_value, unit"


class KeptRanges(Parts):
    """The finished ranges of a feature building."""

    @classmethod
    def of(
        cls,
        folder: Path,
        plan: Plan,
        events: Events,
        subject_id: NDArray[np.int64],
        t_us: NDArray[np.int64],
        *,
        strict: bool,
    ) -> KeptRanges:
        """Return the place for a building in `folder`.

        Parameters
        ----------
        folder
            Folder for the parts.
        plan, events, subject_id, t_us, strict
            What decides the features.
        """
        relation, files = events.plain
        if events.relation == relation and files:
            content: tuple[Any, ...] = tuple(sha256_file(file) for file in files)
        else:
            content = events.connection.execute(
                f"SELECT count(*), sum(hash({_COLUMNS})::HUGEINT) FROM {events.relation}"
            ).fetchall()[0]
        parts = [
            plan.hash,
            dict(plan.assumed),
            strict,
            [str(value) for value in content],
            sha256_bytes(np.ascontiguousarray(subject_id).tobytes()),
            sha256_bytes(np.ascontiguousarray(t_us).tobytes()),
            library_versions(),
        ]
        return cls(folder, sha256_bytes(canonical_json(parts).encode()))

    def ranges(self) -> dict[int, int]:
        """Return the first person and the end of each range kept, as positions."""
        found = {}
        for name in self.names("people-"):
            first, _, last = name.removeprefix("people-").partition("-")
            if first.isdigit() and last.isdigit():
                found[int(first)] = int(last)
        return found

    def range(self, first: int, last: int, groups: Groups) -> Part | None:
        """Return what was kept of a range, with the numbers of `groups`; None for nothing."""
        found = self.read(_name(first, last))
        if found is None:
            return None
        plain, arrays = found
        number = groups.numbers([(code, unit) for code, unit, *_ in plain["groups"]])
        met = np.zeros((2, len(groups)), dtype=np.int64)
        met[:, number] = np.array([counts for *_, counts in plain["groups"]]).reshape(-1, 2).T
        return Part(first, last, met=met, **arrays)

    def keep(self, part: Part, groups: Groups) -> None:
        """Keep a range."""
        arrays = {name: getattr(part, name) for name in ("rows", "values", "seen", "kept")}
        some = np.flatnonzero(part.met[0]).tolist()
        met = [(*groups.names[k], part.met[:, k].tolist()) for k in some]
        self.write(_name(part.first, part.last), {"groups": met}, arrays)


def _name(first: int, last: int) -> str:
    return f"people-{first:09d}-{last:09d}"
