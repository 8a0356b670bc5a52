"""The reasons for risks: by feature, concept and domain, on two scales that sum exactly."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError, MissingDependencyError
from magml.explanations.shap_values import (
    RISK_TOLERANCE,
    check_sums,
    contributions,
    risk_contributions,
    sum_groups,
)
from magml.explanations.stability import is_stable, ranks
from magml.tables import REASONS

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import shap

    from magml.bundle.model import Model
    from magml.definitions import Catalogue, Feature
    from magml.explanations.reference import Position, ReferenceCohort
    from magml.features import FeatureMatrix

Level = Literal["feature", "concept", "domain"]
LEVELS: tuple[Level, ...] = ("feature", "concept", "domain")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Reasons for the risks of n prediction times under a model of p features.

    They describe what the model used, not what caused a patient's magnesium to be low.

    Attributes
    ----------
    subject_id, prediction_time
        Who and when, shape (n,).
    base, base_risk
        Where every explanation starts: the model's expected log-odds, and its calibrated risk.
    margin, risk
        Log-odds and calibrated risk of each row, shape (n,).
    log_odds
        Exact SHAP values of the mean margin, shape (n, p); ``base + log_odds.sum(1)`` is
        `margin`.
    risks
        The same on the scale of risk, shape (n, p): each row multiplied by (risk - base risk) /
        (margin - base), so that ``base_risk + risks.sum(1)`` is `risk`.
    values
        Feature values, shape (n, p); NaN is missing.
    stability
        By level (``feature``, ``concept``, ``domain``), the share of members that agree with the
        sign of the mean, shape (n, number of groups).
    schema
        The p features.
    catalogue
        The model's catalogue.
    title
        The model's title.
    evidence
        By (row, feature), the recorded rows behind it as text (`magml.explanations.evidence`);
        what is not among them was not looked up.
    ranks
        By level, between which places by size most members put each reason, shape (n, number of
        groups, 2); empty where it was not computed.
    matrix
        The plan's matrix of these rows, for `magml.explanations.missing_tests` and
        `magml.explanations.what_if`.
    reference
        Percentiles of the cohort; None where the bundle holds none.
    """

    subject_id: NDArray[np.int64]
    prediction_time: NDArray[np.datetime64]
    base: float
    base_risk: float
    margin: NDArray[np.float64]
    risk: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    risks: NDArray[np.float64]
    values: NDArray[np.float32]
    stability: Mapping[str, NDArray[np.float32]]
    schema: tuple[Feature, ...]
    catalogue: Catalogue
    title: str = ""
    evidence: Mapping[tuple[int, str], str] = field(default_factory=dict)
    ranks: Mapping[str, NDArray[np.int16]] = field(default_factory=dict)
    matrix: FeatureMatrix | None = None
    reference: ReferenceCohort | None = None

    @property
    def n(self) -> int:
        """Number of prediction times."""
        return len(self.subject_id)

    def __len__(self) -> int:
        return len(self.subject_id)

    def __repr__(self) -> str:
        return f"Explanation({len(self)} rows, {len(self.schema)} features)"

    @cached_property
    def features(self) -> pd.DataFrame:
        """Every feature of every row: value, both contributions, stability, in model order."""
        import pandas as pd

        n, p = self.log_odds.shape
        columns = {
            "domain": [feature.domain for feature in self.schema],
            "concept": [feature.concept for feature in self.schema],
            "feature": [feature.name for feature in self.schema],
            "label": [feature.label for feature in self.schema],
            "unit": [feature.unit for feature in self.schema],
        }
        repeated = {k: np.tile(np.array(v, dtype=object), n) for k, v in columns.items()}
        return pd.DataFrame(
            {
                "subject_id": np.repeat(self.subject_id, p),
                "prediction_time": np.repeat(self.prediction_time, p),
                **{key: repeated[key] for key in ("domain", "concept", "feature", "label")},
                "value": self.values.astype(np.float64).ravel(),
                "unit": repeated["unit"],
                "log_odds": self.log_odds.ravel(),
                "risk": self.risks.ravel(),
                "stability": self.stability["feature"].astype(np.float64).ravel(),
                **self._steadiness("feature"),
            }
        )

    @cached_property
    def concepts(self) -> pd.DataFrame:
        """Sums by concept: contributions, stability, whether modifiable, direction, citations."""
        table = self._grouped("concept")
        names = self.groups("concept")
        items = [self.catalogue.described(n) for n in names]
        rows = len(self)
        table.insert(2, "domain", np.tile(np.array([n.split(".")[0] for n in names]), rows))
        table.insert(4, "label", np.tile(np.array([item.label for item in items]), rows))
        table["modifiable"] = np.tile(np.array([item.modifiable for item in items]), rows)
        table["direction"] = np.tile(np.array([item.direction for item in items]), rows)
        cited = [self._citations(item.evidence) for item in items]
        table["citations"] = np.tile(np.array(cited, dtype=object), rows)
        return table

    @cached_property
    def domains(self) -> pd.DataFrame:
        """Sums by domain: contributions to log-odds and risk, and stability."""
        return self._grouped("domain")

    def reasons(self, top: int | None = None, *, rows: slice = slice(None)) -> pd.DataFrame:
        """Return the long table of reasons, the largest first within each row.

        Parameters
        ----------
        top
            Keep at most this many features of each row; default all that contribute. Without
            `top` the contributions of a row sum to its log-odds and risk minus the base.
        rows
            Prediction times whose reasons are wanted; default all. The whole table of many takes
            far more memory than the explanation.

        Returns
        -------
        pandas.DataFrame
            The columns of `magml.tables.REASONS`; `evidence` is null where it was not looked up
            and empty where nothing is recorded. A prediction time to which no feature
            contributes has no reasons.
        """
        import pandas as pd

        size = np.abs(self.log_odds[rows])
        order = np.argsort(-size, axis=1, kind="stable")[:, :top]
        row = np.repeat(np.arange(len(self))[rows], order.shape[1])
        column = order.ravel()
        kept = self.log_odds[row, column] != 0
        row, column = row[kept], column[kept]

        def named(values: list[Any]) -> NDArray[np.object_]:
            return np.array(values, dtype=object)[column]

        names = named([feature.name for feature in self.schema])
        table = pd.DataFrame(
            {
                "subject_id": self.subject_id[row],
                "prediction_time": self.prediction_time[row],
                "domain": named([feature.domain for feature in self.schema]),
                "concept": named([feature.concept for feature in self.schema]),
                "feature": names,
                "value": self.values[row, column].astype(np.float64),
                "unit": named([feature.unit for feature in self.schema]),
                "log_odds": self.log_odds[row, column],
                "risk": self.risks[row, column],
                "stability": self.stability["feature"][row, column].astype(np.float64),
                "evidence": [
                    self.evidence.get((int(r), name)) for r, name in zip(row, names, strict=True)
                ],
            }
        )
        return table[list(REASONS.names)]

    def groups(self, level: Level) -> tuple[str, ...]:
        """Return the names at a level, in the order of the columns of `stability`."""
        return tuple(dict.fromkeys(_names(self.schema, level)))

    def stable(self, level: Level) -> NDArray[np.bool_]:
        """Return which reasons are stable in direction and place, shape (n, number of groups).

        The others are to be shown as undecided (`magml.explanations.stability.is_stable`).
        """
        place = ranks(self.at_level(level)[1])
        places = self.ranks.get(level)
        if places is None:
            places = np.repeat(place[..., None], 2, axis=-1)
        return is_stable(self.stability[level], place, places)

    def position(self, row: int, feature: str) -> Position | None:
        """Return where a row's value of a feature lies in the cohort; None where it is missing.

        Examples
        --------
        >>> why.position(0, "lab.potassium.last").words()      # doctest: +SKIP
        'percentile 12 of the cohort'
        """
        if self.reference is None:
            return None
        column = next(k for k, known in enumerate(self.schema) if known.name == feature)
        return self.reference.position(feature, float(self.values[row, column]))

    def at_level(
        self, level: Level
    ) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
        """Return names at a level and the sums of log-odds and risk, each (n, g)."""
        if level not in LEVELS:
            raise InputError(f"the level {level!r}", f"one of {', '.join(LEVELS)}")
        groups, names = group_of(self.schema, level)
        size = len(names)
        return (
            names,
            sum_groups(self.log_odds, groups, size),
            sum_groups(self.risks, groups, size),
        )

    def to_shap(self) -> shap.Explanation:
        """Return the contributions as a ``shap.Explanation``, for any of shap's plots.

        Raises
        ------
        MissingDependencyError
            If shap is not installed.
        """
        try:
            import shap
        except ImportError as error:
            raise MissingDependencyError(
                "shap is not installed", "the extra shap", "pip install 'magml[shap]'"
            ) from error
        return shap.Explanation(
            values=self.log_odds,
            base_values=np.full(len(self), self.base),
            data=self.values,
            feature_names=[feature.name for feature in self.schema],
            output_names=None,
        )

    def plot(
        self,
        row: int = 0,
        *,
        level: Level = "concept",
        scale: Literal["risk", "log_odds"] = "risk",
        top: int = 10,
        path: str | os.PathLike[str],
    ) -> Path:
        """Draw one row's reasons as a waterfall and return the PNG's path.

        Parameters
        ----------
        row
            Position of the row, 0 .. n - 1.
        level
            ``feature``, ``concept`` or ``domain``.
        scale
            ``risk`` or ``log_odds``.
        top
            Reasons drawn one by one; the others are summed in one bar.
        path
            File to write.

        Raises
        ------
        InputError
            If there is no such row, level or scale.
        """
        from magml.explanations.waterfall import draw_waterfall

        return draw_waterfall(self, row, level=level, scale=scale, top=top, path=path)

    def _grouped(self, level: Level) -> pd.DataFrame:
        """Return sums at a level as a tidy table."""
        import pandas as pd

        names, log_odds, risks = self.at_level(level)
        size = len(names)
        return pd.DataFrame(
            {
                "subject_id": np.repeat(self.subject_id, size),
                "prediction_time": np.repeat(self.prediction_time, size),
                level: np.tile(np.array(names, dtype=object), len(self)),
                "log_odds": log_odds.ravel(),
                "risk": risks.ravel(),
                "stability": self.stability[level].astype(np.float64).ravel(),
                **self._steadiness(level),
            }
        )

    def _steadiness(self, level: Level) -> dict[str, NDArray[Any]]:
        """Return the columns that say how far a reason's place is settled."""
        found: dict[str, NDArray[Any]] = {"stable": self.stable(level).ravel()}
        if level in self.ranks:
            found["rank_low"] = self.ranks[level][..., 0].ravel()
            found["rank_high"] = self.ranks[level][..., 1].ravel()
        return found

    def _citations(self, keys: tuple[str, ...]) -> str:
        """Return the citations of reference keys in one text."""
        known = self.catalogue.references
        return "; ".join(known[key].citation for key in keys if key in known)


