"""The reviews of the prepared pages in memory: who read what, and who may know it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.review.accounts import Account
from magml.review.entry import Review

if TYPE_CHECKING:
    from magml.review.prepared import Prepared
    from magml.review.record import Record

Numbered = tuple[int, Review]


class Index:
    """Reviews by page, kept level with the record.

    A reviewer must not know what another thinks before having signed. Whatever is shown of
    reviews is therefore asked for with an account.
    """

    def __init__(self, record: Record, prepared: Prepared) -> None:
        self._record, self._prepared = record, prepared
        self._lock = threading.Lock()
        self._last = 0
        self._all: list[Numbered] = []
        self._by_row: dict[int, list[Numbered]] = {}
        self._rows_of: dict[str, set[int]] = {}
        self._readers = np.zeros(len(prepared), dtype=np.int16)
        self._objected = np.zeros(len(prepared), dtype=bool)
        self._split = np.zeros(len(prepared), dtype=bool)
        self.refresh()

    def refresh(self) -> None:
        """Take in what was signed since, here or by another server on the same record."""
        with self._lock:
            for number, review in self._record.reviews(self._last):
                self._last = number
                row = self._prepared.place.get(review.page)
                if row is None or review.model != self._prepared.model:
                    continue  # of another model, or of a page whose content has changed since
                self._all.append((number, review))
                self._by_row.setdefault(row, []).append((number, review))
                self._rows_of.setdefault(review.reviewer, set()).add(row)
                latest = {one.reviewer: one.judgement.overall for _, one in self._by_row[row]}
                self._readers[row] = len(latest)
                verdicts = set(latest.values())
                self._objected[row] = "disagree" in verdicts
                self._split[row] = {"agree", "disagree"} <= verdicts

    def of_page(self, row: int, account: Account) -> list[Numbered]:
        """Return the reviews of a page that a person may see: after signing, or by role."""
        found = list(self._by_row.get(row, ()))
        if account.sees_all or row in self._rows_of.get(account.name, ()):
            return found
        return []

    def visible(self, account: Account) -> list[Numbered]:
        """Return all reviews that a person may see, in the order of signing."""
        if account.sees_all:
            return list(self._all)
        mine = self._rows_of.get(account.name, set())
        return [one for one in self._all if self._prepared.place[one[1].page] in mine]

    def mine(self, account: Account) -> NDArray[np.bool_]:
        """Return which pages a person has signed, shape (n,)."""
        found = np.zeros(len(self._prepared), dtype=bool)
        found[list(self._rows_of.get(account.name, ()))] = True
        return found

    def readers(self) -> NDArray[np.int16]:
        """Return how many readers signed each page, shape (n,); their verdicts stay hidden."""
        return self._readers

    def objected(self, account: Account) -> NDArray[np.bool_]:
        """Return on which pages somebody disagrees with the model, as far as one may know."""
        return self._hidden(self._objected, account)

    def split(self, account: Account) -> NDArray[np.bool_]:
        """Return on which pages readers disagree with each other, as far as one may know."""
        return self._hidden(self._split, account)

    def _hidden(self, found: NDArray[np.bool_], account: Account) -> NDArray[np.bool_]:
        return found if account.sees_all else found & self.mine(account)


def is_blind(there: Sequence[Review], account: Account) -> bool:
    """Return whether a new review is made without knowledge of another's.

    A reviewer's first of a page is: nothing was shown before it. Who sees all is blind only where
    there was nothing to see.
    """
    if any(review.reviewer == account.name for review in there):
        return False
    return not account.sees_all or not there
