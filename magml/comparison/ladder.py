"""The ladder: models of rising information, on the same rows, folds and calibration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from magml.definitions import Catalogue
from magml.models.nested import MODEL

if TYPE_CHECKING:
    from magml.experiments.study import Study
    from magml.models.nested import NestedResult

SERUM = "lab.magnesium"
WITHOUT, WITH = "full without serum", "full with serum"
#: Rungs by the baseline or model behind them, from the bottom up.
TITLES: dict[str, str] = {
    "age_sex": "age + sex",
    "weight_age_sex": "weight + age + sex",
    "last_magnesium": "serum magnesium",
    "magnesium_depletion_score": "MDS + age + sex",
    "last_magnesium_and_score": "serum + MDS + age + sex",
    WITHOUT: WITHOUT,
    WITH: WITH,
    "logistic": "logistic, full features",
}
REGRESSIONS = tuple(name for name in TITLES if name not in (WITHOUT, WITH))
#: Which rung is compared with which: the one that knows more first.
STEPS: tuple[tuple[str, str], ...] = (
    ("MDS + age + sex", "age + sex"),
    ("serum + MDS + age + sex", "serum magnesium"),
    ("serum + MDS + age + sex", "MDS + age + sex"),
    (WITHOUT, "weight + age + sex"),
    (WITHOUT, "serum magnesium"),
    (WITHOUT, "MDS + age + sex"),
    (WITHOUT, "serum + MDS + age + sex"),
    (WITHOUT, "logistic, full features"),
    (WITH, "weight + age + sex"),
    (WITH, "serum magnesium"),
    (WITH, "serum + MDS + age + sex"),
    (WITH, WITHOUT),
    (WITH, "logistic, full features"),
)


@dataclass(frozen=True)
class Rung:
    """One model of the ladder.

    Attributes
    ----------
    title
        Its name in tables.
    reason
        Why the data do not allow it; empty where they do.
    note
        What the reader should know of it, such as items of a score that were not recorded.
    """

    title: str
    reason: str = ""
    note: str = ""

    @property
    def computable(self) -> bool:
        """Whether the data allow it."""
        return not self.reason


def serum_features(catalogue: Catalogue, names: Iterable[str]) -> tuple[str, ...]:
    """Return the features that know of serum magnesium, those derived from it among them.

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> serum_features(read_catalogue(), ["lab.magnesium.last", "lab.potassium.last"])
    ('lab.magnesium.last',)
    """

    def knows(name: str) -> bool:
        feature = catalogue.features[name]
        if feature.derived:
            return any(knows(needed) for needed in catalogue.derived[name].input_names)
        return feature.concept == SERUM

    return tuple(name for name in names if knows(name))


@dataclass(frozen=True)
class FullModels:
    """What the two full models see, and which of them is the study's own.

    Attributes
    ----------
    own
        Title of the rung that the study's model is.
    variant
        Features of the other one; None where there is none.
    reason
        Why there is no full model with serum; empty where there is one.
    """

    own: str
    variant: tuple[str, ...] | None
    reason: str


def full_models(study: Study) -> FullModels:
    """Tell the full model with serum from the one without."""
    serum = serum_features(study.definitions.catalogue, study.features)
    kept = study.rows.evaluated
    if not serum:
        why = (
            "a screening model never sees its outcome's analyte"
            if study.definitions.model.screening
            else "the model's definition leaves serum magnesium out"
        )
        return FullModels(WITHOUT, None, why)
    if all(_constant(study.matrix.column(name)[kept]) for name in serum):
        return FullModels(WITHOUT, None, "no earlier magnesium is known for anybody")
    without = tuple(name for name in study.features if name not in set(serum))
    return FullModels(WITH, without, "")


def rungs_of(nested: NestedResult, models: FullModels) -> tuple[Rung, ...]:
    """Return the ladder with the reasons and notes of its rungs."""
    notes: dict[str, str] = {}
    for fold in nested.folds:
        for name, note in fold.notes.items():
            notes.setdefault(name, note)
    found = []
    for name, title in TITLES.items():
        if name == WITH:
            found.append(Rung(title, models.reason))
        elif name == WITHOUT:
            found.append(Rung(title))
        else:
            reason = nested.not_computable.get(name, "")
            note = "" if reason or name == "logistic" else notes.get(name, "")
            found.append(Rung(title, reason, note))
    return tuple(found)


def risks_of(nested: NestedResult, models: FullModels) -> dict[str, np.ndarray]:
    """Return the tested rows' risks by the title of the rung, from the bottom up."""
    kept = nested.fold >= 0
    by_title = {
        (models.own if name == MODEL else TITLES.get(name, name)): risk[kept]
        for name, risk in nested.risks.items()
    }
    return {title: by_title[title] for title in TITLES.values() if title in by_title}


def _constant(column: np.ndarray) -> bool:
    """Return whether a column holds no two values, gaps apart."""
    seen = column[~np.isnan(column)]
    return not len(seen) or bool(seen.min() == seen.max())
