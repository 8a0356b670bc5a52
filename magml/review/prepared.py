"""Prepared pages: the whole worklist in memory, single pages from their file."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError
from magml.review.key import derive
from magml.review.prepare import read_about

_COLUMNS = (
    "row, subject_id, shown, at, risk, low, high, band, domain, reason, stable, warnings, outcome, "
    "hash"
)


@dataclass(frozen=True, eq=False)
class Prepared:
    """The pages of n prediction times.

    Attributes
    ----------
    path
        Their file.
    model, data
        Hashes of what they were prepared from.
    tokens
        Names of the pages in addresses: they say nothing of the patient, and nobody without the
        key can make them.
    place
        Row by token.
    subject_id, shown, at
        Person, the id that readers know, and prediction time (ISO 8601).
    risk, low, high
        Risk and instability range, shape (n,).
    band, domain, reason, stable, warnings
        Band; domain and concept of the main reason, and whether the latter is stable; number of
        warnings.
    outcome
        1, 0, or -1 where it is not known.
    hashes
        SHA-256 of each page's content.
    """

    path: Path
    model: str
    data: str
    tokens: tuple[str, ...]
    place: dict[str, int]
    subject_id: NDArray[np.int64]
    shown: tuple[str, ...]
    at: tuple[str, ...]
    risk: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    band: NDArray[np.object_]
    domain: NDArray[np.object_]
    reason: tuple[str, ...]
    stable: NDArray[np.bool_]
    warnings: NDArray[np.int64]
    outcome: NDArray[np.int8]
    hashes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def by_risk(self) -> NDArray[np.intp]:
        """Rows by risk, the highest first."""
        return np.argsort(-self.risk, kind="stable")

    @cached_property
    def by_range(self) -> NDArray[np.intp]:
        """Rows by instability range, the widest first."""
        return np.argsort(self.low - self.high, kind="stable")

    @cached_property
    def of_domain(self) -> dict[str, NDArray[np.bool_]]:
        """Which rows have each domain as their main reason's."""
        return _which(self.domain)

    @cached_property
    def of_band(self) -> dict[str, NDArray[np.bool_]]:
        """Which rows are of each band."""
        return _which(self.band)

    @cached_property
    def by_letters(self) -> list[tuple[str, int]]:
        """Ids in small letters with their rows, in alphabetical order."""
        return sorted((shown.lower(), row) for row, shown in enumerate(self.shown))

    @cached_property
    def by_time(self) -> NDArray[np.intp]:
        """Rows by prediction time."""
        return np.argsort(np.array(self.at), kind="stable")

    @cached_property
    def by_id(self) -> NDArray[np.intp]:
        """Rows by patient, numbers as numbers."""
        numbers = [int(shown) if shown.isdecimal() else -1 for shown in self.shown]
        return np.lexsort((self.by_time.argsort(), np.array(self.shown), np.array(numbers)))

    def page(self, row: int) -> dict[str, Any]:
        """Return a page.

        Raises
        ------
        InputError
            If its content is not what was prepared.
        """
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        try:
            found = connection.execute("SELECT content FROM page WHERE row = ?", (row,)).fetchone()
        finally:
            connection.close()
        try:
            text = zlib.decompress(found[0])
        except (zlib.error, TypeError):
            text = b""
        if hashlib.sha256(text).hexdigest() != self.hashes[row]:
            raise InputError(
                "a prepared page that was changed",
                "pages as they were prepared",
                f"remove {self.path.name} and prepare again",
            )
        value: dict[str, Any] = json.loads(text)
        return value


def _which(names: NDArray[np.object_]) -> dict[str, NDArray[np.bool_]]:
    """Return by name which elements have it; text is compared once, not at every request."""
    listed = names.tolist()
    place = {name: code for code, name in enumerate(dict.fromkeys(listed))}
    codes = np.array([place[name] for name in listed], dtype=np.int32)
    return {str(name): codes == code for name, code in place.items()}


def read_prepared(path: Path, key: bytes) -> Prepared:
    """Return the pages that a file holds.

    Parameters
    ----------
    path
        The file that `magml.review.prepare.prepare` returned.
    key
        The record's key, which names the pages.

    Raises
    ------
    InputError
        If the file is none, or is not complete.
    """
    about = read_about(path)
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = connection.execute(f"SELECT {_COLUMNS} FROM page ORDER BY row").fetchall()
    finally:
        connection.close()
    if len(rows) != int(about["rows"]):
        raise InputError(
            f"'{path.name}' holds {len(rows)} of {about['rows']} pages",
            "all of them",
            "remove the file and prepare again",
        )
    columns: list[Any] = list(zip(*rows, strict=True))
    secret = derive(key, "page")
    # The name depends on the content: a page that changed is another page, to be read again.
    tokens = tuple(
        hmac.new(secret, content.encode(), hashlib.sha256).hexdigest()[:24]
        for content in columns[13]
    )
    return Prepared(
        path=path,
        model=about["model"],
        data=about["data"],
        tokens=tokens,
        place={token: row for row, token in enumerate(tokens)},
        subject_id=np.array(columns[1], dtype=np.int64),
        shown=tuple(columns[2]),
        at=tuple(columns[3]),
        risk=np.array(columns[4]),
        low=np.array(columns[5]),
        high=np.array(columns[6]),
        band=np.array(columns[7], dtype=object),
        domain=np.array(columns[8], dtype=object),
        reason=tuple(columns[9]),
        stable=np.array(columns[10], dtype=bool),
        warnings=np.array(columns[11], dtype=np.int64),
        outcome=np.array([-1 if value is None else value for value in columns[12]], dtype=np.int8),
        hashes=tuple(columns[13]),
    )
