"""The MLflow store: where it is, how it is spoken to quietly, and how a model is fetched from it.

Without ``MLFLOW_TRACKING_URI`` the store is the file ``mlflow.db`` (SQLite) in the working
directory, with artifacts beside it in ``mlruns``; no server is needed. ``mlflow ui`` in that
directory shows it.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import BundleError, MagmlError, TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_VARIABLE = "MLFLOW_TRACKING_URI"
#: Set before MLflow is imported unless the user has set them: nothing phones home, no progress
#: bars among ours, and a server that is not there is given up after seconds, not minutes.
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "GIT_PYTHON_REFRESH": "quiet",
}


def default_tracking_uri() -> str:
    """Return ``MLFLOW_TRACKING_URI``, or the SQLite file in the working directory.

    Examples
    --------
    >>> before = os.environ.pop("MLFLOW_TRACKING_URI", None)
    >>> default_tracking_uri().startswith("sqlite:///")
    True
    >>> if before: os.environ["MLFLOW_TRACKING_URI"] = before
    """
    return os.environ.get(_VARIABLE) or f"sqlite:///{(Path.cwd() / 'mlflow.db').as_posix()}"


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, or None for any other store.

    Examples
    --------
    >>> sqlite_file("sqlite:////data/mlflow.db").as_posix(), sqlite_file("https://example.org")
    ('/data/mlflow.db', None)
    """
    if not uri.startswith("sqlite:///"):
        return None
    return (Path.cwd() / uri.removeprefix("sqlite:///").split("?")[0]).absolute()


@contextmanager
def session(uri: str) -> Iterator[MlflowClient]:
    """Yield a client of a store; whatever fails inside becomes a `TrackingError`.

    Global settings of MLflow are put back afterwards.

    Raises
    ------
    TrackingError
        If MLflow is not installed or the store fails.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
    except ImportError as error:
        raise TrackingError(
            "mlflow is not installed", "the package mlflow", "pip install mlflow"
        ) from error
    before = os.environ.get(_VARIABLE)
    set_before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    levels = {name: logging.getLogger(name).level for name in ("mlflow", "alembic")}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in levels:
                logging.getLogger(name).setLevel(logging.ERROR)
            mlflow.set_tracking_uri(uri)
            yield mlflow.MlflowClient()
    except MagmlError:
        raise
    except Exception as error:
        raise TrackingError(
            f"MLflow failed at {_hide_password(uri)} ({_first_line(error)})",
            "a store that can be written to",
            f"check {_VARIABLE}, or leave it unset to use mlflow.db in the working directory",
        ) from error
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        mlflow.set_tracking_uri(set_before)
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before


def download(reference: str, folder: str | os.PathLike[str], uri: str | None = None) -> Path:
    """Fetch the artifacts of a model or a run and return their folder.

    Parameters
    ----------
    reference
        ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or ``runs:/RUN/PATH``.
    folder
        Where to put what does not lie on this machine already.
    uri
        The store; default `default_tracking_uri`.

    Raises
    ------
    BundleError
        If the store or the model does not exist.
    """
    uri = uri or default_tracking_uri()
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        # Asking MLflow would make an empty store.
        raise BundleError(
            f"no MLflow store '{file.name}' here",
            f"the store that holds {reference}",
            f"set {_VARIABLE}, or go to the directory the model was trained in",
        )
    try:
        with session(uri) as _:
            import mlflow

            return Path(mlflow.artifacts.download_artifacts(reference, dst_path=os.fspath(folder)))
    except TrackingError as error:
        raise BundleError(
            f"{reference} cannot be fetched: {error.seen}",
            "models:/NAME@ALIAS or models:/NAME/VERSION of a registered model",
            f"check the name, and {_VARIABLE}",
        ) from error


def experiment_id(client: MlflowClient, name: str, uri: str) -> str:
    """Return the id of an experiment, made if there is none, artifacts beside a SQLite store."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"the MLflow experiment {name!r} was deleted",
                "an active experiment",
                f"restore it with: mlflow experiments restore -x {found.experiment_id}",
            )
        return str(found.experiment_id)
    options: dict[str, Any] = {}
    file = sqlite_file(uri)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        options["artifact_location"] = (file.parent / "mlruns" / name).as_uri()
    try:
        return str(client.create_experiment(name, **options))
    except Exception:
        # Another process may have made it meanwhile.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _hide_password(uri: str) -> str:
    """Return a URI without what stands before the host."""
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else uri


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
