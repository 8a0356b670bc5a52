"""One estimate from several hospitals: random-effects meta-analysis of what each has exported."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from magml.errors import InputError
from magml.limits import check_document

if TYPE_CHECKING:
    import pandas as pd

#: Estimates and errors that can be pooled are smaller.
_LARGEST = 1e100
#: Metrics that are pooled, and the scale on which a site's estimate is close to normal.
_SCALES = {"auroc": "logit", "calibration_intercept": "identity", "calibration_slope": "identity",
           "observed_expected": "log"}  # fmt: skip


class _Metric(BaseModel):
    """A metric of an export, as far as pooling needs it."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    metric: str
    value: float | None
    low: float | None
    high: float | None


class _Export(BaseModel):
    """A hospital's export, as far as pooling needs it: it comes from elsewhere and is checked."""

    model_config = ConfigDict(frozen=True, strict=True)

    bundle: str
    n: int = Field(ge=0)
    events: int = Field(ge=0)
    metrics: tuple[_Metric, ...] = Field(strict=False)


@dataclass(frozen=True)
class Pooled:
    """A random-effects estimate.

    Attributes
    ----------
    estimate, low, high
        The mean over sites, and its interval (Hartung-Knapp).
    prediction_low, prediction_high
        Where the value of a new site is expected; NaN for fewer than three sites.
    tau2
        Variance between sites (REML), on the scale of the analysis.
    sites
        Number of sites.
    """

    estimate: float
    low: float
    high: float
    prediction_low: float
    prediction_high: float
    tau2: float
    sites: int


def random_effects(
    estimates: ArrayLike, standard_errors: ArrayLike, *, level: float = 0.95
) -> Pooled:
    """Pool independent estimates: REML between-site variance, Hartung-Knapp interval.

    Parameters
    ----------
    estimates, standard_errors
        One a site, on a scale on which they are close to normal, shape (k,), k at least 2.
    level
        Coverage of both intervals.

    Returns
    -------
    Pooled

    Raises
    ------
    InputError
        If there are fewer than two sites, or a number is not finite or an error not positive.

    References
    ----------
    Viechtbauer W. J Educ Behav Stat 2005;30:261-93 (REML); IntHout J et al. BMC Med Res Methodol
    2014;14:25 (Hartung-Knapp); Higgins JPT et al. J R Stat Soc A 2009;172:137-59 (prediction).

    Examples
    --------
    Two equal sites: the mean is theirs, and nothing varies between them.

    >>> found = random_effects([0.5, 0.5], [0.1, 0.1])
    >>> found.estimate, found.tau2
    (0.5, 0.0)
    """
    from scipy.stats import t

    y, error = np.asarray(estimates, dtype=np.float64), np.asarray(standard_errors, np.float64)
    if y.shape != error.shape or y.ndim != 1 or len(y) < 2:
        raise InputError(
            f"{y.size} estimates with {error.size} standard errors", "two sites or more, one each"
        )
    # Squares of larger numbers, and of smaller errors, are no numbers any more.
    fits = (np.abs(y) < _LARGEST) & (error > 1 / _LARGEST) & (error < _LARGEST)
    if not fits.all():
        raise InputError(
            "an estimate or standard error that is not a finite, positive number",
            f"estimates and standard errors below {_LARGEST:g}, errors above 0",
            "leave out sites without an interval",
        )
    tau2 = _reml(y, error**2)
    weight = 1 / (error**2 + tau2)
    mean = float((weight * y).sum() / weight.sum())
    freedom = len(y) - 1
    spread = float((weight * (y - mean) ** 2).sum() / freedom / weight.sum())
    half = float(t.ppf((1 + level) / 2, freedom)) * math.sqrt(spread)
    reach = math.nan
    if len(y) > 2:
        # k - 2 degrees of freedom, as the tau is estimated too.
        reach = float(t.ppf((1 + level) / 2, len(y) - 2)) * math.sqrt(tau2 + 1 / weight.sum())
    return Pooled(mean, mean - half, mean + half, mean - reach, mean + reach, tau2, len(y))


