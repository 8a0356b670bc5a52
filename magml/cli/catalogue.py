"""Printing the catalogue and writing feature matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magml.cli.rows import write_table
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


def write_features(
    events: Path | None,
    at: str | None,
    out: Path | None,
    domain: str | None,
    *,
    experiment: Path | None = None,
    data: Path | None = None,
) -> dict[str, Any]:
    """Build the feature matrix and write it; return what was done."""
    if experiment is not None:
        return _experiment_features(experiment, data, events, at, out, domain)
    if events is None or at is None or out is None:
        raise InputError(
            "the feature matrix needs --events, --at and --out together",
            "magml features --events E --at T --out FILE.parquet",
            "add the missing options, or --experiment with --data and --out; drop all of them to "
            "print the catalogue",
        )
    from magml.features import build_features

    names = None if domain is None else [row["feature"] for row in catalogue_rows(domain)]
    table = build_features(events, at, features=names)
    written = write_table(table, out)
    return {"rows": len(table), "features": table.shape[1] - 2, "out": written}


def _experiment_features(
    experiment: Path,
    data: Path | None,
    events: Path | None,
    at: str | None,
    out: Path | None,
    domain: str | None,
) -> dict[str, Any]:
    """Write the features of an experiment's prediction times, with or without an outcome."""
    if data is None or out is None or events is not None or at is not None:
        raise InputError(
            "--experiment needs --data and --out, and nothing else",
            "magml features --experiment E.yaml --data FOLDER --out FILE.parquet",
            "remove --events and --at, or add what is missing",
        )
    from magml.experiments.rows import prediction_times
    from magml.experiments.study import read_definitions
    from magml.features import build_matrix, compile_plan

    found = read_definitions(experiment, by_labels=False)
    cohort = prediction_times(found.experiment, found.model, found.catalogue, data)
    names = [
        name
        for name, feature in found.catalogue.features.items()
        if domain is None or feature.domain == domain
    ]
    plan = compile_plan(found.catalogue, names)
    matrix = build_matrix(plan, cohort.events, cohort.relation)
    written = write_table(matrix.to_pandas(), out)
    return {"rows": len(matrix.values), "features": len(names), "out": written}
