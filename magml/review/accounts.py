"""People who use the pages: names, roles, passwords."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Engine, insert, select, update

from magml.errors import InputError, nearest
from magml.review.audit import note
from magml.review.database import writing
from magml.review.schema import ACCOUNT, SESSION

if TYPE_CHECKING:
    from argon2 import PasswordHasher

#: Reviewers read and sign. Leads see everybody's reviews as well, and publish the summary.
#: The read-only see everything and sign nothing.
ROLES = ("reviewer", "lead", "read-only")
SIGNING = ("reviewer", "lead")
_SHORTEST, _LONGEST, _NAME = 10, 1024, 64


@dataclass(frozen=True)
class Account:
    """A person who may use the pages."""

    name: str
    role: str
    active: bool = True
    has_password: bool = False

    @property
    def may_sign(self) -> bool:
        """Whether this person can sign reviews."""
        return self.role in SIGNING

    @property
    def sees_all(self) -> bool:
        """Whether this person sees reviews of pages not signed by themselves."""
        return self.role != "reviewer"


def set_account(engine: Engine, name: str, role: str, password: str | None) -> Account:
    """Add a person, or change role and password of one; changes end the person's sessions.

    Parameters
    ----------
    engine
        The record's database.
    name
        Letters, digits and ``.-_@``, 64 at most.
    role
        One of `ROLES`.
    password
        At least 10 characters; None for a person whom a trusted proxy logs in.

    Raises
    ------
    InputError
        If name, role or password will not do.
    """
    check_name(name)
    if role not in ROLES:
        raise InputError(f"the role {role!r}", nearest(role, ROLES), "choose a role")
    if password is not None and not _SHORTEST <= len(password) <= _LONGEST:
        raise InputError(
            f"a password of {len(password)} characters",
            f"{_SHORTEST} to {_LONGEST} characters",
            "choose another password",
        )
    hashed = None if password is None else _hasher().hash(_normal(password))
    values = {"role": role, "password": hashed, "active": True}
    with writing(engine) as connection:
        if find_account(engine, name) is None:
            connection.execute(insert(ACCOUNT).values(name=name, **values))
        else:
            connection.execute(update(ACCOUNT).where(ACCOUNT.c.name == name).values(**values))
        connection.execute(SESSION.delete().where(SESSION.c.account == name))
        note(connection, name, f"account set: {role}")
    return Account(name, role, True, hashed is not None)


def disable_account(engine: Engine, name: str) -> None:
    """Shut a person out; what was signed stays signed.

    Raises
    ------
    InputError
        If there is no such person.
    """
    with writing(engine) as connection:
        done = connection.execute(
            update(ACCOUNT).where(ACCOUNT.c.name == name).values(active=False)
        )
        if done.rowcount == 0:
            known = connection.execute(select(ACCOUNT.c.name)).scalars()
            raise InputError(f"no account {name!r}", nearest(name, known), "correct the name")
        connection.execute(SESSION.delete().where(SESSION.c.account == name))
        note(connection, name, "account disabled")


def find_account(engine: Engine, name: str) -> Account | None:
    """Return the account of a name, active or not, or None."""
    with engine.connect() as connection:
        row = connection.execute(select(ACCOUNT).where(ACCOUNT.c.name == name)).first()
    if row is None:
        return None
    return Account(row.name, row.role, bool(row.active), row.password is not None)


def list_accounts(engine: Engine) -> tuple[Account, ...]:
    """Return all accounts by name."""
    with engine.connect() as connection:
        rows = connection.execute(select(ACCOUNT).order_by(ACCOUNT.c.name)).all()
    return tuple(
        Account(row.name, row.role, bool(row.active), row.password is not None) for row in rows
    )


def check_password(engine: Engine, name: str, password: str) -> Account | None:
    """Return the account if it is active and the password is right, else None.

    A name that does not exist takes as long as a wrong password.
    """
    from argon2.exceptions import Argon2Error, InvalidHashError

    with engine.connect() as connection:
        row = connection.execute(select(ACCOUNT).where(ACCOUNT.c.name == name)).first()
    stored = row.password if row is not None and row.active else None
    try:
        _hasher().verify(stored or _nobody(), _normal(password[: _LONGEST + 1]))
    except (Argon2Error, InvalidHashError):
        return None
    return None if row is None or stored is None else Account(row.name, row.role, True, True)


def check_name(name: str) -> None:
    """Refuse a name that could be mistaken, or that a table or an address cannot hold."""
    plain = name.isascii() and all(sign.isalnum() or sign in ".-_@" for sign in name)
    if not name or len(name) > _NAME or not plain:
        raise InputError(
            "a name that will not do",
            f"letters, digits and .-_@, {_NAME} at most",
            "choose another name",
        )


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    # OWASP's second set for argon2id: 19 MiB, two passes, one lane.
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@cache
def _nobody() -> str:
    """Return a hash that no password has been chosen for."""
    import secrets

    return _hasher().hash(secrets.token_hex(16))


def _normal(password: str) -> str:
    """Return a password as every keyboard sends it."""
    return unicodedata.normalize("NFKC", password)
