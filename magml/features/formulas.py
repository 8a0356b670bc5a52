"""Formulas of derived features: numpy on float64 columns, NaN where an input is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from magml.diet import potential_absorption, recommended_intake
from magml.errors import DefinitionError, nearest
from magml.kidney import ckd_epi_2021

Column = NDArray[np.float64]

#: 1 mg/dL of creatinine in umol/L.
CREATININE_UMOL_L = 88.4
#: 1 mmol/L in mg/dL: triglycerides as triolein (885.4 g/mol), glucose 180.16 g/mol.
TRIGLYCERIDES_MG_DL = 88.54
GLUCOSE_MG_DL = 18.016
#: Share of serum magnesium that is not bound to protein.
FILTERABLE = 0.7
#: Patterns of contaminated samples, mmol/L: potassium from, calcium to, sodium from, and sodium
#: minus chloride from. Ours, not validated.
EDTA, LOW_CALCIUM, SODIUM, GAP = 6.0, 1.9, 150.0, 50.0
#: Ethanol in a US standard drink, as the Magnesium Depletion Score counts them.
GRAMS_A_DRINK = 14.0


@dataclass(frozen=True)
class Formula:
    """A formula and the inputs it takes.

    `parameters` names its inputs with the unit each must have, None for any; empty for formulas
    of a list, which take at least `least` and at most `most` of them.
    """

    function: Callable[..., Column]
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    least: int = 0
    most: int | None = None


def ratio(numerator: Column, denominator: Column) -> Column:
    """Return numerator / denominator; NaN where the denominator is 0.

    Examples
    --------
    >>> ratio(np.array([6.0, 1.0]), np.array([3.0, 0.0]))
    array([ 2., nan])
    """
    return np.divide(
        numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0
    )


def _difference(first: Column, second: Column) -> Column:
    return first - second


def _sum(*columns: Column) -> Column:
    total = columns[0].copy()
    for column in columns[1:]:
        total += column
    return total


def _sum_known(first: Column, *others: Column) -> Column:
    """Sum; the first must be known, another that is missing counts as none."""
    total = first.copy()
    for column in others:
        total += np.nan_to_num(column, nan=0.0)
    return total


def _product(*columns: Column) -> Column:
    total = columns[0].copy()
    for column in columns[1:]:
        total *= column
    return total


def _greatest(*columns: Column) -> Column:
    total = columns[0]
    for column in columns[1:]:
        total = np.maximum(total, column)
    return total


def _count_active(*columns: Column) -> Column:
    """Count the inputs above 0; one that is missing is not active."""
    total = np.zeros(columns[0].shape)
    for column in columns:
        total += column > 0
    return total


def _anion_gap(sodium: Column, chloride: Column, bicarbonate: Column) -> Column:
    return sodium - chloride - bicarbonate


def _bmi(weight: Column, height: Column) -> Column:
    """kg/m2 from weight in kg and height in cm."""
    return ratio(weight, (height / 100.0) ** 2)


def _per_square_metre(amount: Column, weight: Column, height: Column) -> Column:
    """Divide by the body surface in m2, Mosteller's, from kg and cm; 0 needs no surface."""
    surface = np.sqrt(np.where(weight > 0, weight, np.nan) * height / 3600.0)
    return np.where(amount == 0, 0.0, ratio(amount, surface))


def _first_recorded(*columns: Column) -> Column:
    """Take the first input that is not missing."""
    found = columns[0].copy()
    for column in columns[1:]:
        found = np.where(np.isnan(found), column, found)
    return found


def _per_kg_per_hour(amount: Column, weight: Column, hours: Column) -> Column:
    return ratio(amount, weight * hours)


def _ckd_epi_2021(creatinine: Column, age: Column, female: Column) -> Column:
    """mL/min/1.73 m2 from creatinine in umol/L, the catalogue's unit."""
    return ckd_epi_2021(creatinine / CREATININE_UMOL_L, age, female)


def _per_thousand(amount: Column, of: Column) -> Column:
    return 1000.0 * ratio(amount, of)


def _share_of_ear(
    intake: Column, age: Column, female: Column, pregnant: Column, lactating: Column
) -> Column:
    return ratio(intake, recommended_intake(age, female, pregnant, lactating).ear)


def _share_of_rda(
    intake: Column, age: Column, female: Column, pregnant: Column, lactating: Column
) -> Column:
    return ratio(intake, recommended_intake(age, female, pregnant, lactating).rda)


