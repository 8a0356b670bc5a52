"""Diet: what is recommended, what could be absorbed, and what people usually eat."""

from magml.diet.absorption import potential_absorption
from magml.diet.recommended import RecommendedIntake, recommended_intake
from magml.diet.usual import UsualIntake, share_below, usual_intake

__all__ = [
    "RecommendedIntake",
    "UsualIntake",
    "potential_absorption",
    "recommended_intake",
    "share_below",
    "usual_intake",
]
