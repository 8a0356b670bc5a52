"""The command of the simulator."""

from __future__ import annotations

from typing import Annotated

import typer

from magml.cli.options import JsonOption, print_result
from magml.errors import InputError


def simulate(
    check: Annotated[
        bool, typer.Option("--check", help="Repeat published experiments in the simulator.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    subjects: Annotated[
        int, typer.Option("--subjects", min=200, help="People of each cohort.")
    ] = 4000,
    world: Annotated[
        int | None, typer.Option("--world", min=0, help="A test world instead of the central one.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", help="NAME=VALUE, to see what it does; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the simulated physiology against published experiments."""
    if not check:
        raise InputError("nothing to do", "--check", "run magml simulate --check")
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
