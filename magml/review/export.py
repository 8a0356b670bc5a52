"""Reviews as tables for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

from magml.review.entry import Review
from magml.spreadsheet import neutral

COLUMNS = (
    "number",
    "signed_at",
    "reviewer",
    "role",
    "blind",
    "latest",
    "page",
    "subject_id",
    "prediction_time",
    "risk",
    "risk_low",
    "risk_high",
    "band",
    "judgement",
    "size_of_risk",
    "codes",
    "comment",
    "reasons",
    "model",
    "data",
    "explanation",
)


def rows(reviews: Iterable[tuple[int, Review]]) -> list[dict[str, Any]]:
    """Return reviews as flat rows, with whether each is its reader's latest of the page."""
    listed = list(reviews)
    latest = {(review.page, review.reviewer): number for number, review in listed}
    return [
        {
            "number": number,
            "signed_at": review.at,
            "reviewer": review.reviewer,
            "role": review.role,
            "blind": review.blind,
            "latest": latest[review.page, review.reviewer] == number,
            "page": review.page,
            "subject_id": review.subject_id,
            "prediction_time": review.prediction_time,
            "risk": review.prediction["risk"],
            "risk_low": review.prediction["low"],
            "risk_high": review.prediction["high"],
            "band": review.prediction["band"],
            "judgement": review.judgement.overall,
            "size_of_risk": review.judgement.size,
            "codes": list(review.judgement.codes),
            "comment": review.judgement.comment,
            "reasons": [
                {"concept": one.concept, "verdict": one.verdict, "code": one.code}
                for one in review.judgement.reasons
            ],
            "model": review.model,
            "data": review.data,
            "explanation": review.explanation,
        }
        for number, review in listed
    ]


def to_csv(reviews: Iterable[tuple[int, Review]]) -> str:
    """Return reviews as CSV; text that a spreadsheet would run as a formula is quoted."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writeheader()
    for row in rows(reviews):
        row["codes"] = "; ".join(row["codes"])
        row["reasons"] = "; ".join(
            f"{one['concept']}: {one['verdict']}" + (f" ({one['code']})" if one["code"] else "")
            for one in row["reasons"]
        )
        writer.writerow(
            {
                name: neutral(value) if isinstance(value, str) else value
                for name, value in row.items()
            }
        )
    return out.getvalue()


def to_json(reviews: Iterable[tuple[int, Review]]) -> str:
    """Return reviews as a JSON list, exactly as they were signed.

    Text stands as it was written; it is CSV that spreadsheets open.
    """
    return json.dumps(rows(reviews), indent=1, ensure_ascii=False) + "\n"
