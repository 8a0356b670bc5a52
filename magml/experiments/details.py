"""What a study's figures hold beyond the whole cohort: testing, subgroups, sensitivity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.evaluation.checks import SMALL_CELL
from magml.evaluation.subgroups import SUBGROUP_METRICS, Subgroups, measure_subgroups
from magml.evaluation.testing import AS_ORDERED, yield_of_testing
from magml.experiments.populations import subgroup_dimensions
from magml.models.nested import MODEL

if TYPE_CHECKING:
    import pandas as pd

    from magml.evaluation import Performance
    from magml.experiments.study import Study
    from magml.models.nested import NestedResult

#: The two populations of the sensitivity analysis.
_SENSITIVITY = "sensitivity"
EVERYBODY, UNTREATED = "everybody", "without those given magnesium before the outcome"


@dataclass(frozen=True, eq=False)
class Details:
    """Tables beyond the whole cohort.

    Attributes
    ----------
    testing
        What :func:`magml.evaluation.testing.yield_of_testing` returns.
    ordering
        What the current ordering means: people who could have been tested, how many were.
    subgroups
        The model in subgroups.
    sensitivity
        All models with and without people who were given magnesium between prediction and
        outcome; None where the records hold no magnesium given.
    treated
        Evaluated rows given magnesium before the outcome; None as above.
    """

    testing: pd.DataFrame
    ordering: dict[str, Any]
    subgroups: Subgroups
    sensitivity: Subgroups | None
    treated: int | None

    def summary(self) -> dict[str, Any]:
        """Return counts and explanations as JSON-safe values."""
        return {
            "ordering": self.ordering,
            "subgroups_suppressed": self.subgroups.suppressed,
            "smallest_cell": SMALL_CELL,
            "sensitivity": {
                "computable": self.sensitivity is not None,
                "given_magnesium": self.treated,
                "suppressed": bool(
                    self.sensitivity is not None and sum(self.sensitivity.suppressed.values())
                ),
            },
        }


def detail(study: Study, nested: NestedResult, performance: Performance, *, seed: int) -> Details:
    """Measure testing, subgroups and sensitivity on the rows of the cohort.

    Parameters
    ----------
    study, nested, performance
        The study, its cross-validated risks, and what was measured on the whole cohort.
    seed
        Seed of the resamples, the one of `performance`.
    """
    experiment, rows = study.definitions.experiment, study.rows
    kept = nested.fold >= 0  # a hold-out tests only some rows of the cohort
    labels, groups = rows.labels[kept], study.resampled_by[kept]
    risks = {name: risk[kept] for name, risk in nested.risks.items()}
    replicates = experiment.validation.replicates
    testing = yield_of_testing(
        labels,
        risks,
        groups=groups,
        thresholds=experiment.net_benefit_thresholds,
        replicates=replicates,
        seed=seed,
    )
    dimensions = {
        name: values[kept] for name, values in subgroup_dimensions(study.rows, study.matrix).items()
    }
    subgroups = measure_subgroups(
        labels,
        {MODEL: risks[MODEL]},
        dimensions,
        groups=groups,
        persons=rows.persons[kept],
        replicates=replicates,
        seed=seed,
    )
    sensitivity, treated = None, None
    if rows.treated is not None:
        given = rows.treated[kept]
        treated = int(given.sum())
        untreated = np.full(len(labels), UNTREATED, dtype=object)
        untreated[given] = None
        without = measure_subgroups(
            labels,
            risks,
            {_SENSITIVITY: untreated},
            groups=groups,
            replicates=replicates,
            seed=seed,
        )
        sensitivity = Subgroups(_beside(performance, without.table), without.suppressed)
    return Details(testing, _ordering(study, testing), subgroups, sensitivity, treated)


def _beside(performance: Performance, without: pd.DataFrame) -> pd.DataFrame:
    """Return the whole cohort's figures with those of the people not treated under them."""
    import pandas as pd

    whole = performance.metrics[performance.metrics["metric"].isin(SUBGROUP_METRICS)]
    whole = whole.assign(
        dimension=_SENSITIVITY, subgroup=EVERYBODY, groups=performance.groups
    ).reindex(columns=without.columns)
    return pd.concat([part for part in (whole, without) if len(part)], ignore_index=True)


def _ordering(study: Study, testing: pd.DataFrame) -> dict[str, Any]:
    """Say who was tested by somebody's order, and what that means for the table."""
    current = testing[testing["model"] == AS_ORDERED].iloc[0]
    found: dict[str, Any] = {
        "tested": int(current["n"]),
        "cases": int(current["events"]),
        "tests_per_case": float(current["tests_per_case"]),
        "low": float(current["low"]),
        "high": float(current["high"]),
        "meaning": (
            "Everybody evaluated was tested, because somebody ordered it. A model's capacity is a "
            "share of these people: it re-orders tests that were made. Cases among people whom "
            "nobody tested are unknown."
        ),
    }
    steps = study.rows.attrition
    if len(steps) > 1 and " measured within " in steps[-1].name:
        eligible = steps[-1].times + steps[-1].left_out
        found |= {"eligible": eligible, "share_tested": steps[-1].times / eligible}
    return found
