"""External validation: a model on rows it has never seen, nothing refitted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.files import atomic_directory, pretty_json
from magml.spreadsheet import neutralised
from magml.validation.case_mix import model_based_auroc
from magml.validation.rows import ScoredRows, scored_rows

if TYPE_CHECKING:
    import os

    import pandas as pd

    from magml.bundle import Model
    from magml.evaluation import Performance
    from magml.evaluation.subgroups import Subgroups

_MODEL = "model"
_SHOWN = ("auroc", "log_loss", "brier", "calibration_intercept", "calibration_slope",
          "observed_expected", "ici")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Validation:
    """How a model did on rows that it has never seen.

    Attributes
    ----------
    model, bundle
        The model's name, and the hash of its bundle.
    performance
        Metrics, calibration and net benefit with intervals.
    subgroups
        The same in subgroups with at least ten cases and ten others.
    predictors : pandas.DataFrame
        `feature`, `label`, `domain`, `known` (rows with a value), `missing` (share without).
    case_mix
        ``model_based_auroc`` (what the AUROC would be here were every risk right),
        ``mean_log_odds`` and ``sd_log_odds`` of the calibrated log-odds, ``mean_risk``.
    development
        Metrics of the training's outer folds, as its card holds them; empty if none.
    attrition
        Steps of the cohort.
    notes
        What to know of the rows, values rejected for their unit among it.
    """

    model: str
    bundle: str
    performance: Performance
    subgroups: Subgroups
    predictors: pd.DataFrame
    case_mix: dict[str, float]
    development: dict[str, tuple[float, float, float]]
    attrition: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values; it holds no person's row."""
        return {
            "model": self.model,
            "bundle": self.bundle,
            "performance": self.performance.to_dict(),
            "subgroups": _records(self.subgroups.table),
            "subgroups_suppressed": dict(self.subgroups.suppressed),
            "predictors": _records(self.predictors),
            "case_mix": self.case_mix,
            "development": {name: list(values) for name, values in self.development.items()},
            "attrition": list(self.attrition),
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """Return the validation as lines for a terminal."""
        found = self.performance
        lines = [
            f"{self.model} validated on {found.n} prediction times of {found.groups} people, "
            f"{found.events} cases; nothing was refitted, 95% intervals",
            "",
            f"{'':24}{'here':28}{'in development':28}",
        ]
        for name in _SHOWN:
            value, low, high = found.value(name)
            there = self.development.get(name)
            before = "" if there is None else _interval(*there)
            lines.append(f"{name:24}{_interval(value, low, high):28}{before:28}")
        expected = self.case_mix["model_based_auroc"]
        lines += ["", f"AUROC were every risk right, with these people: {expected:.3f}"]
        unknown = self.predictors[self.predictors["known"] == 0]
        lines.append(f"{len(unknown)} of {len(self.predictors)} predictors are never recorded here")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def validate(
    model: Model | str | os.PathLike[str],
    *,
    events: Any = None,
    labels: Any = None,
    experiment: str | Path | None = None,
    data: Any = None,
    replicates: int = 1000,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
) -> Validation:
    """Measure a model on labelled rows of another hospital or a later time.

    Parameters
    ----------
    model
        A loaded model, or what `magml.load` takes.
    events, labels
        Events and labels (``subject_id``, ``prediction_time``, ``boolean_value``).
    experiment, data
        Instead: an experiment whose source and cohort give the rows, and its data.
    replicates, seed
        Bootstrap resamples of people, and their seed.
    out
        Folder to make, with ``validation.json``, the tables as CSV and the plots; none by default.

    Returns
    -------
    Validation

    Raises
    ------
    InputError
        If the rows are not stated, or the experiment is of another model.
    CohortError
        If there are fewer than ten cases or ten others.

    Examples
    --------
    >>> found = validate("bundle", events="events.parquet", labels="labels.csv")  # doctest: +SKIP
    >>> print(found.summary())                                                    # doctest: +SKIP
    """
    from magml.bundle import load
    from magml.bundle.model import Model
    from magml.evaluation import evaluate
    from magml.evaluation.subgroups import measure_subgroups
    from magml.experiments.populations import subgroup_dimensions

    loaded = model if isinstance(model, Model) else load(model)
    scored = scored_rows(loaded, events=events, labels=labels, experiment=experiment, data=data)
    risks = {_MODEL: scored.risk}
    performance = evaluate(
        scored.labels, risks, groups=scored.persons, replicates=replicates, seed=seed
    )
    dimensions = {
        name: values[scored.kept]
        for name, values in subgroup_dimensions(scored.rows, scored.matrix).items()
    }
    subgroups = measure_subgroups(
        scored.labels, risks, dimensions, groups=scored.persons, replicates=replicates, seed=seed
    )
    notes = scored.rows.notes
    if scored.matrix.report.rejected_rows:
        notes = (
            *notes,
            f"{scored.matrix.report.rejected_rows} values did not fit their unit: left out",
        )
    found = Validation(
        model=loaded.definition.name,
        bundle=loaded.hash,
        performance=performance,
        subgroups=subgroups,
        predictors=_predictors(loaded, scored),
        case_mix=_case_mix(loaded, scored),
        development=_development(loaded),
        attrition=tuple(_step(step) for step in scored.rows.attrition),
        notes=notes,
    )
    if out is not None:
        _write(found, scored, Path(out))
    return found


def _write(found: Validation, scored: ScoredRows, folder: Path) -> None:
    """Write a validation to a new folder: it appears whole or not at all."""
    from magml.evaluation.plots import write_plots

    with atomic_directory(folder) as beside:
        (beside / "validation.json").write_text(pretty_json(found.to_dict()), encoding="utf-8")
        for name in ("metrics", "calibration", "net_benefit"):
            getattr(found.performance, name).to_csv(beside / f"{name}.csv", index=False)
        neutralised(found.subgroups.table).to_csv(beside / "subgroups.csv", index=False)
        neutralised(found.predictors).to_csv(beside / "predictors.csv", index=False)
        write_plots(found.performance, scored.labels, {_MODEL: scored.risk}, beside / "plots")


def _predictors(model: Model, scored: ScoredRows) -> pd.DataFrame:
    """Return how often each predictor is known."""
    import pandas as pd

    values = model.columns(scored.matrix.values)[scored.kept]
    known = (~np.isnan(values)).sum(axis=0)
    return pd.DataFrame(
        {
            "feature": [feature.name for feature in model.schema],
            "label": [feature.label for feature in model.schema],
            "domain": [str(feature.domain) for feature in model.schema],
            "known": known,
            "missing": 1 - known / len(values),
        }
    )


def _case_mix(model: Model, scored: ScoredRows) -> dict[str, float]:
    odds = model.calibrator.log_odds(scored.margin)
    return {
        "model_based_auroc": model_based_auroc(scored.risk),
        "mean_log_odds": float(odds.mean()),
        "sd_log_odds": float(odds.std(ddof=1)),
        "mean_risk": float(scored.risk.mean()),
    }


def _development(model: Model) -> dict[str, tuple[float, float, float]]:
    """Return the metrics of the outer folds of the training, where there were any."""
    performance = model.training.get("performance") or {}
    reference = performance.get("reference")
    return {
        row["metric"]: (row["value"], row["low"], row["high"])
        for row in performance.get("metrics", [])
        if row["model"] == reference and None not in (row["value"], row["low"], row["high"])
    }


def _step(step: Any) -> dict[str, Any]:
    return {name: getattr(step, name) for name in step.__dataclass_fields__}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as plain values, NaN as None."""
    return [
        {str(key): None if value != value else value for key, value in row.items()}
        for row in table.to_dict(orient="records")
    ]


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
