"""Diet: what people eat, from foods to features; what is recommended and could be absorbed."""

from magml.diet.absorption import potential_absorption
from magml.diet.composition import FoodTable, read_food_table
from magml.diet.feeding import feeding_events
from magml.diet.form import form_events, write_form
from magml.diet.recommended import RecommendedIntake, recommended_intake
from magml.diet.records import DietEvents, food_events, questionnaire_events
from magml.diet.usual import UsualIntake, share_below, usual_intake

__all__ = [
    "DietEvents",
    "FoodTable",
    "RecommendedIntake",
    "UsualIntake",
    "feeding_events",
    "food_events",
    "form_events",
    "potential_absorption",
    "questionnaire_events",
    "read_food_table",
    "recommended_intake",
    "share_below",
    "usual_intake",
    "write_form",
]
