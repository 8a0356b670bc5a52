"""Printing the catalogue."""

from __future__ import annotations

from typing import Any

from magml.definitions import read_catalogue
from magml.errors import InputError, nearest


def catalogue_rows(domain: str | None) -> list[dict[str, Any]]:
    """Return one dictionary a feature, with what a reviewer asks first."""
    catalogue = read_catalogue()
    domains = sorted({file.domain for file in catalogue.domains})
    if domain is not None and domain not in domains:
        raise InputError(f"no domain {domain!r}", nearest(domain, domains), "correct --domain")
    rows = []
    for feature in catalogue.features.values():
        if domain is not None and feature.domain != domain:
            continue
        concept = catalogue.by_name.get(feature.concept) or catalogue.derived[feature.name]
        rows.append(
            {
                "feature": feature.name,
                "domain": feature.domain,
                "meaning": feature.label,
                "statistic": feature.statistic,
                "window": feature.window,
                "unit": feature.unit,
                "direction": concept.direction,
                "modifiable": concept.modifiable,
                "evidence": list(concept.evidence),
                "verified": concept.verified,
            }
        )
    return rows


def catalogue_text(rows: list[dict[str, Any]]) -> str:
    """Return the catalogue as lines for a terminal, grouped by meaning."""
    lines: list[str] = []
    domain = meaning = None
    for row in rows:
        if row["domain"] != domain:
            domain = row["domain"]
            lines.append(f"\n{domain}")
        if row["meaning"] != meaning:
            meaning = row["meaning"]
            unit = f" [{row['unit']}]" if row["unit"] and row["unit"] != "1" else ""
            sign = {"lowers": "lowers magnesium", "raises": "raises magnesium"}
            note = sign.get(row["direction"], "")
            lines.append(f"  {meaning}{unit}" + (f" - {note}" if note else ""))
        lines.append(f"      {row['feature']}")
    lines.append(f"\n{len(rows)} features")
    return "\n".join(lines).strip("\n")
