"""The command of the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magml.cli.options import JsonOption, print_result
from magml.errors import InputError, nearest


def simulate(
    check: Annotated[
        bool, typer.Option("--check", help="Repeat published experiments in the simulator.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    subjects: Annotated[
        int,
        typer.Option("--subjects", min=1, help="People to simulate; of each cohort with --check."),
    ] = 4000,
    world: Annotated[
        int | None, typer.Option("--world", min=0, help="A test world instead of the central one.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", help="NAME=VALUE, to see what it does; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the records and, apart, the truth.")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="Form of the records: omop, meds or events.")
    ] = "events",
    days: Annotated[int, typer.Option("--days", help="Days of records.")] = 730,
    as_json: JsonOption = False,
) -> None:
    """Simulate an institution's records, or check the physiology against published experiments."""
    if check == (out is not None):
        raise InputError("nothing to do", "--out FOLDER, or --check", "give one of them")
    if out is not None:
        from magml.simulation.world import FORMATS
        from magml.simulation.world import simulate as run

        if format not in FORMATS:
            raise InputError(f"the format {format!r}", nearest(format, FORMATS))
        made = run(subjects, seed, world=world, days=days)
        made.write(out, format)
        truth = made.truth
        found = {
            "out": str(out),
            "format": format,
            "events": made.events.num_rows,
            "subjects": len(truth),
            "depleted": int(truth["depleted"].sum()),
            "tested": int(truth["tested"].sum()),
        }
        text = (
            f"{out}: {found['events']} events of {found['subjects']} simulated people, "
            f"{found['tested']} with a magnesium value, {found['depleted']} depleted"
        )
        print_result(found, text, as_json)
        return
    from magml.simulation.check import check_simulator, to_dict, to_text
    from magml.simulation.parameters import draw_world, read_parameters

    parameters = read_parameters() if world is None else draw_world(world, "test")
    changes = {}
    for text in parameter or []:
        name, sign, value = text.partition("=")
        try:
            changes[name.strip().replace(".", "__")] = float(value)
        except ValueError:
            sign = ""
        if not sign:
            raise InputError(f"the parameter {text!r}", "NAME=VALUE", "such as ppi.absorption=0.5")
    rows = check_simulator(seed, n=subjects, parameters=parameters.with_values(**changes))
    print_result({**to_dict(rows), "world": parameters.name}, to_text(rows), as_json)
