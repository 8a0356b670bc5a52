"""The tables of a record, as SQLAlchemy sees them; `migrations` makes them."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Integer, MetaData, String, Table, Text

metadata = MetaData()

#: The chain. Nothing in it is ever changed or removed; triggers refuse it.
REVIEW = Table(
    "review",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    # The form that was sent: sent twice, it is stored once.
    Column("form", String(64), nullable=False, unique=True),
    Column("page", String(64), nullable=False, index=True),
    Column("reviewer", String(128), nullable=False),
    Column("entry", Text, nullable=False),
    Column("previous", String(64), nullable=False, unique=True),
    Column("hash", String(64), nullable=False),
)

ACCOUNT = Table(
    "account",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("role", String(16), nullable=False),
    # argon2id with its salt; null for people whom a trusted proxy logs in.
    Column("password", String(256)),
    Column("active", Boolean, nullable=False),
)

SESSION = Table(
    "session",
    metadata,
    # A hash of what the cookie holds: who reads the database cannot log in with it.
    Column("token", String(64), primary_key=True),
    Column("account", String(128), nullable=False),
    Column("form_token", String(64), nullable=False),
    Column("begun", Float, nullable=False),
    Column("seen", Float, nullable=False),
)

#: Who looked at what, who logged in, who changed accounts. Append-only as well.
AUDIT = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("account", String(128), nullable=False),
    Column("action", String(32), nullable=False),
    Column("page", String(64)),
    Column("address", String(64)),
)
