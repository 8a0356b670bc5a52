"""Coming and going."""

from __future__ import annotations

import threading
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from magml.review.accounts import check_password
from magml.review.audit import FAILED, LOGOUT, log, too_many_failures
from magml.review.sessions import end_session, same
from magml.review.web.desk import Desk
from magml.review.web.look import page
from magml.review.web.visitor import Visitor, check_form, cookie_name, find_visitor, log_in

router = APIRouter()
#: Hashing takes 19 MiB and much of a core: two at once are enough for any ward.
_HASHING = threading.BoundedSemaphore(2)
_LONGEST = 2048


async def sent_form(request: Request) -> FormData:
    """Return a form that was sent."""
    return await request.form(max_files=0, max_fields=2000)


def desk_of(request: Request) -> Desk:
    """Return the desk that a request is for."""
    desk: Desk = request.app.state.desk
    return desk


def visitor_of(request: Request) -> Visitor:
    """Return who asks."""
    return find_visitor(request, desk_of(request))


Form = Annotated[FormData, Depends(sent_form)]
TheDesk = Annotated[Desk, Depends(desk_of)]
TheVisitor = Annotated[Visitor, Depends(visitor_of)]


def asked_for(desk: Desk, where: str) -> Response:
    """Send somebody who is not logged in to the door, and back afterwards."""
    return RedirectResponse(f"/login?next={quote(where, safe='')}", 303)


@router.get("/login")
def door(request: Request, desk: TheDesk, next: str = "/") -> Response:
    """Show the door."""
    return page(
        request, "login.html", next=_own(next), name="", wrong="", local=desk.local
    )  # fmt: skip


@router.post("/login")
def enter(request: Request, form: Form, desk: TheDesk) -> Response:
    """Let somebody in who knows the password."""
    if desk.settings.user_header is not None or desk.local:
        raise HTTPException(404)
    name, password = str(form.get("name", ""))[:64].strip(), str(form.get("password", ""))
    where, address = _own(str(form.get("next", "/"))), str(request.state.address)
    engine = desk.record.engine
    if too_many_failures(engine, name, address):
        wrong, status = "Too many attempts. Wait a quarter of an hour, then try again.", 429
    else:
        with _HASHING:
            account = check_password(engine, name, password)
        if account is not None:
            response = RedirectResponse(where, 303)
            log_in(response, desk, account, address)
            return response
        log(engine, name or "-", FAILED, address=address)
        wrong, status = "Name or password is not right.", 401
    return page(
        request, "login.html", status=status, next=where, name=name, wrong=wrong, local=False
    )  # fmt: skip


@router.get("/enter/{entry}")
def enter_here(request: Request, entry: str, desk: TheDesk) -> Response:
    """Let in who started the pages, by the address that was printed to them alone."""
    if not desk.local or not same(entry, desk.entry):
        raise HTTPException(404)
    response = RedirectResponse("/", 303)
    log_in(response, desk, desk.local_account(), str(request.state.address))
    return response


@router.post("/logout")
def leave(request: Request, form: Form, desk: TheDesk, visitor: TheVisitor) -> Response:
    """End a session."""
    check_form(visitor, form)
    token = request.cookies.get(cookie_name(desk))
    if token:
        end_session(desk.record.engine, token)
    log(desk.record.engine, visitor.account.name, LOGOUT, address=visitor.address)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(cookie_name(desk), path="/", secure=desk.settings.secure, httponly=True)
    response.headers["clear-site-data"] = '"cache"'
    return response


def _own(where: str) -> str:
    """Return a place on these pages; anything else becomes the first page.

    Examples
    --------
    >>> _own("/patient/a?sort=time"), _own("//evil.example"), _own("https://evil.example")
    ('/patient/a?sort=time', '/', '/')
    """
    plain = where.isascii() and where.isprintable() and "\\" not in where
    if not plain or len(where) > _LONGEST or not where.startswith("/") or where.startswith("//"):
        return "/"
    return where
