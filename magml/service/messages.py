"""What a caller sends and receives; anything else is refused with its place."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:
    import pyarrow as pa

_INT64 = 2**63


def _moment(value: Any) -> Any:
    """Take ISO text only: numbers could be seconds, milliseconds or days."""
    if not isinstance(value, str | dt.datetime):
        raise ValueError("a moment is ISO 8601 text, such as 2025-03-01T08:00:00")
    return value


Moment = Annotated[dt.datetime, BeforeValidator(_moment)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Subject = Annotated[int, Field(ge=-_INT64, lt=_INT64, strict=True)]
Text = Annotated[str, Field(max_length=1_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Event(_Strict):
    """One row of the event contract."""

    subject_id: Subject
    time: Moment | None = None
    code: Annotated[str, Field(min_length=1, max_length=1_000)]
    numeric_value: Number | None = None
    unit: Text | None = None
    text_value: Text | None = None
    known_time: Moment | None = None
    end_time: Moment | None = None
    visit_id: Text | None = None
    source: Text | None = None


class PredictionTime(_Strict):
    """Whom to score, and when."""

    subject_id: Subject
    prediction_time: Moment


class ScoreRequest(_Strict):
    """Events and prediction times."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {"subject_id": 1, "time": "1950-06-01T00:00:00", "code": "MEDS_BIRTH"},
                        {
                            "subject_id": 1,
                            "time": "2025-03-01T06:00:00",
                            "code": "LOINC//2823-3",
                            "numeric_value": 3.1,
                            "unit": "mmol/L",
                        },
                    ],
                    "at": [{"subject_id": 1, "prediction_time": "2025-03-01T08:00:00"}],
                }
            ]
        },
    )

    events: list[Event]
    at: Annotated[list[PredictionTime], Field(min_length=1)]


class ExplainRequest(ScoreRequest):
    """Events and prediction times, and how many reasons a row."""

    top: Annotated[int, Field(ge=1, le=1_000)] = 10


class FhirRequest(_Strict):
    """A FHIR R4 Bundle, and the moment for which its patients are scored."""

    bundle: dict[str, Any]
    at: Moment


class Served(BaseModel):
    """Which model answered."""

    name: str
    bundle: str
    version: str | None = None


class RiskRow(BaseModel):
    """A row of the scores table."""

    subject_id: int
    prediction_time: dt.datetime
    risk: float
    risk_low: float
    risk_high: float
    band: str
    warnings: str


class ScoreResponse(BaseModel):
    """Risks, in the order of the prediction times."""

    model: Served
    rows: list[RiskRow]


class ReasonRow(BaseModel):
    """A reason for a risk: what the model used, not what caused it."""

    domain: str
    concept: str
    feature: str
    value: float | None
    unit: str | None
    log_odds: float
    risk: float
    stability: float
    evidence: str | None


class ExplainedRow(RiskRow):
    """A risk with its reasons, the largest first."""

    base_risk: float
    reasons: list[ReasonRow]


class ExplainResponse(BaseModel):
    """Risks with reasons, in the order of the prediction times."""

    model: Served
    rows: list[ExplainedRow]


class Problem(BaseModel):
    """Why a request was refused."""

    error: str


def event_table(events: list[Event], zone: str) -> pa.Table:
    """Return events as the contract's Arrow table; times with an offset become naive in a zone.

    Raises
    ------
    ValueError
        If a moment cannot be expressed in the zone.

    Examples
    --------
    >>> event_table([Event(subject_id=1, code="A//b", time="2025-01-01T12:00+02:00")], "UTC")[
    ...     "time"].to_pylist()
    [datetime.datetime(2025, 1, 1, 10, 0)]
    """
    import pyarrow as pa

    moment, zone_info = pa.timestamp("us"), ZoneInfo(zone)
    types = {
        "subject_id": pa.int64(), "time": moment, "code": pa.string(),
        "numeric_value": pa.float64(), "unit": pa.string(), "text_value": pa.string(),
        "known_time": moment, "end_time": moment, "visit_id": pa.string(), "source": pa.string(),
    }  # fmt: skip
    rows = [vars(event) for event in events]
    columns = {name: [row[name] for row in rows] for name in types}
    for name in [name for name, type_ in types.items() if type_ == moment]:
        columns[name] = [
            value if value is None or value.tzinfo is None else naive(value, zone_info)
            for value in columns[name]
        ]
    return pa.table({name: pa.array(columns[name], type_) for name, type_ in types.items()})


def time_table(at: list[PredictionTime], zone: str) -> pa.Table:
    """Return prediction times as an Arrow table.

    Raises
    ------
    ValueError
        If a moment cannot be expressed in the zone.
    """
    import pyarrow as pa

    zone_info = ZoneInfo(zone)
    moments = [naive(row.prediction_time, zone_info) for row in at]
    return pa.table(
        {
            "subject_id": pa.array([row.subject_id for row in at], pa.int64()),
            "prediction_time": pa.array(moments, pa.timestamp("us")),
        }
    )


def naive(moment: dt.datetime | None, zone: ZoneInfo) -> dt.datetime | None:
    """Return a moment without an offset, in a zone."""
    if moment is None or moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(zone).replace(tzinfo=None)
    except OverflowError as error:
        raise ValueError("a moment outside the years 1 to 9999") from error
