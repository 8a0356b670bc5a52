"""The account of units of a run: what was found, converted, inferred, rejected and set aside."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from magml.units import Finding, UnitReport

if TYPE_CHECKING:
    from magml.events import Events
    from magml.experiments.study import Study

#: Fewest people of a code that is named.
LEAST_PEOPLE = 10
_SHOWN = 50


def units_account(study: Study) -> dict[str, Any]:
    """Return how events became values, as ``units.json`` holds it: counts, never rows.

    ``rows`` to ``commonest_unmapped`` are of the features: rows that some prediction time could
    use. ``outcome`` is of the outcome's analyte, whose values are converted apart from them.
    ``found`` has a line for each analyte, code, unit and site, over all values; groups too small
    to judge have no median.
    """
    report = study.matrix.report
    return {
        "rows": report.rows,
        "mapped": report.mapped,
        "converted": report.converted,
        "assumed": report.assumed,
        "assumed_units": report.assumed_units,
        "implausible": report.implausible,
        "rejected": [asdict(item) for item in report.rejected],
        "doses": report.doses,
        "without_dose": report.without_dose,
        "outcome": _outcome(study),
        "set_aside": [asdict(item) for item in study.rows.events.set_aside],
        "found": found_units(study),
        "unmapped_codes": len(report.unmapped),
        "unmapped_rows": sum(report.unmapped.values()),
        "commonest_unmapped": _commonest(study),
    }


def _commonest(study: Study) -> dict[str, int]:
    """Return the commonest codes without a concept, of ten people or more.

    A code is text as the institution wrote it; one of few people may name one of them.
    """
    unmapped = study.matrix.report.unmapped
    common = _of_ten_people(study.rows.events, list(unmapped))
    listed = sorted(
        ((code, rows) for code, rows in unmapped.items() if code in common),
        key=lambda item: (-item[1], item[0]),
    )
    return dict(listed[:_SHOWN])


def _of_ten_people(events: Events, codes: list[str]) -> set[str]:
    """Return which codes ten people or more have."""
    import pyarrow as pa

    name = f"magml_codes_{id(codes)}"
    events.connection.register(name, pa.table({"code": pa.array(codes, pa.string())}))
    try:
        found = events.connection.execute(
            f"SELECT code FROM {events.relation} JOIN {name} USING (code) "
            f"GROUP BY code HAVING count(DISTINCT subject_id) >= {LEAST_PEOPLE}"
        ).fetchall()
    finally:
        events.connection.unregister(name)
    return {str(code) for (code,) in found}


def found_units(study: Study) -> list[dict[str, Any]]:
    """Return a line for each analyte, code, unit and site of the data."""
    reports = [study.matrix.report.units, study.rows.units]
    findings: dict[tuple[Any, ...], Finding] = {}
    for report in reports:
        for finding in report.findings if isinstance(report, UnitReport) else ():
            group = finding.group
            findings[(group.concept, group.code, group.unit or "", group.site or "")] = finding
    return [unit_line(finding) for _, finding in sorted(findings.items())]


def unit_line(finding: Finding) -> dict[str, Any]:
    """Return one finding as plain numbers and texts; a small group has no median."""
    group = finding.group
    return {
        "concept": group.concept,
        "code": group.code,
        "unit": group.unit,
        "site": group.site,
        "values": group.n,
        "people": group.people,
        "median": None if group.few else group.median,
        "status": finding.status,
        "taken_as": finding.unit if finding.usable else None,
        "could_be": list(finding.fitting),
        "others_median": finding.others,
    }


def _outcome(study: Study) -> dict[str, Any] | None:
    """Return the conversions of the outcome's analyte; None for labels given."""
    specimens = study.rows.specimens
    if specimens is None:
        return None
    return {
        "concept": study.definitions.model.outcome.analyte,
        "unit": specimens.concept.unit,
        **specimens.counts,
        "converted": sum(r.values for r in specimens.reported if (r.scale, r.shift) != (1, 0)),
        "reported": [asdict(item) for item in specimens.reported],
    }
