"""A comparison as files, and as a run in MLflow."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from magml.comparison.plot import plot_ladder
from magml.comparison.result import Comparison
from magml.errors import InputError
from magml.files import atomic_directory, pretty_json

_TABLES = {
    "metrics": "ladder.csv",
    "net_benefit": "net_benefit.csv",
    "differences": "differences.csv",
    "reclassified": "reclassified.csv",
    "likelihood": "likelihood.csv",
    "normal_serum": "normal_serum.csv",
}
_JSON = "comparison.json"


def write_comparison(result: Comparison, folder: Path) -> Comparison:
    """Write ``comparison.json``, tables and ``ladder.png``: aggregates, no row of a patient.

    Raises
    ------
    InputError
        If the folder holds something else.
    """
    ours = (folder / _JSON).is_file()
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"'{folder.name}' exists and is no comparison of magml",
            "a new folder, or an earlier comparison to replace",
            "choose another --out",
        )
    result = replace(result, folder=folder)
    with atomic_directory(folder) as beside:
        (beside / _JSON).write_text(pretty_json(result.to_dict()), encoding="utf-8")
        for name, file in _TABLES.items():
            table = getattr(result, name)
            if len(table):
                table.to_csv(beside / file, index=False)
        (beside / "summary.txt").write_text(result.summary() + "\n", encoding="utf-8")
        plot_ladder(result, beside / "ladder.png")
    return result


def record_comparison(result: Comparison, tracking_uri: str | None = None) -> tuple[str, str]:
    """Record a comparison that stands on disk as a run in MLflow, its files as artifacts.

    Returns
    -------
    run_id, tracking_uri : str

    Raises
    ------
    TrackingError
        If MLflow fails.
    """
    from magml.experiments.store import default_tracking_uri, experiment_id, session
    from magml.experiments.tracking import flat_metrics

    uri = tracking_uri or default_tracking_uri()
    with session(uri) as client:
        run = client.create_run(
            experiment_id(client, result.name, uri),
            run_name=f"{result.name}: ladder",
            tags={"mlflow.source.name": "magml compare", "magml.kind": "comparison"},
        )
        run_id = run.info.run_id
        for key, value in flat_metrics(_figures(result)).items():
            client.log_metric(run_id, key, value)
        for key, value in {"seed": result.seed, "threshold": result.threshold}.items():
            client.log_param(run_id, key, value)
        for rung in result.rungs:
            if not rung.computable:
                client.set_tag(run_id, f"not_computable.{_key(rung.title)}", rung.reason)
        client.log_artifacts(run_id, str(result.folder), "comparison")
        client.set_terminated(run_id, "FINISHED")
    return run_id, uri


def _figures(result: Comparison) -> dict[str, Any]:
    """Return AUROC, log loss and Brier score of each rung, and counts."""
    figures: dict[str, Any] = {"n": result.n, "events": result.events}
    for rung in result.rungs:
        if rung.computable:
            figures[_key(rung.title)] = {
                metric: dict(
                    zip(("value", "low", "high"), result.value(rung.title, metric), strict=True)
                )
                for metric in ("auroc", "log_loss", "brier", "calibration_slope")
            }
    return figures


def _key(title: str) -> str:
    """Return a rung's title as MLflow takes it in keys.

    Examples
    --------
    >>> _key("serum + MDS + age + sex")
    'serum_MDS_age_sex'
    """
    return re.sub(r"[^A-Za-z0-9]+", "_", title)
