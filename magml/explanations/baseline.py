"""Where a model's explanations start, and how much each feature moves them on average."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from magml.errors import BundleError

if TYPE_CHECKING:
    from magml.models.calibration import Calibrator


@dataclass(frozen=True)
class Baseline:
    """The start of every explanation of a model.

    Attributes
    ----------
    base
        Log-odds before any feature of a row is looked at: the mean over members of their trees'
        expected margin.
    base_risk
        The calibrated risk of `base`. It is not the outcome's frequency, which is the mean of
        the risks and not the risk of the mean.
    mean_absolute
        Mean absolute contribution of each feature on training rows, log-odds, in model order.
    """

    base: float
    base_risk: float
    mean_absolute: tuple[float, ...]

    @classmethod
    def of(cls, base: float, mean_absolute: ArrayLike, calibrator: Calibrator) -> Baseline:
        """Return the baseline of a model from its training contributions.

        Parameters
        ----------
        base
            Base log-odds of the contributions.
        mean_absolute
            Mean absolute contributions, shape (p,).
        calibrator
            The model's calibrator.

        Examples
        --------
        >>> from magml.models.calibration import Calibrator
        >>> Baseline.of(0.0, [0.5], Calibrator("logistic", 0.0, 1.0, 1.0))
        Baseline(base=0.0, base_risk=0.5, mean_absolute=(0.5,))
        """
        values = tuple(float(value) for value in np.asarray(mean_absolute, dtype=np.float64))
        return cls(float(base), float(calibrator.risk(base)), values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "base": self.base,
            "base_risk": self.base_risk,
            "mean_absolute": list(self.mean_absolute),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Baseline:
        """Return the baseline that `to_dict` wrote.

        Raises
        ------
        BundleError
            If a key is missing or a number is not finite.
        """
        try:
            found = cls(
                float(value["base"]),
                float(value["base_risk"]),
                tuple(float(number) for number in value["mean_absolute"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(
                "the baseline of the explanations does not read",
                "base, base_risk and mean_absolute",
                "use the bundle as it was written",
            ) from error
        if not all(map(math.isfinite, (found.base, found.base_risk, *found.mean_absolute))):
            raise BundleError(
                "the baseline of the explanations is not finite",
                "finite numbers",
                "use the bundle as it was written",
            )
        return found
