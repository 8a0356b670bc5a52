"""What of a study is recorded in MLflow: aggregates, definitions and their hashes, the model."""

from __future__ import annotations

import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.experiments.fingerprint import data_fingerprint, library_versions
from magml.experiments.result import metrics_of
from magml.experiments.tracking import ChildRun, RunRecord
from magml.models.nested import MODEL

if TYPE_CHECKING:
    from magml.ascertainment import Correction
    from magml.evaluation import Performance
    from magml.experiments.study import Study
    from magml.models.fit import FittedModel
    from magml.models.nested import Fold, NestedResult

#: Measured in each fold. Folds are small: their figures show spread and carry no interval.
_IN_FOLDS = ("auroc", "auprc", "brier", "log_loss")


def run_record(
    study: Study,
    nested: NestedResult,
    performance: Performance,
    fitted: FittedModel,
    folder: Path,
    *,
    correction: Correction | None = None,
    seed: int,
    quick: bool,
) -> RunRecord:
    """Return what is recorded of a run whose bundle and results stand in `folder`."""
    definitions, rows = study.definitions, study.rows
    metrics = metrics_of(performance, nested.not_computable, correction)
    own = {
        key: metrics[key]
        for key in ("n", "events", "groups", "prevalence", *metrics["models"][MODEL])
    }
    return RunRecord(
        name=definitions.experiment.name,
        model_name=definitions.model.name,
        bundle=folder / "bundle",
        definitions={
            "experiment": definitions.experiment,
            "model": definitions.model,
            "catalogue": definitions.catalogue,
        },
        params={
            "seed": seed,
            "quick": quick,
            "folds": definitions.experiment.validation.folds,
            "groups": definitions.experiment.validation.groups,
            "features_offered": len(study.features),
            "features_used": len(fitted.features),
            "training_rows": len(rows.labels),
            "cohort": definitions.experiment.cohort.model_dump(mode="json"),
            "outcome": definitions.model.outcome.model_dump(mode="json"),
            "estimator": fitted.estimator.model_dump(mode="json"),
            "calibrator": fitted.calibrator.method,
        },
        metrics={
            **own,
            "gain_over": metrics["differences"],
            "ascertainment": metrics.get("ascertainment", {}),
        },
        results=folder / "results",
        fingerprint=data_fingerprint(rows.events),
        environment={"python": platform.python_version(), **library_versions()},
        tags={f"not_computable.{name}": why for name, why in nested.not_computable.items()},
        children=(
            *(_fold(study, nested, fold) for fold in nested.folds),
            *(_compared(study, metrics, name) for name in performance.models if name != MODEL),
        ),
    )


def _fold(study: Study, nested: NestedResult, fold: Fold) -> ChildRun:
    """Return a fold's run: what it chose, and how each model did on its rows."""
    inside = nested.fold == fold.number
    labels = study.rows.labels[inside]
    # A site of its own may have seen one class only; nothing can be ranked there.
    measures = _IN_FOLDS if len(np.unique(labels)) > 1 else ()
    metrics = {
        name: {measure: _measure(measure, labels, risk[inside]) for measure in measures}
        for name, risk in nested.risks.items()
    }
    params = {
        "estimator": fold.estimator.model_dump(mode="json"),
        "calibrator": asdict(fold.calibrator),
        "features": len(fold.features),
        "trials": len(fold.trials),
        "train": fold.train,
        "train_cases": fold.train_cases,
    }
    counts = {"n": fold.test, "events": fold.test_cases}
    own = metrics.pop(MODEL)
    return ChildRun(f"fold {fold.number + 1}", "fold", params, {**counts, **own, **metrics})


def _compared(study: Study, metrics: dict[str, Any], name: str) -> ChildRun:
    """Return the run of a baseline or of a variant with fewer domains."""
    variants = {ablation.name for ablation in study.definitions.experiment.ablations}
    counts = {key: metrics[key] for key in ("n", "events", "groups")}
    kind = "variant" if name in variants else "baseline"
    found = {**counts, **metrics["models"][name], "model_gains": metrics["differences"][name]}
    return ChildRun(name, kind, {}, found)


def _measure(name: str, labels: np.ndarray, risk: np.ndarray) -> float:
    """Return one measure on a fold's rows."""
    from magml import evaluation

    functions = {
        "auroc": evaluation.auroc,
        "auprc": evaluation.auprc,
        "brier": evaluation.brier_score,
        "log_loss": evaluation.log_loss,
    }
    return float(functions[name](labels, risk))
