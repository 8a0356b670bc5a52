"""What a training run gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from magml.ascertainment import Correction
    from magml.evaluation import Performance

#: What a summary shows first, with the direction that is better.
_SHOWN = ("auroc", "auprc", "log_loss", "brier", "calibration_slope", "calibration_intercept")


@dataclass(frozen=True)
class TrainingResult:
    """Where a run's bundle and results are, and how the model did.

    Attributes
    ----------
    name
        The experiment's name.
    folder
        Everything the run wrote.
    bundle
        The model's bundle.
    metrics
        ``n``, ``events``, ``groups`` and each metric with its interval, for the model, its
        baselines and the paired differences to them.
    run_id
        MLflow's run, None when nothing was recorded.
    tracking_uri
        Where MLflow recorded it.
    warnings
        What went otherwise than asked, such as a tracking server that could not be reached.
    """

    name: str
    folder: Path
    bundle: Path
    metrics: dict[str, Any]
    run_id: str | None = None
    tracking_uri: str | None = None
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return the result as one JSON-safe object."""
        return {
            "bundle": str(self.bundle),
            "run_id": self.run_id,
            "metrics": self.metrics,
            "name": self.name,
            "results": str(self.folder / "results"),
            "tracking_uri": self.tracking_uri,
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """Return the result as lines for a terminal."""
        metrics = self.metrics
        lines = [
            f"{self.name}: {metrics['n']} prediction times, {metrics['events']} cases, "
            f"{metrics['groups']} groups; never seen by what predicts them, 95% intervals",
            "",
            f"{'':26}{'AUROC':24}{'log loss':24}{'calibration slope':24}",
        ]
        for model, values in metrics["models"].items():
            cells = "".join(
                f"{_interval(values[name]):24}"
                for name in ("auroc", "log_loss", "calibration_slope")
            )
            lines.append(f"{model:26}{cells}")
        for model, reason in metrics["not_computable"].items():
            lines.append(f"{model:26}not computable: {reason}")
        if "ascertainment" in metrics:
            found = metrics["ascertainment"]
            lines += [
                "",
                f"AUROC of all {found['target']} who could have been tested (estimated): ",
            ]
            lines[-1] += _interval(found["robust"]["auroc"])
        lines += ["", f"results  {self.folder / 'results'}", f"bundle   {self.bundle}"]
        if self.run_id:
            lines.append(f"MLflow   run {self.run_id} in {self.tracking_uri}")
        return "\n".join([*lines, *(f"Warning: {warning}" for warning in self.warnings)])


def metrics_of(
    performance: Performance,
    not_computable: dict[str, str],
    correction: Correction | None = None,
) -> dict[str, Any]:
    """Return the figures of an evaluation as nested plain values.

    Returns
    -------
    dict
        ``n``, ``events``, ``groups``, ``prevalence``; ``models``: model to metric to
        ``value``, ``low``, ``high``; ``differences``: baseline to metric to the paired difference
        (model minus baseline); the reference's own metrics also stand at the top;
        ``ascertainment``: raw and corrected figures, where an experiment corrects.
    """
    plain = performance.to_dict()
    models: dict[str, dict[str, Any]] = {}
    for row in plain["metrics"]:
        models.setdefault(row["model"], {})[row["metric"]] = {
            key: row[key] for key in ("value", "low", "high")
        }
    differences: dict[str, dict[str, Any]] = {}
    for row in plain["differences"]:
        differences.setdefault(row["model"], {})[row["metric"]] = {
            "value": row["difference"],
            "low": row["low"],
            "high": row["high"],
        }
    corrected = {}
    if correction is not None:
        from magml.experiments.untested import correction_metrics

        corrected = {"ascertainment": correction_metrics(correction)}
    return {
        "n": performance.n,
        "events": performance.events,
        "groups": performance.groups,
        "prevalence": performance.prevalence,
        **models[performance.reference],
        "models": models,
        "differences": differences,
        "not_computable": dict(not_computable),
        **corrected,
    }


def _interval(cell: dict[str, float | None]) -> str:
    """Return a value with its interval."""
    if cell["value"] is None:
        return "not estimable"
    if cell["low"] is None or cell["high"] is None:
        return f"{cell['value']:.3f}"
    return f"{cell['value']:.3f} ({cell['low']:.3f} to {cell['high']:.3f})"
