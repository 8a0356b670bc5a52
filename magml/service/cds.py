"""CDS Hooks 2.0: a card in the record system when somebody's risk is high, and silence otherwise.

Everything comes with the call (prefetch); nothing is fetched from a ``fhirServer``.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from magml.errors import InputError
from magml.fhir import read_bundle
from magml.service.tokens import Clients, Unknown

if TYPE_CHECKING:
    from magml.service.engine import Engine, Loaded
    from magml.service.metrics import Metrics
    from magml.service.settings import Settings

_HOOKS = {"magml-patient-view": "patient-view", "magml-order-select": "order-select"}
_SINCE = "{{context.patientId}}"
_PREFETCH = {
    "patient": f"Patient/{_SINCE}",
    "encounters": f"Encounter?patient={_SINCE}",
    "conditions": f"Condition?patient={_SINCE}",
    "observations": f"Observation?patient={_SINCE}&category=laboratory,vital-signs",
    "requests": f"MedicationRequest?patient={_SINCE}",
    "administrations": f"MedicationAdministration?patient={_SINCE}",
    "procedures": f"Procedure?patient={_SINCE}",
}
_REASONS = 3
_UNSTABLE = 0.9


class Call(BaseModel):
    """A call of a hook; what magml does not use is let through unread."""

    model_config = ConfigDict(extra="ignore")

    hook: Annotated[str, Field(max_length=100)]
    hookInstance: Annotated[str, Field(max_length=200)]  # the standard's name
    context: dict[str, Any]
    prefetch: dict[str, Any] | None = None


class Feedback(BaseModel):
    """What became of a card."""

    model_config = ConfigDict(extra="ignore")

    card: Annotated[str, Field(max_length=100)]
    outcome: Annotated[str, Field(pattern="^(accepted|overridden)$")]


class FeedbackCall(BaseModel):
    """What became of several cards."""

    feedback: Annotated[list[Feedback], Field(max_length=1000)]


def cds_router(engine: Engine, settings: Settings, metrics: Metrics) -> APIRouter:
    """Return the routes under ``/cds-services``."""
    router = APIRouter(prefix="/cds-services", tags=["CDS Hooks"])
    clients = (
        Clients(settings.cds_clients, settings.cds_audience)
        if settings.cds_clients is not None and settings.cds_audience is not None
        else None
    )
    bands = [band.name for band in engine.loaded.model.definition.bands]
    lowest = settings.alert_band or bands[-1]
    if lowest not in bands:
        raise InputError(
            f"the alert band {lowest!r}", f"one of {', '.join(bands)}", "correct --alert-band"
        )

    def known(authorization: str | None) -> None:
        if clients is None:
            return
        try:
            clients.check(authorization)
        except Unknown as error:
            raise HTTPException(401, str(error)) from error

    @router.get("", summary="What hooks there are")
    async def discovery() -> dict[str, Any]:
        title = engine.loaded.model.definition.title
        return {
            "services": [
                {
                    "hook": hook,
                    "id": name,
                    "title": title,
                    "description": f"{title}: a card when the risk is in the band {lowest} or "
                    "above. A research tool, not a medical device.",
                    "prefetch": _PREFETCH,
                }
                for name, hook in _HOOKS.items()
            ]
        }

    @router.post("/{name}", summary="A card, or none")
    async def call(
        name: str, request: Call, authorization: Annotated[str | None, Header()] = None
    ) -> dict[str, Any]:
        known(authorization)
        if _HOOKS.get(name) != request.hook:
            raise HTTPException(404 if name not in _HOOKS else 422, "no such service or hook")
        found = await engine.run(lambda loaded: _card(loaded, request, settings, bands, lowest))
        metrics.scored([found["band"]], int(bool(found["warnings"])))
        cards = [] if found["card"] is None or settings.silent else [found["card"]]
        metrics.cards(len(cards))
        return {"cards": cards}

    @router.post("/{name}/feedback", summary="What became of cards")
    async def feedback(
        name: str, request: FeedbackCall, authorization: Annotated[str | None, Header()] = None
    ) -> dict[str, int]:
        known(authorization)
        if name not in _HOOKS:
            raise HTTPException(404, "no such service")
        for item in request.feedback:
            metrics.feedback(item.outcome)
        return {"received": len(request.feedback)}

    return router


def _card(
    loaded: Loaded, request: Call, settings: Settings, bands: list[str], lowest: str
) -> dict[str, Any]:
    """Return the band of a call's patient, warnings, and a card where the band asks for one."""
    import pandas as pd

    patient = request.context.get("patientId")
    if not isinstance(patient, str) or not 0 < len(patient) <= 64:
        raise InputError("a call without context.patientId", "the patient's id", "add it")
    events = read_bundle(_resources(request.prefetch), zone=settings.zone)
    mine = events.connection.execute(
        f"SELECT subject_id FROM {events.subjects} WHERE source_id = ?", [f"Patient/{patient}"]
    ).fetchall()
    if not mine:
        raise InputError(
            "a prefetch without any record of the context's patient",
            "the resources that the discovery names",
            "fill the prefetch",
        )
    now = dt.datetime.now(ZoneInfo(settings.zone)).replace(tzinfo=None)
    at = pd.DataFrame({"subject_id": [mine[0][0]], "prediction_time": [pd.Timestamp(now)]})
    model = loaded.model
    row = model.score(events, at, threads=1).iloc[0]
    found = {"band": row["band"], "warnings": row["warnings"], "card": None}
    if bands.index(row["band"]) < bands.index(lowest):
        return found
    why = model.explain(events, at, evidence=False, threads=1).concepts
    told = why.iloc[(-why["risk"].abs()).argsort(kind="stable")].head(_REASONS)
    lines = [
        f"- {reason['label']}: {'raises' if reason['risk'] > 0 else 'lowers'} the risk by "
        f"{100 * abs(reason['risk']):.1f} points"
        + (" (unstable over the model's members)" if reason["stability"] < _UNSTABLE else "")
        for reason in told.to_dict(orient="records")
        if reason["risk"] != 0
    ]
    title = model.definition.title
    detail = [
        f"Members of the model range from {100 * row['risk_low']:.0f} to "
        f"{100 * row['risk_high']:.0f}%. What the model used:",
        "",
        *lines,
        "",
        "**To measure:** serum magnesium.",
        "",
        "The reasons describe the model, not the patient's cause. Research tool, not a medical "
        "device.",
    ]
    if row["warnings"]:
        detail += ["", f"Before using it: {row['warnings']}"]
    card: dict[str, Any] = {
        "uuid": str(uuid.uuid4()),
        "summary": f"{title}: {100 * row['risk']:.0f}% ({row['band']})"[:139],
        "indicator": "warning" if row["band"] == bands[-1] else "info",
        "detail": "\n".join(detail),
        "source": {"label": f"magml {model.definition.name} {model.hash[:8]}"},
        "overrideReasons": [
            {"code": "measured", "display": "Measured already", "system": "urn:magml:override"},
            {"code": "unlikely", "display": "Clinically unlikely", "system": "urn:magml:override"},
            {"code": "irrelevant", "display": "Would change nothing",
             "system": "urn:magml:override"},
        ],
    }  # fmt: skip
    if settings.review_url:
        url = settings.review_url.replace("{patient}", quote(patient, safe=""))
        card["links"] = [{"label": "Reasons and evidence", "url": url, "type": "absolute"}]
    return {**found, "card": card}


def _resources(prefetch: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the resources of a prefetch: single ones and Bundles."""
    found: list[dict[str, Any]] = []
    for value in (prefetch or {}).values():
        if not isinstance(value, dict):
            continue
        if value.get("resourceType") == "Bundle":
            entries = value.get("entry") if isinstance(value.get("entry"), list) else []
            found += [
                entry["resource"]
                for entry in entries or []
                if isinstance(entry, dict) and isinstance(entry.get("resource"), dict)
            ]
        else:
            found.append(value)
    return found
