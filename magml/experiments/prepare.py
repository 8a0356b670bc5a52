"""From a definition and data to labelled prediction times: source, unit check, cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from magml.cohort import CohortTable, Step, build_cohort
from magml.definitions import Catalogue, ExperimentDefinition, ModelDefinition, read_catalogue
from magml.definitions.experiment import Cohort
from magml.definitions.model import SerumOutcome
from magml.errors import CohortError, DefinitionError, InputError
from magml.events import Events, read_events, read_labels
from magml.events.table import identifier
from magml.features.set_aside import set_aside_unfit, set_aside_unstated, unit_report
from magml.files import visible
from magml.outcomes import Specimens, find_specimens
from magml.sources import open_source
from magml.units import UnitReport


@dataclass(frozen=True)
class Rows:
    """Labelled prediction times and what folds need to know of them.

    Attributes
    ----------
    relation
        Relation with ``row_id``, ``subject_id``, ``prediction_time`` on the events' connection.
    labels, persons, sites
        Arrays in the order of ``row_id``; `sites` is None where the data name none.
    evaluated
        False for rows of `training_offsets`, which only train.
    attrition
        How the rows came about.
    notes
        What to know of them: values on the threshold, people treated before the outcome.
    treated
        Rows with magnesium given between prediction time and outcome, shape (n,); None where
        the records hold no such drug, or the labels came without the outcome's time.
    specimens
        Specimens of the outcome's analyte; None for labels given.
    units
        What the check says of the units of the outcome's analyte; None for labels given.
    untested
        Relation of the cohort's prediction times at which nobody measured the outcome
        afterwards; None for labels given.
    facts
        Further facts about the data for the bundle, such as the simulator's hash.
    """

    events: Events
    relation: str
    labels: np.ndarray
    persons: np.ndarray
    sites: np.ndarray | None
    evaluated: np.ndarray
    attrition: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    treated: np.ndarray | None = None
    specimens: Specimens | None = None
    units: UnitReport | None = None
    untested: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def open_data(
    definition: ExperimentDefinition, data: Any, catalogue: Catalogue | None = None
) -> Events:
    """Open the experiment's source and store its events once, able to spill.

    Values in unfit units are set aside where the experiment says so, by the catalogue given or,
    without one, the workspace's.
    """
    if data is None:
        raise InputError(
            f"the experiment {definition.name} needs data",
            f"a folder in the layout {definition.source.layout}",
            "add --data FOLDER",
        )
    events = open_source(definition.source.layout, data, **definition.source.options)
    events = events.materialise()
    if definition.source.unfit_units == "set aside":
        events = set_aside_unfit(events, catalogue or read_catalogue())
    return events


def cohort_rows(
    definition: ExperimentDefinition,
    model: ModelDefinition,
    catalogue: Catalogue,
    events: Events,
) -> Rows:
    """Return the labelled rows of an experiment's cohort.

    Raises
    ------
    UnitError
        If the outcome's values are not in the unit they are declared in.
    CohortError
        If the cohort is empty, all prediction times lie before the first record, the outcome
        has one class, or there are fewer cases than the experiment demands.
    """
    if not isinstance(model.outcome, SerumOutcome):
        raise DefinitionError(
            f"{model.name} predicts {model.outcome.definition.name}, which a cohort cannot label",
            "labels that were measured or simulated, with --events and --labels",
            "make labels with magml.outcomes, or name a model with a serum outcome",
        )
    if definition.source.unfit_units == "set aside":
        events = set_aside_unstated(events, catalogue, model.outcome.concept)
    # A screening model has no feature of the outcome's analyte: nothing else would check its unit.
    units = unit_report(events, catalogue, [model.outcome.concept])
    units.raise_for_refused(missing=True)
    specimens = find_specimens(events, catalogue, model.outcome.concept)
    table = build_cohort(events, definition.cohort, specimens, model.outcome, catalogue=catalogue)
    check_times(events, table.relation)
    relation = _with_training_rows(definition.cohort, model, specimens, table, catalogue)
    treated = _treated(events, relation, catalogue)
    frame = events.connection.execute(f"SELECT * FROM {relation} ORDER BY row_id").df()
    evaluated = frame["evaluated"].to_numpy(dtype=bool)
    notes = (*_notes(specimens, table, evaluated, treated), *table.notes, *events.notes)
    labels = frame["boolean_value"].to_numpy(dtype="int8")
    check_outcome(labels[evaluated], definition.minimum_cases)
    sites = frame["site"].to_numpy(dtype=object) if frame["site"].notna().any() else None
    if definition.validation.by_site and (sites is None or frame["site"].isna().any()):
        missing = len(frame) if sites is None else int(frame["site"].isna().sum())
        raise CohortError(
            f"{missing} of {len(frame)} prediction times have no site",
            "an event SITE//NAME for each person, because folds are made of sites",
            "add the sites, or set validation.groups: subject",
        )
    persons = frame["subject_id"].to_numpy()
    return Rows(
        events,
        relation,
        labels,
        persons,
        sites,
        evaluated,
        table.attrition,
        notes,
        treated,
        specimens,
        units,
        table.untested,
    )


def _with_training_rows(
    cohort: Cohort,
    model: ModelDefinition,
    specimens: Specimens,
    table: CohortTable,
    catalogue: Catalogue,
) -> str:
    """Return a relation of the cohort's rows and those of its training offsets, marked."""
    connection, relation = table.events.connection, f"{table.relation}_rows"
    assert isinstance(model.outcome, SerumOutcome)
    parts = [f"SELECT *, true AS evaluated FROM {table.relation}"]
    for number, offset in enumerate(cohort.training_offsets):
        extra = build_cohort(
            table.events,
            cohort,
            specimens,
            model.outcome,
            catalogue=catalogue,
            offset=offset,
            relation=f"{table.relation}_training_{number}",
        )
        parts.append(f"SELECT *, false AS evaluated FROM {extra.relation}")
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {relation} AS SELECT * FROM ({" UNION ALL ".join(parts)})
        -- Two stays of a person can put one moment into both kinds: it is evaluated then.
        QUALIFY row_number() OVER (
            PARTITION BY subject_id, prediction_time ORDER BY evaluated DESC, outcome_time) = 1
    """)
    # Numbered after the repeated moments are gone.
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {relation} AS
        SELECT (row_number() OVER (ORDER BY subject_id, prediction_time) - 1)::BIGINT AS row_id,
               * EXCLUDE (row_id)
        FROM {relation} ORDER BY row_id
    """)
    return relation