def _drinks(alcohol: Column) -> Column:
    """Drinks a day from g/d of ethanol."""
    return alcohol / GRAMS_A_DRINK


def _corrected_calcium(calcium: Column, albumin: Column) -> Column:
    return calcium + 0.02 * (40.0 - albumin)


def _tyg_index(triglycerides: Column, glucose: Column) -> Column:
    """ln(triglycerides x glucose / 2), both in mg/dL; the catalogue's units are mmol/L."""
    product = triglycerides * TRIGLYCERIDES_MG_DL * glucose * GLUCOSE_MG_DL
    return np.log(np.where(product > 0, product, np.nan) / 2.0)


def _femg(
    urine_magnesium: Column, magnesium: Column, urine_creatinine: Column, creatinine: Column
) -> Column:
    """Per cent of filtered magnesium that is lost: 70% of it is filterable.

    Creatinine of serum comes in umol/L and of urine in mmol/L.
    """
    lost = urine_magnesium * creatinine / 1000.0
    return 100.0 * ratio(lost, FILTERABLE * magnesium * urine_creatinine)


def _one_draw(first_age: Column, second_age: Column) -> NDArray[np.bool_]:
    """Whether two last values are of one draw: within a minute of each other."""
    return np.abs(first_age - second_age) <= 1.0 / 60.0 + 1e-9


def _edta_pattern(
    potassium: Column, calcium: Column, potassium_age: Column, calcium_age: Column
) -> Column:
    """1 where one draw has much potassium and little calcium, as potassium EDTA makes it."""
    found = ((potassium >= EDTA) & (calcium <= LOW_CALCIUM)).astype(np.float64)
    return np.where(_one_draw(potassium_age, calcium_age), found, np.nan)


def _citrate_pattern(
    sodium: Column, calcium: Column, chloride: Column, sodium_age: Column, calcium_age: Column
) -> Column:
    """1 where one draw has much sodium, little calcium and a wide gap, as sodium citrate does."""
    found = (sodium >= SODIUM) & (calcium <= LOW_CALCIUM) & (sodium - chloride >= GAP)
    known = _one_draw(sodium_age, calcium_age) & np.isfinite(chloride)
    return np.where(known, found.astype(np.float64), np.nan)


def _refeeding_fall(
    phosphate: Column,
    phosphate_before: Column,
    potassium: Column,
    potassium_before: Column,
    enteral: Column,
    parenteral: Column,
) -> Column:
    """Greatest relative fall of phosphate or potassium while fed by tube or vein; else 0."""
    fall = np.fmax(
        1.0 - ratio(phosphate, phosphate_before), 1.0 - ratio(potassium, potassium_before)
    )
    fed = (enteral > 0) | (parenteral > 0)
    return np.where(fed, np.fmax(fall, 0.0 * fall), np.where(np.isnan(fall), np.nan, 0.0))


def _homa_ir(glucose: Column, insulin: Column) -> Column:
    return glucose * insulin / 22.5


_PERSON: dict[str, str | None] = {
    "intake": "mg/d",
    "age": "a",
    "female": None,
    "pregnant": None,
    "lactating": None,
}

