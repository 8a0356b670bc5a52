"""A study in memory: definitions, rows, features, and the cross-validation over them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from magml.clock import seconds
from magml.definitions import (
    Catalogue,
    ExperimentDefinition,
    ModelDefinition,
    read_catalogue,
    read_experiment,
    read_model,
)
from magml.definitions.experiment import Cohort, SourceChoice, Validation
from magml.errors import InputError
from magml.experiments.inputs import model_features, monotone_features
from magml.experiments.prepare import Rows, cohort_rows, labelled_rows, open_data
from magml.experiments.simulated import LAYOUT, simulated_rows
from magml.experiments.untested import (
    Untested,
    final_weights,
    fold_weights,
    joined,
    joint_split,
    read_untested,
    separate,
)
from magml.progress import Report, part

if TYPE_CHECKING:
    from magml.evaluation import Performance
    from magml.features import FeatureMatrix
    from magml.models.fit import FittedModel
    from magml.models.fold import FinishedFolds
    from magml.models.nested import NestedResult
    from magml.models.outer import OuterSplit

#: Where each stage begins and ends in a fold's time, as far as progress needs it.
_SEARCHED = {"search": (0.0, 0.6), "calibration": (0.6, 0.75), "final": (0.75, 0.8)}
_QUICK = {"calibration": (0.0, 0.3), "final": (0.3, 0.6)}


@dataclass(frozen=True)
class Definitions:
    """What a run is defined by."""

    experiment: ExperimentDefinition
    model: ModelDefinition
    catalogue: Catalogue

    def setting_aside(self) -> Definitions:
        """Return the same, with values in unfit units left out instead of refused."""
        source = self.experiment.source.model_copy(update={"unfit_units": "set aside"})
        return replace(self, experiment=self.experiment.model_copy(update={"source": source}))


@dataclass(frozen=True, eq=False)
class Study:
    """Labelled rows with their features and groups.

    Attributes
    ----------
    matrix
        Every feature of the catalogue that the model or a baseline needs, in row order.
    features
        The features that the model may see.
    folds_by, resampled_by
        What folds keep together, and what the bootstrap resamples, shape (n,).
    split
        What is tested, where it is not folds of `folds_by`.
    untested
        People whose outcome nobody measured, where the experiment corrects for who was tested.
    """

    definitions: Definitions
    rows: Rows
    matrix: FeatureMatrix
    features: tuple[str, ...]
    folds_by: np.ndarray
    resampled_by: np.ndarray
    split: OuterSplit | None = None
    untested: Untested | None = None


def read_definitions(
    definition: str | Path, *, by_labels: bool, workspace: str | Path | None = None
) -> Definitions:
    """Read an experiment with its model, or a model that is trained on labels given.

    A definition that stands in a workspace's folder takes the rest from that workspace.
    """
    path = Path(definition)
    if workspace is None and path.is_file() and path.parent.name in ("experiments", "models"):
        workspace = path.resolve().parent.parent
    from magml.features import with_plugins

    catalogue = read_catalogue(workspace)
    if by_labels:
        model = read_model(definition, workspace)
        catalogue = with_plugins(catalogue, model.features.plugins)
        experiment = ExperimentDefinition(
            name=f"{model.name}_on_labels",
            title=f"{model.title}, on labels given",
            model=model.name,
            source=SourceChoice(layout="events"),
            cohort=Cohort(anchor=("LABELS",), offset="0h"),
        )
        return Definitions(experiment, model, catalogue)
    if path.parent.name == "models":
        raise InputError(
            f"'{path.name}' is a model, and there are no rows to train it on",
            "an experiment with --data, or a model with --events and --labels",
            "name an experiment, or add --events and --labels",
        )
    experiment = read_experiment(definition, workspace)
    model = at_risk(read_model(experiment.model, workspace), experiment.cohort)
    return Definitions(experiment, model, with_plugins(catalogue, model.features.plugins))


def at_risk(model: ModelDefinition, cohort: Cohort) -> ModelDefinition:
    """Return the model with the cohort's gap and time at risk, where it states them.

    The bundle holds the model as it was trained, so that its card speaks of that time at risk.
    """
    stated = {
        key: value for key in ("gap", "time_at_risk") if (value := getattr(cohort, key)) is not None
    }
    if not stated:
        return model
    return model.model_copy(update={"outcome": model.outcome.model_copy(update=stated)})


def build_study(
    definitions: Definitions,
    *,
    data: Any = None,
    events: Any = None,
    labels: Any = None,
    threads: int | None = None,
    keep: Path | None = None,
    report: Report,
) -> Study:
    """Open the data, form the cohort and build the features, finished ranges kept in `keep`."""
    from magml.features import build_matrix, compile_plan
    from magml.models.splits import connected_groups

    experiment, model, catalogue = (
        definitions.experiment,
        definitions.model,
        definitions.catalogue,
    )
    report(0.0, "reading records")
    if events is not None:
        rows = labelled_rows(
            events,
            labels,
            experiment.minimum_cases,
            set_aside=catalogue if experiment.source.unfit_units == "set aside" else None,
        )
    elif experiment.source.layout == LAYOUT:
        if data is not None:
            raise InputError(
                f"data for {experiment.name}, whose records are simulated", "no --data", "drop it"
            )
        rows = simulated_rows(experiment, model, catalogue, report=part(report, 0.0, 0.3))
    else:
        rows = cohort_rows(experiment, model, catalogue, open_data(experiment, data, catalogue))
    report(0.3, f"building features for {len(rows.labels)} prediction times")
    plan = compile_plan(catalogue)
    matrix = build_matrix(
        plan,
        rows.events,
        rows.relation,
        threads=threads,
        keep=keep,
        report=part(report, 0.3, 0.95),
    )
    groups, resampled = rows.persons, rows.persons
    if experiment.validation.by_site and rows.sites is not None:
        groups, resampled = connected_groups(rows.persons, rows.sites), rows.sites
    split = _split(experiment.validation, model, rows, matrix)
    if split is not None:
        rows = replace(rows, notes=(*rows.notes, split.note))
    features = model_features(catalogue, model)
    untested = None
    if experiment.ascertainment is not None:
        untested = read_untested(rows, plan, matrix, threads)
        if experiment.ascertainment.train_weighted:
            note = "each row trains with the inverse of its chance of being tested as its weight"
            rows = replace(rows, notes=(*rows.notes, note))
    report(1.0, f"{len(features)} features")
    return Study(definitions, rows, matrix, features, groups, resampled, split, untested)


def _split(
    validation: Validation, model: ModelDefinition, rows: Rows, matrix: FeatureMatrix
) -> OuterSplit | None:
    """Return the outer split where the definition asks for another than folds."""
    from magml.models.outer import leave_one_site_out, temporal_holdout

    if validation.groups == "leave_one_site_out" and rows.sites is not None:
        return leave_one_site_out(rows.labels, rows.persons, rows.sites, rows.evaluated)
    if validation.groups != "time":
        return None
    return temporal_holdout(
        rows.labels,
        rows.persons,
        matrix.prediction_time,
        before=validation.train_before,
        test_share=validation.test_share,
        horizon=seconds(model.outcome.gap) + seconds(model.outcome.time_at_risk),
        evaluated=rows.evaluated,
    )


def cross_validate(
    study: Study,
    *,
    seed: int,
    quick: bool,
    threads: int | None,
    report: Report,
    peers: Sequence[str] = (),
    peer_rows: Literal["cohort", "all"] = "cohort",
    like: NestedResult | None = None,
    further: Mapping[str, Sequence[str]] | None = None,
    finished: FinishedFolds | None = None,
) -> NestedResult:
    """Predict every row by a model that never saw its fold, and so the baselines and ablations.

    With `like`, an earlier result on the same rows, its folds and settings are used again, and
    ablations are left out. `further` names variants by their features. `finished` keeps folds.
    """
    from magml.models.nested import nested_cross_validation

    experiment, model = study.definitions.experiment, study.definitions.model
    catalogue, rows = study.definitions.catalogue, study.rows
    variants = {
        ablation.name: model_features(catalogue, model, ablation.domains)
        for ablation in (experiment.ablations if like is None else ())
    } | dict(further or {})

    stages = _QUICK if quick or like is not None else _SEARCHED
    shares: dict[int, float] = {}
    lock = threading.Lock()

    def progress(fold: int, folds: int, stage: str, done: int, total: int) -> None:
        name, _, inner = stage.rpartition(": ")
        low, high = stages.get(inner, (stages["final"][1], 1.0))
        share = high if name else low + (high - low) * done / max(total, 1)
        with lock:  # folds run side by side
            shares[fold] = max(share, shares.get(fold, 0.0))
            report(
                sum(shares.values()) / folds,
                f"fold {fold} of {folds}: {stage} {done} of {total}",
            )

    untested = study.untested if like is None else None
    values, labels, persons = study.matrix.values, rows.labels, rows.persons
    groups, evaluated, split = study.folds_by, rows.evaluated, study.split
    weights = None
    if study.untested is not None:
        joint = joint_split(study, study.untested, experiment.validation.folds, seed)
        weights = fold_weights(study, joint, seed)
    if untested is None:
        weights = None if weights is None else weights[:, : len(labels)]
    else:
        # They train nothing: no side holds them. Their outcome is unknown, and nobody reads it.
        count, split = len(untested.persons), joint
        values, _, labels, persons = joined(study, untested, values)
        groups = np.concatenate([groups, np.full(count, groups[0])])
        evaluated = np.concatenate([evaluated, np.ones(count, dtype=bool)])
    found = nested_cross_validation(
        values,
        study.matrix.names,
        labels,
        persons,
        groups,
        model,
        folds=experiment.validation.folds,
        seed=seed,
        features=study.features,
        baselines=experiment.baselines,
        variants=variants,
        peers=peers,
        peer_rows=peer_rows,
        quick=quick,
        threads=threads,
        weights=weights,
        evaluated=evaluated,
        monotone=monotone_features(catalogue, model, study.features),
        split=split,
        like=like,
        finished=finished,
        progress=progress,
    )
    return found if untested is None else separate(found, study)


def measure(study: Study, nested: NestedResult, *, seed: int) -> Performance:
    """Measure model, ablations and baselines on the rows that were tested."""
    from magml.evaluation import evaluate

    experiment, rows = study.definitions.experiment, study.rows
    kept = nested.fold >= 0
    return evaluate(
        rows.labels[kept],
        {name: risk[kept] for name, risk in nested.risks.items()},
        groups=study.resampled_by[kept],
        thresholds=np.asarray(experiment.net_benefit_thresholds),
        replicates=experiment.validation.replicates,
        seed=seed,
    )


def fit_final(
    study: Study, *, seed: int, quick: bool, threads: int | None, report: Report
) -> FittedModel:
    """Fit the model that is shipped, on all rows."""
    from magml.models.fit import fit_model

    place = {name: position for position, name in enumerate(study.matrix.names)}
    columns = [place[name] for name in study.features]
    definitions, rows = study.definitions, study.rows
    stages = _QUICK if quick else _SEARCHED

    def progress(stage: str, done: int, total: int) -> None:
        low, high = stages[stage]
        share = low + (high - low) * done / max(total, 1)
        report(share / stages["final"][1], f"final model: {stage}")

    return fit_model(
        study.matrix.values[:, columns],
        study.features,
        rows.labels,
        rows.persons,
        study.folds_by,
        definitions.model,
        seed=seed,
        quick=quick,
        threads=threads,
        weights=final_weights(study, seed),
        evaluated=rows.evaluated,
        monotone=monotone_features(definitions.catalogue, definitions.model, study.features),
        progress=progress,
    )
