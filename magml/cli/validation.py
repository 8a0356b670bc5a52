"""The commands of a model at another hospital."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magml.cli.options import (
    DataOption,
    EventsOption,
    ExperimentOption,
    JsonOption,
    LabelsOption,
    MemoryOption,
    print_result,
)
from magml.memory import bounded

_Replicates = Annotated[
    int, typer.Option("--replicates", min=2, help="Bootstrap resamples of people.")
]
_Seed = Annotated[int, typer.Option("--seed")]


@bounded()
def validate(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder or models:/name@alias.")],
    events: EventsOption = None,
    labels: LabelsOption = None,
    experiment: ExperimentOption = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for tables and plots.")] = None,
    replicates: _Replicates = 1000,
    seed: _Seed = 0,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on labelled rows it has never seen; nothing is refitted."""
    from magml.validation import validate as run

    found = run(
        bundle,
        events=events,
        labels=labels,
        experiment=experiment,
        data=data,
        replicates=replicates,
        seed=seed,
        out=out,
    )
    text = found.summary() + (f"\nWritten to {out}" if out is not None else "")
    print_result({**found.to_dict(), "out": None if out is None else str(out)}, text, as_json)


@bounded()
def recalibrate(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the new bundle.")] = None,
    method: Annotated[
        str,
        typer.Option("--method", help="closed_test, intercept, slope or flexible."),
    ] = "closed_test",
    events: EventsOption = None,
    labels: LabelsOption = None,
    experiment: ExperimentOption = None,
    data: DataOption = None,
    replicates: _Replicates = 1000,
    seed: _Seed = 0,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a bundle's calibration to labelled rows; the old bundle is kept."""
    from magml.validation import recalibrate as run

    found = run(
        bundle,
        out=out,
        method=method,  # type: ignore[arg-type]  # checked by recalibrate
        events=events,
        labels=labels,
        experiment=experiment,
        data=data,
        replicates=replicates,
        seed=seed,
    )
    print_result(found.to_dict(), found.summary(), as_json)


def export_aggregate(
    validation: Annotated[Path, typer.Argument(help="Folder that magml validate --out wrote.")],
    out: Annotated[Path, typer.Option("--out", help="JSON file.")],
    as_json: JsonOption = False,
) -> None:
    """Write a validation as counts and curves, cells under ten suppressed."""
    from magml.validation import export_aggregate as run

    found = run(validation, out)
    hidden = sum(found["suppressed"].values())
    text = f"Written to {out}: {found['n']} rows, {found['events']} cases; {hidden} cells hidden"
    print_result({"out": str(out), "suppressed": found["suppressed"]}, text, as_json)


def pool(
    exports: Annotated[list[Path], typer.Argument(help="Exports, one a hospital.")],
    as_json: JsonOption = False,
) -> None:
    """Pool the exports of several hospitals: random effects, with a prediction interval."""
    from magml.validation import pool as run

    table = run(list(exports))
    rows = [
        {key: None if value != value else value for key, value in row.items()}
        for row in table.to_dict(orient="records")
    ]
    print_result({"rows": rows}, table.to_string(index=False, float_format="%.3f"), as_json)
