"""The command that watches a model after go-live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from magml.cli.options import (
    AtOption,
    DataOption,
    EventsOption,
    ExperimentOption,
    JsonOption,
    LabelsOption,
    MemoryOption,
    print_result,
)
from magml.errors import InputError
from magml.memory import bounded


@bounded()
def monitor(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder or models:/name@alias.")],
    events: EventsOption = None,
    at: AtOption = None,
    labels: LabelsOption = None,
    experiment: ExperimentOption = None,
    data: DataOption = None,
    every: Annotated[
        str,
        typer.Option("--every", help="day, week, month, quarter, year, or such as 30d."),
    ] = "month",
    alert_band: Annotated[
        str | None, typer.Option("--alert-band", help="Lowest band that is an alert.")
    ] = None,
    reference_until: Annotated[
        str | None,
        typer.Option("--reference-until", help="Rows before this are what is expected."),
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Moment up to which the records reach.")
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option("--thresholds", help="YAML file of thresholds.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="One threshold, name=value; may be repeated."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page, FILE.html.")] = None,
    track: Annotated[
        bool, typer.Option("--track/--no-track", help="Log metrics by period to MLflow.")
    ] = False,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare records, scores and outcomes by period with what the model expects."""
    from magml.monitoring import monitor as run
    from magml.monitoring import read_thresholds

    found = run(
        bundle,
        events=events,
        at=at,
        labels=labels,
        experiment=experiment,
        data=data,
        every=every,
        alert_band=alert_band,
        reference_until=reference_until,
        as_of=as_of,
        thresholds=read_thresholds(thresholds, **_settings(set_ or [])),
        html=html,
        track=track,
    )
    text = found.summary() + (f"\nPage written to {html}" if html is not None else "")
    print_result({**found.to_dict(), "html": None if html is None else str(html)}, text, as_json)


def _settings(given: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in given:
        name, mark, value = item.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError as error:
            raise InputError(
                f"--set {name}{mark} without a number", "--set name=value", "correct it"
            ) from error
    return found
