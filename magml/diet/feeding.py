"""Nutrition in hospital: days without feeding, magnesium given, and feeding again after a fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magml.diet.composition import FoodTable
from magml.diet.records import DietEvents
from magml.diet.rows import events, moments, numbers, people, read_rows
from magml.diet.rules import food_rules
from magml.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

ROUTES = ("oral", "enteral", "parenteral", "none")
_KNOWN = ("end", "route", "product", "volume_ml", "energy_kcal", "magnesium_mg", "known_time")


def feeding_events(charted: Any, products: FoodTable | None = None) -> DietEvents:
    """Return a day's nutrition in hospital from an intake chart.

    Parameters
    ----------
    charted
        Path or DataFrame, one row what was given: ``subject_id``, ``start``, ``end`` (spread
        evenly over the time between; default a moment), ``route`` (``oral``, ``enteral``,
        ``parenteral``, or ``none`` for nothing by mouth), and ``energy_kcal`` and
        ``magnesium_mg``, or ``product`` with ``volume_ml`` and `products`. From a person's first
        row to the last, a day without feeding is one on which nothing was charted or it was
        charted that nothing was given: chart ``none`` from admission on.
    products
        Table of formulas as a food table, its nutrients **per 100 mL**.

    Returns
    -------
    DietEvents
        For each calendar day: ``DIET//fed_energy`` (kcal/d), ``DIET//enteral_magnesium`` and
        ``DIET//parenteral_magnesium`` (mg/d), ``DIET//days_without_feeding`` (days in a row up to
        this one, 0 on a day with feeding), and ``DIET//refeeding`` on the days of feeding again
        after a fast. Each is known when the day is over, or at `known_time` if later.

    Raises
    ------
    InputError
        A column, number, date or route that does not fit; an amount that cannot be known.

    Notes
    -----
    The rules (below how much energy a day is one without feeding, how long a fast, how many days
    of feeding again) stand in ``features/foods.yaml``: more than 5 days of little or no intake
    after NICE CG32, 5 days after ASPEN 2020 (da Silva JSV et al., Nutr Clin Pract 2020;35:178-95).

    Examples
    --------
    >>> import pandas as pd
    >>> chart = pd.DataFrame({
    ...     "subject_id": [1, 1], "start": ["2026-01-01 08:00", "2026-01-08 08:00"],
    ...     "route": ["none", "enteral"], "energy_kcal": [0, 1500], "magnesium_mg": [0, 300]})
    >>> found = feeding_events(chart).events
    >>> found[found["code"] == "DIET//days_without_feeding"]["numeric_value"].tolist()
    [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0]
    >>> int((found["code"] == "DIET//refeeding").sum())
    1
    """
    import pandas as pd

    what = "intake chart"
    rows = read_rows(charted, what, ("subject_id", "start", "route"), _KNOWN)
    route = rows["route"].astype("string").str.strip().str.lower()
    if not route.isin(ROUTES).all():
        raise InputError(
            f"intake chart: 'route' of row {int((~route.isin(ROUTES)).to_numpy().argmax()) + 1}",
            f"one of {', '.join(ROUTES)}",
            "correct it",
        )
    start, end = (moments(rows, name, what) for name in ("start", "end"))
    end = end.fillna(start)
    if start.isna().any() or (end < start).any():
        raise InputError(
            f"intake chart: {int((start.isna() | (end < start)).sum())} rows without a start, or "
            "that end before it",
            "start, and an end not before it",
            "correct the rows",
        )
    energy, magnesium = _amounts(rows, route, products, what)
    whole = pd.DataFrame(
        {
            "subject_id": people(rows, what),
            "start": start,
            "end": end,
            "known_time": moments(rows, "known_time", what),
            "fed_energy": energy,
            "enteral_magnesium": magnesium.where(route == "enteral", 0.0),
            "parenteral_magnesium": magnesium.where(route == "parenteral", 0.0),
        }
    )
    days = _days(whole)
    made = [
        days.assign(code=f"DIET//{name}", numeric_value=days[name], unit=unit)
        for name, unit in (
            ("fed_energy", "kcal/d"),
            ("enteral_magnesium", "mg/d"),
            ("parenteral_magnesium", "mg/d"),
            ("days_without_feeding", "d"),
        )
    ]
    made.append(days[days["refeeding"]].assign(code="DIET//refeeding"))
    found = pd.concat(made, ignore_index=True)
    found = found[found["numeric_value"].notna() | (found["code"] == "DIET//refeeding")]
    return DietEvents(events(found), int(days["subject_id"].nunique()), len(days), 0, {})


def _amounts(
    rows: pd.DataFrame, route: pd.Series, products: FoodTable | None, what: str
) -> tuple[pd.Series, pd.Series]:
    """Return energy and magnesium of each row, as charted or by product and volume."""
    import pandas as pd

    volume = numbers(rows, "volume_ml", what)
    given = {name: numbers(rows, name, what) for name in ("energy_kcal", "magnesium_mg")}
    if products is not None and "product" in rows.columns:
        named = rows["product"].astype("string")
        use = named.notna() & volume.notna()
        blank = pd.Series(pd.NA, index=rows.index[use], dtype="string")
        content = products.foods.reindex(products.rows_of(blank, named[use]))
        for name, nutrient in (("energy_kcal", "energy"), ("magnesium_mg", "magnesium")):
            if nutrient in products.nutrients:
                amount = content[nutrient].set_axis(rows.index[use]) * volume[use] / 100.0
                given[name] = given[name].fillna(amount.reindex(rows.index))
    nothing = route == "none"
    energy = given["energy_kcal"].where(~nothing, 0.0)
    if energy.isna().any():
        raise InputError(
            f"intake chart: no energy in {int(energy.isna().sum())} rows "
            f"(the first is row {int(energy.isna().to_numpy().argmax()) + 1})",
            "'energy_kcal', or 'product' and 'volume_ml' with a table of products",
            "fill it in: without it a day of feeding cannot be told from one without",
        )
    return energy, given["magnesium_mg"].where(~nothing, 0.0)


def _days(whole: pd.DataFrame) -> pd.DataFrame:
    """Spread rows over calendar days, and count fasts and feeding again."""
    import pandas as pd

    rules = food_rules().feeding
    first, last = whole["start"].dt.normalize(), whole["end"].dt.normalize()
    # An end at midnight belongs to the day before.
    last = last.where((whole["end"] > last) | (last == first), last - pd.Timedelta(days=1))
    spans = _each_day(whole.assign(day=first), (last - first).dt.days)
    next_day = spans["day"] + pd.Timedelta(days=1)
    inside = spans["end"].clip(upper=next_day) - spans["start"].clip(lower=spans["day"])
    length = (spans["end"] - spans["start"]).dt.total_seconds()
    share = (inside.dt.total_seconds() / length.where(length > 0)).fillna(1.0)
    names = ["fed_energy", "enteral_magnesium", "parenteral_magnesium"]
    spans[names] = spans[names].mul(share, axis=0)
    keys = ["subject_id", "day"]
    grouped = spans.groupby(keys)
    days = grouped[names].sum(min_count=1)
    # One amount that is not known makes the day's magnesium unknown.
    unknown = spans[names[1:]].isna().groupby([spans[key] for key in keys]).any()
    for name in names[1:]:
        days[name] = days[name].where(~unknown[name])
    days["late"] = grouped["known_time"].max()
    ranges = days.reset_index().groupby("subject_id")["day"].agg(["min", "max"])
    whole_stay = ranges["min"].rename("day").reset_index()
    every = _each_day(whole_stay, (ranges["max"] - ranges["min"]).dt.days.reset_index(drop=True))
    days = days.reindex(pd.MultiIndex.from_frame(every[keys]))
    days[names] = days[names].where(days["fed_energy"].notna(), 0.0)
    days = days.reset_index()
    fed = days["fed_energy"] >= rules.fed_from
    block = fed.groupby(days["subject_id"]).cumsum()
    unfed = (~fed).groupby([days["subject_id"], block]).cumsum()
    days["days_without_feeding"] = unfed.astype(float)
    days["refeeding"] = _refeeding(days, fed, rules.unfed_days, rules.refeeding_days)
    over = days["day"] + pd.Timedelta(days=1)
    return days.assign(
        time=days["day"], known_time=over.where(~(days["late"] > over), days["late"])
    )


def _each_day(rows: pd.DataFrame, more: pd.Series) -> pd.DataFrame:
    """Repeat rows for each of `more` days after their ``day``, which counts up."""
    import pandas as pd

    found = rows.loc[rows.index.repeat(more + 1)]
    days = found.groupby(level=0).cumcount().to_numpy()
    found = found.reset_index(drop=True)
    return found.assign(day=found["day"] + pd.to_timedelta(days, unit="D"))


def _refeeding(days: pd.DataFrame, fed: pd.Series, fast: int, window: int) -> pd.Series:
    """Return the days of feeding within `window` days of the end of a fast longer than `fast`."""
    found, since, run, person = [], None, 0, None
    for one, eats in zip(days["subject_id"], fed, strict=True):
        if one != person:
            person, since, run = one, None, 0
        if eats:
            since = 1 if run > fast else (None if since is None else since + 1)
            run = 0
        else:
            run += 1
            since = None if since is None else since + 1
        found.append(bool(eats and since is not None and since <= window))
    import pandas as pd

    return pd.Series(found, index=days.index)
