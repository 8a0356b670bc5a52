"""Training: from a definition and records to results, a bundle and a tracked run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from magml.errors import InputError, TrackingError
from magml.experiments.fingerprint import data_fingerprint, library_versions
from magml.experiments.outputs import refuse_foreign, write_results
from magml.experiments.result import TrainingResult, metrics_of
from magml.experiments.study import (
    Study,
    build_study,
    cross_validate,
    fit_final,
    measure,
    read_definitions,
)
from magml.experiments.unfinished import Unfinished
from magml.files import atomic_directory
from magml.memory import bounded
from magml.parts import Parts
from magml.progress import Report, part, silent

if TYPE_CHECKING:
    from magml.ascertainment import Correction
    from magml.bundle.write import BundleContents
    from magml.evaluation import Performance
    from magml.experiments.outputs import Extras
    from magml.models.fit import FittedModel
    from magml.models.nested import NestedResult


@bounded(inside=True)
def train(
    definition: str | Path,
    *,
    data: Any = None,
    events: Any = None,
    labels: Any = None,
    out: str | Path = "runs",
    quick: bool = False,
    seed: int | None = None,
    threads: int | None = None,
    peers: Sequence[str] = (),
    peer_rows: Literal["cohort", "all"] = "cohort",
    thresholds: Literal["own", "all"] = "own",
    instability: int = 0,
    set_aside: bool = False,
    track: bool = True,
    tracking_uri: str | None = None,
    workspace: str | Path | None = None,
    memory: str | int | None = None,
    report: Report = silent,
) -> TrainingResult:
    """Train a model, estimate its performance, write its bundle and record the run.

    Performance comes from nested, grouped cross-validation; the model that is written is then
    fitted on all rows in the same way. A run that was interrupted goes on from the folds it had
    finished when it is started again with the same definition, data and settings, and ends in the
    same bytes.

    Parameters
    ----------
    definition
        An experiment (``experiments/NAME.yaml`` or its name) with `data`, or a model
        (``models/NAME.yaml``) with `events` and `labels`.
    data
        Folder or file in the layout of the experiment's source.
    events, labels
        Events in the contract's form and labels in the MEDS label schema: paths or tables.
    out
        Folder in which ``NAME/`` appears, with ``bundle/`` and ``results/``; it replaces an
        earlier run of that name, whole or not at all.
    quick
        Leave out the search of parameters.
    seed
        Instead of the definition's.
    threads
        Number of threads; it changes no result.
    peers
        Other boosters to tune and compare with: ``xgboost``, ``lightgbm``, ``catboost`` (the extra
        ``peers``). They see the same features.
    peer_rows
        ``cohort``: they learn from the cohort's own rows, as baselines do; ``all``: also from the
        rows of its training offsets, as the model does.
    thresholds
        ``all``: evaluate the same settings at 0.70, 0.75 and 0.85 mmol/L too, refitted in the
        same folds without a new search; the bundle stays at the model's own threshold.
    instability
        Refit the whole pipeline on so many bootstrap samples of people, 200 or more, and report
        how much risks move; 0: do not.
    set_aside
        Leave out values whose unit cannot be right or cannot be told, site by site, instead of
        stopping at them; as ``source.unfit_units: set aside`` in the experiment. What was left
        out stands in ``results/units.json`` and in the card.
    track
        Record the run in MLflow and register the model.
    tracking_uri
        MLflow's store; default ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the working
        directory.
    workspace
        Folder with ``features/``, ``models/`` and ``experiments/``; default the working
        directory, then the checkout, then the package.
    memory
        What reading records and building features may take, such as ``4GB``; default a quarter
        of the machine's. The matrix and the boosters come beside it.
    report
        Called with the share done and what is being done.

    Returns
    -------
    TrainingResult

    Raises
    ------
    MagmlError
        For a definition, table or cohort that does not fit; nothing is written then.

    Examples
    --------
    >>> result = train("experiments/eicu_follow.yaml", data="eicu")  # doctest: +SKIP
    >>> result.metrics["auroc"]["value"]                             # doctest: +SKIP
    """
    if (events is None) != (labels is None):
        raise InputError(
            "events without labels, or labels without events",
            "both, with a model; or an experiment with data",
            "add the missing one",
        )
    _check_extras(thresholds, instability, labels)
    # What was asked for beyond a run takes most of the time.
    usual = 1.0 if thresholds == "own" and not instability else 0.4
    whole, report = report, part(report, 0.0, usual)
    found = read_definitions(definition, by_labels=events is not None, workspace=workspace)
    if set_aside:
        found = found.setting_aside()
    seed = found.experiment.validation.seed if seed is None else seed
    folder = Path(out) / found.experiment.name
    refuse_foreign(folder)
    study = build_study(
        found,
        data=data,
        events=events,
        labels=labels,
        threads=threads,
        keep=Parts.beside(folder),
        report=part(report, 0.0, 0.06),
    )
    settings = {"seed": seed, "quick": quick, "peers": list(peers), "peer_rows": peer_rows}
    unfinished = Unfinished.of(folder, study, settings)
    nested = cross_validate(
        study,
        seed=seed,
        quick=quick,
        threads=threads,
        report=part(report, 0.06, 0.78),
        peers=peers,
        peer_rows=peer_rows,
        finished=unfinished,
    )
    report(0.78, "resampling")
    performance = measure(study, nested, seed=seed)
    from magml.experiments.audit import audit_study
    from magml.experiments.details import detail
    from magml.experiments.untested import correct_study

    audit = audit_study(study, nested.fold, seed=seed, threads=threads)
    details = detail(study, nested, performance, seed=seed)
    correction = correct_study(study, nested, seed=seed)
    fitted = unfinished.final()
    if fitted is None:
        fitted = fit_final(
            study, seed=seed, quick=quick, threads=threads, report=part(report, 0.82, 0.94)
        )
        unfinished.keep_final(fitted)
    extras = _extras(
        study,
        nested,
        performance,
        fitted,
        correction,
        thresholds=thresholds,
        instability=instability,
        seed=seed,
        quick=quick,
        threads=threads,
        report=part(whole, 0.94 * usual, 0.95),
    )
    report = whole
    report(0.95, "writing results")
    limits = (*audit.lines(), *_tested_only(correction))
    contents = _contents(study, nested, performance, fitted, limits, seed=seed, quick=quick)
    from magml.bundle import load, write_bundle
    from magml.experiments.explaining import explain_study
    from magml.experiments.recording import run_record
    from magml.experiments.sync import write_record
    from magml.experiments.tracking import record

    run = run_record(
        study,
        nested,
        performance,
        fitted,
        folder,
        correction=correction,
        seed=seed,
        quick=quick,
    )
    with atomic_directory(folder) as beside:
        write_bundle(beside / "bundle", contents)
        explained = explain_study(load(beside / "bundle", threads=threads or 1), study, seed=seed)
        write_results(
            beside / "results", study, nested, performance, details, audit, extras, explained
        )
        write_record(run, beside)
    unfinished.remove()
    recorded, warnings = None, list(audit.lines())
    if track:
        report(0.97, "recording in MLflow")
        try:
            recorded = record(run, tracking_uri=tracking_uri)
        except TrackingError as error:
            # The bundle and the results stand; only the record is missing.
            warnings.append(
                f"{error} The run stands in {folder}; record it later with: magml sync {folder}"
            )
    report(1.0, "done")
    return TrainingResult(
        found.experiment.name,
        folder,
        folder / "bundle",
        metrics_of(performance, nested.not_computable, correction),
        recorded.run_id if recorded else None,
        recorded.tracking_uri if recorded else None,
        tuple(warnings),
    )


def _check_extras(thresholds: str, instability: int, labels: Any) -> None:
    """Refuse what could only fail after hours of training."""
    from magml.experiments.instability import check_refits

    if thresholds not in ("own", "all"):
        raise InputError(
            f"the thresholds {thresholds!r}", "'own' or 'all'", "choose one of the two"
        )
    if thresholds == "all" and labels is not None:
        raise InputError(
            "other thresholds were asked for, but the labels were given",
            "an experiment, whose specimens can be compared with any threshold",
            "leave --thresholds out",
        )
    if instability:
        check_refits(instability)


def _extras(
    study: Study,
    nested: NestedResult,
    performance: Performance,
    fitted: FittedModel,
    correction: Correction | None,
    *,
    thresholds: str,
    instability: int,
    seed: int,
    quick: bool,
    threads: int | None,
    report: Report,
) -> Extras:
    """Compute what was asked for beyond a run."""
    from magml.experiments.instability import prediction_instability
    from magml.experiments.outputs import Extras
    from magml.experiments.thresholds import measure_thresholds

    table = moved = None
    if thresholds == "all":
        until = 0.5 if instability else 1.0
        table = measure_thresholds(
            study,
            nested,
            performance,
            seed=seed,
            quick=quick,
            threads=threads,
            report=part(report, 0.0, until),
        )
    if instability:
        moved = prediction_instability(
            study,
            fitted,
            refits=instability,
            seed=seed,
            quick=quick,
            threads=threads,
            report=part(report, 0.5 if thresholds == "all" else 0.0, 1.0),
        )
    return Extras(table, moved, correction)


def _tested_only(correction: Correction | None) -> tuple[str, ...]:
    """Return what the card says of figures that rest on those who were tested."""
    if correction is None:
        return ()
    from magml.ascertainment import describe

    return describe(correction)


def _contents(
    study: Study,
    nested: NestedResult,
    performance: Performance,
    fitted: FittedModel,
    limits: Sequence[str],
    *,
    seed: int,
    quick: bool,
) -> BundleContents:
    """Return everything that the bundle holds."""
    from magml.bundle.card import model_card
    from magml.bundle.warnings import check_features
    from magml.bundle.write import BundleContents, TrainingSummary
    from magml.explanations.baseline import Baseline
    from magml.explanations.reference import ReferenceCohort
    from magml.explanations.scenario import with_inputs
    from magml.features import compile_plan
    from magml.models.nested import MODEL
    from magml.monitoring.baseline import training_baseline

    definitions, rows = study.definitions, study.rows
    catalogue, model = definitions.catalogue, definitions.model
    place = {name: position for position, name in enumerate(study.matrix.names)}
    used = study.matrix.values[:, [place[name] for name in fitted.features]]
    base, importance = fitted.mean_contributions(used[rows.evaluated], fitted.features)
    # The plan also computes what the warnings of a score need, such as the age, and what derived
    # features are made of, so that they can be computed again for a changed value.
    planned = with_inputs(catalogue, check_features(model, catalogue, fitted.features))
    plan = compile_plan(catalogue, planned).with_assumed(study.matrix.report.assumed_units)
    training = TrainingSummary(
        experiment=definitions.experiment.model_dump(mode="json"),
        # Every row of the cohort teaches the final model; a hold-out tests on some of them only.
        n=int(rows.evaluated.sum()),
        events=int(rows.labels[rows.evaluated].sum()),
        groups=len(np.unique(rows.persons[rows.evaluated])),
        quick=quick,
        attrition=tuple(asdict(step) for step in rows.attrition),
        performance=performance.to_dict(),
        estimator=fitted.estimator.model_dump(mode="json"),
        seeds={"seed": seed},
        versions=library_versions(),
        data={**data_fingerprint(rows.events), **rows.facts},
        notes=rows.notes,
        monitoring=training_baseline(
            plan,
            rows.events,
            rows.relation,
            used[rows.evaluated],
            fitted.features,
            rows.persons[rows.evaluated],
            nested.risks[MODEL][rows.evaluated],
            model.bands,
        ),
    )
    reference = ReferenceCohort.of(
        study.matrix.values[:, [place[name] for name in planned]][rows.evaluated],
        planned,
        rows.persons[rows.evaluated],
    )
    notes = {name: note for fold in nested.folds for name, note in fold.notes.items() if note}
    return BundleContents(
        definition=model,
        catalogue=catalogue,
        plan=plan,
        bag=fitted.bag,
        calibrator=fitted.calibrator,
        baseline=Baseline.of(base, importance, fitted.calibrator),
        training=training,
        card=model_card(
            model,
            catalogue,
            fitted.features,
            training,
            nested.not_computable,
            baseline_notes=notes,
            limits=tuple(limits),
        ),
        reference=reference,
    )
