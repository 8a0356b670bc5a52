"""Recording a run in MLflow later: when the server was gone, or for a bundle made elsewhere.

A run's folder holds ``tracking.json``: what is recorded of it, in figures that name nobody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError
from magml.experiments.store import default_tracking_uri, session
from magml.experiments.tracking import (
    CHAMPION,
    ChildRun,
    Recorded,
    RunRecord,
    flat_metrics,
    flat_params,
    record,
)
from magml.files import pretty_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

FILE = "tracking.json"


@dataclass(frozen=True)
class Synced:
    """A run or bundle in MLflow.

    Attributes
    ----------
    run_id, model_uri, alias
        As in `magml.experiments.tracking.Recorded`; `alias` is empty for what was there already.
    tracking_uri
        The store.
    new
        Whether it was recorded now.
    """

    run_id: str
    model_uri: str
    alias: str
    tracking_uri: str
    new: bool


def write_record(run: RunRecord, folder: Path) -> None:
    """Write ``tracking.json`` into a run's folder, for `sync`."""
    children = [
        {
            "name": child.name,
            "kind": child.kind,
            "params": flat_params(child.params),
            "metrics": flat_metrics(child.metrics),
        }
        for child in run.children
    ]
    content = {
        "name": run.name,
        "model_name": run.model_name,
        "params": flat_params(run.params),
        "metrics": flat_metrics(run.metrics),
        "fingerprint": dict(run.fingerprint),
        "environment": dict(run.environment),
        "tags": dict(run.tags),
        "children": children,
    }
    (folder / FILE).write_text(pretty_json(content), encoding="utf-8")


def sync(folder: str | Path, *, tracking_uri: str | None = None) -> Synced:
    """Record a run or a bundle in MLflow and register its model, unless it is there already.

    Parameters
    ----------
    folder
        Folder of a run that `magml.train` wrote, or a bundle, such as `magml.recalibrate` writes.
    tracking_uri
        The store; default as for `magml.train`.

    Returns
    -------
    Synced

    Raises
    ------
    InputError
        If the folder holds neither.
    BundleError
        If the bundle was changed.
    TrackingError
        If MLflow fails; calling again is safe.

    Examples
    --------
    >>> sync("runs/eicu_follow").model_uri                        # doctest: +SKIP
    'models:/hypomagnesemia_follow/2'
    """
    from magml.bundle import load

    path = Path(folder)
    inside = path / "bundle"
    bundle = inside if (inside / "manifest.json").is_file() else path
    if not (bundle / "manifest.json").is_file():
        raise InputError(
            f"'{path.name}' holds no bundle", "a run's folder or a bundle", "name that folder"
        )
    model = load(bundle)
    run = _run(path, bundle, model)
    uri = tracking_uri or default_tracking_uri()
    with session(uri) as client:
        found = _registered(client, run.model_name, model.hash)
    if found is not None:
        return Synced(*found, "", uri, False)
    done: Recorded = record(run, tracking_uri=uri)
    return Synced(done.run_id, done.model_uri, done.alias, done.tracking_uri, True)


def _run(path: Path, bundle: Path, model: Any) -> RunRecord:
    """Return what is to be recorded, from ``tracking.json`` or the bundle alone."""
    from magml.definitions import ExperimentDefinition

    definitions: dict[str, Any] = {"model": model.definition, "catalogue": model.catalogue}
    experiment = model.training.get("experiment") or {}
    if experiment:
        definitions["experiment"] = ExperimentDefinition.model_validate(experiment)
    file = path / FILE
    if bundle == path or not file.is_file():
        updates = model.training.get("recalibrations") or []
        return RunRecord(
            name=str(experiment.get("name") or model.definition.name),
            model_name=model.definition.name,
            bundle=bundle,
            definitions=definitions,
            params={"recalibrations": len(updates)},
            metrics={"n": model.training["n"], "events": model.training["events"]},
            environment=model.training.get("versions") or {},
            tags={"magml.parent": str(updates[-1]["parent"])} if updates else {},
        )
    try:
        content: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        children = tuple(ChildRun(**child) for child in content["children"])
        return RunRecord(
            name=content["name"],
            model_name=content["model_name"],
            bundle=bundle,
            definitions=definitions,
            params=content["params"],
            metrics=content["metrics"],
            results=path / "results" if (path / "results").is_dir() else None,
            fingerprint=content["fingerprint"],
            environment=content["environment"],
            tags=content["tags"],
            children=children,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{FILE} does not read", "what magml train wrote", "sync the bundle inside instead"
        ) from error


def _registered(client: MlflowClient, model: str, hashed: str) -> tuple[str, str] | None:
    """Return run and reference of the version that holds a bundle, None if there is none."""
    for version in client.search_model_versions(f"name = '{model}'"):
        if version.tags.get("magml.bundle") != hashed or not version.run_id:
            continue
        aliases = client.get_registered_model(model).aliases
        if CHAMPION not in aliases:  # what made it the first version was cut off
            client.set_registered_model_alias(model, CHAMPION, version.version)
        return str(version.run_id), f"models:/{model}/{version.version}"
    return None
