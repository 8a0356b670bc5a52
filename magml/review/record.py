"""The record: signed reviews are added at its end and never changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from magml.errors import InputError, MagmlError
from magml.review.chain import START, Link, make_link
from magml.review.database import connect, stored_entries, writing
from magml.review.entry import Review
from magml.review.head import Head, locked, read_head, write_head
from magml.review.key import make_key, read_key
from magml.review.schema import REVIEW
from magml.review.verify import Verification, verify_chain, verify_connection


@dataclass(frozen=True)
class Places:
    """Where the parts of a record are. The key and the head do not stand in the database.

    Attributes
    ----------
    url
        The database.
    key, head
        Files; see `magml.review.key` and `magml.review.head`.
    """

    url: str
    key: Path
    head: Path

    @classmethod
    def of(
        cls,
        folder: str | os.PathLike[str],
        url: str | None = None,
        key: str | os.PathLike[str] | None = None,
        head: str | os.PathLike[str] | None = None,
    ) -> Places:
        """Return the places of a record: all in one folder, except what is named.

        Examples
        --------
        >>> Places.of("reviews").head.as_posix()
        'reviews/head.json'
        """
        root = Path(folder)
        return cls(
            url or f"sqlite:///{(root / 'reviews.db').absolute().as_posix()}",
            Path(key) if key is not None else root / "key",
            Path(head) if head is not None else root / "head.json",
        )


@dataclass(frozen=True)
class Record:
    """An open record.

    Attributes
    ----------
    engine
        Its database.
    key
        Its secret.
    head_file
        Where its head is kept.
    """

    engine: Engine
    key: bytes
    head_file: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, page: str, form: str, make: Callable[[list[Review]], Review]) -> tuple[int, bool]:
        """Store a review; when this returns, it is on the disk and counted in the head.

        Parameters
        ----------
        page
            The page it is of.
        form
            The form it was filled in on. A form that is stored already is not stored again.
        make
            Given the reviews that there are of the page, returns the new one. Nothing is added
            to the record meanwhile, so what it sees is what there is.

        Returns
        -------
        int
            Number of the entry.
        bool
            Whether it is new.

        Raises
        ------
        MagmlError
            If the record's end is not where its head says, so that something was removed.
        """
        with self._lock, locked(self.head_file):
            try:
                with writing(self.engine) as connection:
                    self._alone(connection)
                    known = connection.execute(
                        select(REVIEW.c.number).where(REVIEW.c.form == form)
                    ).scalar()
                    end = self._end(connection)
                    if known is None:
                        link = self._insert(connection, page, make, end)
                        end = Head(link.number, link.hash)
            except SQLAlchemyError as error:
                raise MagmlError(
                    f"the review was not stored ({type(error).__name__})",
                    "a database that can be written to",
                    "try again; if it persists, check the disk and the database",
                ) from error
            write_head(self.head_file, end, self.key)
        return (end.count, True) if known is None else (int(known), False)

    def reviews(self, after: int = 0) -> Iterator[tuple[int, Review]]:
        """Yield number and review of all entries behind a number, in order."""
        for link in self.links(after):
            yield link.number, Review.of(link.entry)

    def links(self, after: int = 0) -> Iterator[Link]:
        """Yield the stored entries behind a number, in order."""
        with self.engine.connect() as connection:
            for row in stored_entries(connection, after):
                yield Link(int(row["number"]), row["entry"], row["previous"], row["hash"])

    def count(self) -> int:
        """Return the number of the last entry, 0 for an empty record."""
        with self.engine.connect() as connection:
            return int(connection.execute(select(func.max(REVIEW.c.number))).scalar() or 0)

    def verify(self, expected: Head | None = None) -> Verification:
        """Check the whole record against its key and its head."""
        with self.engine.connect() as connection:
            head = read_head(self.head_file, self.key)
            return verify_chain(connection, self.key, head, expected)

    def check(self) -> Verification:
        """Check the whole record while nothing is added; a head that was altered is a fault."""
        with self._lock, locked(self.head_file), self.engine.connect() as connection:
            return verify_connection(connection, self.key, self.head_file)

    def close(self) -> None:
        """Give the database back."""
        self.engine.dispose()

    def _alone(self, connection: Connection) -> None:
        if self.engine.dialect.name == "postgresql":
            # The lock of the head's file holds on one machine only.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305002)")

    def _end(self, connection: Connection) -> Head:
        """Return the end of the chain, refused unless the head's entry stands in it."""
        head = read_head(self.head_file, self.key)
        last = connection.execute(
            select(REVIEW.c.number, REVIEW.c.hash).order_by(REVIEW.c.number.desc()).limit(1)
        ).first()
        end = Head() if last is None else Head(int(last.number), str(last.hash))
        found: str | None = None
        if head is not None and head.count == end.count:
            found = end.hash
        elif head is not None and head.count == 0:
            found = START
        elif head is not None and head.count < end.count:
            # We were stopped between storing entries and counting them.
            found = connection.execute(
                select(REVIEW.c.hash).where(REVIEW.c.number == head.count)
            ).scalar()
        if head is None or found != head.hash:
            raise MagmlError(
                "the record does not end where its head says",
                "every entry that was ever acknowledged",
                "stop, run magml verify-reviews, and restore the record from a backup",
            )
        return end

    def _insert(
        self,
        connection: Connection,
        page: str,
        make: Callable[[list[Review]], Review],
        end: Head,
    ) -> Link:
        same = connection.execute(
            select(REVIEW.c.entry).where(REVIEW.c.page == page).order_by(REVIEW.c.number)
        ).scalars()
        review = make([Review.of(text) for text in same])
        link = make_link(self.key, end.count + 1, end.hash, review.to_text())
        connection.execute(
            insert(REVIEW).values(
                number=link.number,
                form=review.form,
                page=page,
                reviewer=review.reviewer,
                entry=link.entry,
                previous=link.previous,
                hash=link.hash,
            )
        )
        return link


def open_record(places: Places, *, begin: bool = True) -> Record:
    """Open a record, begun where there is none, and check it as a whole.

    Parameters
    ----------
    places
        Where its parts are.
    begin
        Begin a record where there is none; else that is an error.

    Raises
    ------
    InputError
        If a part is missing or was altered; a record with faults is not added to.
    """
    with locked(places.head):
        record = _opened(places, begin)
        try:
            head = read_head(places.head, record.key)
            if head is None and record.count() == 0 and begin:
                write_head(places.head, Head(), record.key)
            found = record.verify()
            if found.faults:
                raise InputError(
                    f"the record has {len(found.faults)} faults, the first: {found.faults[0].text}",
                    "a record as it was signed",
                    "run magml verify-reviews, and restore the record from a backup",
                )
        except BaseException:
            record.close()
            raise
    return record


def _opened(places: Places, begin: bool) -> Record:
    """Return a record that is open and not yet checked."""
    if not places.key.exists():
        if not begin or places.head.exists():
            raise InputError(
                f"no key file '{places.key.name}'",
                "the key that the record was begun with",
                "name it with --key; without it the record cannot be checked",
            )
        engine = connect(places.url)
        with engine.connect() as connection:
            entries = connection.execute(select(func.count()).select_from(REVIEW)).scalar()
        if entries:
            engine.dispose()
            raise InputError(
                f"the database holds {entries} reviews, and there is no key to check them",
                "the key that the record was begun with",
                "name it with --key and --head",
            )
        return Record(engine, make_key(places.key), places.head)
    key = read_key(places.key)
    return Record(connect(places.url), key, places.head)
