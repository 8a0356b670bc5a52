"""The prediction times of an experiment's cohort, for scoring: no outcome is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magml.cohort import CohortTable, build_cohort
from magml.definitions import (
    Catalogue,
    ExperimentDefinition,
    ModelDefinition,
    read_experiment,
)
from magml.definitions.model import SerumOutcome
from magml.errors import InputError
from magml.experiments.prepare import check_times, open_data
from magml.features.set_aside import set_aside_unstated, unit_report
from magml.outcomes import find_specimens

if TYPE_CHECKING:
    from magml.bundle import Model


def experiment_rows(experiment: Path, data: Path, model: Model) -> CohortTable:
    """Return events and prediction times by an experiment's source and cohort.

    Who was measured before, and whose result is pending, is judged by the bundle's own
    catalogue, so that scoring never depends on the definitions lying about.

    Raises
    ------
    InputError
        If the experiment is made for another model than the bundle's.
    """
    definition = read_experiment(experiment)
    if definition.model != model.definition.name:
        raise InputError(
            f"the experiment {definition.name} is made for the model {definition.model}",
            f"an experiment for {model.definition.name}, which this bundle holds",
            "choose the bundle or the experiment that belongs to the other",
        )
    return prediction_times(definition, model.definition, model.catalogue, data)


def prediction_times(
    experiment: ExperimentDefinition,
    model: ModelDefinition,
    catalogue: Catalogue,
    data: Path,
    *,
    strict: bool = False,
) -> CohortTable:
    """Return events and prediction times by an experiment's source and cohort, unlabelled.

    Records without any value of the outcome's analyte will do: nobody was measured then. With
    `strict`, values of it whose unit cannot be right or cannot be told are an error, as in
    training.
    """
    events = open_data(experiment, data, catalogue)
    if strict:
        if experiment.source.unfit_units == "set aside":
            events = set_aside_unstated(events, catalogue, model.outcome.analyte)
        report = unit_report(events, catalogue, [model.outcome.analyte])
        report.raise_for_refused(missing=True)
    specimens = find_specimens(events, catalogue, model.outcome.analyte, required=False)
    serum = model.outcome if isinstance(model.outcome, SerumOutcome) else None
    cohort = build_cohort(
        events, experiment.cohort, specimens, serum, label=False, catalogue=catalogue
    )
    check_times(events, cohort.relation)
    return cohort
