"""Risks as FHIR R4 RiskAssessment resources, under the patient's own id."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from magml.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from magml.bundle import Model
    from magml.events import Events

_SYSTEM = "urn:magml:model"
#: What evidence names as its source, when it came from FHIR.
_SOURCE = re.compile(r"\[((?:[A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64})\]")
_REASONS = 3


def risk_assessments(
    model: Model,
    events: Events,
    at: Any,
    *,
    reasons: int = _REASONS,
    version: str | None = None,
    zone: str = "UTC",
) -> list[dict[str, Any]]:
    """Return one RiskAssessment a prediction time, as plain values that fit R4's model.

    Parameters
    ----------
    model
        The model.
    events
        Events with a subject map, as `read_bundle` gives them.
    at
        Prediction times, as `Model.score` takes them.
    reasons
        Reasons (concepts) named in the rationale.
    version
        Version of the model in its registry; default the bundle's hash.
    zone
        IANA zone of the events' naive times.

    Returns
    -------
    list of dict
        ``subject`` is the source's own reference; ``method`` names model and version;
        ``basis`` refers to the resources behind the reasons; ``prediction`` holds the calibrated
        risk and the band; ``mitigation`` what the band asks for; ``note`` the warnings.

    Raises
    ------
    InputError
        If the events have no subject map.
    MissingDependencyError
        If the extra ``fhir`` is not installed.
    """
    if events.subjects is None:
        raise InputError("events without a subject map", "events read from FHIR", "use read_bundle")
    names = dict(
        events.connection.execute(f"SELECT subject_id, source_id FROM {events.subjects}").fetchall()
    )
    scores = model.score(events, at, threads=1)
    why = model.explain(events, at, evidence=reasons * 3, threads=1)
    order, concepts = [], why.concepts
    size = len(concepts) // max(len(scores), 1)
    for number, row in enumerate(scores.to_dict(orient="records")):
        mine = concepts.iloc[number * size : (number + 1) * size]
        told = mine.iloc[(-mine["risk"].abs()).argsort(kind="stable")].head(reasons)
        told = told[told["risk"] != 0]
        evidence = [text for (place, _), text in why.evidence.items() if place == number]
        basis = list(dict.fromkeys(_SOURCE.findall(" ".join(evidence))))
        values = {str(key): value for key, value in row.items()}
        made = _resource(model, values, names, told, basis, version, zone)
        order.append(validated(made))
    return order


def validated(resource: dict[str, Any]) -> dict[str, Any]:
    """Return a resource after R4's own model has accepted it.

    Raises
    ------
    MissingDependencyError
        If the extra ``fhir`` is not installed.
    """
    try:
        from fhir.resources.R4B.riskassessment import RiskAssessment
    except ImportError as error:
        raise MissingDependencyError(
            "fhir.resources is not installed", "the extra fhir", "pip install 'magml[fhir]'"
        ) from error
    RiskAssessment.model_validate(resource)
    return resource


def _resource(
    model: Model,
    row: dict[str, Any],
    names: dict[int, str],
    told: Any,
    basis: list[str],
    version: str | None,
    zone: str,
) -> dict[str, Any]:
    outcome = model.definition.title
    lines = [
        f"{reason['label']}: {'raises' if reason['risk'] > 0 else 'lowers'} the risk by "
        f"{100 * abs(reason['risk']):.1f} percentage points"
        + ("" if reason["stability"] >= 0.9 else " (unstable)")
        for reason in told.to_dict(orient="records")
    ]
    found: dict[str, Any] = {
        "resourceType": "RiskAssessment",
        "status": "final",
        "subject": {"reference": names[row["subject_id"]]},
        "occurrenceDateTime": row["prediction_time"].tz_localize(ZoneInfo(zone)).isoformat(),
        "method": {
            "coding": [
                {
                    "system": _SYSTEM,
                    "code": model.definition.name,
                    "version": version or model.hash[:12],
                    "display": outcome,
                }
            ],
            "text": f"{outcome}; bundle {model.hash[:12]}",
        },
        "basis": [{"reference": reference} for reference in basis],
        "prediction": [
            {
                "outcome": {"text": outcome},
                "probabilityDecimal": round(row["risk"], 6),
                "qualitativeRisk": {"text": row["band"]},
                "rationale": ". ".join(lines) if lines else "No recorded feature moves the risk.",
            }
        ],
        "mitigation": _mitigation(model, row["band"]),
        "note": [
            {
                "text": f"Members of the model range from {100 * row['risk_low']:.1f} to "
                f"{100 * row['risk_high']:.1f}% (an instability range, not a confidence "
                "interval). The reasons say what the model used, not what caused it."
            }
        ],
    }
    if row["warnings"]:
        found["note"].append({"text": row["warnings"]})
    if not basis:
        del found["basis"]
    return found


def _mitigation(model: Model, band: str) -> str:
    lowest = model.definition.bands[0].name
    if band == lowest:
        return "None suggested by the model."
    return "Consider measuring serum magnesium; the decision is the clinician's."
