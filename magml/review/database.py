"""The database of a record: SQLite unless a PostgreSQL URL is given."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from magml.errors import InputError, MissingDependencyError
from magml.files import told
from magml.review.schema import REVIEW

#: Seconds that a writer waits for another.
_WAIT = 30
#: Entries read at once.
_BLOCK = 2000


def connect(url: str) -> Engine:
    """Return an engine for a URL, with the tables brought to this version.

    Parameters
    ----------
    url
        ``sqlite:///FILE`` or ``postgresql://USER@HOST/DATABASE``.

    Raises
    ------
    InputError
        If the database cannot be reached.
    MissingDependencyError
        If PostgreSQL's client is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InputError(
            "a database URL that does not read",
            "sqlite:///FILE or postgresql://USER@HOST/DATABASE",
            "correct --db",
        ) from error
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        engine = _sqlite(parsed)
    elif kind == "postgresql":
        try:
            import psycopg  # noqa: F401  # asked for by the driver named below
        except ImportError as error:
            raise MissingDependencyError(
                "psycopg is not installed", "the extra postgres", "pip install 'magml[postgres]'"
            ) from error
        engine = create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    else:
        raise InputError(
            f"a database of the kind {kind}", "SQLite or PostgreSQL", "choose another --db"
        )
    try:
        _upgrade(engine)
    except SQLAlchemyError as error:
        raise InputError(
            f"the record's database cannot be opened ({_first_line(error)})",
            "a database that can be reached and written to",
            "check --db",
        ) from error
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction that writes; committed at the end, or undone."""
    with engine.connect().execution_options(magml_writes=True) as connection, connection.begin():
        yield connection


def stored_entries(connection: Connection, after: int) -> Iterator[RowMapping]:
    """Yield the chain's rows behind a number, in order, some at a time."""
    while True:
        rows = connection.execute(
            select(REVIEW).where(REVIEW.c.number > after).order_by(REVIEW.c.number).limit(_BLOCK)
        ).all()
        for row in rows:
            yield row._mapping
        if len(rows) < _BLOCK:
            return
        after = int(rows[-1].number)


def _sqlite(url: Any) -> Engine:
    file = url.database
    if not file or file == ":memory:":
        raise InputError(
            "a SQLite database in memory", "a file: sqlite:///FILE", "a record must outlive us"
        )
    path = Path(file)
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    engine = create_engine(url, connect_args={"timeout": _WAIT, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, _: Any) -> None:
        # Transactions are begun below; sqlite3's own rules would begin them late.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # what is committed survives a power cut
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes the lock at once: one that read first could not wait for another's end.
        writes = connection.get_execution_options().get("magml_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _upgrade(engine: Engine) -> None:
    """Bring the tables to this version's form."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    logger = logging.getLogger("alembic")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                # Two servers that start at once: one makes the tables.
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305001)")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        logger.setLevel(before)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
