"""The commands and how errors leave them.

Nothing heavy is imported here: ``magml --help`` answers at once, and each command imports what
it uses. Exit status: 0 done, 2 wrong input, 1 a defect of magml.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from magml.cli.cohort import cohort
from magml.cli.compare import compare
from magml.cli.diet import diet
from magml.cli.monitor import monitor
from magml.cli.options import (
    AtOption,
    DataOption,
    EventsOption,
    ExperimentOption,
    JsonOption,
    LabelsOption,
    MemoryOption,
    SetAsideOption,
    ThreadsOption,
    print_result,
    progress_lines,
)
from magml.cli.population import population
from magml.cli.report import report
from magml.cli.review import review, review_user
from magml.cli.review_summary import review_summary
from magml.cli.scoring import explain, score
from magml.cli.serve import promote, rollback, serve, serve_key, sync
from magml.cli.sign_bundle import sign_bundle, signing_key
from magml.cli.simulate import simulate
from magml.cli.validation import export_aggregate, pool, recalibrate, validate
from magml.cli.verify_reviews import verify_reviews
from magml.errors import MagmlError
from magml.memory import bounded

app = typer.Typer(
    name="magml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        import magml

        typer.echo(magml.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Predict hypomagnesemia and low body magnesium status, and explain every prediction."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything.")] = Path(
        "demo-output"
    ),
    subjects: Annotated[
        int, typer.Option("--subjects", min=1000, help="Simulated patients.")
    ] = 3500,
    seed: Annotated[int, typer.Option("--seed")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Simulate a hospital, train on it, and hold three models against the truth."""
    from magml.experiments.demo import run_demo

    result = run_demo(out, subjects=subjects, seed=seed, report=progress_lines())
    print_result(result, result["text"], as_json)


@app.command()
def train(
    definition: Annotated[
        Path, typer.Argument(help="An experiment, or a model with --events and --labels.")
    ],
    data: DataOption = None,
    events: EventsOption = None,
    labels: LabelsOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for results and bundle.")] = Path(
        "runs"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="No search of parameters.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Instead of the definition's.")] = (
        None
    ),
    threads: ThreadsOption = None,
    thresholds: Annotated[
        str,
        typer.Option("--thresholds", help="own, or all: also at 0.70, 0.75 and 0.85 mmol/L."),
    ] = "own",
    instability: Annotated[
        int,
        typer.Option(
            "--instability", min=0, help="Refits on bootstrap samples, 200 or more; 0: none."
        ),
    ] = 0,
    set_aside: SetAsideOption = False,
    track: Annotated[bool, typer.Option("--track/--no-track", help="Record in MLflow.")] = True,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model, estimate its performance, write its bundle and record the run."""
    from magml.experiments import train as run

    result = run(
        definition,
        data=data,
        events=events,
        labels=labels,
        out=out,
        quick=quick,
        seed=seed,
        threads=threads,
        thresholds=thresholds,  # type: ignore[arg-type]  # checked by train
        instability=instability,
        set_aside=set_aside,
        track=track,
        memory=memory,
        report=progress_lines(),
    )
    print_result(result.to_dict(), result.summary(), as_json)


app.command()(score)
app.command()(explain)


@app.command()
@bounded()
def features(
    events: EventsOption = None,
    at: AtOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="FILE.parquet or FILE.csv for the matrix.")
    ] = None,
    domain: Annotated[str | None, typer.Option("--domain", help="One domain only.")] = None,
    experiment: ExperimentOption = None,
    data: DataOption = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Test changed definitions; with --events --at, what changes."),
    ] = False,
    dictionary: Annotated[
        Path | None, typer.Option("--dictionary", help="Write the catalogue as a page, FILE.md.")
    ] = None,
    people: Annotated[
        bool,
        typer.Option("--people", help="How many people have each feature, in the records given."),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Folder with another features/ to compare with."),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", help="Where the events are: postgres, a URL, spark, sc://HOST, local[N]."
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", help="Name of the table or view on --engine.")
    ] = None,
    zone: Annotated[
        str | None, typer.Option("--zone", help="IANA zone of instants on --engine.")
    ] = None,
    set_aside: SetAsideOption = False,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the catalogue, check a changed one, or write the feature matrix of --events at --at."""
    from magml.cli.catalogue import catalogue_rows, catalogue_text

    counted = None
    if people:
        from magml.cli.feature_people import feature_people
        from magml.definitions import read_catalogue

        counted = feature_people(read_catalogue(), events, at, experiment, data)
    if dictionary is not None:
        from magml.cli.dictionary import dictionary_page
        from magml.definitions import read_catalogue
        from magml.files import atomic_file

        with atomic_file(dictionary) as beside:
            beside.write_text(dictionary_page(read_catalogue(), counted), encoding="utf-8")
        print_result({"out": str(dictionary)}, f"Written to {dictionary}", as_json)
        return
    if check:
        from magml.cli.definitions import check_definitions

        found = check_definitions(events, at, against)
        print_result(found.to_dict(), found.text(), as_json)
        if found.failed:
            raise typer.Exit(2)
        return
    if engine is not None or table is not None:
        from magml.cli.engine import engine_features

        others = {"--events": events, "--experiment": experiment, "--data": data}
        wrong = [name for name, given in others.items() if given is not None]
        wrong += ["--set-aside"] if set_aside else []
        made = engine_features(
            engine, table, at, out, domain, zone=zone, without=wrong, report=progress_lines()
        )
        print_result(made.to_dict(), made.text(), as_json)
        return
    if not people and any(given is not None for given in (events, at, out, experiment, data)):
        from magml.cli.feature_matrix import write_features

        made = write_features(
            events,
            at,
            out,
            domain,
            experiment=experiment,
            data=data,
            set_aside=set_aside,
            report=progress_lines(),
        )
        print_result(made.to_dict(), made.text(), as_json)
        return
    rows = catalogue_rows(domain, counted)
    print_result({"features": rows}, catalogue_text(rows), as_json)


