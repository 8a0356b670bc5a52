"""Writing a report: the Python verb behind ``magml report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magml.errors import InputError
from magml.files import atomic_directory, atomic_file
from magml.report.blocks import Report
from magml.report.build import build_report
from magml.report.html import to_html
from magml.report.items import read_answers
from magml.report.markdown import to_markdown
from magml.report.run import find_run

_SHOWN = 5


def write_report(
    run: str | Path,
    *,
    html: str | Path | None = None,
    markdown: str | Path | None = None,
    answers: str | Path | None = None,
    patients: Sequence[int] = (),
    events: Any = None,
    at: Any = None,
    strict: bool = False,
    tracking_uri: str | None = None,
) -> Report:
    """Write the report of a run as one self-contained page, as Markdown, or both.

    Parameters
    ----------
    run
        Folder of a run (``runs/NAME``) or of a bundle, MLflow's run id, or
        ``models:/NAME@ALIAS``.
    html, markdown
        Files to write; the Markdown's figures go into a folder beside it.
    answers
        YAML file with the author's texts: guideline (``TRIPOD+AI``), item (``"17"``), text.
    patients
        People (`subject_id`) to show as examples; their records and names of rows then stand in
        the report. None are shown unless named.
    events, at
        Records and prediction times of these people, as for `Model.score`.
    strict
        Refuse a report in which a required item is absent; with `answers` also one in which an
        item that is the author's is not written.
    tracking_uri
        MLflow's store.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        If there is no such run, a strict report is not complete, or somebody named has no
        prediction time.

    Examples
    --------
    >>> done = write_report("runs/demo", html="report.html")     # doctest: +SKIP
    >>> done.absent                                              # doctest: +SKIP
    ()
    """
    for path, endings in ((html, (".html", ".htm")), (markdown, (".md",))):
        if path is not None and Path(path).suffix.lower() not in endings:
            raise InputError(
                f"'{Path(path).name}'", f"a file ending in {endings[0]}", "rename the output"
            )
    author = read_answers(None if answers is None else Path(answers))
    found = find_run(run, tracking_uri=tracking_uri)
    sections = []
    if patients:
        from magml.report.patients import patient_sections

        sections = patient_sections(found.model, events, at, patients)
    report = build_report(found, author=author, patients=sections)
    if strict:
        _check_complete(report, answers is not None)
    if html is not None:
        with atomic_file(html) as beside:
            beside.write_text(to_html(report), encoding="utf-8")
    if markdown is not None:
        _write_markdown(report, Path(markdown))
    return report


def _check_complete(report: Report, by_author: bool) -> None:
    """Refuse a report that lacks what is required."""
    absent = [*report.absent, *(report.open_items if by_author else ())]
    if not absent:
        return
    more = f"; and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
    raise InputError(
        f"{len(absent)} items are absent: {'; '.join(absent[:_SHOWN])}{more}",
        "every required item answered by the run or its author",
        "report a run with its results, write the items with --answers, or leave --strict out",
    )


def _write_markdown(report: Report, path: Path) -> None:
    """Write the Markdown and its figures."""
    folder = path.with_name(f"{path.stem}_files")
    if folder.exists() and not (
        folder.is_dir() and all(entry.suffix == ".png" for entry in folder.iterdir())
    ):
        raise InputError(
            f"'{folder.name}' exists and holds other things than figures",
            "a new folder for the figures",
            "choose another --markdown",
        )
    text, figures = to_markdown(report, folder.name)
    with atomic_directory(folder) as beside:
        for name, data in figures.items():
            (beside / name).write_bytes(data)
    with atomic_file(path) as beside_file:
        beside_file.write_text(text, encoding="utf-8")
