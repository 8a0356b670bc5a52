"""``magml compare``: what a model adds to age and sex, serum magnesium and the depletion score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magml.cli.options import (
    DataOption,
    EventsOption,
    JsonOption,
    LabelsOption,
    MemoryOption,
    ThreadsOption,
    print_result,
    progress_lines,
)
from magml.memory import bounded


@bounded()
def compare(
    definition: Annotated[
        Path, typer.Argument(help="An experiment, or a model with --events and --labels.")
    ],
    data: DataOption = None,
    events: EventsOption = None,
    labels: LabelsOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the comparison.")] = Path(
        "comparisons"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="No search of parameters.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Instead of the definition's.")] = (
        None
    ),
    threads: ThreadsOption = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Risk at which people are reclassified."),
    ] = None,
    normal_serum: Annotated[
        float | None,
        typer.Option("--normal-serum", help="Serum magnesium that is normal from here, mmol/L."),
    ] = None,
    track: Annotated[bool, typer.Option("--track/--no-track", help="Record in MLflow.")] = True,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a model with age + sex, serum magnesium, the depletion score and regressions."""
    from magml.comparison import compare as run

    result = run(
        definition,
        data=data,
        events=events,
        labels=labels,
        out=out,
        quick=quick,
        seed=seed,
        threads=threads,
        threshold=threshold,
        normal_serum=normal_serum,
        track=track,
        report=progress_lines(),
    )
    print_result(result.to_dict(), result.summary(), as_json)
