"""Training where the rows do not fit one machine: the boosters on Spark, all else on a sample."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.errors import InputError
from magml.experiments.result import TrainingResult, metrics_of
from magml.experiments.study import Definitions, read_definitions
from magml.files import atomic_directory, pretty_json
from magml.models.bag import Bag
from magml.models.calibration import Calibrator, fit_calibrator
from magml.models.seeds import derive_seed
from magml.progress import Report, part, silent
from magml.spark.boosters import LabelledFrame, fit_bag_on_spark
from magml.spark.frame import plan_frame
from magml.spark.samples import Settings, Sides, draw, narrowed
from magml.spark.session import SparkTable, contract, given
from magml.tables import LABELS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from magml.evaluation import Performance
    from magml.features import Plan

#: Name of the model among the risks, as in `magml.train`.
MODEL = "model"


@dataclass(frozen=True, eq=False)
class Trained:
    """A calibrated bag, and what it was made from and measured on.

    Attributes
    ----------
    plan
        Of all features that were built, with the units that were assumed.
    sides
        Rows of either side: their numbers, and samples of them.
    performance
        On the sample of the people held out.
    """

    definitions: Definitions
    plan: Plan
    bag: Bag
    calibrator: Calibrator
    sides: Sides
    performance: Performance
    not_computable: dict[str, str]


def train(
    model: str | Path,
    *,
    events: SparkTable,
    labels: Any,
    out: str | Path = "runs",
    seed: int = 0,
    test_share: float = 0.2,
    workers: int | None = None,
    driver_rows: int = 50_000,
    workspace: str | Path | None = None,
    report: Report = silent,
) -> TrainingResult:
    """Train a model on labelled prediction times on Spark and write its bundle.

    The definition, features, parameters, calibration and measures are those of `magml.train`. What
    differs: `test_share` of the people is held out once, in place of nested folds, and the model
    that is written has not seen them; there is no search of parameters, no leak audit and no
    sensitivity analysis. Calibration, baselines and measures rest on whole people drawn at
    random, up to about `driver_rows` rows of either side, which the driver holds.

    Parameters
    ----------
    model
        A model (``models/NAME.yaml`` or its name).
    events
        As `magml.spark.events` returns it.
    labels
        Labels in the MEDS label schema: a Spark DataFrame, the name of a table, or Parquet files.
    out
        Folder on the driver in which ``NAME_on_spark/`` appears, with ``bundle/`` and
        ``results/``, whole or not at all.
    seed
        Seed of everything random.
    test_share
        Share of people that is held out.
    workers
        Tasks that train one booster together; default `spark.sparkContext.defaultParallelism`.
        The cluster must be able to run all of them at once.
    driver_rows
        Rows of either side that come to the driver, at 4 bytes a feature.
    workspace
        As for `magml.train`.
    report
        Called with the share done and what is being done.

    Returns
    -------
    TrainingResult

    Raises
    ------
    MagmlError
        For a definition, table or outcome that does not fit; nothing is written then.

    Examples
    --------
    >>> result = magml.spark.train(                                  # doctest: +SKIP
    ...     "hypomagnesemia_screen",
    ...     events=magml.spark.events(spark, "main.clinical.magml_events"),
    ...     labels=spark.table("main.clinical.magnesium_labels"),
    ... )
    """
    from magml.bundle import write_bundle
    from magml.experiments.outputs import refuse_foreign
    from magml.spark.contents import contents

    if not 0 < test_share < 1:
        raise InputError(f"a test share of {test_share}", "a number between 0 and 1", "give 0.2")
    definitions = read_definitions(model, by_labels=True, workspace=workspace)
    name = f"{definitions.model.name}_on_spark"
    folder = Path(out) / name
    refuse_foreign(folder)
    spark = events.frame.sparkSession
    settings = Settings(
        seed, test_share, workers or spark.sparkContext.defaultParallelism, driver_rows
    )
    report(0.0, "building features on Spark")
    rows, plan = _rows(definitions, events, labels)
    rows = rows.persist()
    try:
        trained = _fitted(definitions, plan, rows, settings, part(report, 0.1, 0.95))
    finally:
        rows.unpersist()
    report(0.95, "writing results")
    bundle = contents(trained, settings)
    metrics = metrics_of(trained.performance, trained.not_computable)
    with atomic_directory(folder) as beside:
        write_bundle(beside / "bundle", bundle)
        (beside / "results").mkdir()
        (beside / "results" / "metrics.json").write_text(pretty_json(metrics), encoding="utf-8")
        for table in ("metrics", "differences", "net_benefit", "calibration"):
            path = beside / "results" / f"{table}.csv"
            getattr(trained.performance, table).to_csv(path, index=False)
    report(1.0, "done")
    return TrainingResult(name, folder, folder / "bundle", metrics)


def _rows(definitions: Definitions, events: SparkTable, labels: Any) -> tuple[DataFrame, Plan]:
    """Return labelled rows with all features of the catalogue: baselines need them too."""
    from magml.features import compile_plan

    catalogue = definitions.catalogue
    frame, what = given(events.frame.sparkSession, labels, "labels")
    outcome = contract(events.frame.sparkSession, frame, LABELS, what, None)
    plan = compile_plan(catalogue, [n for n, f in catalogue.features.items() if not f.plugin])
    features, plan = plan_frame(plan, events, outcome, strict=True, as_array=True)
    rows = features.join(outcome, ["subject_id", "prediction_time"])
    label = rows["boolean_value"].cast("double").alias("label")
    return rows.select("subject_id", label, "features"), plan


def _fitted(
    definitions: Definitions, plan: Plan, rows: DataFrame, settings: Settings, report: Report
) -> Trained:
    """Train the bags on Spark; calibrate and measure on samples of people."""
    from magml.experiments.inputs import model_features, monotone_features
    from magml.models.selection import select_columns

    model, catalogue = definitions.model, definitions.catalogue
    folds = model.calibration.folds
    sides = draw(rows, settings, folds, definitions.experiment.minimum_cases)
    train, place = sides.train, {name: k for k, name in enumerate(plan.features)}
    names = model_features(catalogue, model)
    positions = np.array([place[name] for name in names])
    kept = select_columns(train.values[:, positions], names).kept
    used, positions = tuple(names[k] for k in kept), positions[kept]
    monotone = monotone_features(catalogue, model, used)
    narrow = narrowed(rows.where(~sides.held), positions).persist()
    labelled = LabelledFrame(narrow, used, settings.workers)
    try:
        crossfit = derive_seed(settings.seed, "crossfit")
        fewer = min(model.estimator.members, model.calibration.members)
        margins = np.full(len(train.labels), np.nan)
        for fold in range(folds):
            report(fold / (folds + 1), f"calibration: bag {fold + 1} of {folds}")
            bag = fit_bag_on_spark(
                labelled.where(sides.fold != fold),
                model.estimator.model_copy(update={"members": fewer}),
                seed=derive_seed(crossfit, "bag", fold),
                monotone=monotone,
            )
            inside = train.fold == fold
            margins[inside] = bag.margin(train.values[np.ix_(inside, positions)])
        calibrator = fit_calibrator(
            margins,
            train.labels,
            model.calibration.methods,
            groups=train.persons,
            seed=derive_seed(settings.seed, "calibration"),
        )
        report(folds / (folds + 1), "final bag")
        bag = fit_bag_on_spark(
            labelled, model.estimator, seed=derive_seed(settings.seed, "final"), monotone=monotone
        )
    finally:
        narrow.unpersist()
    risk = calibrator.risk(bag.margin(sides.test.values[:, positions]))
    performance, lacking = _measured(definitions, plan, used, sides, risk, settings.seed)
    return Trained(definitions, plan, bag, calibrator, sides, performance, lacking)


def _measured(
    definitions: Definitions,
    plan: Plan,
    used: tuple[str, ...],
    sides: Sides,
    risk: np.ndarray,
    seed: int,
) -> tuple[Performance, dict[str, str]]:
    """Measure the model beside baselines that learned from the sample of the training people."""
    from magml.evaluation import evaluate
    from magml.models.baselines import FittedBaseline, fit_baseline

    experiment, train, test = definitions.experiment, sides.train, sides.test
    risks: dict[str, np.ndarray] = {MODEL: risk}
    lacking: dict[str, str] = {}
    for name in experiment.baselines:
        found = fit_baseline(
            name,
            train.values,
            train.labels,
            plan.features,
            train.persons,
            derive_seed(seed, "baseline", name),
            features=used,
            calibration=definitions.model.calibration,
        )
        if isinstance(found, FittedBaseline):
            columns = [plan.features.index(column) for column in found.names]
            risks[name] = found.risk(test.values[:, columns])
        else:
            lacking[name] = found.reason
    performance = evaluate(
        test.labels,
        risks,
        groups=test.persons,
        thresholds=np.asarray(experiment.net_benefit_thresholds),
        replicates=experiment.validation.replicates,
        seed=seed,
    )
    return performance, lacking
