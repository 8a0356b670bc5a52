"""Putting what readers thought of a model into its card and its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magml.cli.options import JsonOption, print_result
from magml.cli.verify_reviews import DatabaseOption, HeadOption, KeyOption, RecordOption


def review_summary(
    run: Annotated[
        str,
        typer.Argument(help="Folder of a run or bundle, MLflow's run id, or models:/name@alias."),
    ],
    record: RecordOption = Path("reviews"),
    db: DatabaseOption = None,
    key: KeyOption = None,
    head: HeadOption = None,
    track: Annotated[
        bool, typer.Option("--track/--no-track", help="Write to the MLflow runs of the bundle.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Summarise the reviews of a model, into an addendum to its card and into MLflow."""
    from magml.review import review_summary as summarise

    done = summarise(run, record, db=db, key=key, head=head, track=track)
    result = {
        "summary": done.summary.to_dict(),
        "files": [str(path) for path in done.files],
        "runs": list(done.runs),
        "versions": list(done.versions),
    }
    lines = [done.summary.text()]
    lines += [f"Written to {path}" for path in done.files]
    lines += [f"Recorded in MLflow run {name}" for name in done.runs]
    lines += [f"Said on {name}" for name in done.versions]
    print_result(result, "\n".join(lines), as_json)