FORMULAS: dict[str, Formula] = {
    "absorbed_magnesium": Formula(potential_absorption, {"intake": "mg/d"}),
    "anion_gap": Formula(
        _anion_gap, {"sodium": "mmol/L", "chloride": "mmol/L", "bicarbonate": "mmol/L"}
    ),
    "bmi": Formula(_bmi, {"weight": "kg", "height": "cm"}),
    "citrate_pattern": Formula(
        _citrate_pattern,
        {
            "sodium": "mmol/L",
            "calcium": "mmol/L",
            "chloride": "mmol/L",
            "sodium_age": "h",
            "calcium_age": "h",
        },
    ),
    "ckd_epi_2021": Formula(_ckd_epi_2021, {"creatinine": "umol/L", "age": "a", "female": None}),
    "corrected_calcium": Formula(_corrected_calcium, {"calcium": "mmol/L", "albumin": "g/L"}),
    "count_active": Formula(_count_active, least=1),
    "difference": Formula(_difference, least=2, most=2),
    "drinks": Formula(_drinks, {"alcohol": "g/d"}),
    "edta_pattern": Formula(
        _edta_pattern,
        {"potassium": "mmol/L", "calcium": "mmol/L", "potassium_age": "h", "calcium_age": "h"},
    ),
    "femg": Formula(
        _femg,
        {
            "urine_magnesium": "mmol/L",
            "magnesium": "mmol/L",
            "urine_creatinine": "mmol/L",
            "creatinine": "umol/L",
        },
    ),
    "homa_ir": Formula(_homa_ir, {"glucose": "mmol/L", "insulin": "m[IU]/L"}),
    "maximum": Formula(_greatest, least=1),
    "per_kg_per_hour": Formula(_per_kg_per_hour, {"amount": None, "weight": "kg", "hours": "h"}),
    "per_square_metre": Formula(
        _per_square_metre, {"amount": "mg", "weight": "kg", "height": "cm"}
    ),
    "first_recorded": Formula(_first_recorded, least=2),
    "per_thousand": Formula(_per_thousand, least=2, most=2),
    "product": Formula(_product, least=1),
    "ratio": Formula(ratio, least=2, most=2),
    "refeeding_fall": Formula(
        _refeeding_fall,
        {
            "phosphate": "mmol/L",
            "phosphate_before": "mmol/L",
            "potassium": "mmol/L",
            "potassium_before": "mmol/L",
            "enteral": None,
            "parenteral": None,
        },
    ),
    "share_of_ear": Formula(_share_of_ear, _PERSON),
    "share_of_rda": Formula(_share_of_rda, _PERSON),
    "sum": Formula(_sum, least=1),
    "sum_known": Formula(_sum_known, least=1),
    "tyg_index": Formula(_tyg_index, {"triglycerides": "mmol/L", "glucose": "mmol/L"}),
}


def check_formula(
    name: str,
    formula: str,
    inputs: Sequence[tuple[str | None, str]],
    units: Mapping[str, str | None],
) -> None:
    """Check that a derived feature names a formula that exists and the inputs it takes.

    Parameters
    ----------
    name, formula
        The derived feature and its formula.
    inputs
        ``(parameter, feature)``, the parameter None for formulas of a list.
    units
        Unit of each input feature: a formula with constants holds for one unit only.

    Raises
    ------
    DefinitionError
        Naming the derived feature, and the nearest formula or the inputs expected.
    """
    known = FORMULAS.get(formula)
    if known is None:
        raise DefinitionError(
            f"features: {name}: no formula {formula!r}", nearest(formula, FORMULAS), "correct it"
        )
    given = [key for key, _ in inputs]
    if known.parameters:
        if sorted(str(key) for key in given) != sorted(known.parameters):
            raise DefinitionError(
                f"features: {name}: {formula} was given "
                + (", ".join(str(key) for key in given if key) or "a list"),
                f"the inputs {', '.join(known.parameters)} by name",
                "correct the inputs",
            )
        for key, feature in inputs:
            wanted = known.parameters[str(key)]
            if wanted is not None and units[feature] != wanted:
                raise DefinitionError(
                    f"features: {name}: {feature} is in {units[feature]!r}",
                    f"{wanted!r}, in which {formula} is written",
                    "correct the concept's unit or the formula",
                )
    elif len(inputs) < known.least or (known.most is not None and len(inputs) > known.most):
        raise DefinitionError(
            f"features: {name}: {formula} was given {len(inputs)} inputs",
            f"{known.least}" + ("" if known.most == known.least else " or more"),
            "correct the inputs",
        )


def apply_formula(
    formula: str, inputs: Sequence[tuple[str | None, str]], columns: Mapping[str, Column]
) -> Column:
    """Return a derived feature, float64 [n].

    Parameters
    ----------
    formula
        A name in `FORMULAS`.
    inputs
        ``(parameter, feature)``, the parameter None for formulas of a list.
    columns
        Features by name, float64 [n].

    Examples
    --------
    >>> apply_formula("difference", [(None, "a"), (None, "b")],
    ...               {"a": np.array([3.0]), "b": np.array([1.0])})
    array([2.])
    """
    known = FORMULAS[formula]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        if known.parameters:
            named = {str(key): columns[feature] for key, feature in inputs}
            return known.function(*(named[parameter] for parameter in known.parameters))
        # By position, whatever a definition calls them: a ratio's first is its numerator.
        return known.function(*(columns[feature] for _, feature in inputs))
