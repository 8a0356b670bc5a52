"""What the final model of a study uses: its explanations over the cohort, as tables and plots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magml.experiments.populations import subgroup_dimensions
from magml.files import pretty_json

if TYPE_CHECKING:
    from magml.bundle import Model
    from magml.experiments.study import Study
    from magml.explanations import Explanation
    from magml.explanations.overview import Overview
    from magml.explanations.people import People

#: At most so many prediction times, evenly spread over the cohort, are explained.
EXPLAINED = 1000


@dataclass(frozen=True, eq=False)
class Explained:
    """Explanations of a cohort with their overview."""

    why: Explanation
    people: People
    overview: Overview

    def write(self, folder: Path) -> None:
        """Write ``explanations.json`` and the plots: aggregates only."""
        from magml.explanations.overview_plots import plot_overview

        text = pretty_json(self.overview.to_dict())
        (folder / "explanations.json").write_text(text, encoding="utf-8")
        plot_overview(self.why, self.overview, self.people, folder / "plots")


def explain_study(model: Model, study: Study, *, seed: int, limit: int = EXPLAINED) -> Explained:
    """Explain a study's cohort with its final model.

    The model learned from these rows: the overview shows what it uses, not how well.

    Parameters
    ----------
    model
        The model as its bundle holds it.
    study
        The study.
    seed
        Seed of the resamples.
    limit
        At most so many prediction times.
    """
    from magml.explanations import explain
    from magml.explanations.overview import overview
    from magml.explanations.people import People

    cohort = np.flatnonzero(study.rows.evaluated)
    spread = np.linspace(0, len(cohort) - 1, min(limit, len(cohort))).astype(int)
    rows = cohort[np.unique(spread)]
    place = {name: number for number, name in enumerate(study.matrix.names)}
    columns = [place[name] for name in model.plan.features]
    matrix = replace(
        study.matrix,
        subject_id=study.matrix.subject_id[rows],
        prediction_time=study.matrix.prediction_time[rows],
        values=np.ascontiguousarray(study.matrix.values[np.ix_(rows, columns)]),
        names=tuple(model.plan.features),
        empty=study.matrix.empty[rows],
    )
    why = explain(model, matrix)
    described = subgroup_dimensions(study.rows, study.matrix)
    dimensions = {name: values[rows] for name, values in described.items()}
    dimensions.pop("site", None)  # too many, and each too small
    replicates = min(500, study.definitions.experiment.validation.replicates)
    persons = study.rows.persons[rows]
    found = overview(
        why, persons, bag=model.bag, subgroups=dimensions, replicates=replicates, seed=seed
    )
    return Explained(why, People(persons, replicates=replicates, seed=seed), found)
