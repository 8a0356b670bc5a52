"""The worklist."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from magml.review.accounts import Account
from magml.review.web.desk import Desk
from magml.review.web.login import Form, TheDesk, TheVisitor
from magml.review.web.look import environment, page
from magml.review.web.marks import Axis, risk_axis
from magml.review.web.visitor import Visitor, check_form
from magml.review.worklist import (
    FOUND,
    SORTS,
    STATES,
    Query,
    next_unread,
    ordered,
    search,
    selected,
    worklist,
)

router = APIRouter()


@router.get("/")
def first(request: Request, desk: TheDesk, visitor: TheVisitor) -> Response:
    """Show the worklist as its address asks."""
    query = Query.of(dict(request.query_params))
    desk.index.refresh()
    found = worklist(desk.prepared, desk.index, visitor.account, query)
    query = Query(query.sort, query.state, query.domain, query.band, found.page)
    unread = next_unread(desk.prepared, desk.index, visitor.account, query, None)
    start = (found.page - 1) * 50
    return page(
        request, "worklist.html", visitor,
        query=query, rows=_rows(desk, visitor.account, found.rows), total=found.total,
        pages=found.pages, begin=start + 1, end=start + len(found.rows),
        facets=_facets(desk, visitor.account, query), sorts=SORTS, states=STATES,
        all=len(desk.prepared), mine=int(desk.index.mine(visitor.account).sum()),
        next=None if unread is None else desk.prepared.tokens[unread],
        ticks=_ticks(_axis(desk)), searched=None,
    )  # fmt: skip


@router.post("/find")
def find(request: Request, form: Form, desk: TheDesk, visitor: TheVisitor) -> Response:
    """Show the patients of an id. Sent as a form, so that no id stands in an address."""
    check_form(visitor, form)
    text = str(form.get("id", ""))[:100]
    desk.index.refresh()
    rows = search(desk.prepared, text)
    return page(
        request, "worklist.html", visitor,
        query=Query(), rows=_rows(desk, visitor.account, rows), total=len(rows), pages=1, begin=1,
        end=len(rows), facets=_facets(desk, visitor.account, Query()), sorts=SORTS, states=STATES,
        all=len(desk.prepared), mine=int(desk.index.mine(visitor.account).sum()), next=None,
        ticks=_ticks(_axis(desk)), searched={"text": text, "more": len(rows) == FOUND},
    )  # fmt: skip


def ready(desk: Desk) -> None:
    """Work out what every list needs, before anybody asks."""
    prepared, nobody = desk.prepared, Account("", "read-only")
    for sort in SORTS:
        ordered(prepared, desk.index, sort)
    if len(prepared):
        _facets(desk, nobody, Query())
    search(prepared, "-")
    for name in ("worklist.html", "patient.html"):
        environment().get_template(name)


def _axis(desk: Desk) -> Axis:
    return risk_axis(float(desk.prepared.high.max()) if len(desk.prepared) else 1.0)


def _ticks(axis: Axis) -> list[tuple[str, str]]:
    return [(axis.at(tick), f"{100 * tick:g}%") for tick in (axis.low, axis.high / 2, axis.high)]


def _rows(desk: Desk, account: Account, rows: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return what the list shows of some rows."""
    prepared, axis = desk.prepared, _axis(desk)
    mine, readers = desk.index.mine(account), desk.index.readers()
    objected, split = desk.index.objected(account), desk.index.split(account)
    return [
        {
            "token": prepared.tokens[row],
            "shown": prepared.shown[row],
            "at": prepared.at[row],
            "risk": float(prepared.risk[row]),
            "low": float(prepared.low[row]),
            "high": float(prepared.high[row]),
            "x": axis.at(float(prepared.risk[row])),
            "from": axis.at(float(prepared.low[row])),
            "width": axis.width(float(prepared.low[row]), float(prepared.high[row])),
            "band": str(prepared.band[row]),
            "step": int(desk.band_codes[row]) + 1,
            "steps": len(desk.bands),
            "domain": desk.domains.get(str(prepared.domain[row]), ""),
            "reason": prepared.reason[row],
            "stable": bool(prepared.stable[row]),
            "warnings": int(prepared.warnings[row]),
            "readers": int(readers[row]),
            "mine": bool(mine[row]),
            "objected": bool(objected[row]),
            "split": bool(split[row]),
        }
        for row in rows
    ]


def _facets(desk: Desk, account: Account, query: Query) -> dict[str, list[dict[str, Any]]]:
    """Return the choices beside the list, each with how many pages it would keep."""
    prepared, index = desk.prepared, desk.index

    def kept(**changes: str) -> Any:
        changed = {**vars(query), "page": 1, **changes}
        return selected(prepared, index, account, Query(**changed))

    def choice(name: str, value: str, label: str, count: int) -> dict[str, Any]:
        return {
            "label": label,
            "count": count,
            "address": Query(**{**vars(query), name: value, "page": 1}).address(),
            "chosen": getattr(query, name) == value,
        }

    states = [
        choice("state", name, label, int(kept(state=name).sum())) for name, label in STATES.items()
    ]
    bands = np.bincount(desk.band_codes[kept(band="")] + 1, minlength=len(desk.bands) + 1)
    domains = np.bincount(desk.domain_codes[kept(domain="")] + 1, minlength=len(desk.domains) + 1)
    return {
        "states": states,
        "bands": [choice("band", "", "Any", int(bands.sum()))]
        + [
            choice("band", name, name.capitalize(), int(bands[code + 1]))
            for code, name in reversed(list(enumerate(desk.bands)))
        ],
        "domains": [choice("domain", "", "Any", int(domains.sum()))]
        + [
            choice("domain", name, label, int(domains[code + 1]))
            for code, (name, label) in enumerate(desk.domains.items())
        ],
    }


def neighbours(desk: Desk, visitor: Visitor, query: Query, row: int) -> dict[str, Any]:
    """Return where a row stands in a worklist, and what is before and behind it."""
    keep = selected(desk.prepared, desk.index, visitor.account, query)
    keep[row] = True  # signed meanwhile, it may have left the list
    found = ordered(desk.prepared, desk.index, query.sort)
    found = found[keep[found]]
    place = int(np.flatnonzero(found == row)[0])
    tokens = desk.prepared.tokens
    unread = next_unread(desk.prepared, desk.index, visitor.account, query, row)
    return {
        "place": place + 1,
        "of": len(found),
        "before": tokens[int(found[place - 1])] if place else None,
        "behind": tokens[int(found[place + 1])] if place + 1 < len(found) else None,
        "unread": None if unread is None else tokens[unread],
    }
