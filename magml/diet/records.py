"""Food records and food-frequency questionnaires: foods and grams to a day's intakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magml.diet.composition import NUTRIENTS, FoodTable
from magml.diet.rows import day_of, events, numbers, people, read_rows
from magml.diet.rules import food_rules
from magml.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

#: Days in what a frequency counts by.
_PERIODS = {"day": 1.0, "week": 7.0, "month": 30.4375, "year": 365.25}
#: A day's total of a nutrient stands if the foods without a value for it weigh no more than this.
UNKNOWN_SHARE = 0.05
_FOOD = ("food", "food_code", "grams", "portions", "known_time")


@dataclass(frozen=True)
class DietEvents:
    """Events of what people ate, and the account of how they came about.

    Attributes
    ----------
    events
        Columns of the event contract, one row a person, day and nutrient or food group.
    people, days
        How many people, and days of people, were read.
    foods
        Different foods that were eaten.
    incomplete
        Days, by nutrient, whose total was left out because foods without a value for it weighed
        more than a twentieth of the day's food.
    """

    events: pd.DataFrame
    people: int
    days: int
    foods: int
    incomplete: dict[str, int]


def food_events(records: Any, table: FoodTable) -> DietEvents:
    """Return a day's intakes from food records.

    Parameters
    ----------
    records
        Path or DataFrame, one row a food eaten: ``subject_id``, ``date``, ``food`` (name) or
        ``food_code``, ``grams`` or ``portions`` (of the table's ``portion_g``), and where known
        ``known_time`` (default: the day is known when it is over). A day's foods must all stand
        there: what is not written was not eaten.
    table
        The food table.

    Returns
    -------
    DietEvents

    Raises
    ------
    InputError
        A column, number or date that does not fit, a food that the table does not hold.

    Examples
    --------
    >>> import pandas as pd
    >>> from magml.diet import read_food_table
    >>> table = read_food_table(pd.DataFrame(
    ...     {"food": ["Oatmeal", "Almonds"], "magnesium_mg": [26, 270], "energy_kcal": [71, 579]}))
    >>> eaten = pd.DataFrame({"subject_id": [1, 1], "date": ["2026-01-10"] * 2,
    ...                       "food": ["oatmeal", "almonds"], "grams": [250, 30]})
    >>> found = food_events(eaten, table).events
    >>> float(found[found["code"] == "DIET//magnesium"]["numeric_value"].iloc[0])
    146.0
    """
    what = "food records"
    rows = read_rows(records, what, ("subject_id", "date"), _FOOD)
    return _day_events(rows, _grams(rows, table, what), table, what)


def questionnaire_events(answers: Any, table: FoodTable) -> DietEvents:
    """Return usual intakes a day from a food-frequency questionnaire.

    Parameters
    ----------
    answers
        Path or DataFrame, one row an item: ``subject_id``, ``date`` (of asking), ``food`` or
        ``food_code``, ``times`` and ``per`` (``day``, ``week``, ``month`` or ``year``), ``grams``
        or ``portions`` each time, and where known ``known_time``.
    table
        The food table.

    Returns
    -------
    DietEvents
        Each answered questionnaire is one day's worth of events, at the date of asking.

    Raises
    ------
    InputError
        As for :func:`food_events`; a frequency in another period.

    Examples
    --------
    >>> import pandas as pd
    >>> from magml.diet import read_food_table
    >>> table = read_food_table(pd.DataFrame({"food": ["Almonds"], "magnesium_mg": [270]}))
    >>> asked = pd.DataFrame({"subject_id": [1], "date": ["2026-01-10"], "food": ["Almonds"],
    ...                       "times": [3.5], "per": ["week"], "grams": [40]})
    >>> found = questionnaire_events(asked, table).events
    >>> float(found[found["code"] == "DIET//magnesium"]["numeric_value"].iloc[0])
    54.0
    """
    what = "questionnaire"
    rows = read_rows(answers, what, ("subject_id", "date", "times", "per"), _FOOD)
    days = rows["per"].astype("string").str.strip().str.lower().map(_PERIODS)
    if days.isna().any():
        raise InputError(
            f"questionnaire: 'per' of row {int(days.isna().to_numpy().argmax()) + 1}",
            f"one of {', '.join(_PERIODS)}",
            "correct it",
        )
    often = numbers(rows, "times", what)
    if often.isna().any():
        raise InputError(
            f"questionnaire: 'times' is blank in {int(often.isna().sum())} rows",
            "how often, 0 for never",
            "fill it in, or leave the row out",
        )
    return _day_events(rows, _grams(rows, table, what) * often / days.astype(float), table, what)


def _grams(rows: pd.DataFrame, table: FoodTable, what: str) -> pd.Series:
    """Return grams of each row, as written or by portions; the food's row becomes ``row``."""
    import pandas as pd

    if "food" not in rows.columns and "food_code" not in rows.columns:
        raise InputError(f"{what}: neither 'food' nor 'food_code'", "one of them", "add it")
    blank = pd.Series(pd.NA, index=rows.index, dtype="string")
    names, codes = (
        rows[name].astype("string") if name in rows.columns else blank
        for name in ("food", "food_code")
    )
    rows["row"] = table.rows_of(codes, names)
    grams, portions = (numbers(rows, name, what) for name in ("grams", "portions"))
    portion = table.foods["portion_g"].reindex(rows["row"]).set_axis(rows.index)
    found = grams.fillna(portions * portion)
    if found.isna().any():
        raise InputError(
            f"{what}: no amount in {int(found.isna().sum())} rows "
            f"(the first is row {int(found.isna().to_numpy().argmax()) + 1})",
            "'grams', or 'portions' of a food whose 'portion_g' the food table holds",
            "fill in grams",
        )
    return found


def _day_events(rows: pd.DataFrame, grams: pd.Series, table: FoodTable, what: str) -> DietEvents:
    """Sum foods by person and day."""
    import pandas as pd

    day, known = day_of(rows, what)
    foods = table.foods.reindex(rows["row"]).set_axis(rows.index)
    whole = pd.DataFrame(
        {"subject_id": people(rows, what), "time": day, "known_time": known, "grams": grams}
    )
    keys = ["subject_id", "time"]
    of_day = whole.groupby(keys)
    days = of_day.agg(known_time=("known_time", "max"), grams=("grams", "sum"))
    made, incomplete = [], {}
    for nutrient in table.nutrients:
        amount = grams / 100.0 * foods[nutrient]
        unknown = grams.where(foods[nutrient].isna(), 0.0)
        total = amount.groupby([whole[key] for key in keys]).sum()
        lacking = unknown.groupby([whole[key] for key in keys]).sum()
        stands = lacking <= UNKNOWN_SHARE * days["grams"]
        if not stands.all():
            incomplete[nutrient] = int((~stands).sum())
        made.append(_rows(days, total[stands], f"DIET//{nutrient}", f"{NUTRIENTS[nutrient]}/d"))
    if table.foods["food"].notna().any():
        for group in food_rules().groups:
            if group == "ultra_processed":
                continue
            total = grams.where(foods[group].astype(bool), 0.0)
            total = total.groupby([whole[key] for key in keys]).sum()
            made.append(_rows(days, total, f"DIET//{group}", "g/d"))
        if "energy" in table.nutrients and "ultra_processed" in foods.columns:
            made.append(_rows(days, _share(whole, foods, grams), "DIET//ultra_processed", "%"))
    found = events(pd.concat(made, ignore_index=True))
    return DietEvents(
        found, int(whole["subject_id"].nunique()), len(days), rows["row"].nunique(), incomplete
    )


def _share(whole: pd.DataFrame, foods: pd.DataFrame, grams: pd.Series) -> pd.Series:
    """Return the per cent of a day's energy from ultra-processed food.

    A food of which neither a category nor a NOVA group is known counts as unknown; a day of
    which more than a twentieth of the energy is unknown has no share.
    """
    energy = grams / 100.0 * foods["energy"]
    judged = foods["category"].notna() | foods["nova"].notna()
    keys = [whole["subject_id"], whole["time"]]
    total = energy.groupby(keys).sum()
    known = energy.where(judged, 0.0).groupby(keys).sum()
    made = energy.where(foods["ultra_processed"].astype(bool), 0.0).groupby(keys).sum()
    stands = (total > 0) & (known >= (1 - UNKNOWN_SHARE) * total)
    return (100.0 * made / known)[stands]


def _rows(days: pd.DataFrame, values: pd.Series, code: str, unit: str) -> pd.DataFrame:
    """Return events of one value a day."""
    found = values.rename("numeric_value").to_frame().join(days["known_time"]).reset_index()
    return found.assign(code=code, unit=unit)