def labelled_rows(
    events: Any, labels: Any, minimum_cases: int = 20, *, set_aside: Catalogue | None = None
) -> Rows:
    """Return rows from events and a table of labels in the MEDS label schema.

    With a catalogue in `set_aside`, values whose unit does not fit its analytes are left out.
    """
    read = read_events(events).materialise()
    if set_aside is not None:
        read = set_aside_unfit(read, set_aside)
    connection = read.connection
    given = read_labels(labels, connection)
    pairs, distinct = connection.execute(
        f"SELECT count(*), count(DISTINCT (subject_id, prediction_time)) FROM {given}"
    ).fetchall()[0]
    if pairs != distinct:
        raise InputError(
            f"{pairs - distinct} labels stand more than once",
            "each pair of subject_id and prediction_time once",
            "remove the repeated rows",
        )
    relation = f"{given}_rows"
    connection.execute(
        f"CREATE TEMP TABLE {identifier(relation)} AS SELECT (row_number() OVER "
        f"(ORDER BY subject_id, prediction_time) - 1)::BIGINT AS row_id, * FROM {given}"
    )
    if pairs == 0:
        raise CohortError("no labels", "at least one labelled prediction time", "check the file")
    check_times(read, relation)
    frame = connection.execute(f"SELECT * FROM {identifier(relation)} ORDER BY row_id").df()
    values = frame["boolean_value"].to_numpy(dtype="int8")
    check_outcome(values, minimum_cases)
    step = Step("labels given", int(frame["subject_id"].nunique()), len(frame), 0)
    persons, all_rows = frame["subject_id"].to_numpy(), np.ones(len(frame), dtype=bool)
    return Rows(read, relation, values, persons, None, all_rows, (step,), read.notes)


