"""The people whom nobody tested: their rows, their folds, and figures for the whole cohort."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.errors import CohortError
from magml.models.nested import MODEL
from magml.models.outer import OuterSplit
from magml.models.seeds import derive_seed
from magml.models.splits import spread_folds, training_sides

if TYPE_CHECKING:
    from magml.ascertainment import Correction
    from magml.experiments.prepare import Rows
    from magml.experiments.study import Study
    from magml.features import FeatureMatrix
    from magml.features.plan import Plan
    from magml.models.nested import NestedResult


@dataclass(frozen=True, eq=False)
class Untested:
    """Prediction times of the cohort at which nobody measured the outcome afterwards.

    Attributes
    ----------
    values
        Features, columns as in the study's matrix, float32, shape (m, p).
    persons, sites
        Shape (m,); `sites` is None where the data name none.
    """

    values: np.ndarray
    persons: np.ndarray
    sites: np.ndarray | None


def read_untested(
    rows: Rows, plan: Plan, matrix: FeatureMatrix, threads: int | None = None
) -> Untested:
    """Build the features of the untested, with the units that were settled on the tested.

    Raises
    ------
    CohortError
        If everybody was tested, or who was not is unknown because the labels were given.
    """
    from magml.features import build_matrix

    count = 0
    if rows.untested is not None:
        count = rows.events.connection.execute(f"SELECT count(*) FROM {rows.untested}").fetchall()[
            0
        ][0]
    if not count:
        raise CohortError(
            "ascertainment is declared, and there is nobody without the outcome measured",
            "a cohort in which some people were not tested",
            "remove `ascertainment` from the experiment",
        )
    settled = plan.with_assumed(matrix.report.assumed_units)
    built = build_matrix(settled, rows.events, str(rows.untested), threads=threads, strict=False)
    frame = rows.events.connection.execute(
        f"SELECT subject_id, site FROM {rows.untested} ORDER BY row_id"
    ).df()
    sites = frame["site"].to_numpy(dtype=object) if rows.sites is not None else None
    return Untested(built.values, frame["subject_id"].to_numpy(), sites)


def joint_split(study: Study, untested: Untested, folds: int, seed: int) -> OuterSplit:
    """Return the outer folds of the tested, with each untested row tested where nobody saw it.

    The folds and training sides of the tested are those they have without the untested. An
    untested row goes to its person's fold, else to its site's, else to any.
    """
    rows = study.rows
    if study.split is not None:
        fold, sides = study.split.fold, list(study.split.train)
    else:
        fold = spread_folds(
            rows.labels,
            study.folds_by,
            rows.evaluated,
            folds,
            derive_seed(seed, "outer"),
            strict=True,
        )
        sides = training_sides(np.where(rows.evaluated, fold, -1), study.folds_by, folds)
        fold = np.where(rows.evaluated, fold, -1)
    mine = _folds_of(fold, rows.persons, untested.persons)
    by_site = study.definitions.experiment.validation.by_site
    if by_site and rows.sites is not None and untested.sites is not None:
        theirs = _folds_of(fold, rows.sites, untested.sites)
        mine = np.where(mine >= 0, mine, theirs)
    _, person = np.unique(untested.persons, return_inverse=True)
    generator = np.random.default_rng(derive_seed(seed, "untested"))
    drawn = generator.integers(0, len(sides), int(person.max()) + 1)[person]
    mine = np.where(mine >= 0, mine, drawn)
    nobody = np.zeros(len(mine), dtype=bool)
    return OuterSplit(
        np.concatenate([fold, mine]),
        tuple(np.concatenate([side, nobody]) for side in sides),
        "" if study.split is None else study.split.note,
    )


def joined(study: Study, untested: Untested, values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return matrix, who was tested, labels and persons of the tested and then the untested."""
    n, m = len(study.rows.labels), len(untested.persons)
    return (
        np.vstack([values, untested.values]),
        np.arange(n + m) < n,
        np.concatenate([study.rows.labels, np.zeros(m, dtype=study.rows.labels.dtype)]),
        np.concatenate([study.rows.persons, untested.persons]),
    )


def fold_weights(study: Study, split: OuterSplit, seed: int) -> np.ndarray | None:
    """Return weights of training rows for each fold, from its training side alone.

    Parameters
    ----------
    study
        Labelled rows and the untested.
    split
        As `joint_split` returns it: n tested rows, then m untested.
    seed
        Seed of everything.

    Returns
    -------
    numpy.ndarray or None
        Shape (folds, n + m); None where the experiment does not ask for it.
    """
    if not _asked(study) or study.untested is None:
        return None
    columns = [study.matrix.names.index(name) for name in study.features]
    X, tested, labels, persons = joined(study, study.untested, study.matrix.values)
    found = np.zeros((len(split.train), len(tested)))
    for number, side in enumerate(split.train):
        mine = np.where(tested, side, split.fold != number)
        found[number, mine] = _weights(study, X[:, columns], tested, labels, persons, mine, seed)
    return found


