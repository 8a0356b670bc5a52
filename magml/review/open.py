"""Opening a review: the Python verb behind ``magml review``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Of the extra `review`: that one is missing is said before the long part.
import argon2  # noqa: F401
import fastapi  # noqa: F401
import uvicorn  # noqa: F401

from magml.progress import Report, silent
from magml.review.prepare import prepare
from magml.review.prepared import read_prepared
from magml.review.record import Places, open_record

if TYPE_CHECKING:
    from magml.report import Run
    from magml.review.web.desk import Desk
    from magml.review.web.settings import Settings


def open_review(
    bundle: str | os.PathLike[str] | Run,
    events: Any,
    at: Any,
    *,
    labels: Any = None,
    record: str | os.PathLike[str] = "reviews",
    db: str | None = None,
    key: str | os.PathLike[str] | None = None,
    head: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    tracking_uri: str | None = None,
    threads: int | None = None,
    report: Report = silent,
) -> Desk:
    """Prepare the pages of a review, open its record and return the desk that serves them.

    Parameters
    ----------
    bundle
        A bundle's folder, the folder of a run, ``models:/NAME@ALIAS``, or what
        `magml.report.find_run` returned. With the results of its
        training beside it the pages on the model show them.
    events, at
        As for `magml.bundle.Model.score`.
    labels
        Known outcomes, for the calibration of the reviewed alone; no reader of a patient's page
        sees them.
    record
        Folder of the record. The prepared pages are kept in ``pages`` inside it.
    db, key, head
        Where parts of the record are, if not in the folder; see `magml.review.record.Places`.
    settings
        How the pages are served; default on loopback.
    tracking_uri
        MLflow's store of a ``models:/`` reference.
    threads
        Threads that prepare.
    report
        Progress.

    Returns
    -------
    Desk
        ``serve()`` serves the pages, ``app()`` returns them as an ASGI application.

    Raises
    ------
    InputError
        If the input does not fit, the record has faults, or the settings would leave it open.

    Examples
    --------
    >>> desk = magml.open_review("runs/demo/bundle", events, at)     # doctest: +SKIP
    >>> desk.serve()                                                 # doctest: +SKIP
    """
    from magml.report import Run, find_run
    from magml.review.web.desk import Desk, has_users
    from magml.review.web.settings import Settings

    chosen = settings or Settings()
    run = bundle if isinstance(bundle, Run) else find_run(str(bundle), tracking_uri=tracking_uri)
    opened = open_record(Places.of(record, db, key, head))
    try:
        # Before the long part: settings that will not do are said at once.
        chosen.check(users=has_users(opened))
        pages = prepare(
            run.model, events, at, Path(record) / "pages", labels=labels, threads=threads,
            report=report,
        )  # fmt: skip
        return Desk(run, read_prepared(pages, opened.key), opened, chosen)
    except BaseException:
        opened.close()
        raise