def check_times(events: Events, relation: str) -> None:
    """Refuse prediction times of which none has a record before it."""
    connection = events.connection
    first = connection.execute(
        # A date of birth is no record of care, and lies before everything.
        f"SELECT min(time) FROM {events.relation} WHERE code <> 'MEDS_BIRTH'"
    ).fetchall()[0][0]
    last = connection.execute(f"SELECT max(prediction_time) FROM {relation}").fetchall()[0][0]
    if first is not None and last is not None and last < first:
        raise CohortError(
            "all prediction times lie before the first record",
            "prediction times within the time span of the events",
            "check the prediction times, and that both are in the same time zone",
        )


def check_outcome(labels: np.ndarray, minimum_cases: int) -> None:
    """Refuse an outcome from which nothing can be learned."""
    cases, rows = int(labels.sum()), len(labels)
    if cases in (0, rows):
        raise CohortError(
            f"the outcome has one class: {cases} cases in {rows} prediction times",
            "people with and people without the outcome",
            "check the outcome's threshold and unit, or widen the cohort",
        )
    if cases < minimum_cases or rows - cases < minimum_cases:
        raise CohortError(
            f"{cases} cases and {rows - cases} others in {rows} prediction times",
            f"at least {minimum_cases} of each",
            "widen the cohort or the time at risk; a model of so few cases would be noise",
        )


def _notes(
    specimens: Specimens, table: CohortTable, evaluated: np.ndarray, treated: np.ndarray | None
) -> tuple[str, ...]:
    """Say what a reader of the figures should know of the labels."""
    connection = table.events.connection
    on = connection.execute(
        f"SELECT count(*) FILTER (WHERE on_threshold) FROM {table.relation}"
    ).fetchall()[0][0]
    total = table.attrition[-1].times
    notes = [f"{on} of {total} outcome values lie exactly on the threshold and are not cases"]
    if specimens.counts["implausible"]:
        notes.append(
            f"{specimens.counts['implausible']} of {specimens.counts['values']} values of "
            f"{specimens.concept.label} are implausible and were left out"
        )
    if treated is not None:
        given = int(treated[evaluated].sum())
        notes.append(f"{given} of {total} were given magnesium between prediction and outcome")
    return tuple(notes)


def _treated(events: Events, rows: str, catalogue: Catalogue) -> np.ndarray | None:
    """Mark rows with magnesium given between prediction time and outcome; None if no drugs."""
    from magml.features.names import matches

    connection, relation = events.connection, events.relation
    giving = {
        name
        for name, concept in catalogue.by_name.items()
        if concept.kind == "exposure" and "hypomagnesemia" in concept.reveals
    }
    codes = [
        row[0]
        for row in connection.execute(f"SELECT DISTINCT code FROM {relation}").fetchall()
        if giving.intersection(matches(catalogue, row[0]))
    ]
    if not codes:
        return None
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE magml_treatment AS SELECT unnest(?) AS code", [codes]
    )
    found = connection.execute(
        f"SELECT r.row_id, bool_or(e.code IS NOT NULL) AS treated FROM {rows} r "
        f"LEFT JOIN (SELECT * FROM {relation} "
        "WHERE code IN (SELECT code FROM magml_treatment)) e ON e.subject_id = r.subject_id "
        "AND e.time >= r.prediction_time AND e.time < r.outcome_time "
        "GROUP BY r.row_id ORDER BY r.row_id"
    ).df()
    return found["treated"].to_numpy(dtype=bool)


def source_folder(data: Any) -> tuple[Path, ...]:
    """Return the files of a data folder, for summaries without content."""
    path = Path(data)
    return (path,) if path.is_file() else tuple(visible(path, "*"))
