"""The worklist: which pages, in which order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from magml.review.accounts import Account

if TYPE_CHECKING:
    from magml.review.index import Index
    from magml.review.prepared import Prepared

SORTS = {
    "risk": "Risk, highest first",
    "risk_up": "Risk, lowest first",
    "range": "Instability range, widest first",
    "time": "Prediction time, latest first",
    "id": "Patient",
    "readers": "Readers, fewest first",
}
STATES = {
    "": "All",
    "unread": "Not signed by me",
    "second": "Waiting for a second reader",
    "mine": "Signed by me",
    "objected": "A reader disagrees with the model",
    "split": "Readers disagree with each other",
    "warned": "With warnings about the data",
}
PAGE = 50
#: Pages found by an id at most; further letters narrow it.
FOUND = 100


@dataclass(frozen=True)
class Query:
    """What a reader asks for; `page` counts from 1."""

    sort: str = "risk"
    state: str = ""
    domain: str = ""
    band: str = ""
    page: int = 1

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Query:
        """Return the query of an address; what is not understood is left out.

        Examples
        --------
        >>> Query.of({"sort": "x", "page": "3"})
        Query(sort='risk', state='', domain='', band='', page=3)
        """
        page = given.get("page", "1")
        return cls(
            given.get("sort", "") if given.get("sort", "") in SORTS else "risk",
            given.get("state", "") if given.get("state", "") in STATES else "",
            given.get("domain", ""),
            given.get("band", ""),
            max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 9 else 1,
        )

    def address(self, **changes: str | int) -> str:
        """Return the address of this query with changes.

        Examples
        --------
        >>> Query(band="high").address(page=2)
        '?band=high&page=2'
        """
        found = replace(self, **changes)  # type: ignore[arg-type]
        plain = Query()
        parts = {
            name: value for name, value in vars(found).items() if value != getattr(plain, name)
        }
        return f"?{urlencode(parts)}"


@dataclass(frozen=True)
class Worklist:
    """One page of the worklist.

    Attributes
    ----------
    rows
        Rows of the prepared pages, in order.
    total
        Rows on all pages.
    page, pages
        Which page, of how many (at least 1).
    """

    rows: tuple[int, ...]
    total: int
    page: int
    pages: int


def worklist(prepared: Prepared, index: Index, account: Account, query: Query) -> Worklist:
    """Return the page of the worklist that a query asks for."""
    keep = selected(prepared, index, account, query)
    order = ordered(prepared, index, query.sort)
    rows = order[keep[order]]
    pages = max(1, -(-len(rows) // PAGE))
    page = min(query.page, pages)
    some = rows[(page - 1) * PAGE : page * PAGE]
    return Worklist(tuple(int(row) for row in some), len(rows), page, pages)


def selected(prepared: Prepared, index: Index, account: Account, query: Query) -> NDArray[np.bool_]:
    """Return which rows a query keeps, shape (n,)."""
    keep = np.ones(len(prepared), dtype=bool)
    if query.domain:
        keep &= prepared.of_domain.get(query.domain, False)
    if query.band:
        keep &= prepared.of_band.get(query.band, False)
    if query.state == "unread":
        keep &= ~index.mine(account)
    elif query.state == "mine":
        keep &= index.mine(account)
    elif query.state == "second":
        keep &= (index.readers() == 1) & ~index.mine(account)
    elif query.state == "objected":
        keep &= index.objected(account)
    elif query.state == "split":
        keep &= index.split(account)
    elif query.state == "warned":
        keep &= prepared.warnings > 0
    return keep


def next_unread(
    prepared: Prepared, index: Index, account: Account, query: Query, after: int | None
) -> int | None:
    """Return the next row in a query's order that a person has not signed, or None."""
    keep = selected(prepared, index, account, query) & ~index.mine(account)
    order = ordered(prepared, index, query.sort)
    if after is not None:
        behind = int(np.flatnonzero(order == after)[0]) + 1
        order = np.concatenate([order[behind:], order[: behind - 1]])
    left = order[keep[order]]
    return int(left[0]) if len(left) else None


def search(prepared: Prepared, text: str) -> tuple[int, ...]:
    """Return the rows whose patient has this id, else those whose id begins with it.

    Examples
    --------
    >>> some = type("P", (), {
    ...     "shown": ("ab1", "AB12", "x"), "by_letters": [("ab1", 0), ("ab12", 1), ("x", 2)]})
    >>> search(some, "ab1"), search(some, "Ab")
    ((0,), (0, 1))
    """
    wanted = text.strip()
    if not wanted:
        return ()
    low = wanted.lower()
    begin = bisect_left(prepared.by_letters, (low, -1))
    rows: list[int] = []
    for text, row in prepared.by_letters[begin:]:
        if not text.startswith(low) or (text != low and len(rows) >= FOUND):
            break
        rows.append(row)
    exact = [row for row in rows if prepared.shown[row] == wanted]
    return tuple((exact or rows)[:FOUND])


def ordered(prepared: Prepared, index: Index, sort: str) -> NDArray[np.intp]:
    """Return all rows in an order of `SORTS`, shape (n,)."""
    if sort == "risk_up":
        return prepared.by_risk[::-1]
    if sort == "range":
        return prepared.by_range
    if sort == "time":
        return prepared.by_time[::-1]
    if sort == "id":
        return prepared.by_id
    if sort == "readers":
        # The few that somebody has read go to the end; only they must be sorted.
        readers = index.readers()[prepared.by_risk]
        read = np.flatnonzero(readers)
        read = read[np.argsort(readers[read], kind="stable")]
        return prepared.by_risk[np.concatenate([np.flatnonzero(readers == 0), read])]
    return prepared.by_risk
