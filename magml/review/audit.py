"""The log of access: who opened whose page, who logged in, who failed to."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select

from magml.review.database import writing
from magml.review.schema import AUDIT

OPENED, LOGIN, FAILED, LOGOUT = "page opened", "login", "login failed", "logout"
#: Failed logins within so many seconds that are let pass: of one name from one address, from one
#: address, and of one name from anywhere.
_WINDOW, _PAIR, _ADDRESS, _NAME = 900.0, 5, 30, 50


def note(
    connection: Connection,
    account: str,
    action: str,
    page: str | None = None,
    address: str | None = None,
) -> None:
    """Add a line inside a transaction that writes."""
    connection.execute(
        insert(AUDIT).values(
            at=time.time(),
            account=account[:128],
            action=action[:32],
            page=page,
            address=None if address is None else address[:64],
        )
    )


def log(
    engine: Engine,
    account: str,
    action: str,
    page: str | None = None,
    address: str | None = None,
) -> None:
    """Add a line."""
    with writing(engine) as connection:
        note(connection, account, action, page, address)


def too_many_failures(engine: Engine, account: str, address: str) -> bool:
    """Return whether so many logins failed lately that the next must wait."""
    lately = (AUDIT.c.action == FAILED) & (AUDIT.c.at > time.time() - _WINDOW)
    name, place = AUDIT.c.account == account[:128], AUDIT.c.address == address[:64]
    with engine.connect() as connection:

        def count(*conditions: Any) -> int:
            query = select(func.count()).select_from(AUDIT).where(lately, *conditions)
            return int(connection.execute(query).scalar() or 0)

        return count(name, place) >= _PAIR or count(place) >= _ADDRESS or count(name) >= _NAME


def access_log(
    engine: Engine, page: str | None = None, *, last: int | None = None
) -> list[dict[str, Any]]:
    """Return the log in order, of one page or whole; with `last` the newest lines, newest first."""
    query = select(AUDIT).order_by(AUDIT.c.id if last is None else AUDIT.c.id.desc())
    if last is not None:
        query = query.limit(last)
    if page is not None:
        query = query.where(AUDIT.c.page == page)
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]