def pool(files: Sequence[str | Path], *, level: float = 0.95) -> pd.DataFrame:
    """Pool exported aggregates of several hospitals that validated one model.

    Parameters
    ----------
    files
        Files that ``magml export-aggregate`` wrote, one a hospital.
    level
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        `metric`, `estimate`, `low`, `high`, `prediction_low`, `prediction_high`, `tau2` (on the
        scale `scale`), `sites`, `n`, `events`.

    Raises
    ------
    InputError
        If a file is not such an export, or the exports are of different models.
    """
    import pandas as pd

    exports = [_read(Path(file)) for file in files]
    bundles = {export.bundle for export in exports}
    if len(bundles) > 1:
        raise InputError(
            f"exports of {len(bundles)} different bundles",
            "one bundle, validated at each hospital",
            "pool the exports of each bundle by themselves",
        )
    rows: list[dict[str, Any]] = []
    for metric, scale in _SCALES.items():
        found = [_site(export, metric, scale, level) for export in exports]
        known = [site for site in found if site is not None]
        if len(known) < 2:
            continue
        pooled = asdict(random_effects(*zip(*known, strict=True), level=level))
        for name in ("estimate", "low", "high", "prediction_low", "prediction_high"):
            pooled[name] = _back(pooled[name], scale)
        counts = {"n": sum(e.n for e in exports), "events": sum(e.events for e in exports)}
        rows.append({"metric": metric, "scale": scale, **pooled, **counts})
    if not rows:
        raise InputError(
            f"{len(exports)} exports of which fewer than two have a metric with its interval",
            "exports of two hospitals or more",
            "add hospitals",
        )
    return pd.DataFrame(rows)


def _reml(y: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """Return the restricted maximum likelihood estimate of the variance between sites."""
    from scipy.optimize import minimize_scalar

    def deviance(tau2: float) -> float:
        weight = 1 / (variance + tau2)
        mean = (weight * y).sum() / weight.sum()
        return float(
            -np.log(weight).sum() + math.log(weight.sum()) + (weight * (y - mean) ** 2).sum()
        )

    most = 10 * float(y.var(ddof=1)) + 1e-12
    found = minimize_scalar(deviance, bounds=(0, most), method="bounded", options={"xatol": 1e-10})
    return float(found.x) if deviance(float(found.x)) < deviance(0.0) else 0.0


def _site(export: _Export, metric: str, scale: str, level: float) -> tuple[float, float] | None:
    """Return a site's estimate and standard error on the scale, from its interval."""
    from scipy.stats import norm

    row = next((row for row in export.metrics if row.metric == metric), None)
    if row is None or row.value is None or row.low is None or row.high is None:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        value, low, high = (float(_forth(one, scale)) for one in (row.value, row.low, row.high))
    error = (high - low) / (2 * float(norm.ppf((1 + level) / 2)))
    return (value, error) if math.isfinite(value) and math.isfinite(error) and error > 0 else None


def _forth(value: float, scale: str) -> float:
    if scale == "logit":
        return float(np.log(value) - np.log1p(-value))
    return float(np.log(value)) if scale == "log" else value


def _back(value: float, scale: str) -> float:
    if scale == "logit":
        return 1 / (1 + math.exp(-value))
    return math.exp(value) if scale == "log" else value


def _read(file: Path) -> _Export:
    from magml.validation.aggregate import FORMAT

    check_document(file)
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"'{file.name}' does not read as JSON", "what magml export-aggregate wrote"
        ) from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InputError(f"'{file.name}' is no export of aggregates", "magml export-aggregate")
    try:
        return _Export.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"'{file.name}': {place}: {first['msg']}",
            "what magml export-aggregate wrote",
            "ask the hospital to export again",
        ) from error
