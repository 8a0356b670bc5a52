"""Risks and stability in the words of a ward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magml.definitions.model import BodyStatusOutcome
from magml.explanations.words import describe_percent, describe_window

if TYPE_CHECKING:
    from magml.bundle import Model


def among(risk: float) -> str:
    """Return a risk as a count of people.

    Examples
    --------
    >>> among(0.314), among(0.0042), among(0.99999), among(0.00001)
    ('About 31 in 100', 'About 4 in 1,000', 'More than 999 in 1,000', 'Fewer than 1 in 1,000')
    """
    if 0.0095 <= risk <= 0.9905:
        return f"About {round(100 * risk)} in 100"
    if risk < 0.0005:
        return "Fewer than 1 in 1,000"
    if risk >= 0.9995:
        return "More than 999 in 1,000"
    return f"About {round(1000 * risk)} in 1,000"


def outcome(model: Model) -> str:
    """Return what a model predicts, to be read behind "would be found to have"."""
    found = model.definition.outcome
    if isinstance(found, BodyStatusOutcome):
        return f"low body magnesium ({found.definition.title})"
    limits = " or ".join(f"{value:g} {unit}" for unit, value in found.threshold.items())
    label = str(model.card["outcome_label"])
    duration = describe_window(found.time_at_risk).removeprefix("last ")
    # "Magnesium" begins a sentence in the catalogue, an abbreviation such as "RBC" stays.
    label = label[0].lower() + label[1:] if label[1:2].islower() else label
    return f"{label} below {limits} within {duration}"


def against(risk: float, base: float) -> str:
    """Return how a risk compares with where the model starts.

    Examples
    --------
    >>> against(0.6, 0.2), against(0.1, 0.2), against(0.21, 0.2)
    ('3.0 times', 'half', 'about the same as')
    """
    ratio = risk / base
    if 0.9 <= ratio <= 1.1:
        return "about the same as"
    if 0.45 <= ratio <= 0.55:
        return "half"
    return f"{ratio:.1f} times" if ratio >= 0.1 else "less than a tenth of"


def points(amount: float) -> str:
    """Return a contribution to the risk in percentage points.

    Examples
    --------
    >>> points(0.052), points(-0.0004), points(0.0)
    ('+5.2', '−0.04', '0')
    """
    value = 100 * amount
    if abs(value) < 0.005:
        return "0"
    text = f"{value:+.1f}" if abs(value) >= 0.1 else f"{value:+.2f}"
    return text.replace("-", "−")


def agreeing(agreement: float, members: int) -> str:
    """Return how many members of a model agree on a direction.

    Examples
    --------
    >>> agreeing(1.0, 10), agreeing(0.7, 10)
    ('all 10 agree', '7 of 10 agree')
    """
    count = round(agreement * members)
    return f"all {members} agree" if count == members else f"{count} of {members} agree"


def stability(reason: dict[str, Any], members: int) -> str:
    """Return in words how stable a reason is over the model's members."""
    text = f"{agreeing(reason['agreement'], members)} on the direction"
    if reason["ranks"] is not None:
        low, high = reason["ranks"]
        place = f"place {low}" if low == high else f"places {low} to {high}"
        text += f"; {place} by weight"
    return text


def interval(low: float | None, high: float | None) -> str:
    """Return an interval of shares or of kappa.

    Examples
    --------
    >>> interval(0.1, 0.25), interval(None, None)
    ('0.10 to 0.25', '')
    """
    return "" if low is None or high is None else f"{low:.2f} to {high:.2f}".replace("-", "−")


percentage = describe_percent
