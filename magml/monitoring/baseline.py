"""What a model expects of the people it meets: from its training, or from a time of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.errors import InputError
from magml.evaluation.checks import SMALL_CELL
from magml.monitoring.distribution import Distribution
from magml.monitoring.records import CodeUse, code_uses

if TYPE_CHECKING:
    from magml.bundle import Model
    from magml.definitions.model import Band
    from magml.events import Events
    from magml.features import Plan

_FORMAT = 1


@dataclass(frozen=True)
class Baseline:
    """What is expected.

    Attributes
    ----------
    origin
        In words: ``training``, or until when the rows of one's own were taken.
    features
        By name, the distribution of each feature.
    risk
        The distribution of the risks; None where nobody's risk was predicted out of fold.
    bands
        Share of rows in each band, by name.
    codes
        Codes and units of each concept.
    """

    origin: str
    features: Mapping[str, Distribution]
    risk: Distribution | None
    bands: Mapping[str, float]
    codes: tuple[CodeUse, ...]

    @classmethod
    def of(
        cls,
        origin: str,
        values: NDArray[np.float32],
        names: Sequence[str],
        persons: ArrayLike,
        risk: ArrayLike,
        bands: Sequence[Band],
        codes: Sequence[CodeUse],
    ) -> Baseline:
        """Return what rows of a feature matrix, their risks and records are like.

        Parameters
        ----------
        origin
            Where they are from, in words.
        values, names
            Feature matrix, shape (n, p), and its columns.
        persons
            Person of each row, shape (n,).
        risk
            Calibrated risks, shape (n,); NaN where there is none.
        bands
            Bands of the model.
        codes
            What `code_uses` returned.
        """
        persons, risks = np.asarray(persons), np.asarray(risk, dtype=np.float64)
        there = ~np.isnan(risks)
        bounds = np.array([band.at_least for band in bands])
        place = np.searchsorted(bounds, risks[there], "right") - 1
        shares = np.bincount(place, minlength=len(bands)) / max(1, int(there.sum()))
        return cls(
            origin,
            {
                name: Distribution.of(values[:, number], persons)
                for number, name in enumerate(names)
            },
            Distribution.of(risks[there], persons[there]) if there.any() else None,
            {band.name: round(float(share), 6) for band, share in zip(bands, shares, strict=True)},
            tuple(use for use in codes if use.people >= SMALL_CELL),
        )

    @classmethod
    def of_training(cls, model: Model) -> Baseline:
        """Return what a bundle's training summary says.

        Raises
        ------
        InputError
            If the bundle was written before it said so, or it does not read.
        """
        stored = model.training.get("monitoring")
        if not stored:
            raise InputError(
                f"the bundle of {model.definition.name} does not say what it expects of records",
                "a bundle trained by this version of magml",
                "name a time of your own with --reference-until, or train again",
            )
        try:
            risk = stored["risk"]
            return cls(
                "training",
                {name: Distribution.from_dict(v) for name, v in stored["features"].items()},
                None if risk is None else Distribution.from_dict(risk),
                {str(name): float(share) for name, share in stored["bands"].items()},
                tuple(CodeUse(**use) for use in stored["codes"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                "the bundle's account of its training does not read",
                "a bundle as magml wrote it",
                "name a time of your own with --reference-until",
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the training summary; groups under ten people are left out."""
        return {
            "format": _FORMAT,
            "features": {name: found.to_dict() for name, found in self.features.items()},
            "risk": None if self.risk is None else self.risk.to_dict(),
            "bands": dict(self.bands),
            "codes": [asdict(use) for use in self.codes],
        }


def training_baseline(
    plan: Plan,
    events: Events,
    relation: str,
    values: NDArray[np.float32],
    features: Sequence[str],
    persons: ArrayLike,
    risk: ArrayLike,
    bands: Sequence[Band],
) -> dict[str, Any]:
    """Return a training's baseline as plain values, for its summary.

    Parameters
    ----------
    plan
        The model's plan.
    events, relation
        The records and the relation of the prediction times.
    values, features, persons
        The model's matrix over the cohort's rows, its columns, and the person of each row.
    risk
        Risks of the outer folds, shape (n,): of models that had not seen the row.
    bands
        Bands of the model.
    """
    codes = code_uses(plan, events, relation)
    found = Baseline.of("training", values, features, persons, risk, bands, codes)
    return found.to_dict()
