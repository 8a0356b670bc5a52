"""The depletion score and intake of a surveyed population, beside published figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.definitions import read_catalogue
from magml.definitions.population import PopulationStudy, Variant
from magml.definitions.read import read_population
from magml.diet import recommended_intake, usual_intake
from magml.errors import DefinitionError, InputError, nearest
from magml.features.names import matches
from magml.kidney import ckd_epi_2009, ckd_epi_2021
from magml.models.mds import magnesium_depletion_score
from magml.survey import Estimate, weighted_mean, weighted_proportion

if TYPE_CHECKING:
    import pandas as pd

    from magml.definitions import Catalogue
    from magml.events.table import Events

SEXES = {"men": 0, "women": 1}


@dataclass(frozen=True)
class ScoreRow:
    """The score's distribution by one variant: shares of 0 to 5, and its mean."""

    variant: Variant
    n: int
    shares: tuple[Estimate, ...]
    mean: Estimate
    #: Per cent points that each share lies above the published one.
    differences: tuple[float, ...]

    @property
    def farthest(self) -> float:
        """The greatest difference, in points."""
        return max(abs(one) for one in self.differences)


@dataclass(frozen=True)
class IntakeRow:
    """Mean intake of one sex, and the share below its requirement by variance ratio."""

    sex: str
    n: int
    mean: Estimate
    #: Per cent that the mean lies above the published one.
    difference: float
    below: dict[float, Estimate]


