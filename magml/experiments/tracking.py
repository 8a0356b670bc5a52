"""Recording a training run in MLflow, and registering its model.

A parent run holds the whole; child runs hold each outer fold, baseline and variant. Everything
logged is an aggregate: no row of a patient leaves the machine this way.

The first version of a model gets the alias ``champion``; every later one becomes ``challenger``
until somebody promotes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.definitions.catalogue import Frozen
from magml.definitions.read import definition_hash
from magml.errors import TrackingError
from magml.experiments.store import default_tracking_uri, experiment_id, session
from magml.files import pretty_json, sha256_bytes

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
#: What the registered model needs besides its own code, which is stored with it.
_NEEDED = ("mlflow", "numpy", "pandas", "pydantic", "pyyaml", "scipy", "xgboost")
#: MLflow's limits for one request.
_METRICS, _PARAMS, _TEXT = 1000, 100, 500

Values = Mapping[str, Any]


@dataclass(frozen=True)
class ChildRun:
    """A part of a run with figures of its own.

    Attributes
    ----------
    name
        Name of the child run, such as ``fold 1`` or ``logistic``.
    kind
        ``fold``, ``baseline`` or ``variant``.
    params, metrics
        As in `RunRecord`.
    """

    name: str
    kind: str
    params: Values = field(default_factory=dict)
    metrics: Values = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """What is recorded of a training run.

    Attributes
    ----------
    name
        The experiment's name, which becomes that of the MLflow experiment.
    model_name
        Name under which the model is registered.
    bundle
        Folder of the complete bundle.
    definitions
        Definitions by what they are (``experiment``, ``model``, ``catalogue``); stored as JSON
        and as hashes.
    params
        Parameters, nested as they come (estimator, cohort, seeds); flattened with dots.
    metrics
        Numbers, or mappings with ``value``, ``low`` and ``high``, which become ``auroc``,
        ``auroc_low``, ``auroc_high``; deeper mappings are flattened with dots. What could not be
        estimated (None, NaN) is left out.
    results
        Folder of result files, plots among them; None for none.
    fingerprint
        Counts and hashes of the data.
    environment
        Versions of Python and of libraries.
    tags
        Further tags.
    children
        Folds, baselines, variants.
    """

    name: str
    model_name: str
    bundle: Path
    definitions: Mapping[str, Frozen]
    params: Values = field(default_factory=dict)
    metrics: Values = field(default_factory=dict)
    results: Path | None = None
    fingerprint: Values = field(default_factory=dict)
    environment: Values = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    children: tuple[ChildRun, ...] = ()


@dataclass(frozen=True)
class Recorded:
    """Where a run was recorded.

    Attributes
    ----------
    run_id
        MLflow's id of the parent run.
    tracking_uri
        The store.
    model_uri
        The registered version, ``models:/NAME/VERSION``.
    alias
        The alias it was given.
    """

    run_id: str
    tracking_uri: str
    model_uri: str
    alias: str


def record(run: RunRecord, *, tracking_uri: str | None = None) -> Recorded:
    """Record a run whose bundle and results stand on disk already, and register its model.

    Parameters
    ----------
    run
        What to record.
    tracking_uri
        The store; default ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the working directory.

    Returns
    -------
    Recorded

    Raises
    ------
    TrackingError
        If MLflow fails; the run is then marked as failed where it can be, and the bundle and
        the results on disk are untouched.
    """
    uri = tracking_uri or default_tracking_uri()
    with session(uri) as client:
        parent = client.create_run(
            experiment_id(client, run.name, uri), run_name=run.name, tags=_tags(run)
        )
        run_id = parent.info.run_id
        try:
            recorded = _fill(client, run, run_id, parent.info.experiment_id, uri)
        except BaseException:
            _fail(client, run_id)
            raise
        client.set_terminated(run_id, "FINISHED")
    return recorded


def flatten(values: Values, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings with their keys joined by dots.

    Examples
    --------
    >>> dict(flatten({"a": 1, "b": {"c": 2, "d": {}}}))
    {'a': 1, 'b.c': 2}
    """
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def flat_metrics(values: Values) -> dict[str, float]:
    """Return metrics as MLflow takes them: one finite number each.

    Examples
    --------
    >>> flat_metrics({"n": 5, "auroc": {"value": 0.7, "low": 0.6, "high": None}})
    {'n': 5.0, 'auroc': 0.7, 'auroc_low': 0.6}
    """
    found = {}
    for key, value in flatten(values):
        if not isinstance(value, int | float) or not math.isfinite(value):
            continue
        name = key
        for end, suffix in ((".value", ""), (".low", "_low"), (".high", "_high")):
            if key.endswith(end):
                name = key.removesuffix(end) + suffix
        found[_key(name)] = float(value)
    return found


def flat_params(values: Values) -> dict[str, str]:
    """Return parameters as MLflow takes them: short texts.

    Examples
    --------
    >>> flat_params({"estimator": {"members": 10}, "anchor": ("VISIT//icu",)})
    {'estimator.members': '10', 'anchor': '["VISIT//icu"]'}
    """
    found = {}
    for key, value in flatten(values):
        plain = isinstance(value, str | int | float | bool) or value is None
        text = str(value) if plain else json.dumps(value, default=str)
        found[_key(key)] = text if len(text) <= _TEXT else f"{text[: _TEXT - 3]}..."
    return found


