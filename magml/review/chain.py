"""The chain of a record: each entry is bound by a keyed hash to all that came before it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from magml.files import canonical_json
from magml.review.key import derive

#: What stands before the first entry.
START = "0" * 64


@dataclass(frozen=True)
class Link:
    """One entry as it is stored.

    Attributes
    ----------
    number
        1, 2, ... without a gap.
    entry
        Canonical JSON of the entry.
    previous
        Hash of the entry before.
    hash
        Keyed hash of number, entry and `previous`.
    """

    number: int
    entry: str
    previous: str
    hash: str


@dataclass(frozen=True)
class Fault:
    """What is wrong with a record, where, and in words.

    `kind` is ``altered``, ``removed``, ``reordered``, ``cut off``, ``column`` or ``head``.
    """

    kind: str
    number: int
    text: str


def link_hash(key: bytes, number: int, previous: str, entry: str) -> str:
    """Return the hash of an entry: HMAC-SHA256 over its number, the hash before it and itself.

    Examples
    --------
    >>> link_hash(b"key", 1, START, "{}") == link_hash(b"other", 1, START, "{}")
    False
    """
    content = canonical_json({"entry": entry, "number": number, "previous": previous})
    return hmac.new(derive(key, "chain"), content.encode(), hashlib.sha256).hexdigest()


def make_link(key: bytes, number: int, previous: str, entry: str) -> Link:
    """Return the next link of a chain."""
    return Link(number, entry, previous, link_hash(key, number, previous, entry))


def check_links(key: bytes, links: Iterable[Link]) -> tuple[list[Fault], dict[int, str], Link]:
    """Check every link of a chain in the order of numbers.

    Parameters
    ----------
    key
        The record's key.
    links
        The stored entries, by number.

    Returns
    -------
    list of Fault
        What was altered, removed or reordered; empty when nothing was.
    dict
        The hash at each number that stands.
    Link
        The last link (number 0 for an empty chain).

    Examples
    --------
    >>> one = make_link(b"key", 1, START, "{}")
    >>> two = make_link(b"key", 2, one.hash, "{}")
    >>> [len(check_links(b"key", chain)[0]) for chain in ([one, two], [two])]
    [0, 1]
    """
    faults: list[Fault] = []
    hashes: dict[int, str] = {0: START}
    last = Link(0, "", "", START)
    for link in links:
        if link.number > last.number + 1:
            gap = range(last.number + 1, link.number)
            which = str(gap[0]) if len(gap) == 1 else f"{gap[0]} to {gap[-1]}"
            faults.append(Fault("removed", gap[0], f"{len(gap)} removed: number {which}"))
        elif link.previous != last.hash:
            faults.append(
                Fault(
                    "reordered",
                    link.number,
                    f"entry {link.number} does not follow entry {last.number}: one of the two is "
                    "not where it was written",
                )
            )
        found = link_hash(key, link.number, link.previous, link.entry)
        if not hmac.compare_digest(found, link.hash):
            faults.append(
                Fault(
                    "altered",
                    link.number,
                    f"entry {link.number} is not what was signed: altered, moved or added "
                    "without the key",
                )
            )
        hashes[link.number] = link.hash
        last = link
    return faults, hashes, last
