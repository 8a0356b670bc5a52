"""The routes of a service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from magml.errors import InputError, MagmlError, MissingDependencyError
from magml.service.engine import Busy, Engine, Late, Loaded
from magml.service.guard import Guard
from magml.service.keys import read_keys
from magml.service.messages import (
    ExplainedRow,
    ExplainRequest,
    ExplainResponse,
    FhirRequest,
    Problem,
    ReasonRow,
    RiskRow,
    ScoreRequest,
    ScoreResponse,
    Served,
    event_table,
    naive,
    time_table,
)
from magml.service.metrics import Metrics
from magml.service.settings import Settings

# At the top, because FastAPI reads the types of routes where their module can see them.
try:
    import prometheus_client  # noqa: F401  # of the same extra, used by the metrics
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.middleware.cors import CORSMiddleware
    from fastapi.responses import JSONResponse, Response
    from starlette.exceptions import HTTPException
except ImportError as error:
    raise MissingDependencyError(
        f"{error.name} is not installed", "the extra serve", "pip install 'magml[serve]'"
    ) from error

from magml.service.cds import cds_router  # imports FastAPI too

if TYPE_CHECKING:
    import pandas as pd

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is no JSON."},
    401: {"model": Problem, "description": "No valid key."},
    413: {"model": Problem, "description": "The request is too large."},
    422: {"model": Problem, "description": "The input does not fit its contract."},
    503: {"model": Problem, "description": "Too many requests wait, or this one took too long."},
}


def create_app(reference: str, settings: Settings | None = None) -> FastAPI:
    """Return the service of a model as an ASGI application.

    Parameters
    ----------
    reference
        A bundle's folder or ``models:/NAME@ALIAS``.
    settings
        How it listens and what it accepts.

    Raises
    ------
    BundleError
        If the model does not load.
    InputError
        If the settings would leave it open.

    Examples
    --------
    >>> app = create_app("models:/hypomagnesemia_screen@champion")      # doctest: +SKIP
    """
    chosen = settings or Settings()
    chosen.check()
    engine = Engine(reference, chosen)
    metrics = Metrics(engine)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        engine.close()

    # The interactive pages load scripts from a network, so there are none.
    app = FastAPI(
        title="magml",
        summary="Risk of hypomagnesemia with its reasons. A research tool, not a medical device.",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=running,
        responses=_REFUSALS,
    )
    app.state.engine = engine

    @app.exception_handler(MagmlError)
    async def refused(_: Request, error: MagmlError) -> JSONResponse:
        if isinstance(error, Busy | Late):
            return JSONResponse(
                {"error": str(error)}, 503, {"Retry-After": str(engine.retry_after())}
            )
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # Where and why, never the value: it could be a patient's.
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        more = f" ({len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
        return JSONResponse({"error": f"{place}: {first['msg']}{more}"}, 422)

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.get("/health", summary="Whether the process lives")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready", summary="Whether a model is in service, and which")
    async def ready() -> Served:
        return _served(engine.loaded)

    @app.get("/metrics", summary="Counts for Prometheus", response_class=Response)
    async def counts() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.post("/score", summary="Risks of people at prediction times")
    async def score(request: ScoreRequest) -> ScoreResponse:
        _limit(request, chosen)
        found = await engine.run(lambda loaded: _score(loaded, request, chosen))
        metrics.scored([row.band for row in found.rows], sum(1 for r in found.rows if r.warnings))
        return found

    @app.post("/explain", summary="Risks with their reasons")
    async def explain(request: ExplainRequest) -> ExplainResponse:
        _limit(request, chosen)
        found = await engine.run(lambda loaded: _explain(loaded, request, chosen))
        metrics.scored([row.band for row in found.rows], sum(1 for r in found.rows if r.warnings))
        return found

    @app.post("/fhir/score", summary="A FHIR Bundle in, RiskAssessments out")
    async def fhir(request: FhirRequest) -> dict[str, Any]:
        return await engine.run(lambda loaded: _fhir(loaded, request, chosen))

    app.include_router(cds_router(engine, chosen, metrics))
    if chosen.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(chosen.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key"],
        )
    app.add_middleware(
        Guard,
        tokens=chosen.cds_clients is not None,
        keys=None if chosen.keys is None else read_keys(chosen.keys),
        max_bytes=chosen.max_bytes,
        waiting=chosen.waiting,
        patience=chosen.patience,
        engine=engine,
        metrics=metrics,
    )
    return app


def _limit(request: ScoreRequest, settings: Settings) -> None:
    """Refuse more rows than the settings allow."""
    for name, size, most in (
        ("prediction times", len(request.at), settings.max_rows),
        ("events", len(request.events), settings.max_events),
    ):
        if size > most:
            raise HTTPException(413, f"{size} {name}, at most {most} in one request")


def _served(loaded: Loaded) -> Served:
    model = loaded.model
    return Served(name=model.definition.name, bundle=model.hash, version=loaded.version)


def _tables(request: ScoreRequest, settings: Settings) -> tuple[Any, Any]:
    try:
        return event_table(request.events, settings.zone), time_table(request.at, settings.zone)
    except ValueError as error:
        raise InputError(str(error), "moments of the years 1 to 9999", "correct them") from error


def _score(loaded: Loaded, request: ScoreRequest, settings: Settings) -> ScoreResponse:
    events, at = _tables(request, settings)
    table = loaded.model.score(events, at, threads=1)
    return ScoreResponse(model=_served(loaded), rows=_rows(table))


def _rows(table: pd.DataFrame) -> list[RiskRow]:
    return [RiskRow(**row) for row in _records(table)]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    table.attrs = {}  # pandas would copy them, deeply, for every row
    return [
        {str(key): value for key, value in row.items()} for row in table.to_dict(orient="records")
    ]


def _explain(loaded: Loaded, request: ExplainRequest, settings: Settings) -> ExplainResponse:
    model = loaded.model
    events, at = _tables(request, settings)
    risks = model.score(events, at, threads=1)
    why = model.explain(events, at, evidence=request.top, threads=1)
    reasons: dict[tuple[Any, Any], list[ReasonRow]] = {}
    for row in _records(why.reasons(request.top)):
        key = (row.pop("subject_id"), row.pop("prediction_time"))
        value = row.pop("value")
        reasons.setdefault(key, []).append(
            ReasonRow(**row, value=None if value != value else value)
        )
    rows = [
        ExplainedRow(
            **row,
            base_risk=why.base_risk,
            reasons=reasons.get((row["subject_id"], row["prediction_time"]), []),
        )
        for row in _records(risks)
    ]
    return ExplainResponse(model=_served(loaded), rows=rows)


def _fhir(loaded: Loaded, request: FhirRequest, settings: Settings) -> dict[str, Any]:
    """Return a Bundle of RiskAssessments, one a patient with a record."""
    from magml.fhir import read_bundle, risk_assessments

    events = read_bundle(request.bundle, zone=settings.zone)
    people = events.connection.execute(f"SELECT count(*) FROM {events.subjects}").fetchall()[0][0]
    if people > settings.max_rows or events.count() > settings.max_events:
        raise InputError(
            f"{people} patients with {events.count()} events",
            f"at most {settings.max_rows} and {settings.max_events} in one request",
            "send fewer at once",
        )
    try:
        moment = naive(request.at, ZoneInfo(settings.zone))
    except ValueError as error:
        raise InputError(str(error), "a moment of the years 1 to 9999", "correct it") from error
    found = risk_assessments(
        loaded.model, events, moment, version=loaded.version[:64], zone=settings.zone
    )
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": resource} for resource in found],
    }