def explain(model: Model, matrix: FeatureMatrix) -> Explanation:
    """Explain every row of a model's feature matrix.

    Parameters
    ----------
    model
        The model.
    matrix
        The matrix of its plan (`Model.build`).

    Returns
    -------
    Explanation

    Raises
    ------
    MagmlError
        If contributions do not sum to a row's log-odds within 1e-5, or risk within 1e-6.
    """
    X = model.columns(matrix.values)
    schema, base = model.schema, model.baseline.base
    levels = {level: group_of(schema, level)[0] for level in ("concept", "domain")}
    found = contributions(model.bag, X, base, levels)
    risks, risk = risk_contributions(found.log_odds, base, model.calibrator)
    check_sums(risk, model.calibrator.risk(found.margin), RISK_TOLERANCE, "risk")
    return Explanation(
        subject_id=matrix.subject_id,
        prediction_time=matrix.prediction_time,
        base=base,
        base_risk=float(model.calibrator.risk(base)),
        margin=found.margin,
        risk=risk,
        log_odds=found.log_odds,
        risks=risks,
        values=X,
        stability=found.stability,
        schema=schema,
        catalogue=model.catalogue,
        title=model.definition.title,
        ranks=found.ranks,
        matrix=matrix,
        reference=model.reference,
    )


def group_of(
    schema: tuple[Feature, ...], level: Literal["feature", "concept", "domain"] | str
) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Return each feature's group at a level, and the groups' names in order of appearance."""
    names = _names(schema, level)
    unique = tuple(dict.fromkeys(names))
    place = {name: number for number, name in enumerate(unique)}
    return np.array([place[name] for name in names], dtype=np.intp), unique


def _names(schema: tuple[Feature, ...], level: str) -> list[str]:
    """Return each feature's name at a level."""
    if level == "feature":
        return [feature.name for feature in schema]
    return [feature.concept if level == "concept" else feature.domain for feature in schema]
