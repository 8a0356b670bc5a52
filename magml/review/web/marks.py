"""Where marks stand on a drawing: positions in percent of its width, so that it fits any screen.

Text is not scaled with the drawing and stays readable; nothing needs a style attribute, which the
pages' policy forbids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """A horizontal axis from `low` to `high`."""

    low: float
    high: float

    def at(self, value: float) -> str:
        """Return where a value stands, kept on the drawing.

        Examples
        --------
        >>> Axis(0, 0.5).at(0.1), Axis(0, 0.5).at(0.7)
        ('20%', '100%')
        """
        span = self.high - self.low
        return percent(min(1.0, max(0.0, (value - self.low) / span)))

    def width(self, start: float, end: float) -> str:
        """Return how wide the piece between two values is."""
        low, high = sorted(min(max(value, self.low), self.high) for value in (start, end))
        return percent((high - low) / (self.high - self.low))

    def ticks(self, most: int = 6) -> list[float]:
        """Return round values on the axis, `most` at most.

        Examples
        --------
        >>> Axis(0, 0.5).ticks()
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
        """
        step = nice_step((self.high - self.low) / (most - 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) for k in range(first, last + 1)]


def nice_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below a length.

    Examples
    --------
    >>> nice_step(0.03), nice_step(0.2), nice_step(7)
    (0.05, 0.2, 10.0)
    """
    power = 10.0 ** math.floor(math.log10(least))
    for factor in (1, 2, 5):
        if factor * power >= least * (1 - 1e-9):
            return float(f"{factor * power:.12g}")
    return 10 * power


def percent(share: float) -> str:
    """Return a share as a coordinate.

    Examples
    --------
    >>> percent(0.25), percent(1 / 3)
    ('25%', '33.333%')
    """
    return f"{100 * share:.3f}".rstrip("0").rstrip(".") + "%"


def risk_axis(highest: float) -> Axis:
    """Return an axis for risks that do not go beyond a value: from 0 to a round share.

    Examples
    --------
    >>> risk_axis(0.31).high, risk_axis(0.93).high
    (0.4, 1.0)
    """
    ends = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
    return Axis(0.0, next(end for end in ends if end >= min(1.0, highest) - 1e-12))
