"""Finding a run: by its folder, by its bundle, by MLflow's id, or by a registered model."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.bundle import Model, load
from magml.bundle.load import find_bundle
from magml.bundle.manifest import MANIFEST
from magml.errors import BundleError, InputError
from magml.review.summary import ARTIFACTS, SUMMARY, read_summary, summary_beside

if TYPE_CHECKING:
    import pandas as pd

_RUN_ID = re.compile(r"[0-9a-f]{32}")
#: What a report reads of a run's results.
_TABLES = (
    "ascertainment", "ascertainment_sensitivity", "attrition", "calibration", "characteristics",
    "differences", "folds", "instability", "metrics", "missingness", "net_benefit", "sensitivity",
    "subgroups", "testing", "thresholds",
)  # fmt: skip
_JSON = ("ascertainment", "audit", "details", "explanations", "instability", "metrics", "units")


@dataclass(frozen=True, eq=False)
class Run:
    """What is known of a run.

    Attributes
    ----------
    model
        The bundle, checked.
    tables, values
        Tables (CSV) and plain values (JSON) of the results by name; empty for a bundle alone.
    plots
        PNG files by name.
    run_id, tracked
        MLflow's run and its metrics; None where the run was found by its folder.
    params
        MLflow's parameters.
    review
        Summary of the reviews of the model's explanations (`magml.review.summary`), if any.
    """

    model: Model
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    plots: Mapping[str, bytes] = field(default_factory=dict)
    run_id: str | None = None
    tracked: Mapping[str, float] | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    review: Mapping[str, Any] | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """The figures of the evaluation; of a bundle alone, those it keeps of its training."""
        found: dict[str, Any] = self.values.get("metrics") or _of_training(self.model)
        return found

    @property
    def experiment(self) -> dict[str, Any]:
        """The experiment's definition as plain values; empty where the bundle keeps none."""
        return dict(self.model.training.get("experiment") or {})

    @property
    def simulated(self) -> bool:
        """Whether the people are simulated: by the experiment itself, or by the records' mark."""
        data = self.model.training.get("data") or {}
        return bool(data.get("simulated") or data.get("simulator"))


def find_run(reference: str | Path, *, tracking_uri: str | None = None) -> Run:
    """Return a run's bundle and results.

    Parameters
    ----------
    reference
        A folder that `magml train` wrote (``runs/NAME``), a bundle's folder, MLflow's run id,
        ``runs:/ID``, or a registered model (``models:/NAME@ALIAS``).
    tracking_uri
        MLflow's store; default ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the working
        directory.

    Raises
    ------
    InputError
        If there is no such run, or its results are not those of its bundle or of MLflow's record.
    BundleError
        If the bundle was changed.
    """
    text = str(reference)
    path = Path(text)
    if path.is_dir():
        bundle = path / "bundle" if (path / "bundle" / MANIFEST).is_file() else path
        return _read(
            bundle, bundle.absolute().parent / "results", summary_beside(bundle.absolute())
        )
    run_id = text.removeprefix("runs:/").strip("/")
    if text.startswith("models:/") or _RUN_ID.fullmatch(run_id):
        return _from_mlflow(text, run_id, tracking_uri)
    raise InputError(
        f"no run '{path.name}'",
        "the folder of a run or of a bundle, MLflow's run id, or models:/NAME@ALIAS",
        "check the path; the run id stands at the end of what magml train prints",
    )


def _read(bundle: Path, results: Path, summary: Path) -> Run:
    """Read a bundle, and the results and the reviews beside it, if there are any."""
    import pandas as pd

    model = load(bundle)
    review = read_summary(summary, model.hash)
    if not (results / "metrics.json").is_file():
        return Run(model, review=review)
    tables = {
        name: pd.read_csv(results / f"{name}.csv")
        for name in _TABLES
        if (results / f"{name}.csv").is_file() and (results / f"{name}.csv").stat().st_size > 1
    }
    values = {
        name: json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        for name in _JSON
        if (results / f"{name}.json").is_file()
    }
    plots = {path.stem: path.read_bytes() for path in sorted((results / "plots").glob("*.png"))}
    run = Run(model, tables, values, plots, review=review)
    _check_same(run)
    return run


