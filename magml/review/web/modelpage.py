"""The page on the model: its report, section by section."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from magml.report.html import to_html
from magml.review.web.login import TheDesk, TheVisitor
from magml.review.web.look import page

router = APIRouter()
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'; sandbox"
)


@router.get("/model")
def model(request: Request, desk: TheDesk, visitor: TheVisitor, part: str = "card") -> Response:
    """Show one part of the report."""
    report = desk.report
    found = next((section for section in report.sections if section.name == part), None)
    if found is None:
        raise HTTPException(404)
    place = report.sections.index(found)
    return page(
        request, "model.html", visitor, report=report, section=found,
        before=report.sections[place - 1] if place else None,
        behind=report.sections[place + 1] if place + 1 < len(report.sections) else None,
    )  # fmt: skip


@router.get("/model/report.html")
def whole(desk: TheDesk, _: TheVisitor) -> Response:
    """Give the whole report as one file; its own styles are inside it, and no script runs."""
    return Response(
        to_html(desk.report),
        media_type="text/html; charset=utf-8",
        headers={
            "content-security-policy": _POLICY,
            "content-disposition": 'attachment; filename="report.html"',
        },
    )
