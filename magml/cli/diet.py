"""The command that turns what people ate into events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magml.cli.options import JsonOption, print_result
from magml.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from magml.diet import DietEvents


def diet(
    foods: Annotated[
        Path | None, typer.Option("--foods", help="Food records: a row a food eaten.")
    ] = None,
    questionnaire: Annotated[
        Path | None,
        typer.Option("--questionnaire", help="How often a food is eaten: a row a food."),
    ] = None,
    form: Annotated[
        Path | None, typer.Option("--form", help="Filled-in forms: a row a person and day.")
    ] = None,
    feeding: Annotated[
        Path | None, typer.Option("--feeding", help="Nutrition in hospital: a row what was given.")
    ] = None,
    composition: Annotated[
        str | None,
        typer.Option("--composition", help="Food table: a file, or usda (extra diet)."),
    ] = None,
    products: Annotated[
        Path | None,
        typer.Option("--products", help="Table of formulas, per 100 mL, for --feeding."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="FILE.parquet or FILE.csv for the events.")
    ] = None,
    template: Annotated[
        Path | None, typer.Option("--template", help="Write an empty form, FILE.csv, to fill in.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Turn foods, questionnaires, forms and hospital nutrition into events (docs/diet.md)."""
    if template is not None:
        from magml.diet import write_form

        write_form(template)
        print_result({"out": str(template)}, f"Written to {template}", as_json)
        return
    given = {
        "foods": foods, "questionnaire": questionnaire, "form": form, "feeding": feeding
    }  # fmt: skip
    if out is None or not any(given.values()):
        raise InputError(
            "nothing to do",
            "--out FILE with --foods, --questionnaire, --form or --feeding; or --template FILE.csv",
            "name what to read and where to write",
        )
    made = _read(given, composition, products)
    import pandas as pd

    from magml.cli.rows import write_table

    whole = pd.concat([one.events for one in made.values()], ignore_index=True)
    written = write_table(_once(whole), out)
    print_result(
        {"out": written, "events": len(whole), "read": {k: _account(v) for k, v in made.items()}},
        "\n".join([*(_line(k, v) for k, v in made.items()), f"{len(whole)} events in {written}"]),
        as_json,
    )


def _read(
    given: dict[str, Path | None], composition: str | None, products: Path | None
) -> dict[str, DietEvents]:
    """Return the events of each table given."""
    from magml.diet import (
        feeding_events,
        food_events,
        form_events,
        questionnaire_events,
        read_food_table,
    )

    table: Any = None
    if given["foods"] is not None or given["questionnaire"] is not None:
        if composition is None:
            raise InputError(
                "foods without a food table",
                "--composition FILE, or --composition usda",
                "name the table that says what foods hold",
            )
        table = read_food_table(composition)
    formulas = None if products is None else read_food_table(products)
    readers = {
        "foods": lambda path: food_events(path, table),
        "questionnaire": lambda path: questionnaire_events(path, table),
        "form": form_events,
        "feeding": lambda path: feeding_events(path, formulas),
    }
    return {name: readers[name](path) for name, path in given.items() if path is not None}


def _once(events: pd.DataFrame) -> pd.DataFrame:
    """Keep one birth and sex a person where two tables state the same."""
    static = events["code"].str.startswith(("MEDS_BIRTH", "GENDER//"))
    return events[~(static & events.duplicated(["subject_id", "code"]))].reset_index(drop=True)


def _account(found: DietEvents) -> dict[str, Any]:
    return {
        "people": found.people,
        "days": found.days,
        "foods": found.foods,
        "incomplete_days": found.incomplete,
    }


def _line(name: str, found: DietEvents) -> str:
    """Return the account of one table as a line."""
    foods = f", {found.foods} foods" if found.foods else ""
    lost = ", ".join(f"{nutrient}: {days}" for nutrient, days in found.incomplete.items())
    return f"{name}: {found.people} people, {found.days} days{foods}" + (
        f"; days without a total ({lost}), for want of values in the food table" if lost else ""
    )
