"""One step of every body at once: implicit, stable for any step, exact in its balance.

Serum and extracellular magnesium are one pool, ``c * volume``. Soft tissue and bone have room for
``full / fullness``; the share of it that is taken follows serum along a steep curve,
``(c/k)**h / (1 + (c/k)**h)``, so that much can be missing while serum hardly moves. Urine is the
filtrate above a threshold, and a leak that depletion closes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magml.simulation.parameters import Parameters
from magml.simulation.people import Floats, People

_STEPS = 60
_TOLERANCE = 1e-11
_BODY_SURFACE = 1.73


@dataclass(frozen=True)
class Bodies:
    """What does not change of n bodies; every array has length n.

    Attributes
    ----------
    volume
        L of serum's total concentration.
    half
        Serum at which half of the tissues' room is taken, mmol/L.
    soft_room, bone_room, core_full
        Room of soft tissue and bone and content of the core, mmol.
    filtrate
        L/day.
    threshold
        Threshold without drugs, mmol/L of filterable magnesium.
    serum
        Usual serum, mmol/L.
    """

    volume: Floats
    half: Floats
    soft_room: Floats
    bone_room: Floats
    core_full: Floats
    filtrate: Floats
    threshold: Floats
    serum: Floats


@dataclass
class Content:
    """Magnesium of n bodies now, mmol, and how far the kidney conserves, 0 to 1."""

    extracellular: Floats
    soft: Floats
    bone: Floats
    core: Floats
    conservation: Floats

    @property
    def total(self) -> Floats:
        """Magnesium of the whole body, mmol."""
        return self.extracellular + self.soft + self.bone + self.core

    def copy(self) -> Content:
        """Return a copy that can be changed."""
        return Content(*(getattr(self, name).copy() for name in self.__dataclass_fields__))


def bodies(people: People, parameters: Parameters) -> Bodies:
    """Return what people's bodies are like in a world."""
    one = np.ones(people.n)
    usual = parameters["serum"] * people.setpoint.get("serum", one)
    full = parameters["fullness"]
    ratio = ((1 - full) / full) ** (1 / parameters["steepness"])
    pool = people.weight * people.setpoint.get("pool", one) / full
    surface = np.sqrt(people.height * people.weight / 3600)  # Mosteller
    threshold = parameters["threshold"] * people.setpoint.get("threshold", one) * people.genes
    return Bodies(
        volume=parameters["volume"] * people.weight,
        half=usual * ratio * people.setpoint.get("affinity", one),
        soft_room=parameters["soft"] * pool,
        bone_room=parameters["bone"] * pool,
        core_full=parameters["core"] * people.weight,
        filtrate=people.gfr * surface / _BODY_SURFACE * 1.44,
        threshold=threshold * parameters["filterable"] * usual,
        serum=usual,
    )


def taken(c: Floats, half: Floats, steepness: float) -> Floats:
    """Return the share of the tissues' room that is taken at a serum, in balance."""
    power = np.exp(np.clip(steepness * np.log(np.maximum(c, 1e-12) / half), -60, 60))
    return np.asarray(power / (1 + power))


def urine(
    c: Floats,
    made: Bodies,
    parameters: Parameters,
    threshold: Floats | float,
    conservation: Floats,
) -> tuple[Floats, Floats]:
    """Return urinary magnesium in mmol/day and its derivative by serum.

    Parameters
    ----------
    c
        Serum, mmol/L.
    threshold
        Factor of conditions and drugs on the threshold.
    """
    filterable, width = parameters["filterable"], parameters["width"]
    over = (filterable * c - threshold * made.threshold) / width
    leak = parameters["leak"] * (1 - parameters["conservation"] * conservation)
    above = parameters["slope"] * np.logaddexp(0, over) * width
    rise = parameters["slope"] / (1 + np.exp(-np.clip(over, -500, 500)))
    flow = made.filtrate
    return flow * (above + leak * filterable * c), flow * filterable * (rise + leak)