def _from_mlflow(text: str, run_id: str, tracking_uri: str | None) -> Run:
    """Read a run from MLflow and compare its files with its record."""
    from magml.experiments.store import default_tracking_uri, download, session, sqlite_file

    uri = tracking_uri or default_tracking_uri()
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        raise InputError(
            f"no MLflow store '{file.name}' here",
            f"the store that holds {text}",
            "set MLFLOW_TRACKING_URI, or go to the directory the model was trained in",
        )
    with session(uri) as client:
        if text.startswith("models:/"):
            run_id = _run_of_model(client, text)
        try:
            found = client.get_run(run_id)
        except Exception as error:
            raise InputError(
                f"MLflow knows no run {run_id}", "the id of a run of this store", "check the id"
            ) from error
        metrics, params = dict(found.data.metrics), dict(found.data.params)
        items = client.list_artifacts(run_id)
    with tempfile.TemporaryDirectory(prefix="magml-") as folder:
        try:
            bundle = find_bundle(download(f"runs:/{run_id}/bundle", f"{folder}", uri))
        except BundleError as error:
            raise InputError(
                f"the run {run_id} holds no bundle", "a run that magml train recorded", "check it"
            ) from error
        results = download(f"runs:/{run_id}/results", folder, uri)
        reviewed = any(item.path == ARTIFACTS for item in items)
        review = download(f"runs:/{run_id}/{ARTIFACTS}", folder, uri) if reviewed else Path(folder)
        run = _read(bundle, results, review / SUMMARY)
    found_run = replace(run, run_id=run_id, tracked=metrics, params=params)
    _check_tracked(found_run)
    return found_run


def _run_of_model(client: Any, text: str) -> str:
    """Return the run that a registered version came from."""
    name, _, alias = text.removeprefix("models:/").partition("@")
    try:
        if alias:
            version = client.get_model_version_by_alias(name, alias)
        else:
            name, _, number = name.rpartition("/")
            version = client.get_model_version(name, number)
    except Exception as error:
        raise InputError(
            f"the registry holds no {text}",
            "models:/NAME@ALIAS or models:/NAME/VERSION",
            "check the name, and MLFLOW_TRACKING_URI",
        ) from error
    return str(version.run_id)


def _of_training(model: Model) -> dict[str, Any]:
    """Return the figures that a bundle keeps of its training, in the form of ``metrics.json``."""
    performance = model.training.get("performance") or {}
    if not performance:
        return {}
    models: dict[str, dict[str, Any]] = {}
    differences: dict[str, dict[str, Any]] = {}
    for row in performance["metrics"]:
        cell = {key: row[key] for key in ("value", "low", "high")}
        models.setdefault(row["model"], {})[row["metric"]] = cell
    for row in performance["differences"]:
        cell = {"value": row["difference"], "low": row["low"], "high": row["high"]}
        differences.setdefault(row["model"], {})[row["metric"]] = cell
    return {
        **{key: performance[key] for key in ("n", "events", "groups", "prevalence")},
        **models[performance["reference"]],
        "models": models,
        "differences": differences,
        "not_computable": dict(model.card.get("not_computable") or {}),
    }


def _check_same(run: Run) -> None:
    """Refuse results that are not those the bundle was made with."""
    ours = _of_training(run.model)
    theirs = run.values["metrics"]
    if ours and any(ours[key] != theirs.get(key) for key in ("n", "events", "models")):
        raise InputError(
            "the results beside the bundle are those of another run",
            "bundle/ and results/ as one run of magml train wrote them",
            "name the folder of the run",
        )


def _check_tracked(run: Run) -> None:
    """Refuse results whose figures are not those that MLflow recorded."""
    from magml.experiments.tracking import flat_metrics

    metrics = run.metrics
    own = {key: metrics[key] for key in metrics if key not in ("models", "differences")}
    expected = flat_metrics({**own, "gain_over": metrics["differences"]})
    tracked = run.tracked or {}
    differ = [
        name
        for name, value in tracked.items()
        if name in expected and not math.isclose(value, expected[name], rel_tol=1e-12, abs_tol=0)
    ]
    if differ or not set(expected) & set(tracked):
        raise InputError(
            f"{len(differ)} figures of the results differ from the run's record"
            + (f", the first is {differ[0]}" if differ else ""),
            "results as magml train recorded them",
            "train again, or report the run from its own folder",
        )
