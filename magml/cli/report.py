"""What ``magml report`` does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magml.cli.options import (
    AtOption,
    DataOption,
    EventsOption,
    ExperimentOption,
    JsonOption,
    LabelsOption,
    print_result,
)


def report(
    run: Annotated[
        str,
        typer.Argument(help="Folder of a run or bundle, MLflow's run id, or models:/name@alias."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="FILE.html; default report.html, or no HTML.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="FILE.md, its figures beside it.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail when a required item is absent.")
    ] = False,
    answers: Annotated[
        Path | None, typer.Option("--answers", help="YAML with the author's texts, by item.")
    ] = None,
    patient: Annotated[
        list[int] | None,
        typer.Option("--patient", help="A subject_id to show as an example; may be repeated."),
    ] = None,
    events: EventsOption = None,
    at: AtOption = None,
    labels: LabelsOption = None,
    experiment: ExperimentOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's report: one page, with TRIPOD+AI and PROBAST+AI filled from the run."""
    from magml.report import find_run, write_report

    if out is None and markdown is None:
        out = Path("report.html")
    records, times = None, None
    if patient:
        from magml.cli.rows import prediction_rows

        rows = prediction_rows(find_run(run).model, events, at, labels, experiment, data)
        records, times = rows.events, rows.at
    done = write_report(
        run,
        html=out,
        markdown=markdown,
        answers=answers,
        patients=patient or (),
        events=records,
        at=times,
        strict=strict,
    )
    written = [str(path) for path in (out, markdown) if path is not None]
    result = {
        "html": None if out is None else str(out),
        "markdown": None if markdown is None else str(markdown),
        "absent": list(done.absent),
        "to_write": list(done.open_items),
    }
    lines = [f"Written to {' and '.join(written)}"]
    if done.absent:
        lines += ["Absent:", *(f"  {item}" for item in done.absent)]
    if done.open_items:
        lines.append(f"{len(done.open_items)} items are the author's to write (--answers).")
    print_result(result, "\n".join(lines), as_json)
