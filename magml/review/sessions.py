"""Sessions: a random token in a cookie, its hash in the database."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

from sqlalchemy import Engine, insert, or_, select, update

from magml.review.accounts import Account, find_account
from magml.review.database import writing
from magml.review.schema import SESSION

#: Seconds without use, and seconds in all, after which one must log in again.
IDLE, LONGEST = 1800.0, 12 * 3600.0
#: Seconds after which the last use is written down again.
_TOUCH = 60.0


@dataclass(frozen=True)
class Session:
    """Who is logged in, and the token that this person's forms carry."""

    account: Account
    form_token: str


def begin_session(engine: Engine, account: Account) -> str:
    """Begin a session and return its token."""
    token, now = secrets.token_urlsafe(32), time.time()
    old = or_(SESSION.c.begun < now - LONGEST, SESSION.c.seen < now - IDLE)
    with writing(engine) as connection:
        connection.execute(SESSION.delete().where(old))
        connection.execute(
            insert(SESSION).values(
                token=_hash(token),
                account=account.name,
                form_token=secrets.token_urlsafe(32),
                begun=now,
                seen=now,
            )
        )
    return token


def find_session(engine: Engine, token: str | None) -> Session | None:
    """Return the session of a token, or None if there is none or it has ended."""
    if not token:
        return None
    hashed, now = _hash(token), time.time()
    with engine.connect() as connection:
        row = connection.execute(select(SESSION).where(SESSION.c.token == hashed)).first()
    if row is None or now - row.begun > LONGEST or now - row.seen > IDLE:
        return None
    account = find_account(engine, row.account)
    if account is None or not account.active:
        return None
    if now - row.seen > _TOUCH:
        with writing(engine) as connection:
            connection.execute(update(SESSION).where(SESSION.c.token == hashed).values(seen=now))
    return Session(account, row.form_token)


def end_session(engine: Engine, token: str) -> None:
    """End a session."""
    with writing(engine) as connection:
        connection.execute(SESSION.delete().where(SESSION.c.token == _hash(token)))


def same(one: str, other: str) -> bool:
    """Return whether two tokens are equal, in a time that says nothing of where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
