"""The bundle of a model that was trained on Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from magml.bundle.card import model_card
from magml.bundle.training import TrainingSummary
from magml.bundle.warnings import check_features
from magml.bundle.write import BundleContents
from magml.experiments.fingerprint import library_versions
from magml.explanations.baseline import Baseline
from magml.explanations.reference import ReferenceCohort
from magml.explanations.scenario import with_inputs
from magml.features import compile_plan

if TYPE_CHECKING:
    from magml.spark.samples import Settings
    from magml.spark.training import Trained

#: Rows that say how much each feature moves the risk on average.
_EXPLAINED = 1000


def contents(trained: Trained, settings: Settings) -> BundleContents:
    """Return everything that the bundle holds, as `magml.train` puts it together.

    The percentiles of the cohort and the mean contributions are those of the sample of training
    people.
    """
    definitions, sides = trained.definitions, trained.sides
    catalogue, model, train = definitions.catalogue, definitions.model, sides.train
    features = trained.bag.features
    place = {name: position for position, name in enumerate(trained.plan.features)}
    used = train.values[:, [place[name] for name in features]]
    chosen = np.unique(np.linspace(0, len(used) - 1, min(_EXPLAINED, len(used))).astype(int))
    values = trained.bag.contributions(used[chosen])
    importance = np.abs(values[:, :-1]).mean(axis=0)
    planned = with_inputs(catalogue, check_features(model, catalogue, features))
    plan = compile_plan(catalogue, planned).with_assumed(trained.plan.assumed)
    experiment = definitions.experiment.model_dump(mode="json")
    experiment["validation"]["groups"] = "people_held_out"
    counted, tested = sides.trains, sides.tests
    notes = (
        f"Trained on Spark by {settings.workers} workers. {tested.people:,} people with "
        f"{tested.rows:,} prediction times were held out; the boosters have not seen them.",
        f"Calibrated, compared and measured on whole people drawn at random: "
        f"{len(train.labels):,} prediction times to train and {len(sides.test.labels):,} to test.",
        "Parameters are the model file's; none were searched.",
    )
    training = TrainingSummary(
        experiment=experiment,
        n=counted.rows,
        events=counted.cases,
        groups=counted.people,
        attrition=(
            {
                "name": "labels",
                "people": counted.people + tested.people,
                "times": counted.rows + tested.rows,
                "left_out": 0,
            },
            {
                "name": "held out to test",
                "people": counted.people,
                "times": counted.rows,
                "left_out": tested.rows,
            },
        ),
        performance=trained.performance.to_dict(),
        estimator=model.estimator.model_dump(mode="json"),
        seeds={"seed": settings.seed},
        versions=library_versions(),
        data={"layout": "spark", "rows": counted.rows + tested.rows},
        notes=notes,
        quick=True,
    )
    return BundleContents(
        definition=model,
        catalogue=catalogue,
        plan=plan,
        bag=trained.bag,
        calibrator=trained.calibrator,
        baseline=Baseline.of(float(values[0, -1]), importance, trained.calibrator),
        training=training,
        card=model_card(model, catalogue, features, training, trained.not_computable),
        reference=ReferenceCohort.of(
            train.values[:, [place[name] for name in planned]], planned, train.persons
        ),
    )
