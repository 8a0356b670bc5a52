"""A patient's page, and signing it."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from magml.errors import InputError
from magml.review.audit import OPENED, log
from magml.review.entry import CODES, SIZES, VERDICTS, Judgement, ReasonVerdict, Review
from magml.review.index import is_blind
from magml.review.web import phrases
from magml.review.web.desk import Desk
from magml.review.web.lanes import lanes
from magml.review.web.listing import neighbours
from magml.review.web.login import Form, TheDesk, TheVisitor
from magml.review.web.look import page
from magml.review.web.marks import Axis, risk_axis
from magml.review.web.reasons import waterfall
from magml.review.web.visitor import NotAllowedError, Visitor, check_form
from magml.review.worklist import Query

router = APIRouter()
_FORM = re.compile(r"[0-9a-f]{32}")


@router.get("/patient/{token}")
def show(request: Request, token: str, desk: TheDesk, visitor: TheVisitor) -> Response:
    """Show a page; that it was opened is written down first."""
    row = _row(desk, token)
    return _shown(request, desk, visitor, row)


@router.post("/patient/{token}")
def sign(request: Request, token: str, form: Form, desk: TheDesk, visitor: TheVisitor) -> Response:
    """Sign a judgement."""
    check_form(visitor, form)
    if not visitor.account.may_sign:
        raise NotAllowedError("You may read everything here, and sign nothing.")
    row = _row(desk, token)
    name = str(form.get("form", ""))
    if not _FORM.fullmatch(name):
        raise InputError("a form of another page", "the form as it was shown", "open it again")
    content = desk.prepared.page(row)
    concepts = {one["name"] for domain in content["domains"] for one in domain["concepts"]}
    judgement = _judgement(form)
    try:
        judgement.check(concepts)
    except InputError as error:
        return _shown(
            request, desk, visitor, row, judgement=judgement, wrong=error.expected, status=422
        )

    def make(there: list[Review]) -> Review:
        return Review(
            form=name,
            at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            reviewer=visitor.account.name,
            role=visitor.account.role,
            blind=is_blind(there, visitor.account),
            model=desk.prepared.model,
            data=desk.prepared.data,
            explanation=desk.prepared.hashes[row],
            page=token,
            subject_id=int(desk.prepared.subject_id[row]),
            prediction_time=desk.prepared.at[row],
            prediction={name: content[name] for name in ("risk", "low", "high", "band")},
            judgement=judgement,
        )

    number, new = desk.record.add(token, name, make)
    desk.index.refresh()
    if not new and not _same_as_signed(desk, number, visitor, judgement):
        return _shown(
            request, desk, visitor, row, judgement=judgement, status=409,
            wrong=f"This form was signed before, as no. {number}, and says something else now. "
            "Sign once more to add what it says now",
        )  # fmt: skip
    query = Query.of(dict(request.query_params))
    return RedirectResponse(f"/patient/{token}{query.address()}&signed={number}", 303)


def _row(desk: Desk, token: str) -> int:
    row = desk.prepared.place.get(token)
    if row is None:
        raise HTTPException(404)
    return row


def _same_as_signed(desk: Desk, number: int, visitor: Visitor, judgement: Judgement) -> bool:
    for found, review in desk.record.reviews(number - 1):
        return (
            found == number
            and review.reviewer == visitor.account.name
            and review.judgement == judgement
        )
    return False


def _shown(
    request: Request,
    desk: Desk,
    visitor: Visitor,
    row: int,
    *,
    judgement: Judgement | None = None,
    wrong: str = "",
    status: int = 200,
) -> Response:
    """Return a page as an answer."""
    prepared, token = desk.prepared, desk.prepared.tokens[row]
    log(desk.record.engine, visitor.account.name, OPENED, token, visitor.address)
    content = prepared.page(row)
    query = Query.of(dict(request.query_params))
    desk.index.refresh()
    seen = desk.index.of_page(row, visitor.account)
    signed = request.query_params.get("signed", "")
    mine = bool(desk.index.mine(visitor.account)[row])
    return page(
        request, "patient.html", visitor, status=status,
        page=content, token=token, query=query, row=row,
        around=neighbours(desk, visitor, query, row),
        scale=_scale(desk, content),
        says={
            "outcome": phrases.outcome(desk.model),
            "against": phrases.against(content["risk"], content["base_risk"]),
            "members": len(desk.model.bag.boosters),
        },
        fall=waterfall(content, desk.model), lanes=lanes(content["timeline"]),
        tests=_tests(desk, content), what_ifs=_what_ifs(content),
        reviews=seen, readers=int(desk.index.readers()[row]), mine=mine,
        signed=signed if signed.isdigit() else "",
        form=secrets.token_hex(16), judgement=judgement, wrong=wrong,
        given={one.concept: one for one in judgement.reasons} if judgement else {},
        labels={
            one["name"]: one["label"] for domain in content["domains"] for one in domain["concepts"]
        },
        verdicts=VERDICTS, sizes=SIZES, codes=CODES,
    )  # fmt: skip


def _judgement(form: Any) -> Judgement:
    """Return what a form says; reasons that were not judged are left out."""
    reasons = tuple(
        ReasonVerdict(
            name.removeprefix("reason:"),
            str(value),
            str(form.get(f"code:{name.removeprefix('reason:')}", ""))
            if value == "disagree"
            else "",
        )
        for name, value in sorted(form.multi_items())
        if name.startswith("reason:") and value
    )
    return Judgement(
        overall=str(form.get("overall", "")),
        size=str(form.get("size", "")),
        codes=tuple(dict.fromkeys(str(code) for code in form.getlist("codes"))),
        comment=str(form.get("comment", "")).replace("\r\n", "\n").strip(),
        reasons=reasons,
    )


def _scale(desk: Desk, content: dict[str, Any]) -> dict[str, Any]:
    """Return marks of the risk's scale: bands, start, range, risk."""
    axis = risk_axis(max(float(desk.prepared.high.max()), content["high"]))
    bands = desk.model.definition.bands
    ends = [*(band.at_least for band in bands[1:]), 1.0]
    return {
        "bands": [
            {
                "name": band.name,
                "x": axis.at(band.at_least),
                "width": axis.width(band.at_least, end),
                "middle": axis.at((band.at_least + min(end, axis.high)) / 2),
                "step": place + 1,
                "wide": (min(end, axis.high) - band.at_least) > 0.1 * axis.high,
                "here": band.name == content["band"],
            }
            for place, (band, end) in enumerate(zip(bands, ends, strict=True))
            if band.at_least < axis.high
        ],
        "ticks": [(axis.at(tick), f"{100 * tick:g}%") for tick in axis.ticks(6)],
        "risk": axis.at(content["risk"]),
        "low": axis.at(content["low"]),
        "width": axis.width(content["low"], content["high"]),
        "base": axis.at(content["base_risk"]),
        "steps": len(bands),
        "step": [band.name for band in bands].index(content["band"]) + 1,
    }


def _tests(desk: Desk, content: dict[str, Any]) -> dict[str, Any]:
    """Return what to measure next, each with the range its result could give."""
    found = content["next"]
    axis = risk_axis(max([content["risk"], *(test["high"] for test in found)]))
    return {
        "risk": axis.at(content["risk"]),
        "ticks": [(axis.at(tick), f"{100 * tick:g}%") for tick in axis.ticks(5)],
        "rows": [
            {**test, "x": axis.at(test["low"]), "width": axis.width(test["low"], test["high"])}
            for test in found
        ],
    }


def _what_ifs(content: dict[str, Any]) -> dict[str, Any]:
    found = content["what_if"]
    top = max([content["risk"], *(one["after"] for one in found)])
    axis: Axis = risk_axis(top)
    return {
        "risk": axis.at(content["risk"]),
        "note": found[0]["note"] if found else "",
        "rows": [
            {
                **one,
                "change": one["after"] - content["risk"],
                "at": axis.at(one["after"]),
                "x": axis.at(min(one["after"], content["risk"])),
                "width": axis.width(one["after"], content["risk"]),
            }
            for one in found
        ],
    }