@app.command()
def check(
    events: Annotated[
        Path | None,
        typer.Argument(help="Events: Parquet, CSV, or a folder of Parquet files."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Layout of --data, instead of events.")
    ] = None,
    data: DataOption = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="Option of the layout, key=value; may be repeated."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page, FILE.html.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check data before training: what is wrong with them, and what it costs the model."""
    from magml.cli.check import check_data

    found = check_data(events, source, data, option or [], html, progress_lines())
    text = found.text() + (f"\nPage written to {html}" if html is not None else "")
    print_result({**found.to_dict(), "html": None if html is None else str(html)}, text, as_json)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    data: DataOption = None,
    source: Annotated[
        str | None,
        typer.Option("--source", help="Layout of --data; default what its files look like."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a workspace: the definitions to change, and a mapping of plain tables to complete."""
    from magml.workspace import init as make

    made = make(folder, data=data, source=source)
    mapping = None if made.mapping is None else str(made.mapping)
    lines = [f"Made {folder} with features/, models/ and experiments/."]
    if mapping is not None:
        lines.append(f"Guessed {mapping}: {made.to_complete} places to complete.")
    lines += ["Next:", *(f"  {command}" for command in made.commands)]
    result = {
        "folder": str(made.folder),
        "layout": made.layout,
        "mapping": mapping,
        "to_complete": made.to_complete,
        "commands": list(made.commands),
    }
    print_result(result, "\n".join(lines), as_json)


for verb in (
    validate,
    recalibrate,
    export_aggregate,
    pool,
    serve,
    serve_key,
    monitor,
    promote,
    rollback,
    sync,
    simulate,
    cohort,
    diet,
    population,
):
    app.command()(verb)
app.command()(review)
app.command(name="review-user")(review_user)
app.command(name="verify-reviews")(verify_reviews)
app.command(name="review-summary")(review_summary)
app.command(name="sign-bundle")(sign_bundle)
app.command(name="signing-key")(signing_key)
app.command()(compare)
app.command()(report)


#: What the system refuses about a path that was given: too long, a loop of links, no right.
_SYSTEM = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES)


def main() -> None:
    """Run the command line; errors of use leave as one message and status 2."""
    try:
        status = app(prog_name="magml", standalone_mode=False)
    except MagmlError as error:
        _fail(str(error), sys.argv)
    except typer.Abort:
        raise SystemExit(130) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _SYSTEM and error.filename:
            name = Path(str(error.filename)).name[:80]
            _fail(f"'{name}' cannot be used ({error.strerror}). Check the path.", sys.argv)
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message())  # type: ignore[attr-defined]
            raise SystemExit(0) from None
        if hasattr(error, "format_message"):  # a wrong option or argument, as typer saw it
            _fail(error.format_message(), sys.argv)
        if os.environ.get("MAGML_DEBUG"):
            raise
        typer.echo(
            f"magml failed: {type(error).__name__}. This is a defect of magml, not of the input. "
            "Set MAGML_DEBUG=1 to see where, and report it without patient data.",
            err=True,
        )
        raise SystemExit(1) from error
    raise SystemExit(status if isinstance(status, int) else 0)


def _fail(message: str, arguments: list[str]) -> None:
    """Print an error of use and leave with status 2."""
    if "--json" in arguments:
        typer.echo(json.dumps({"error": message}))
    typer.echo(f"Error: {message}", err=True)
    raise SystemExit(2)
