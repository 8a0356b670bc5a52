"""Whether a record is as it was signed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from magml.errors import InputError
from magml.review.chain import Fault, Link, check_links
from magml.review.database import connect, stored_entries
from magml.review.head import Head, locked, read_head
from magml.review.key import read_key

#: Columns that repeat what the entry says, so that the database can search it.
_REPEATED = ("form", "page", "reviewer")


@dataclass(frozen=True)
class Verification:
    """What a check of a record found.

    Attributes
    ----------
    entries
        Entries in the database.
    end
        Where the chain ends; note it elsewhere to notice a record that was put back as a whole.
    faults
        What was altered, removed, reordered or cut off; empty when nothing was.
    uncounted
        Valid entries behind the head: the server was stopped between storing and counting them.
        They were never acknowledged and are counted by the next review.
    """

    entries: int
    end: Head
    faults: tuple[Fault, ...]
    uncounted: int

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def text(self) -> str:
        """Return the findings in words."""
        if self.passed:
            lines = [f"Entries: {self.entries}, all as they were signed."]
        else:
            lines = [f"Entries: {self.entries}, faults: {len(self.faults)}:"]
            lines += [f"  {fault.kind}: {fault.text}" for fault in self.faults[:50]]
            if len(self.faults) > 50:
                lines.append(f"  and {len(self.faults) - 50} more")
        if self.uncounted:
            lines.append(
                f"{self.uncounted} at the end are valid and not yet counted in the head: the "
                "server was stopped before it acknowledged them."
            )
        lines.append(f"Head: {self.end.text()}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "passed": self.passed,
            "entries": self.entries,
            "head": self.end.text(),
            "uncounted": self.uncounted,
            "faults": [
                {"kind": fault.kind, "number": fault.number, "text": fault.text}
                for fault in self.faults
            ],
        }


def verify_reviews(
    record: str | os.PathLike[str],
    *,
    db: str | None = None,
    key: str | os.PathLike[str] | None = None,
    head: str | os.PathLike[str] | None = None,
    expected: str | None = None,
) -> Verification:
    """Check a record: find entries that were altered, removed, reordered or cut off.

    Parameters
    ----------
    record
        The record's folder.
    db, key, head
        Where its parts are, if not in the folder.
    expected
        A head that was noted earlier (``COUNT:HASH``): its entry must still stand where it stood.

    Returns
    -------
    Verification

    Raises
    ------
    InputError
        If there is no such record, or no key to check it with.

    Examples
    --------
    >>> verify_reviews("reviews").passed      # doctest: +SKIP
    True
    """
    from magml.review.record import Places

    places = Places.of(record, db, key, head)
    secret = read_key(places.key)
    noted = None if expected is None else Head.of(expected)
    if places.url.startswith("sqlite:///") and not os.path.exists(
        places.url.removeprefix("sqlite:///")
    ):
        raise InputError(
            "no database at the record's place", "the database of a record", "check --db"
        )
    engine = connect(places.url)
    try:
        # With the lock, so that a review that is being stored is not taken for a fault.
        with locked(places.head), engine.connect() as connection:
            return verify_connection(connection, secret, places.head, noted)
    finally:
        engine.dispose()


def verify_connection(
    connection: Connection, key: bytes, head: Path, expected: Head | None = None
) -> Verification:
    """Check the entries of a database against the key and the head that a file holds."""
    try:
        known = read_head(head, key)
    except InputError as error:
        found = verify_chain(connection, key, Head(), expected)
        wrong = Fault("head", 0, f"{error.seen}")
        return Verification(found.entries, found.end, (wrong, *found.faults), 0)
    return verify_chain(connection, key, known, expected)


def verify_chain(
    connection: Connection, key: bytes, head: Head | None, expected: Head | None = None
) -> Verification:
    """Check the entries of a database against the key, the head and a head noted earlier."""
    faults: list[Fault] = []
    links, hashes, last = check_links(key, _links(connection, faults))
    faults = sorted([*links, *faults], key=lambda fault: fault.number)
    entries = len(hashes) - 1
    end = Head(last.number, last.hash)
    if head is None:
        faults.append(Fault("head", 0, "there is no head: the end of the record is not known"))
        return Verification(entries, end, tuple(faults), 0)
    for name, stated in (("head", head), ("noted head", expected)):
        if stated is None:
            continue
        if stated.count > last.number:
            faults.append(
                Fault(
                    "cut off",
                    last.number + 1,
                    f"{stated.count - last.number} cut off at the end: the {name} counts "
                    f"{stated.count}, the last entry is number {last.number}",
                )
            )
        elif hashes.get(stated.count) != stated.hash:
            faults.append(
                Fault("head", stated.count, f"entry {stated.count} is not the one the {name} names")
            )
    return Verification(entries, end, tuple(faults), max(0, last.number - head.count))


def _links(connection: Connection, faults: list[Fault]) -> Iterator[Link]:
    """Yield the stored entries in order; what the columns say otherwise is a fault."""
    # From far below 1, so that entries put before the first are found too.
    for row in stored_entries(connection, -(1 << 31)):
        faults.extend(_repeated(row))
        yield Link(row["number"], row["entry"], row["previous"], row["hash"])


def _repeated(stored: Any) -> Iterator[Fault]:
    try:
        entry = json.loads(stored["entry"])
    except ValueError:
        return  # altered, which its hash shows
    for name in _REPEATED:
        if isinstance(entry, dict) and entry.get(name) != stored[name]:
            yield Fault(
                "column",
                stored["number"],
                f"entry {stored['number']} was moved or relabelled: its column {name} is not what "
                "was signed",
            )