def final_weights(study: Study, seed: int) -> np.ndarray | None:
    """Return weights of the labelled rows, shape (n,), for the model that is shipped."""
    if not _asked(study) or study.untested is None:
        return None
    columns = [study.matrix.names.index(name) for name in study.features]
    X, tested, labels, persons = joined(study, study.untested, study.matrix.values)
    everybody = np.ones(len(tested), dtype=bool)
    return _weights(study, X[:, columns], tested, labels, persons, everybody, seed)[tested]


def _asked(study: Study) -> bool:
    settings = study.definitions.experiment.ascertainment
    return settings is not None and settings.train_weighted


def _weights(
    study: Study,
    X: np.ndarray,
    tested: np.ndarray,
    labels: np.ndarray,
    persons: np.ndarray,
    mine: np.ndarray,
    seed: int,
) -> np.ndarray:
    from magml.ascertainment.training import training_weights

    return training_weights(
        X[mine],
        tested[mine],
        labels[mine],
        persons=persons[mine],
        settings=study.definitions.experiment.ascertainment,
        seed=derive_seed(seed, "training weights"),
    )


def separate(joint: NestedResult, study: Study) -> NestedResult:
    """Return the result of the tested, as it is without the untested, whose risks stand apart."""
    n, labels = len(study.rows.labels), study.rows.labels
    fold = joint.fold[:n]
    records = tuple(
        replace(
            record,
            test=int((fold == record.number).sum()),
            test_cases=int(labels[fold == record.number].sum()),
        )
        for record in joint.folds
    )
    return replace(
        joint,
        fold=fold,
        risks={name: risk[:n] for name, risk in joint.risks.items()},
        range_low=joint.range_low[:n],
        range_high=joint.range_high[:n],
        folds=records,
        untested={name: risk[n:] for name, risk in joint.risks.items()},
    )


def correct_study(study: Study, nested: NestedResult, *, seed: int) -> Correction | None:
    """Return figures for everybody who could have been tested; None where it is not declared."""
    from magml.ascertainment import correct

    settings = study.definitions.experiment.ascertainment
    if settings is None or study.untested is None:
        return None
    kept, untested = nested.fold >= 0, study.untested
    place = {name: position for position, name in enumerate(study.matrix.names)}
    columns = [place[name] for name in study.features]
    tested = np.concatenate([np.ones(int(kept.sum()), bool), np.zeros(len(untested.persons), bool)])
    groups: Any = np.concatenate([study.rows.persons[kept], untested.persons])
    resampled = groups
    if study.rows.sites is not None and study.definitions.experiment.validation.by_site:
        sites = (
            untested.sites if untested.sites is not None else np.full(len(untested.values), None)
        )
        named = [site if site is not None and site == site else "unknown" for site in sites]
        resampled = np.concatenate([study.rows.sites[kept], np.array(named, dtype=object)])
    names = [MODEL, *(name for name in nested.risks if name != MODEL)]
    return correct(
        np.vstack([study.matrix.values[kept][:, columns], untested.values[:, columns]]),
        tested,
        np.concatenate([study.rows.labels[kept], np.zeros(len(untested.persons))]),
        {name: np.concatenate([nested.risks[name][kept], nested.untested[name]]) for name in names},
        persons=groups,
        names=study.features,
        groups=resampled,
        thresholds=study.definitions.experiment.net_benefit_thresholds,
        settings=settings,
        seed=seed,
    )


def correction_metrics(correction: Correction) -> dict[str, Any]:
    """Return the headline figures of a correction as nested plain values, for a run's record."""
    found: dict[str, Any] = {"target": correction.target, "tested": correction.tested}
    shown = ("prevalence", "auroc", "brier", "calibration_intercept", "calibration_slope")
    for estimate in ("raw", "weighted", "robust"):
        found[estimate] = {
            metric: dict(
                zip(("value", "low", "high"), _plain(correction, metric, estimate), strict=True)
            )
            for metric in shown
        }
    weights = correction.diagnostics
    found["weights"] = {"effective": weights.effective, "largest": weights.largest}
    return found


def _plain(correction: Correction, metric: str, estimate: str) -> tuple[float | None, ...]:
    return tuple(
        number if np.isfinite(number) else None
        for number in correction.value(metric, estimate=estimate)
    )


def _folds_of(fold: np.ndarray, known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the fold in which a person or site is tested, -1 where it is in none."""
    place = {key: int(number) for key, number in zip(known, fold, strict=True) if number >= 0}
    return np.array([place.get(key, -1) for key in asked], dtype=np.int64)
