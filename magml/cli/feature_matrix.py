"""Writing feature matrices, with an account of the units on the way."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.cli.catalogue import catalogue_rows
from magml.errors import InputError
from magml.progress import Report, silent

if TYPE_CHECKING:
    from magml.events.table import SetAside
    from magml.features.write import Written
    from magml.units import UnitReport


@dataclass(frozen=True)
class WrittenFeatures:
    """What was written, and what became of values on the way.

    Attributes
    ----------
    converted
        Values that stood in another unit than their analyte's, by concept.
    inferred
        Unit by code whose values stand without one and leave no doubt.
    left_out
        Values left out because their unit is missing or unknown: what was seen, in words.
    doubtful
        Values used as declared although the other sites speak for another unit.
    set_aside
        Values left out on request.
    """

    rows: int
    features: int
    out: str | None
    converted: dict[str, int]
    inferred: dict[str, str]
    left_out: tuple[str, ...]
    doubtful: tuple[str, ...]
    set_aside: tuple[SetAside, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, numbers and texts, as ``--json`` prints them."""
        return asdict(self)

    def text(self) -> str:
        """Return lines for a terminal."""
        lines = [f"{self.rows} rows, {self.features} features written to {self.out}"]
        if self.converted:
            total = sum(self.converted.values())
            lines.append(f"{total:,} values converted, of {len(self.converted)} analytes")
        lines += [
            f"Taken as {unit}: {code}, without a unit" for code, unit in self.inferred.items()
        ]
        lines += [f"Left out: {reason}" for reason in self.left_out]
        lines += [f"Doubtful: {reason}" for reason in self.doubtful]
        lines += [f"Set aside, {x.values:,} values: {x.reason}" for x in self.set_aside]
        return "\n".join(lines)


def write_features(
    events: Path | None,
    at: str | None,
    out: Path | None,
    domain: str | None,
    *,
    experiment: Path | None = None,
    data: Path | None = None,
    set_aside: bool = False,
    report: Report = silent,
) -> WrittenFeatures:
    """Build the feature matrix and write it; return what was done."""
    if experiment is not None:
        return _experiment_features(experiment, data, events, at, out, domain, set_aside, report)
    if events is None or at is None or out is None:
        raise InputError(
            "the feature matrix needs --events, --at and --out together",
            "magml features --events E --at T --out FILE.parquet",
            "add the missing options, or --experiment with --data and --out; drop all of them to "
            "print the catalogue",
        )
    from magml.definitions import read_catalogue
    from magml.events import read_events, read_prediction_times
    from magml.features import compile_plan
    from magml.features.set_aside import set_aside_unfit
    from magml.features.write import write_matrix

    names = None if domain is None else [row["feature"] for row in catalogue_rows(domain)]
    catalogue = read_catalogue()
    found = read_events(events)
    if set_aside:
        found = set_aside_unfit(found, catalogue)
    relation = read_prediction_times(at, found.connection, found)
    plan = compile_plan(catalogue, names)
    made = write_matrix(plan, found, relation, out, report=report)
    return written_features(made, out, found.set_aside)


def _experiment_features(
    experiment: Path,
    data: Path | None,
    events: Path | None,
    at: str | None,
    out: Path | None,
    domain: str | None,
    set_aside: bool,
    report: Report,
) -> WrittenFeatures:
    """Write the features of an experiment's prediction times, with or without an outcome."""
    if data is None or out is None or events is not None or at is not None:
        raise InputError(
            "--experiment needs --data and --out, and nothing else",
            "magml features --experiment E.yaml --data FOLDER --out FILE.parquet",
            "remove --events and --at, or add what is missing",
        )
    from magml.experiments.rows import prediction_times
    from magml.experiments.study import read_definitions
    from magml.features import compile_plan
    from magml.features.write import write_matrix

    found = read_definitions(experiment, by_labels=False)
    if set_aside:
        found = found.setting_aside()
    cohort = prediction_times(found.experiment, found.model, found.catalogue, data, strict=True)
    names = [
        name
        for name, feature in found.catalogue.features.items()
        if domain is None or feature.domain == domain
    ]
    plan = compile_plan(found.catalogue, names)
    made = write_matrix(plan, cohort.events, cohort.relation, out, report=report)
    return written_features(made, out, cohort.events.set_aside)


def written_features(made: Written, out: Path, set_aside: tuple[SetAside, ...]) -> WrittenFeatures:
    """Say what became of the values of a matrix that was written."""
    from magml.units.describe import seen

    report = made.report
    units: UnitReport | None = report.units

    def said(findings: Any) -> tuple[str, ...]:
        if units is None:
            return ()
        kept = [f for f in findings if not f.group.few]
        return tuple(
            seen(f, units.concepts[f.group.concept])
            + (f"; could be {' or '.join(f.fitting)}" if f.fitting else "")
            for f in kept
        )

    missing = () if units is None else replace(units, findings=units.abstained).unfit(missing=True)
    return WrittenFeatures(
        rows=made.rows,
        features=len(made.names),
        out=str(out),
        converted=report.converted,
        inferred=report.assumed_units,
        left_out=said(missing),
        doubtful=said(() if units is None else units.doubtful),
        set_aside=set_aside,
    )
