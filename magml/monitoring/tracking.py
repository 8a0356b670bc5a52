"""Metrics of monitoring in MLflow, one step a period."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magml.experiments.store import default_tracking_uri, experiment_id, session
from magml.experiments.tracking import flat_metrics
from magml.files import pretty_json

if TYPE_CHECKING:
    from magml.monitoring.result import Monitoring

_INTERVALS = ("observed_expected", "intercept", "slope", "auroc")


def log_monitoring(
    found: Monitoring, page: Path | None = None, *, tracking_uri: str | None = None
) -> str:
    """Log a monitoring as a run of the experiment ``MODEL monitoring`` and return the run's id.

    Each period is a step; counts from 1 to 9 are left out. The findings are logged as
    ``monitoring.json``, with the page where there is one.

    Raises
    ------
    TrackingError
        If MLflow fails.
    """
    from mlflow.entities import Metric

    uri = tracking_uri or default_tracking_uri()
    with session(uri) as client:
        experiment = experiment_id(client, f"{found.model} monitoring", uri)
        tags = {
            "mlflow.source.name": "magml monitor",
            "magml.bundle": found.bundle,
            "magml.baseline": found.baseline.origin,
        }
        run = client.create_run(experiment, run_name=found.as_of.date().isoformat(), tags=tags)
        run_id = run.info.run_id
        now = int(run.info.start_time)
        metrics = [
            Metric(name, value, now, step)
            for step, period in enumerate(found.periods)
            for name, value in _metrics(found, period).items()
        ]
        for start in range(0, len(metrics), 1000):
            client.log_batch(run_id, metrics=metrics[start : start + 1000])
        client.log_text(run_id, pretty_json(found.to_dict()), "monitoring.json")
        if page is not None:
            client.log_artifact(run_id, str(page))
        client.set_terminated(run_id, "FINISHED")
    return str(run_id)


def _metrics(found: Monitoring, period: dict[str, object]) -> dict[str, float]:
    """Return a period's numbers."""
    plain = {
        key: dict(zip(("value", "low", "high"), value, strict=True))
        if key in _INTERVALS and isinstance(value, tuple)
        else value
        for key, value in period.items()
        if key not in ("period", "judged")
    }
    alarms = sum(alarm.period == period["period"] for alarm in found.alarms)
    return flat_metrics({**plain, "alarms": alarms})