@dataclass(frozen=True)
class _Step:
    """What a step of n bodies starts from; the serum at its end is what balances it."""

    made: Bodies
    soft_room: Floats
    soft: Floats
    bone: Floats
    conservation: Floats
    threshold: Floats
    held: Floats
    lost: Floats

    def take(self, rows: NDArray[np.bool_]) -> _Step:
        """Return some of the bodies."""
        made = Bodies(*(getattr(self.made, name)[rows] for name in Bodies.__dataclass_fields__))
        names = list(_Step.__dataclass_fields__)[1:]
        return _Step(made, *(getattr(self, name)[rows] for name in names))

    def tissues(self, c: Floats, parameters: Parameters, days: float) -> tuple[Floats, ...]:
        """Return the taken share of the tissues' room, and soft tissue and bone, at a serum."""
        quick, slow = days * parameters["soft_rate"], days * parameters["bone_rate"]
        share = taken(c, self.made.half, parameters["steepness"])
        soft = (self.soft + quick * self.soft_room * share) / (1 + quick)
        bone = (self.bone + slow * self.made.bone_room * share) / (1 + slow)
        return share, soft, bone

    def excess(self, c: Floats, parameters: Parameters, days: float) -> tuple[Floats, Floats]:
        """Return how much more there would be than there is, mmol, and its slope by serum."""
        quick, slow = days * parameters["soft_rate"], days * parameters["bone_rate"]
        share, soft, bone = self.tissues(c, parameters, days)
        out, rise = urine(c, self.made, parameters, self.threshold, self.conservation)
        found = self.made.volume * c + soft + bone + days * out + self.lost * c - self.held
        room = quick / (1 + quick) * self.soft_room + slow / (1 + slow) * self.made.bone_room
        bend = share * (1 - share) * parameters["steepness"] / np.maximum(c, 1e-12)
        return found, self.made.volume + room * bend + days * rise + self.lost


def _solved(step: _Step, start: Floats, parameters: Parameters, days: float) -> Floats:
    """Return the serum that balances a step: Newton's way inside a bracket of the root."""
    found, rows, c = start.copy(), np.arange(len(start)), start
    low, high = np.zeros_like(c), np.maximum(step.held / step.made.volume, 1e-6) + 1e-6
    for _ in range(_STEPS):
        excess, slope = step.excess(c, parameters, days)
        going = np.abs(excess) > _TOLERANCE * np.maximum(step.held, 1.0)
        if not going.any():
            break
        high, low = np.where(excess > 0, c, high), np.where(excess > 0, low, c)
        # Steep places would throw it far; outside of the bracket the middle is taken.
        newton = np.clip(c - excess / slope, 0.8 * c, 1.25 * c)
        after = np.where((newton > low) & (newton < high), newton, (low + high) / 2)
        c = np.where(going, after, c)
        if going.mean() < 0.5:  # few are left: go on with them alone
            found[rows] = c
            rows, c, low, high = rows[going], c[going], low[going], high[going]
            step = step.take(going)
    found[rows] = c
    return found


def advance(
    now: Content,
    made: Bodies,
    parameters: Parameters,
    days: float,
    *,
    income: Floats,
    losses: Floats,
    threshold: Floats,
    soft: Floats,
) -> Floats:
    """Advance bodies by a step, in place, and return the urine of the step in mmol.

    Parameters
    ----------
    now
        What they hold; changed.
    days
        Length of the step.
    income
        Absorbed and infused, mmol/day.
    losses
        Lost by gut and skin at the usual serum, mmol/day; they shrink with serum.
    threshold, soft
        Factors of conditions and drugs on the threshold and on the room of soft tissue.
    """
    emptied = 1 - now.bone / (made.bone_room * parameters["fullness"])
    empty = parameters["core_share"] * np.clip(emptied, 0, 1)
    drift = days * parameters["core_rate"] * (made.core_full * (1 - empty) - now.core)
    held = now.extracellular + now.soft + now.bone + days * income - drift
    lost = days * losses / made.serum
    step = _Step(
        made, made.soft_room * soft, now.soft, now.bone, now.conservation,
        np.broadcast_to(np.asarray(threshold, dtype=np.float64), held.shape), held, lost,
    )  # fmt: skip
    c = _solved(step, np.maximum(now.extracellular / made.volume, 1e-6), parameters, days)
    share, soft_next, bone_next = step.tissues(c, parameters, days)
    before = now.total
    now.extracellular, now.soft, now.bone = made.volume * c, soft_next, bone_next
    now.core = now.core + drift
    target = np.clip(1 - share / parameters["fullness"], 0, 1)
    now.conservation = now.conservation + (target - now.conservation) * (
        1 - np.exp(-days / parameters["conservation_days"])
    )
    # From the balance, so that nothing is made or lost by rounding.
    out: NDArray[np.float64] = before + days * income - lost * c - now.total
    return out


def absorbed(
    intake: Floats, people: People, parameters: Parameters, saturable: Floats | float
) -> Floats:
    """Return magnesium absorbed of a day's intake in three meals, mmol/day (Fine 1991).

    Examples
    --------
    Of three meals of 4.1 mmol (100 mg) about 38% is absorbed.

    >>> from magml.simulation.parameters import read_parameters
    >>> from magml.simulation.people import People
    >>> one = np.ones(1)
    >>> body = People(one, one > 0, one, one, one, one, one)
    >>> (absorbed(np.array([12.3]), body, read_parameters(), 1.0) / 12.3).round(2)
    array([0.37])
    """
    meal = np.maximum(intake, 0.0) / 3
    gut = people.setpoint.get("absorption", 1.0)
    active = parameters["saturable"] * meal / (parameters["half"] + meal) * saturable * gut
    return np.asarray(3 * np.minimum(active + parameters["linear"] * meal, meal))
