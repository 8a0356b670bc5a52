"""``magml cohort``: an experiment's cohort as files for other commands and tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magml.cli.options import JsonOption, MemoryOption, print_result, progress_lines
from magml.memory import bounded


@bounded()
def cohort(
    experiment: Annotated[Path, typer.Argument(help="Experiment whose source and cohort count.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of the source's data.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.")],
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write events, prediction times and known outcomes, for --events, --at and --labels."""
    from magml.experiments.cohort_files import write_cohort

    found = write_cohort(experiment, data, out, report=progress_lines())
    print_result(found.to_dict(), found.text(), as_json)
