"""Comparing a model with what is known without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.comparison.ladder import (
    REGRESSIONS,
    SERUM,
    STEPS,
    TITLES,
    WITH,
    WITHOUT,
    full_models,
    risks_of,
    rungs_of,
)
from magml.comparison.paired import likelihood_tests, paired_tables
from magml.comparison.result import Comparison, normal_lower_bound
from magml.errors import InputError, TrackingError
from magml.evaluation.checks import SMALL_CELL
from magml.progress import Report, part, silent

if TYPE_CHECKING:
    import pandas as pd

    from magml.experiments.study import Definitions, Study

#: Shares of the people with normal serum magnesium that can be tested.
CAPACITIES = (0.05, 0.1, 0.2, 0.3, 0.5)
#: Names in a likelihood-ratio test: terms there, terms added.
_NESTED = (
    ("age + sex", "MDS + age + sex"),
    ("age + sex", "serum magnesium"),
    ("serum magnesium", "MDS + age + sex"),
    ("MDS + age + sex", "serum magnesium"),
    ("serum magnesium", WITHOUT),
    ("serum + MDS + age + sex", WITHOUT),
)


def compare(
    definition: str | Path,
    *,
    data: Any = None,
    events: Any = None,
    labels: Any = None,
    out: str | Path | None = "comparisons",
    quick: bool = False,
    seed: int | None = None,
    threads: int | None = None,
    threshold: float | None = None,
    capacities: Sequence[float] = CAPACITIES,
    normal_serum: float | None = None,
    track: bool = True,
    tracking_uri: str | None = None,
    workspace: str | Path | None = None,
    report: Report = silent,
) -> Comparison:
    """Measure what a model adds to age and sex, serum magnesium and the depletion score.

    Every rung of the ladder predicts the same rows out of fold, in the same folds and with the
    same calibration. Differences are paired on the same resamples of people. There is no net
    reclassification index: who moves is shown for cases and non-cases apart.

    Parameters
    ----------
    definition, data, events, labels, quick, seed, threads, workspace, report
        As for :func:`magml.train`.
    out
        Folder in which ``NAME/`` appears; None writes nothing.
    threshold
        Risk at which people are reclassified; default the highest band of the model's file.
    capacities
        Shares of the people with normal serum magnesium that can be tested.
    normal_serum
        Serum magnesium that counts as normal, mmol/L and above; default the outcome's threshold,
        or 0.75 where the outcome is not serum magnesium.
    track, tracking_uri
        As for :func:`magml.train`; the comparison is a run with its files as artifacts.

    Returns
    -------
    Comparison

    Raises
    ------
    MagmlError
        For a definition, table or cohort that does not fit; nothing is written then.

    Examples
    --------
    >>> found = compare("experiments/eicu_follow.yaml", data="eicu")      # doctest: +SKIP
    >>> found.difference("full with serum", "serum magnesium", "auroc")   # doctest: +SKIP
    """
    from magml.evaluation import evaluate
    from magml.experiments.study import build_study, cross_validate, read_definitions

    if (events is None) != (labels is None):
        raise InputError(
            "events without labels, or labels without events",
            "both, with a model; or an experiment with data",
            "add the missing one",
        )
    found = read_definitions(definition, by_labels=events is not None, workspace=workspace)
    cut = _threshold(found, threshold)
    found = _as_ladder(found)
    seed = found.experiment.validation.seed if seed is None else seed
    study = build_study(
        found, data=data, events=events, labels=labels, threads=threads,
        report=part(report, 0.0, 0.06),
    )  # fmt: skip
    models = full_models(study)
    nested = cross_validate(
        study,
        seed=seed,
        quick=quick,
        threads=threads,
        report=part(report, 0.06, 0.85),
        further={WITHOUT: models.variant} if models.variant else None,
    )
    report(0.85, "resampling")
    kept = nested.fold >= 0
    outcome, groups = study.rows.labels[kept], study.resampled_by[kept]
    risks = risks_of(nested, models)
    cuts = np.unique([*found.experiment.net_benefit_thresholds, cut])
    replicates = found.experiment.validation.replicates
    performance = evaluate(
        outcome, risks, groups=groups, reference=models.own, thresholds=cuts,
        replicates=replicates, seed=seed,
    )  # fmt: skip
    _, codes = np.unique(groups.astype(str), return_inverse=True)
    differences, reclassified = paired_tables(
        outcome.astype(bool), risks, codes, STEPS,
        thresholds=cuts, threshold=cut, replicates=replicates, seed=seed,
    )  # fmt: skip
    bound = normal_serum if normal_serum is not None else _normal_bound(found)
    normal, reason = _normal_table(study, kept, risks, bound, capacities, replicates, seed)
    result = Comparison(
        name=found.experiment.name,
        outcome=found.model.title,
        n=performance.n,
        events=performance.events,
        groups=performance.groups,
        rungs=rungs_of(nested, models),
        threshold=cut,
        metrics=performance.metrics,
        net_benefit=performance.net_benefit,
        differences=differences,
        reclassified=reclassified,
        likelihood=likelihood_tests(
            outcome.astype(bool), _terms(study, kept, risks), study.rows.persons[kept], _NESTED
        ),
        normal_serum=normal,
        normal_bound=bound,
        normal_reason=reason,
        replicates=replicates,
        seed=seed,
        level=performance.level,
        notes=study.rows.notes,
    )
    if out is not None:
        from magml.comparison.write import write_comparison

        report(0.95, "writing")
        result = write_comparison(result, Path(out) / result.name)
        if track:
            result = _record(result, tracking_uri)
    report(1.0, "done")
    return result


def _threshold(found: Definitions, threshold: float | None) -> float:
    """Return the risk at which people are reclassified."""
    if threshold is None:
        rising = [band.at_least for band in found.model.bands if band.at_least > 0]
        threshold = rising[-1] if rising else 0.2
    if not 0 < threshold < 1:
        raise InputError(f"the threshold {threshold:g}", "a risk strictly between 0 and 1")
    return float(threshold)


def _as_ladder(found: Definitions) -> Definitions:
    """Return the definitions with the ladder in place of the experiment's own baselines.

    Every rung is measured on the tested. Who was not tested is read only where the study trains
    with weights: then every rung learns with them, as the study's own model does.
    """
    changes: dict[str, Any] = {"baselines": REGRESSIONS, "ablations": ()}
    settings = found.experiment.ascertainment
    if settings is not None and not settings.train_weighted:
        changes["ascertainment"] = None
    return replace(found, experiment=found.experiment.model_copy(update=changes))


def _normal_bound(found: Definitions) -> float:
    """Return the serum magnesium that counts as normal."""
    outcome = found.model.outcome
    own = getattr(outcome, "concept", None) == SERUM
    threshold = getattr(outcome, "threshold", None) if own else None
    return normal_lower_bound(found.catalogue.by_name[SERUM], threshold)


def _normal_table(
    study: Study,
    kept: NDArray[np.bool_],
    risks: Mapping[str, NDArray[np.float64]],
    bound: float,
    capacities: Sequence[float],
    replicates: int,
    seed: int,
) -> tuple[pd.DataFrame, str]:
    """Return what is found among people whose last serum magnesium was normal, or why not."""
    import pandas as pd

    from magml.evaluation import yield_of_testing

    name = f"{SERUM}.last"
    if name not in study.matrix.names:
        return pd.DataFrame(), "the catalogue has no last serum magnesium"
    last = study.matrix.column(name)[kept].astype(np.float64)
    # Features are single precision: a value equal to the bound counts as normal.
    normal = last >= bound - 1e-6
    labels = study.rows.labels[kept][normal]
    cases = int(labels.sum())
    if not normal.any():
        return pd.DataFrame(), "nobody's serum magnesium is known and normal"
    if min(cases, len(labels) - cases) < SMALL_CELL:
        return pd.DataFrame(), (
            f"fewer than {SMALL_CELL} with or without the outcome among {len(labels)} people"
        )
    try:
        table = yield_of_testing(
            labels,
            {rung: risk[normal] for rung, risk in risks.items()},
            groups=study.resampled_by[kept][normal],
            capacities=capacities,
            replicates=replicates,
            seed=seed,
        )
    except InputError as error:
        return pd.DataFrame(), str(error)
    return table.assign(
        tested_people=(table["tested"] * table["n"]).round(),
        found_cases=(table["found"] * table["events"]).round(),
    ), ""


def _terms(
    study: Study, kept: NDArray[np.bool_], risks: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Return the columns of the regressions, and the full model's own log-odds as one."""
    from magml.evaluation.calibration import logit
    from magml.models.baselines import simple_terms

    found = {}
    matrix = study.matrix.values[kept]
    for name, title in TITLES.items():
        if name in (WITH, WITHOUT, "logistic"):
            continue
        prepared = simple_terms(name, matrix, study.matrix.names)
        if not isinstance(prepared, str):
            found[title] = np.asarray(prepared[0](matrix), dtype=np.float64)
    # Out of fold, so that it is a column like any other.
    found[WITHOUT] = logit(risks[WITHOUT])[:, None]
    return found


def _record(result: Comparison, tracking_uri: str | None) -> Comparison:
    """Record the comparison in MLflow; its files stand whether or not that succeeds."""
    from magml.comparison.write import record_comparison

    try:
        run_id, uri = record_comparison(result, tracking_uri)
    except TrackingError as error:
        return replace(result, warnings=(*result.warnings, str(error)))
    return replace(result, run_id=run_id, tracking_uri=uri)
