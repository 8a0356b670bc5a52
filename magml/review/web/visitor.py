"""Who is there: a session, a person whom the proxy names, or nobody yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from magml.errors import InputError
from magml.review.accounts import Account, check_name, find_account
from magml.review.audit import LOGIN, log
from magml.review.sessions import LONGEST, Session, begin_session, find_session, same
from magml.review.web.desk import Desk


class NobodyError(Exception):
    """Nobody is logged in."""


class NotAllowedError(Exception):
    """Somebody is there who may not do this; the text says why."""


@dataclass(frozen=True)
class Visitor:
    """Who asks for a page.

    Attributes
    ----------
    account
        The person.
    form_token
        What this person's forms carry.
    address
        Where from.
    token
        A session that was begun for this answer, to be kept in the cookie.
    """

    account: Account
    form_token: str
    address: str
    token: str | None = None


def cookie_name(desk: Desk) -> str:
    """Return the name of the cookie; where HTTPS is sure no other host can set it."""
    return "__Host-magml" if desk.settings.secure else f"magml-{desk.settings.port}"


def find_visitor(request: Request, desk: Desk) -> Visitor:
    """Return who asks.

    Raises
    ------
    NobodyError
        If nobody is logged in.
    NotAllowedError
        If the proxy names a person who has no account here.
    """
    engine = desk.record.engine
    address = str(request.state.address)
    session = find_session(engine, request.cookies.get(cookie_name(desk)))
    named = request.state.user
    if named is None:
        if session is None:
            raise NobodyError
        return Visitor(session.account, session.form_token, address)
    account = _named(desk, str(named))
    if session is not None and session.account.name == account.name:
        return Visitor(account, session.form_token, address)
    token, begun = _begin(desk, account, address)
    return Visitor(account, begun.form_token, address, token)


def log_in(response: Response, desk: Desk, account: Account, address: str) -> None:
    """Begin a session and put it into an answer."""
    token, _ = _begin(desk, account, address)
    set_cookie(response, desk, token)


def set_cookie(response: Response, desk: Desk, token: str) -> None:
    """Put a session's token into an answer."""
    response.set_cookie(
        cookie_name(desk),
        token,
        max_age=int(LONGEST),
        httponly=True,
        secure=desk.settings.secure,
        samesite="lax",  # a link from the record system may lead here; forms carry a token
        path="/",
    )


def check_form(visitor: Visitor, form: Any) -> None:
    """Refuse a form that does not carry its reader's token.

    Raises
    ------
    NotAllowedError
        If it does not.
    """
    if not same(str(form.get("token", "")), visitor.form_token):
        raise NotAllowedError(
            "The form belongs to another login, or is too old. Open the page again: nothing was "
            "signed."
        )


def _begin(desk: Desk, account: Account, address: str) -> tuple[str, Session]:
    engine = desk.record.engine
    token = begin_session(engine, account)
    log(engine, account.name, LOGIN, address=address)
    session = find_session(engine, token)
    if session is None:  # disabled this very moment
        raise NobodyError
    return token, session


def _named(desk: Desk, name: str) -> Account:
    """Return the account of a person whom the proxy names."""
    try:
        check_name(name)
        account = find_account(desk.record.engine, name)
    except InputError:
        account = None
    if account is None or not account.active:
        raise NotAllowedError(
            "You are logged in, but have no account for this review. Ask its lead to add you."
        )
    return account
