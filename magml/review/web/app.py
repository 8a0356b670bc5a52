"""The pages as an ASGI application."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from magml.errors import InputError, MagmlError
from magml.review.web import listing, login, modelpage, patient, reading
from magml.review.web.desk import Desk
from magml.review.web.guard import Guard
from magml.review.web.look import STATIC, page, static
from magml.review.web.visitor import NobodyError, NotAllowedError


def create_app(desk: Desk) -> FastAPI:
    """Return the pages of a desk as an ASGI application."""
    app = FastAPI(title="magml review", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desk = desk
    app.add_middleware(Guard, settings=desk.settings, secret=desk.settings.secret())
    for part in (login, listing, patient, modelpage, reading):
        app.include_router(part.router)

    @app.get("/static/{name}")
    def served(name: str) -> Response:
        if name not in STATIC:
            raise HTTPException(404)
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(static(name), media_type=STATIC[name], headers=headers)

    @app.exception_handler(NobodyError)
    async def nobody(request: Request, _: NobodyError) -> Response:
        if request.method == "GET" and request.url.path != "/":
            query = f"?{request.url.query}" if request.url.query else ""
            return login.asked_for(desk, f"{request.url.path}{query}")
        return RedirectResponse("/login", 303)

    @app.exception_handler(NotAllowedError)
    async def refused(request: Request, error: NotAllowedError) -> Response:
        return page(request, "problem.html", status=403, head="Not allowed", text=str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, _: RequestValidationError) -> Response:
        return page(
            request, "problem.html", status=422, head="Not understood",
            text="The form does not fit this page. Nothing was signed.",
        )  # fmt: skip

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> Response:
        text = "There is no such page." if error.status_code == 404 else "This cannot be done."
        return page(
            request, "problem.html", status=error.status_code, head="Not found", text=text
        )  # fmt: skip

    @app.exception_handler(MagmlError)
    async def wrong(request: Request, error: MagmlError) -> Response:
        status = 422 if isinstance(error, InputError) else 503
        return page(request, "problem.html", status=status, head="Not done", text=str(error))

    return app
