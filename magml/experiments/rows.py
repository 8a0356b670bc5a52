"""The prediction times of an experiment's cohort, for scoring: no outcome is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magml.cohort import CohortTable, build_cohort
from magml.definitions import read_experiment
from magml.errors import InputError
from magml.experiments.prepare import check_times, open_data
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
    events = open_data(definition, data)
    specimens = find_specimens(events, model.catalogue, model.definition.outcome.concept)
    cohort = build_cohort(
        events,
        definition.cohort,
        specimens,
        model.definition.outcome,
        label=False,
        catalogue=model.catalogue,
    )
    check_times(events, cohort.relation)
    return cohort
