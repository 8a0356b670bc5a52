"""The form: a diet history that somebody fills in by hand, one row a person and day of asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magml.diet.records import DietEvents
from magml.diet.rows import day_of, events, numbers, people, read_rows
from magml.diet.rules import food_rules
from magml.errors import InputError
from magml.files import atomic_file

if TYPE_CHECKING:
    import pandas as pd

_SEXES = {"f": "F", "female": "F", "w": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}
_YES = {"yes": True, "y": True, "1": True, "true": True}
_NO = {"no": False, "n": False, "0": False, "false": False}
#: Columns beside those of ``features/foods.yaml``, and what they mean.
PERSON = {
    "subject_id": "the person's number, as in your other records",
    "date": "day of asking, such as 2026-01-31",
    "known_time": "when it was entered, if later than that day",
    "birth_year": "year of birth",
    "sex": "F or M",
    "pregnant": "yes or no",
    "breastfeeding": "yes or no",
    "water_litres_per_day": "drinking water, tap or bottled",
    "water_magnesium_mg_per_litre": "as the label or the water supplier states it",
}


def form_events(answers: Any) -> DietEvents:
    """Return events of filled-in forms.

    Parameters
    ----------
    answers
        Path or DataFrame with ``subject_id``, ``date``, and any of the columns that
        :func:`write_form` writes; blank where it is not known.

    Returns
    -------
    DietEvents
        Intakes a day, drinks a day, weight and height; birth, sex, pregnancy and breastfeeding
        where given. A person with several forms has one birth and sex.

    Raises
    ------
    InputError
        A column, number, date or answer that does not fit; two births or sexes of one person;
        water without its magnesium.

    Examples
    --------
    >>> import pandas as pd
    >>> found = form_events(pd.DataFrame({"subject_id": [1], "date": ["2026-01-10"],
    ...     "water_litres_per_day": [1.5], "water_magnesium_mg_per_litre": [40],
    ...     "drinks_per_week": [7]})).events
    >>> found[["code", "numeric_value", "unit"]].round(6).values.tolist()
    [['DIET//alcohol_usual', 1.0, 'drinks/d'], ['DIET//magnesium_water', 60.0, 'mg/d']]
    """
    import pandas as pd

    what, fields = "form", food_rules().form
    rows = read_rows(answers, what, ("subject_id", "date"), (*PERSON, *fields))
    day, known = day_of(rows, what)
    base = pd.DataFrame({"subject_id": people(rows, what), "time": day, "known_time": known})
    if base.duplicated(["subject_id", "time"]).any():
        raise InputError(
            f"form: {int(base.duplicated(['subject_id', 'time']).sum())} rows of a person and day "
            "that already has one",
            "one row a person and day of asking",
            "merge them",
        )
    made = []
    for name, field in fields.items():
        value = numbers(rows, name, what) * field.times
        made.append(base.assign(code=field.code, numeric_value=value, unit=field.unit))
    litres, content = (
        numbers(rows, name, what)
        for name in ("water_litres_per_day", "water_magnesium_mg_per_litre")
    )
    if (litres.notna() & content.isna()).any():
        raise InputError(
            "form: litres of water without 'water_magnesium_mg_per_litre'",
            "what the label or the supplier states; tap water varies from 0 to above 50",
            "fill it in, or leave the litres blank",
        )
    made.append(
        base.assign(code="DIET//magnesium_water", numeric_value=litres * content, unit="mg/d")
    )
    whole = pd.concat(made, ignore_index=True)
    whole = whole[whole["numeric_value"].notna()]
    whole = pd.concat([whole, *_conditions(rows, base), *_person(rows, base)], ignore_index=True)
    if whole.empty:
        raise InputError("form: no answer in any row", "one at least", "fill it in")
    days = len(base)
    return DietEvents(events(whole), int(base["subject_id"].nunique()), days, 0, {})


def write_form(path: Any) -> None:
    """Write an empty form: a header line, as CSV.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> target = Path(tempfile.mkdtemp()) / "form.csv"
    >>> write_form(target)
    >>> target.read_text()[:30]
    'subject_id,date,known_time,bir'
    """
    with atomic_file(path) as beside:
        beside.write_text(",".join((*PERSON, *food_rules().form)) + "\n", encoding="utf-8")


def _conditions(rows: pd.DataFrame, base: pd.DataFrame) -> list[pd.DataFrame]:
    """Return pregnancies and breastfeeding that were answered with yes."""
    made = []
    for column, code in (("pregnant", "pregnancy"), ("breastfeeding", "breastfeeding")):
        if column in rows.columns:
            answer = _answers(rows[column], column, {**_YES, **_NO}, "yes or no, or blank")
            made.append(base[answer == True].assign(code=f"CONDITION//{code}"))  # noqa: E712
    return made


def _person(rows: pd.DataFrame, base: pd.DataFrame) -> list[pd.DataFrame]:
    """Return births (the middle of the year) and sexes, one a person."""
    import pandas as pd

    made = []
    if "birth_year" in rows.columns:
        year = numbers(rows, "birth_year", "form", low=1900)
        if (late := year > day_of(rows, "form")[0].dt.year).any():
            raise InputError(
                f"form: 'birth_year' of row {int(late.to_numpy().argmax()) + 1} lies after 'date'",
                "the year of birth",
                "correct it",
            )
        born = pd.to_datetime(year.dropna().astype(int).astype(str) + "-07-01")
        made.append(
            pd.DataFrame({"subject_id": base["subject_id"], "time": born}).assign(
                code="MEDS_BIRTH", known_time=born
            )
        )
    if "sex" in rows.columns:
        sex = _answers(rows["sex"], "sex", _SEXES, "F or M, or blank")
        made.append(pd.DataFrame({"subject_id": base["subject_id"], "code": "GENDER//" + sex}))
    kept = []
    for table in made:
        column = "time" if "time" in table.columns else "code"
        table = table[table[column].notna()].drop_duplicates(["subject_id", column])
        if table["subject_id"].duplicated().any():
            raise InputError(
                f"form: {int(table['subject_id'].duplicated().sum())} people with two "
                + ("years of birth" if column == "time" else "sexes"),
                "the same in all forms of a person",
                "correct the rows",
            )
        kept.append(table)
    return kept


def _answers(given: pd.Series, name: str, known: dict[str, Any], expected: str) -> pd.Series:
    """Return answers in words as values; blank is missing."""
    text = given.astype("string").str.strip().str.lower().str.removesuffix(".0")
    blank = text.isna() | (text == "")
    wrong = ~blank & ~text.isin(list(known))
    if wrong.any():
        raise InputError(
            f"form: '{name}' of row {int(wrong.to_numpy().argmax()) + 1}", expected, "correct it"
        )
    return text.astype(object).map(known).where(~blank, None)