def _fill(client: MlflowClient, run: RunRecord, run_id: str, experiment: str, uri: str) -> Recorded:
    """Log everything and register the model."""
    log_values(client, run_id, run.params, run.metrics)
    for child in run.children:
        tags = {
            "mlflow.parentRunId": run_id,
            "mlflow.source.name": "magml train",
            "magml.kind": child.kind,
        }
        found = client.create_run(experiment, run_name=child.name, tags=tags)
        log_values(client, found.info.run_id, child.params, child.metrics)
        client.set_terminated(found.info.run_id, "FINISHED")
    for name, definition in run.definitions.items():
        text = pretty_json(definition.model_dump(mode="json"))
        client.log_text(run_id, text, f"definitions/{name}.json")
    client.log_text(run_id, pretty_json(dict(run.fingerprint)), "data.json")
    client.log_text(run_id, pretty_json(dict(run.environment)), "environment.json")
    if run.results is not None:
        client.log_artifacts(run_id, str(run.results), "results")
    client.log_artifacts(run_id, str(run.bundle), "bundle")
    card = run.bundle / "card.md"
    if card.is_file():
        client.log_artifact(run_id, str(card))
    version, alias = _register(client, run, run_id)
    return Recorded(run_id, uri, f"models:/{run.model_name}/{version}", alias)


def _register(client: MlflowClient, run: RunRecord, run_id: str) -> tuple[str, str]:
    """Log the model as code and bundle, register it, and return its version and alias."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    schema = json.loads((run.bundle / "schema.json").read_text(encoding="utf-8"))
    hashed = json.loads((run.bundle / "manifest.json").read_text(encoding="utf-8"))["hash"]
    # Doubles, because MLflow refuses a float64 column where float32 is declared.
    inputs = [ColSpec(DataType.double, feature["name"]) for feature in schema["features"]]
    outputs = [ColSpec(DataType.double, name) for name in ("risk", "risk_low", "risk_high")]
    # nested: a run that the caller has open stays open.
    with mlflow.start_run(run_id=run_id, nested=True):
        info = mlflow.pyfunc.log_model(
            name=run.model_name,
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"bundle": str(run.bundle)},
            code_paths=[str(Path(__file__).resolve().parent.parent)],
            signature=ModelSignature(Schema(inputs), Schema(outputs)),
            pip_requirements=_requirements(),
        )
    try:
        client.create_registered_model(run.model_name)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            raise
    made = client.create_model_version(
        run.model_name,
        info.model_uri,
        run_id,
        tags={"magml.bundle": hashed},
        model_id=info.model_id,
    )
    taken = client.get_registered_model(run.model_name).aliases
    alias = CHALLENGER if CHAMPION in taken else CHAMPION
    client.set_registered_model_alias(run.model_name, alias, made.version)
    return str(made.version), alias


def log_values(client: MlflowClient, run_id: str, params: Values, metrics: Values) -> None:
    """Log parameters and metrics in as few requests as MLflow allows."""
    import time

    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    numbers = (Metric(key, value, now, 0) for key, value in flat_metrics(metrics).items())
    texts = (Param(key, value) for key, value in flat_params(params).items())
    while batch := list(islice(numbers, _METRICS)):
        client.log_batch(run_id, metrics=batch)
    while some := list(islice(texts, _PARAMS)):
        client.log_batch(run_id, params=some)


def _tags(run: RunRecord) -> dict[str, str]:
    """Return the tags of the parent run: hashes of what went in and of what came out."""
    manifest = run.bundle / "manifest.json"
    if not manifest.is_file():
        raise TrackingError(
            f"no bundle in '{run.bundle.name}'", "a complete bundle", "write the bundle first"
        )
    found = {
        "mlflow.source.name": "magml train",
        "mlflow.source.type": "LOCAL",
        "magml.bundle": json.loads(manifest.read_text(encoding="utf-8"))["hash"],
        "magml.data": sha256_bytes(pretty_json(dict(run.fingerprint)).encode()),
    }
    for name, definition in run.definitions.items():
        found[f"magml.definition.{name}"] = definition_hash(definition)
    return {**found, **{key: str(value)[:_TEXT] for key, value in run.tags.items()}}


def _fail(client: MlflowClient, run_id: str) -> None:
    """Mark a run as failed if the store still answers; the first error is what matters."""
    from contextlib import suppress

    with suppress(Exception):
        client.set_terminated(run_id, "FAILED")


def _requirements() -> list[str]:
    """Return what the registered model needs, at the versions in use."""
    from importlib.metadata import version

    return [f"{name}=={version(name)}" for name in _NEEDED]


def _key(name: str) -> str:
    """Return a name with the characters that MLflow allows in keys.

    Examples
    --------
    >>> _key("net benefit @ 10%")
    'net benefit _ 10_'
    """
    return "".join(c if c.isalnum() or c in "_-. /:" else "_" for c in name)
