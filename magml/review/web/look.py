"""Rendering: the templates, what they may call, and the files beside them."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from magml.report.html import cell_html
from magml.review.web import phrases
from magml.review.web.desk import Desk
from magml.review.web.visitor import Visitor, set_cookie

_STATIC = files("magml.review.web") / "static"
#: Files that are served, with their types; nothing else in the package can be asked for.
STATIC = {
    "review.css": "text/css; charset=utf-8",
    "review.js": "text/javascript; charset=utf-8",
    "source-sans-3.woff2": "font/woff2",
    "icon.svg": "image/svg+xml",
}


@cache
def static(name: str) -> bytes:
    """Return a file that the pages use."""
    return (_STATIC / name).read_bytes()


@cache
def version() -> str:
    """Return a name for the files as they are: browsers fetch them anew when it changes."""
    joined = b"".join(static(name) for name in sorted(STATIC))
    return hashlib.sha256(joined).hexdigest()[:12]


@cache
def environment() -> Environment:
    """Return the templates' environment; every text is escaped."""
    found = Environment(
        loader=PackageLoader("magml.review.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "percent": phrases.percentage,
        "among": phrases.among,
        "points": phrases.points,
        "interval": phrases.interval,
        "cell": cell_html,
        "count": lambda number: f"{number:,}",
        "moment": lambda text: str(text).replace("T", " ")[:16],
        "base64": lambda data: base64.b64encode(data).decode("ascii"),
        "utc": lambda at: datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "is": lambda block, name: type(block).__name__ == name,
    }
    return found


def page(
    request: Request,
    name: str,
    visitor: Visitor | None = None,
    /,
    *,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """Return a page as an answer."""
    desk: Desk = request.app.state.desk
    text = environment().get_template(name).render(
        visitor=visitor,
        version=version(),
        title=desk.model.definition.title,
        here=request.url.path,
        **values,
    )  # fmt: skip
    response = HTMLResponse(text, status)
    if visitor is not None and visitor.token is not None:
        set_cookie(response, desk, visitor.token)
    return response
