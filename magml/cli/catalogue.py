"""Printing the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magml.definitions import read_catalogue
from magml.errors import InputError, nearest

if TYPE_CHECKING:
    from magml.cli.feature_people import FeaturePeople


def catalogue_rows(domain: str | None, people: FeaturePeople | None = None) -> list[dict[str, Any]]:
    """Return one dictionary a feature, with what a reviewer asks first.

    With `people`, ``people`` says how many have it; 1 to 9 are ``<10``.
    """
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
                "mechanism": getattr(concept, "mechanism", ""),
                "modifiable": concept.modifiable,
                "consequence": getattr(concept, "consequence", False),
                "codes": list(getattr(concept, "codes", ())),
                "names": list(getattr(concept, "names", ())),
                "inputs": list(getattr(concept, "input_names", ())),
                "evidence": list(concept.evidence),
                "read": {key: catalogue.references[key].read for key in concept.evidence},
                "verified": concept.verified,
                **({} if people is None else {"people": people.shown(feature.name)}),
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
            if note:
                cited = ", ".join(row["evidence"]) or "no publication"
                note += f" ({cited}{'' if row['verified'] else '; unverified'})"
            lines.append(f"  {meaning}{unit}" + (f" - {note}" if note else ""))
        people = f"  {row['people']} people" if "people" in row else ""
        lines.append(f"      {row['feature']}{people}")
    lines.append(f"\n{len(rows)} features")
    return "\n".join(lines).strip("\n")
