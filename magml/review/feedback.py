"""Giving the reviews back to the model: beside its bundle, and to the runs that made it.

A bundle never changes, so what readers thought of it stands beside it, as an addendum to its card,
and in MLflow on the run and on the registered version.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from magml.bundle.manifest import MANIFEST
from magml.files import atomic_file, pretty_json
from magml.review.record import Places, open_record
from magml.review.summary import (
    ADDENDUM,
    ARTIFACTS,
    SUMMARY,
    ReviewSummary,
    summarise,
    summary_beside,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Tags of runs and of registered versions.
_HEAD, _SENTENCE = "magml.review.head", "magml.review"


@dataclass(frozen=True)
class Feedback:
    """A summary and where it was put.

    Attributes
    ----------
    summary
        The figures.
    files
        What was written beside the bundle.
    runs, versions
        MLflow's runs and registered versions that hold it now.
    """

    summary: ReviewSummary
    files: tuple[Path, ...]
    runs: tuple[str, ...]
    versions: tuple[str, ...]


def review_summary(
    reference: str | os.PathLike[str],
    record: str | os.PathLike[str] = "reviews",
    *,
    db: str | None = None,
    key: str | os.PathLike[str] | None = None,
    head: str | os.PathLike[str] | None = None,
    track: bool = True,
    tracking_uri: str | None = None,
) -> Feedback:
    """Summarise the reviews of a bundle, and put the summary into its card and its MLflow runs.

    Parameters
    ----------
    reference
        Folder of a run or a bundle, MLflow's run id, or ``models:/NAME@ALIAS``.
    record
        Folder of the record of reviews; it is checked first.
    db, key, head
        Where its parts are, if not in the folder.
    track
        Whether to write to MLflow; a store that does not exist is not made.
    tracking_uri
        MLflow's store; default as for training.

    Returns
    -------
    Feedback

    Raises
    ------
    InputError
        If the record was altered, or holds no review of this bundle.
    TrackingError
        If MLflow does not answer; what stands beside the bundle was written by then.

    Examples
    --------
    >>> review_summary("runs/demo", "reviews").summary.pages       # doctest: +SKIP
    120
    """
    from magml.experiments.store import default_tracking_uri, session, sqlite_file
    from magml.report.run import find_run

    model = find_run(reference if isinstance(reference, str) else Path(reference),
                     tracking_uri=tracking_uri).model  # fmt: skip
    opened = open_record(Places.of(record, db, key, head), begin=False)
    try:
        verified = opened.verify()
        reviews = [review for _, review in opened.reviews()]
    finally:
        opened.close()
    summary = summarise(reviews, model.hash, verified.end.text())
    texts = {SUMMARY: pretty_json(summary.to_dict()), ADDENDUM: summary.markdown(
        str(model.card["title"])
    )}  # fmt: skip
    files = _beside(Path(reference), texts)
    runs: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    uri = tracking_uri or default_tracking_uri()
    store = sqlite_file(uri)
    if track and (store is None or store.is_file()):
        with session(uri) as client:
            runs = _runs(client, model.hash)
            for run in runs:
                _log(client, run, summary, texts)
            versions = _tag_versions(client, model.definition.name, summary)
    return Feedback(summary, files, runs, versions)


def _beside(reference: Path, texts: dict[str, str]) -> tuple[Path, ...]:
    """Write summary and addendum beside a bundle that lies on this machine."""
    if not reference.is_dir():
        return ()
    bundle = reference / "bundle" if (reference / "bundle" / MANIFEST).is_file() else reference
    place = summary_beside(bundle.absolute())
    files = (place, place.with_suffix(".md"))
    for path, text in zip(files, texts.values(), strict=True):
        with atomic_file(path) as beside:
            beside.write_text(text, encoding="utf-8")
    return files


def _runs(client: MlflowClient, bundle: str) -> tuple[str, ...]:
    """Return the runs that made a bundle; equal training gives equal bundles."""
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`magml.bundle` = '{bundle}'")
    return tuple(run.info.run_id for run in runs)


def _log(client: MlflowClient, run: str, summary: ReviewSummary, texts: dict[str, str]) -> None:
    from magml.experiments.tracking import log_values

    # An objection that nobody makes any more keeps no older count.
    before = [k for k in client.get_run(run).data.metrics if k.startswith("review.objection.")]
    gone = dict.fromkeys(before, 0.0)
    log_values(client, run, {}, {**gone, **summary.metrics()})
    client.set_tag(run, _HEAD, summary.head)
    with tempfile.TemporaryDirectory(prefix="magml-") as folder:
        for name, text in texts.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        client.log_artifacts(run, folder, ARTIFACTS)


def _tag_versions(client: MlflowClient, name: str, summary: ReviewSummary) -> tuple[str, ...]:
    """Say it on the registered versions that hold the bundle."""
    found = [
        version
        for version in client.search_model_versions(f"name = '{name}'")
        if version.tags.get("magml.bundle") == summary.bundle
    ]
    for version in found:
        client.set_model_version_tag(name, version.version, _SENTENCE, summary.text())
        client.set_model_version_tag(name, version.version, _HEAD, summary.head)
    return tuple(f"models:/{name}/{version.version}" for version in found)