@dataclass(frozen=True)
class PopulationResult:
    """What a study of a population found.

    Attributes
    ----------
    study
        Its definition, with the published figures and tolerances.
    scores
        A row a variant, the default first.
    intakes
        Men and women.
    """

    study: PopulationStudy
    scores: tuple[ScoreRow, ...]
    intakes: tuple[IntakeRow, ...]

    def row(self, variant: Variant) -> ScoreRow:
        """Return the row of a variant."""
        return next(row for row in self.scores if row.variant == variant)

    def explained(self) -> tuple[tuple[float, float, float], ...]:
        """Return, by score, the points that equation and drinking account for, and what remains.

        The first is the default less the same with the equation of `as_published`, the second that
        less `as_published`, the third the difference of `as_published` from the published share.
        """
        choice = self.study.score
        between = choice.default.model_copy(update={"equation": choice.as_published.equation})
        rows = (self.row(one) for one in (choice.default, between, choice.as_published))
        return tuple(
            (first - second, second - third, third)
            for first, second, third in zip(*(row.differences for row in rows), strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as ``--json`` prints them."""
        score, intake = self.study.score, self.study.intake
        return {
            "name": self.study.name,
            "scores": [
                {
                    **row.variant.model_dump(),
                    "default": row.variant == score.default,
                    "n": row.n,
                    "shares": [asdict(one) for one in row.shares],
                    "mean": asdict(row.mean),
                    "differences": list(row.differences),
                    "within": row.farthest <= score.within_points,
                }
                for row in self.scores
            ],
            "explained": [
                {"equation": equation, "drinking": drinking, "rest": rest}
                for equation, drinking, rest in self.explained()
            ],
            "intakes": [
                {
                    "sex": row.sex,
                    "n": row.n,
                    "mean": asdict(row.mean),
                    "difference_percent": row.difference,
                    "within": abs(row.difference) <= intake.within_percent,
                    "below": {f"{ratio:g}": asdict(one) for ratio, one in row.below.items()},
                }
                for row in self.intakes
            ],
        }


def population(study: str | Path, data: Any) -> PopulationResult:
    """Run a study of a population.

    Parameters
    ----------
    study
        A file of ``experiments/`` with ``kind: population``, or its name (``nhanes_mds``).
    data
        Folder of the survey's files.

    Returns
    -------
    PopulationResult
        Estimates with design-based 95% intervals.

    Raises
    ------
    DefinitionError
        If the study does not parse or names a drug concept that does not exist.
    InputError
        If the source is no survey, or nobody is left.

    Notes
    -----
    People: `adults_from` years and older with a reliable first recall; the score needs all its
    items. Weights are those of the first recall, for all variants alike. Who did not answer about
    drugs counts as taking none.
    """
    found = read_population(study)
    people = read_people(found, data)
    if not people["adult"].any():
        raise InputError(
            f"nobody of {found.adults_from:g} years and older with a recall",
            "adults with a reliable day-one recall",
            "check the folder and the cycles",
        )
    scores = tuple(_score(people, found, variant) for variant in found.score.variants)
    intakes = tuple(_intake(people, found, sex) for sex in SEXES)
    return PopulationResult(found, scores, intakes)


def read_people(study: PopulationStudy, data: Any) -> pd.DataFrame:
    """Return one row a person of the design, with what the score and intake need."""
    from magml.sources import open_source
    from magml.sources.nhanes import design

    if study.source.layout != "nhanes":
        raise InputError(
            f"the layout {study.source.layout!r} has no survey weights", "nhanes", "correct it"
        )
    options = dict(study.source.options)
    events = open_source("nhanes", data, **options)
    catalogue = read_catalogue()
    table = events.connection.execute(
        f"""
        SELECT subject_id,
               max(CASE WHEN code = 'VISIT//outpatient' THEN time END) AS examined,
               max(CASE WHEN code = 'MEDS_BIRTH' THEN time END) AS born,
               max((code = 'GENDER//F')::INT) AS female,
               max((code = 'RACE//Black')::INT) AS black,
               max(CASE WHEN code = 'LOINC//2160-0' THEN numeric_value END) AS creatinine,
               arg_min(numeric_value, time) FILTER (code = 'DIET//magnesium') AS magnesium,
               arg_min(numeric_value, time) FILTER (code = 'DIET//alcohol') AS alcohol,
               max(CASE WHEN code = 'DIET//alcohol_usual' THEN numeric_value END) AS usual,
               max(list_contains($diuretic, code)::INT) AS diuretic,
               max(list_contains($ppi, code)::INT) AS ppi,
               min(time) FILTER (code = 'DIET//magnesium') AS recalled
        FROM {events.relation} GROUP BY subject_id
        """,
        {
            "diuretic": drug_codes(events, catalogue, study.score.diuretics),
            "ppi": drug_codes(events, catalogue, study.score.ppi),
        },
    ).df()
    # Of the recall by telephone alone nothing is used here: its weights are others.
    first = table["recalled"] < table["examined"]
    table[["magnesium", "alcohol"]] = table[["magnesium", "alcohol"]].where(first)
    table["age"] = ((table["examined"] - table["born"]).dt.days / 365.25).round()
    people = design(data, "diet", options.get("cycles"))
    people = people.merge(table, on="subject_id", how="left", validate="one_to_one")
    people["adult"] = (people["age"] >= study.adults_from) & people["magnesium"].notna()
    return people


def drug_codes(events: Events, catalogue: Catalogue, wanted: tuple[str, ...]) -> list[str]:
    """Return the source's drug codes that are one of the concepts, or one of the codes, named.

    Raises
    ------
    DefinitionError
        If a concept does not exist.
    """
    concepts = {name for name in wanted if "//" not in name}
    for name in sorted(concepts - catalogue.by_name.keys()):
        raise DefinitionError(
            f"no concept {name!r}", nearest(name, catalogue.by_name), "correct the study"
        )
    drugs = events.connection.execute(
        f"SELECT DISTINCT code FROM {events.relation} WHERE code LIKE 'DRUG//%' ORDER BY code"
    ).fetchall()
    return [
        code
        for (code,) in drugs
        if code in wanted or concepts.intersection(matches(catalogue, code))
    ]


def filtration(equation: str, people: pd.DataFrame) -> NDArray[np.float64]:
    """Return eGFR by the equation named, mL/min/1.73 m2."""
    inputs = people["creatinine"], people["age"], people["female"]
    if equation == "ckd_epi_2021":
        return ckd_epi_2021(*inputs)
    return ckd_epi_2009(*inputs, people["black"] if equation == "ckd_epi_2009" else 0)


def usual(people: pd.DataFrame, group: pd.Series, ratio: float) -> NDArray[np.float64]:
    """Return the group's usual intakes by a variance ratio; NaN outside it and without weight."""
    use = (group & (people["magnesium"] > 0) & (people["weight"] > 0)).to_numpy()
    found = np.full(len(people), np.nan)
    # Persons come back in ascending order, which positions are.
    found[use] = usual_intake(
        people["magnesium"][use],
        np.flatnonzero(use),
        weight=people["weight"][use],
        variance_ratio=ratio,
    ).usual
    return found


def _score(people: pd.DataFrame, study: PopulationStudy, variant: Variant) -> ScoreRow:
    choice = study.score
    recalled = people["alcohol"] / choice.grams_a_drink
    score = magnesium_depletion_score(
        diuretic=people["diuretic"],
        ppi=people["ppi"],
        egfr=filtration(variant.equation, people),
        drinks_per_day=people["usual"] if variant.drinking == "questionnaire" else recalled,
        female=people["female"],
    )
    shares = tuple(
        _estimate(people, np.where(score.isna(), np.nan, score == k), proportion=True)
        for k in range(6)
    )
    mean = _estimate(people, score)
    differences = tuple(
        100 * share.value - published
        for share, published in zip(shares, choice.published.percent, strict=True)
    )
    return ScoreRow(variant, mean.n, shares, mean, differences)


def _intake(people: pd.DataFrame, study: PopulationStudy, sex: str) -> IntakeRow:
    group = (people["female"] == SEXES[sex]) & people["adult"]
    ear = recommended_intake(people["age"], people["female"]).ear
    mean = _estimate(people, people["magnesium"], group)
    below = {}
    for ratio in study.intake.variance_ratios:
        eaten = usual(people, group, ratio)
        low = np.where(np.isnan(eaten), np.nan, eaten < ear)
        below[ratio] = _estimate(people, low, group, proportion=True)
    published = study.intake.published[sex]  # type: ignore[index]
    return IntakeRow(sex, mean.n, mean, 100 * (mean.value / published - 1), below)


def _estimate(
    people: pd.DataFrame,
    values: ArrayLike,
    group: pd.Series | None = None,
    proportion: bool = False,
) -> Estimate:
    """Return the estimate for adults, or a group of them."""
    function = weighted_proportion if proportion else weighted_mean
    domain = people["adult"] if group is None else group
    return function(values, people["weight"], people["stratum"], people["psu"], domain)
