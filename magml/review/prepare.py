"""Preparing pages once: scores and reasons of all prediction times, in batches, resumably."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError
from magml.files import canonical_json, sha256_bytes
from magml.progress import Report, silent
from magml.review.head import locked
from magml.review.page import FORMAT, pages

if TYPE_CHECKING:
    import pandas as pd

    from magml.bundle import Model
    from magml.events import Events

#: Prediction times prepared and stored at once.
BATCH = 500
_TABLES = """
CREATE TABLE page (
    row INTEGER PRIMARY KEY, subject_id INTEGER, shown TEXT, at TEXT, risk REAL, low REAL,
    high REAL, band TEXT, domain TEXT, reason TEXT, stable INTEGER, warnings INTEGER,
    outcome INTEGER, hash TEXT, content BLOB
);
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT);
"""


def prepare(
    model: Model,
    events: Any,
    at: Any,
    folder: str | os.PathLike[str],
    *,
    labels: Any = None,
    batch: int = BATCH,
    threads: int | None = None,
    report: Report = silent,
) -> Path:
    """Prepare the pages of all prediction times and return the file that holds them.

    What is prepared stays: the same model, data and times are not prepared again, and an
    interrupted preparation goes on where it was.

    Parameters
    ----------
    model
        The model.
    events, at, threads
        As for `magml.bundle.Model.score`.
    folder
        Where to keep the pages. They hold rows of patients, and only their owner can read them.
    labels
        Outcomes, where they are known: they are shown to no reader, and are for the calibration
        of the reviewed alone.
    batch
        Prediction times at once.
    report
        Progress.

    Returns
    -------
    pathlib.Path
    """
    from magml.events import read_events, read_prediction_times

    read = read_events(events)
    relation = read_prediction_times(at, read.connection, read)
    times = read.connection.execute(f"SELECT * FROM {relation} ORDER BY row_id").df()
    read.connection.execute(f"DROP TABLE {relation}")
    report(0.0, "reading the records")
    data = data_hash(read, times)
    outcomes = _outcomes(labels, read)
    about = {
        "data": data,
        "format": str(FORMAT),
        "model": model.hash,
        "outcomes": sha256_bytes(canonical_json(sorted(outcomes.items())).encode()),
        "rows": str(len(times)),
    }
    name = sha256_bytes(canonical_json(about).encode())[:16]
    target = Path(folder) / f"pages-{name}.db"
    partial = target.with_suffix(".partial")
    with locked(target):
        if target.exists():
            return target
        with _storing(partial, about) as store:
            stored = read.materialise()
            done = int(store.execute("SELECT count(*) FROM page").fetchone()[0])
            for start in range(done, len(times), batch):
                report(start / len(times), f"preparing pages: {start:,} of {len(times):,}")
                some = times.iloc[start : start + batch][["subject_id", "prediction_time"]]
                _store(store, start, _batch(model, stored, some, threads), outcomes)
        os.replace(partial, target)
    report(1.0, f"{len(times):,} pages prepared")
    return target


def data_hash(events: Events, times: pd.DataFrame) -> str:
    """Return one SHA-256 over the records and the prediction times.

    Records in files are hashed as files; tables in memory row by row, in an order of their own.
    """
    from magml.experiments.fingerprint import data_fingerprint

    found = data_fingerprint(events)
    content = found["sha256"] or _rows_hash(events)
    moments = times["prediction_time"].astype("datetime64[us]").astype("int64")
    pairs = zip(times["subject_id"].tolist(), moments.tolist(), strict=True)
    asked = hashlib.sha256()
    for subject, moment in sorted(pairs):
        asked.update(f"{subject} {moment}\n".encode())
    return sha256_bytes(
        canonical_json({"records": found, "content": content, "at": asked.hexdigest()}).encode()
    )


def _rows_hash(events: Events) -> str:
    from magml.tables import EVENTS

    columns = ", ".join(f"coalesce(CAST({name} AS VARCHAR), chr(1))" for name in EVENTS.names)
    result = events.connection.execute(
        f"SELECT sha256(concat_ws(chr(31), {columns})) AS h FROM {events.relation} ORDER BY h"
    )
    found = hashlib.sha256()
    for (row,) in result.fetchall():
        found.update(row.encode())
    return found.hexdigest()


def _outcomes(labels: Any, events: Events) -> dict[tuple[int, str], bool]:
    """Return known outcomes by person and moment."""
    if labels is None:
        return {}
    from magml.events.read import read_labels

    relation = read_labels(labels, events.connection)
    rows = events.connection.execute(
        "SELECT subject_id, strftime(prediction_time, '%Y-%m-%dT%H:%M:%S'), boolean_value "
        f"FROM {relation}"
    ).fetchall()
    return {(int(subject), str(moment)): bool(value) for subject, moment, value in rows}


class _storing:
    """A partial file of pages that is open: the right one, or a new one."""

    def __init__(self, path: Path, about: Mapping[str, str]) -> None:
        self._path, self._about = path, dict(about)

    def __enter__(self) -> sqlite3.Connection:
        path = self._path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not self._mine():
            path.unlink()
        if not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        self._connection = sqlite3.connect(path)
        if not self._tables():
            self._connection.executescript(_TABLES)
            with self._connection:
                self._connection.executemany(
                    "INSERT INTO about VALUES (?, ?)", sorted(self._about.items())
                )
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _mine(self) -> bool:
        connection = sqlite3.connect(self._path)
        try:
            return dict(connection.execute("SELECT name, value FROM about")) == self._about
        except sqlite3.DatabaseError:
            return False
        finally:
            connection.close()

    def _tables(self) -> bool:
        found = self._connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'about'")
        return bool(found.fetchone()[0])


def _batch(
    model: Model, events: Events, at: pd.DataFrame, threads: int | None
) -> Iterator[dict[str, Any]]:
    matrix = model.build(events, at, threads=threads)
    shown: dict[int, str] = {}
    if events.subjects is not None:
        people = ", ".join(str(int(person)) for person in at["subject_id"].unique())
        rows = events.connection.execute(
            f"SELECT subject_id, source_id FROM {events.subjects} WHERE subject_id IN ({people})"
        ).fetchall()
        shown = {int(person): str(name) for person, name in rows}
    yield from pages(model, events, matrix, model.warnings(matrix), shown)


def _store(
    store: sqlite3.Connection,
    start: int,
    found: Iterator[dict[str, Any]],
    outcomes: Mapping[tuple[int, str], bool],
) -> None:
    """Store a batch as a whole."""
    lines = []
    for row, page in enumerate(found, start=start):
        text = canonical_json(page).encode()
        domain, reason = main_reason(page)
        outcome = outcomes.get((page["subject_id"], page["prediction_time"]))
        lines.append(
            (
                row,
                page["subject_id"],
                page["shown"],
                page["prediction_time"],
                page["risk"],
                page["low"],
                page["high"],
                page["band"],
                "" if domain is None else domain["name"],
                "" if reason is None else reason["label"],
                0 if reason is None else int(reason["stable"]),
                len(page["warnings"]),
                None if outcome is None else int(outcome),
                hashlib.sha256(text).hexdigest(),
                zlib.compress(text, 6),
            )
        )
    marks = ", ".join("?" * 15)
    with store:
        store.executemany(f"INSERT INTO page VALUES ({marks})", lines)


def main_reason(page: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the domain that raises the risk most, and in it the concept that does.

    Where no domain raises the risk, the largest is taken.
    """
    domains = page["domains"]
    if not domains:
        return None, None
    domain = max(domains, key=lambda one: one["risk"])
    if domain["risk"] <= 0:
        domain = domains[0]
        return domain, domain["concepts"][0]
    return domain, max(domain["concepts"], key=lambda one: one["risk"])


def read_about(path: Path) -> dict[str, str]:
    """Return what a file of pages was prepared from.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return dict(connection.execute("SELECT name, value FROM about"))
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"'{path.name}' holds no prepared pages", "a file that magml prepared", "prepare again"
        ) from error
