"""What every command shares: its options, its progress, and how it prints a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

EventsOption = Annotated[
    Path | None,
    typer.Option("--events", help="Events: Parquet, CSV, or a folder of Parquet files."),
]
AtOption = Annotated[
    str | None,
    typer.Option("--at", help="Prediction times: a file, or one moment for everybody."),
]
LabelsOption = Annotated[
    Path | None, typer.Option("--labels", help="Labels: subject_id, prediction_time, value.")
]
ExperimentOption = Annotated[
    Path | None,
    typer.Option("--experiment", help="Experiment whose source and cohort give the rows."),
]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the source's data.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads; default all cores.")
]
SourceIdOption = Annotated[
    bool, typer.Option("--source-ids", help="Add the source's own ids to the output.")
]
SetAsideOption = Annotated[
    bool,
    typer.Option(
        "--set-aside", help="Leave out values whose unit cannot be trusted, site by site."
    ),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory", help="Memory for building features, such as 4GB; default a quarter of all."
    ),
]


def progress_lines() -> Any:
    """Return progress on stderr."""
    from magml.progress import Lines

    return Lines()


def print_result(result: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a result: for people, or as one JSON object."""
    if as_json:
        typer.echo(json.dumps({k: v for k, v in result.items() if k != "text"}, allow_nan=False))
    else:
        typer.echo(text)
