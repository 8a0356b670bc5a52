"""What the readers said together: agreement, calibration, export, and the record itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from magml.evaluation.checks import SMALL_CELL
from magml.review.accounts import Account, list_accounts
from magml.review.agreement import JUDGED, Kappa, agreement, reviewed_calibration, share
from magml.review.audit import access_log, log
from magml.review.entry import CODES
from magml.review.export import to_csv, to_json
from magml.review.verify import Verification
from magml.review.web.desk import Desk
from magml.review.web.login import Form, TheDesk, TheVisitor
from magml.review.web.look import page
from magml.review.web.marks import Axis
from magml.review.web.visitor import NotAllowedError, Visitor, check_form

router = APIRouter()
_LINES = 200
_AXIS = Axis(-1.0, 1.0)


@router.get("/agreement")
def together(request: Request, desk: TheDesk, visitor: TheVisitor) -> Response:
    """Show how far the readers agree, as far as one may know."""
    desk.index.refresh()
    reviews = [review for _, review in desk.index.visible(visitor.account)]
    found = agreement(reviews)
    current = list({(one.page, one.reviewer): one for one in reviews}.values())
    verdicts = Counter(one.judgement.overall for one in current)
    codes = Counter(code for one in current for code in one.judgement.codes)
    reasons = Counter(
        (one.concept, one.verdict) for review in current for one in review.judgement.reasons
    )
    return page(
        request, "agreement.html", visitor,
        n=len(current), readers=len({one.reviewer for one in current}),
        pages=len({one.page for one in current}), all=len(desk.prepared),
        pairs=[_pair(one) for one in (found.together, *found.pairs)], judged=JUDGED,
        verdicts=[
            (name, share(verdicts[name], len(current)))
            for name in ("agree", "disagree", "cannot judge")
        ],
        codes=[(CODES[code], count) for code, count in codes.most_common()],
        objected=_objected(desk, reasons),
        calibration=reviewed_calibration(reviews, desk.bands, _outcomes(desk, visitor.account)),
        outcomes=_knows_outcomes(desk, visitor.account), least=SMALL_CELL,
        ticks=[(_AXIS.at(tick), f"{tick:g}".replace("-", "−")) for tick in (-1, -0.5, 0, 0.5, 1)],
    )  # fmt: skip


@router.get("/export/{name}")
def export(name: str, desk: TheDesk, visitor: TheVisitor) -> Response:
    """Give the reviews that one may see as a file."""
    writers = {"reviews.csv": (to_csv, "text/csv"), "reviews.json": (to_json, "application/json")}
    if name not in writers:
        raise HTTPException(404)
    write, kind = writers[name]
    desk.index.refresh()
    log(desk.record.engine, visitor.account.name, f"exported {name}", address=visitor.address)
    return Response(
        write(desk.index.visible(visitor.account)),
        media_type=f"{kind}; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


@router.get("/record")
def record(request: Request, desk: TheDesk, visitor: TheVisitor) -> Response:
    """Show the record: users, the log of access, and whether all is as it was signed."""
    return _record(request, desk, visitor, None)


@router.post("/record")
def check(request: Request, form: Form, desk: TheDesk, visitor: TheVisitor) -> Response:
    """Check the record as a whole."""
    check_form(visitor, form)
    _lead(visitor)
    found = desk.record.check()
    log(desk.record.engine, visitor.account.name, "record checked", address=visitor.address)
    return _record(request, desk, visitor, found)


def _record(request: Request, desk: Desk, visitor: Visitor, found: Verification | None) -> Response:
    _lead(visitor)
    shown = desk.prepared.place
    lines = access_log(desk.record.engine, last=_LINES)
    return page(
        request, "record.html", visitor,
        found=found, count=desk.record.count(), accounts=list_accounts(desk.record.engine),
        lines=[
            {**line, "known": line["page"] in shown,
             "shown": desk.prepared.shown[shown[line["page"]]] if line["page"] in shown else ""}
            for line in lines
        ],
        last=_LINES,
    )  # fmt: skip


def _lead(visitor: Visitor) -> None:
    if visitor.account.role != "lead":
        raise NotAllowedError("The record's page is for leads.")


def _pair(pair: Any) -> dict[str, Any]:
    kappa: Kappa = pair.kappa
    drawn = None
    if kappa.value is not None:
        drawn = {"at": _AXIS.at(kappa.value), "x": None, "width": None}
        if kappa.low is not None and kappa.high is not None:
            drawn |= {"x": _AXIS.at(kappa.low), "width": _AXIS.width(kappa.low, kappa.high)}
    return {"first": pair.first, "second": pair.second, "left_out": pair.left_out,
            "kappa": kappa, "drawn": drawn}  # fmt: skip


def _objected(desk: Desk, reasons: Counter[tuple[str, str]]) -> list[tuple[str, int, int]]:
    """Return the reasons objected to most: label, objections, verdicts."""
    found = []
    for concept in dict.fromkeys(concept for concept, _ in reasons):
        against = reasons[concept, "disagree"]
        judged = against + reasons[concept, "agree"]
        if judged:
            found.append((_label(desk, concept), against, judged))
    return sorted(found, key=lambda one: (-one[1], -one[2], one[0]))[:10]


def _label(desk: Desk, concept: str) -> str:
    try:
        return str(desk.model.catalogue.described(concept).label)
    except KeyError:
        return concept


def _knows_outcomes(desk: Desk, account: Account) -> bool:
    """Return whether outcomes in sum are shown: to those who see all, where any are known."""
    return account.sees_all and bool((desk.prepared.outcome >= 0).any())


def _outcomes(desk: Desk, account: Account) -> dict[str, bool]:
    if not _knows_outcomes(desk, account):
        return {}
    return {
        token: bool(outcome)
        for token, outcome in zip(desk.prepared.tokens, desk.prepared.outcome, strict=True)
        if outcome >= 0
    }
