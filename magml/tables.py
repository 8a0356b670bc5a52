"""The tables that flow through magml, each declared once with every column explained.

Events follow MEDS with five more columns; labels are the MEDS label schema. A table that comes
from outside is checked against its declaration by `magml.events`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["int64", "float64", "string", "timestamp", "bool"]


@dataclass(frozen=True)
class Column:
    """One column of a declared table."""

    name: str
    type: ColumnType
    meaning: str
    required: bool = True
    nullable: bool = True


@dataclass(frozen=True)
class Table:
    """A declared table: its name and its columns in order."""

    name: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column of that name."""
        return next(column for column in self.columns if column.name == name)


_SUBJECT = Column("subject_id", "int64", "person; any sign", nullable=False)
_AT = Column("prediction_time", "timestamp", "the moment a prediction is made for", nullable=False)

EVENTS = Table(
    "events",
    (
        _SUBJECT,
        Column(
            "time",
            "timestamp",
            "when it happened: specimen drawn, drug started, diagnosis made; null = static",
        ),
        Column("code", "string", "VOCABULARY//CODE, for example LOINC//19123-9", nullable=False),
        Column("numeric_value", "float64", "the value, in `unit`", required=False),
        Column("unit", "string", "unit of the value, UCUM or a usual spelling", required=False),
        Column("text_value", "string", "a value that is not a number", required=False),
        Column(
            "known_time",
            "timestamp",
            "when the institution could first know it; null = at `time`",
            required=False,
        ),
        Column(
            "end_time",
            "timestamp",
            "end of an exposure, a visit or an observation period; null = open or a moment",
            required=False,
        ),
        Column("visit_id", "string", "encounter", required=False),
        Column("source", "string", "table and row it came from", required=False),
    ),
)

SUBJECT_MAP = Table(
    "subject map",
    (
        _SUBJECT,
        Column("source_id", "string", "the person's id in the source; never logged"),
    ),
)

PREDICTION_TIMES = Table(
    "prediction times",
    (
        _SUBJECT,
        _AT,
    ),
)

LABELS = Table(
    "labels",
    (
        _SUBJECT,
        _AT,
        Column("boolean_value", "bool", "the outcome", nullable=False),
    ),
)

SCORES = Table(
    "scores",
    (
        _SUBJECT,
        _AT,
        Column("risk", "float64", "calibrated risk, 0 to 1"),
        Column(
            "risk_low",
            "float64",
            "10th percentile of the members' calibrated risks: an instability range, "
            "not a confidence interval",
        ),
        Column("risk_high", "float64", "90th percentile of the members' calibrated risks"),
        Column("band", "string", "named band of the model definition"),
        Column("warnings", "string", "what to know before using this row; empty = nothing"),
    ),
)

REASONS = Table(
    "reasons",
    (
        _SUBJECT,
        _AT,
        Column("domain", "string", "clinical domain of the feature"),
        Column("concept", "string", "concept of the feature"),
        Column("feature", "string", "feature"),
        Column("value", "float64", "value of the feature; null = missing"),
        Column("unit", "string", "unit of the value"),
        Column("log_odds", "float64", "exact SHAP contribution to the average margin"),
        Column("risk", "float64", "the same contribution on the scale of calibrated risk"),
        Column("stability", "float64", "share of members that agree with its sign"),
        Column("evidence", "string", "rows it was computed from, as the source names them"),
    ),
)
