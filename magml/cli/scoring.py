"""``magml score`` and ``magml explain``: risks and reasons of prediction times."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magml.cli.options import (
    AtOption,
    DataOption,
    EventsOption,
    ExperimentOption,
    JsonOption,
    LabelsOption,
    MemoryOption,
    SourceIdOption,
    ThreadsOption,
    print_result,
)
from magml.memory import bounded, settle

if TYPE_CHECKING:
    import pandas as pd

    from magml.explanations import Explanation

#: Prediction times whose reasons are written at once.
_AT_ONCE = 2_000


@bounded()
def score(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder or models:/name@alias.")],
    events: EventsOption = None,
    at: AtOption = None,
    labels: LabelsOption = None,
    experiment: ExperimentOption = None,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="FILE.parquet or FILE.csv; default: print.")
    ] = None,
    source_ids: SourceIdOption = False,
    threads: ThreadsOption = None,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score prediction times: risk, instability range, band and warnings a row."""
    from magml.bundle import load
    from magml.cli.rows import add_source_ids, prediction_rows, write_table
    from magml.spreadsheet import neutralised

    model = load(bundle, threads=threads or os.cpu_count() or 1)
    rows = prediction_rows(model, events, at, labels, experiment, data)
    table = model.score(rows.events, rows.at, threads=threads)
    left_out = table.attrs["left_out"]
    if source_ids:
        table = add_source_ids(table, rows.events)
    written = write_table(table, out)
    warned = int((table["warnings"] != "").sum())
    bands = {str(name): int(n) for name, n in table["band"].value_counts(sort=False).items()}
    summary = {
        "rows": len(table),
        "with_warnings": warned,
        "bands": bands,
        "left_out": left_out,
        "out": written,
    }
    text = f"{len(table)} scored, {warned} with warnings; " + ", ".join(
        f"{name}: {n}" for name, n in bands.items()
    )
    text += _losses(left_out)
    if written is None and not as_json:
        typer.echo(neutralised(table).to_csv(index=False), nl=False)
        typer.echo(text, err=True)
        return
    print_result(summary, f"{text}\nWritten to {written}", as_json)


@bounded()
def explain(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder or models:/name@alias.")],
    events: EventsOption = None,
    at: AtOption = None,
    labels: LabelsOption = None,
    experiment: ExperimentOption = None,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="FILE.parquet or FILE.csv; default: print.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option("--plots", help="Folder for one waterfall a row.")
    ] = None,
    top: Annotated[
        int, typer.Option("--plots-of", min=1, help="How many rows get a plot, by risk.")
    ] = 10,
    level: Annotated[
        str, typer.Option("--level", help="Bars of the plots: domain, concept or feature.")
    ] = "concept",
    evidence: Annotated[
        int | None,
        typer.Option(
            "--evidence", min=0, help="Reasons a row whose records are looked up; default 10."
        ),
    ] = None,
    threads: ThreadsOption = None,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain prediction times: every feature's exact contribution, with its evidence."""
    from magml.bundle import load
    from magml.cli.rows import prediction_rows, write_parts
    from magml.spreadsheet import neutralised

    model = load(bundle, threads=threads or os.cpu_count() or 1)
    rows = prediction_rows(model, events, at, labels, experiment, data)
    settle()
    looked_up = True if evidence is None else evidence
    why = model.explain(rows.events, rows.at, evidence=looked_up, threads=threads)
    written = write_parts(_reasons(why, short=out is None or out.suffix == ".csv"), out)
    drawn = [] if plots is None else _waterfalls(why, plots, top, level)
    left_out = [] if why.matrix is None else why.matrix.report.left_out()
    summary = {
        "rows": int(why.n),
        "reasons": int((why.log_odds != 0).sum()),
        "left_out": left_out,
        "out": written,
        "plots": drawn,
    }
    if written is None and not as_json:
        for number, table in enumerate(_reasons(why, short=True)):
            typer.echo(neutralised(table).to_csv(index=False, header=number == 0), nl=False)
        return
    text = (
        f"{why.n} explained, {summary['reasons']} reasons{_losses(left_out)}\nWritten to {written}"
    )
    print_result(summary, text + (f"\n{len(drawn)} plots in {plots}" if drawn else ""), as_json)


def _reasons(why: Explanation, *, short: bool) -> Iterator[pd.DataFrame]:
    """Yield the table of reasons in parts, for people with no more digits than float32 has."""
    for start in range(0, max(why.n, 1), _AT_ONCE):
        table = why.reasons(rows=slice(start, start + _AT_ONCE))
        yield table.astype({"value": "float32", "stability": "float32"}) if short else table


def _losses(left_out: Sequence[Mapping[str, Any]]) -> str:
    """Return what was left out for its unit, as lines to print."""
    lines = [
        f"Left out for the unit: {item['rows']} of the values of {item['concept']}, in "
        + (repr(item["unit"]) if item["unit"] else "no unit")
        for item in left_out
    ]
    return "".join(f"\n{line}" for line in lines)


def _waterfalls(why: Any, folder: Path, top: int, level: str) -> list[str]:
    """Draw the rows of highest risk; files are numbered by rank, not named by person."""
    order = sorted(range(why.n), key=lambda row: -float(why.risk[row]))[:top]
    drawn = []
    for rank, row in enumerate(order, start=1):
        path = folder / f"waterfall-{rank:03d}.png"
        why.plot(row=row, level=level, path=path)
        drawn.append(str(path))
    return drawn
