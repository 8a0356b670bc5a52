"""An experiment's cohort as files: its events, prediction times and known outcomes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError
from magml.files import atomic_file
from magml.progress import Report, silent

if TYPE_CHECKING:
    from magml.cohort import CohortTable
    from magml.definitions import Catalogue, ModelDefinition

_LABELS = "magml_cohort_labels"


@dataclass(frozen=True)
class CohortFiles:
    """What `write_cohort` wrote.

    Attributes
    ----------
    events, times, labels, subjects
        Files; `labels` is None where a cohort cannot label the outcome, `subjects` where the
        source has no ids of its own.
    rows, people
        Prediction times and people.
    labelled, cases
        Prediction times with a known outcome, and with the outcome.
    steps
        Who was left out on the way: name of the step, prediction times left.
    """

    events: str
    times: str
    labels: str | None
    subjects: str | None
    rows: int
    people: int
    labelled: int
    cases: int
    steps: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as ``--json`` prints them."""
        return asdict(self)

    def text(self) -> str:
        """Return lines for a terminal."""
        lines = [f"{name}: {left}" for name, left in self.steps]
        lines.append(
            f"{self.rows} prediction times of {self.people} people; {self.labelled} with a known "
            f"outcome, {self.cases} cases"
        )
        written = (self.events, self.times, self.labels, self.subjects)
        return "\n".join([*lines, *(f"Written to {path}" for path in written if path)])


def write_cohort(
    experiment: str | Path,
    data: Any,
    out: str | Path,
    *,
    workspace: str | Path | None = None,
    report: Report = silent,
) -> CohortFiles:
    """Write the events, prediction times and outcomes of an experiment's cohort.

    What other commands take as ``--events``, ``--at`` and ``--labels``: for a silent period, a
    validation after a date, or a tool of one's own. The files hold rows of patients.

    Parameters
    ----------
    experiment
        An experiment's name or file.
    data
        Folder of its source.
    out
        Folder for ``events.parquet``, ``times.csv`` (everybody who gets a prediction),
        ``labels.csv`` (those whose outcome is known) and ``subjects.parquet`` (the source's own
        ids).
    workspace
        Folder whose definitions are read first.
    report
        Told of progress.

    Raises
    ------
    MagmlError
        For a definition, table or cohort that does not fit.

    Examples
    --------
    >>> write_cohort("eicu_follow", "eicu", "ours").cases          # doctest: +SKIP
    50
    """
    from magml.experiments.rows import prediction_times
    from magml.experiments.study import read_definitions

    found = read_definitions(experiment, by_labels=False, workspace=workspace)
    report(0.0, "reading records")
    cohort = prediction_times(found.experiment, found.model, found.catalogue, data, strict=True)
    report(0.5, "outcomes")
    labels = _labelled(found.experiment.cohort, found.model, found.catalogue, cohort)
    folder = Path(out)
    report(0.7, "writing")
    columns = "subject_id, prediction_time"
    events = cohort.events
    files = {
        "times.csv": f"SELECT {columns} FROM {cohort.relation} ORDER BY row_id",
        "events.parquet": f"SELECT * FROM {events.relation}",
    }
    if labels is not None:
        files["labels.csv"] = f"SELECT {columns}, boolean_value FROM {labels} ORDER BY row_id"
    if events.subjects is not None:
        files["subjects.parquet"] = f"SELECT * FROM {events.subjects} ORDER BY subject_id"
    written = {name: _written(events.connection, sql, folder / name) for name, sql in files.items()}
    count = "count(*), count(DISTINCT subject_id)"
    rows, people = events.connection.execute(f"SELECT {count} FROM {cohort.relation}").fetchall()[0]
    known, cases = (
        (0, 0)
        if labels is None
        else events.connection.execute(
            f"SELECT count(*), count(*) FILTER (WHERE boolean_value) FROM {labels}"
        ).fetchall()[0]
    )
    report(1.0, "done")
    return CohortFiles(
        written["events.parquet"],
        written["times.csv"],
        written.get("labels.csv"),
        written.get("subjects.parquet"),
        rows,
        people,
        known,
        cases,
        tuple((step.name, step.times) for step in cohort.attrition),
    )


def _labelled(
    definition: Any, model: ModelDefinition, catalogue: Catalogue, cohort: CohortTable
) -> str | None:
    """Return the relation of the rows whose outcome is known, or None for another outcome."""
    from magml.cohort import build_cohort
    from magml.definitions.model import SerumOutcome
    from magml.outcomes import find_specimens

    outcome = model.outcome
    if not isinstance(outcome, SerumOutcome):
        return None
    specimens = find_specimens(cohort.events, catalogue, outcome.concept, required=False)
    return build_cohort(
        cohort.events, definition, specimens, outcome, catalogue=catalogue, relation=_LABELS
    ).relation


def _written(connection: Any, sql: str, path: Path) -> str:
    """Write a query's rows as Parquet or CSV by the file's ending."""
    kind = "FORMAT parquet, COMPRESSION zstd" if path.suffix == ".parquet" else "FORMAT csv"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as beside:
            quoted = str(beside).replace("'", "''")
            connection.execute(f"COPY ({sql}) TO '{quoted}' ({kind})")
    except OSError as error:
        raise InputError(
            f"'{path.name}' cannot be written ({error.strerror})",
            "a folder that can be written to",
            "choose another --out",
        ) from error
    return str(path)
