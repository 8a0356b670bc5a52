"""What conditions and agents do to a body, by how far each is in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magml.simulation.parameters import TARGETS, Parameters
from magml.simulation.people import AGENTS, CONDITIONS, IN_MMOL, Exposures, Floats, People

#: Rows of `State.levels`.
CAUSES: tuple[str, ...] = (*CONDITIONS, *AGENTS)
_PLACE = {name: place for place, name in enumerate(CAUSES)}
#: Agents that are taken up or taken in as such, not by way of an effect.
DIRECT = (*IN_MMOL, "diet", "fasting")
#: What two agents do together, in force as far as both are.
PAIRS = {"ppi_with_loop": ("ppi", "loop")}
#: Each dose of these is a cycle: its effect stays and wears off, and cycles add up.
_CYCLES = ("cisplatin", "carboplatin")


@dataclass(frozen=True)
class Acting:
    """Factors on people now: on saturable absorption, renal threshold, room of soft tissue, and
    magnesium lost by the gut in mmol/day, each [n]."""

    absorption: Floats
    threshold: Floats
    soft: Floats
    gut_loss: Floats


class Levels:
    """How far each condition and agent is in force in each person, from day to day."""

    def __init__(
        self,
        people: People,
        exposures: Exposures,
        parameters: Parameters,
        first_day: int,
        onset: Mapping[str, Floats] | None = None,
    ) -> None:
        self._parameters = parameters
        self.dose = np.zeros((len(CAUSES), people.n))
        self.values = np.zeros((len(CAUSES), people.n))
        self._onset = dict(onset or {})
        self._people = people
        rows = exposures.agent + len(CONDITIONS)
        ends = (
            np.concatenate([exposures.start, exposures.stop]),
            np.concatenate([rows, rows]),
            np.concatenate([exposures.person, exposures.person]),
            np.concatenate([exposures.dose, -exposures.dose]),
        )
        order = np.argsort(ends[0], kind="stable")
        self._when, self._row, self._who, self._change = (part[order] for part in ends)
        self._next = 0
        self._later: dict[int, list[tuple[int, NDArray[np.int64], Floats]]] = {}
        self._present = {int(row) for row in rows} | {
            _PLACE[name] for name, has in people.conditions.items() if has.any()
        }
        self.move(first_day)
        # Whoever takes something on the first day has always taken it, cycles excepted.
        for row in sorted(self._present):
            if CAUSES[row] not in _CYCLES:
                self.values[row] = self.dose[row]

    def add(self, given: Exposures) -> None:
        """Add courses that were decided on while time passes; they begin tomorrow or later."""
        rows = given.agent + len(CONDITIONS)
        self._present |= {int(row) for row in rows}
        for moments, sign in ((given.start, 1.0), (given.stop, -1.0)):
            for row, day in {(int(r), int(d)) for r, d in zip(rows, moments, strict=True)}:
                mine = (rows == row) & (moments == day)
                change = (row, given.person[mine], sign * given.dose[mine])
                self._later.setdefault(day, []).append(change)

    def move(self, day: int) -> None:
        """Begin a day: courses that start or stop by it."""
        for row, who, change in self._later.pop(day, []):
            np.add.at(self.dose[row], who, change)
        upto = int(np.searchsorted(self._when, day, side="right"))
        part = slice(self._next, upto)
        np.add.at(self.dose, (self._row[part], self._who[part]), self._change[part])
        self._next = max(upto, self._next)
        for name, has in self._people.conditions.items():
            begun = self._onset.get(name)
            on = has if begun is None else has & (begun <= day)
            self.dose[_PLACE[name]] = on

    def come(self, days: float) -> None:
        """Let effects come and go for a step."""
        for row in sorted(self._present):
            name = CAUSES[row]
            time = self._parameters.values.get(f"{name}.days", 0.0)
            if name in _CYCLES:
                decay = np.exp(-days / time) if time > 0 else 0.0
                self.values[row] = self.values[row] * decay + self.dose[row] * days
            elif time > 0:
                self.values[row] += (self.dose[row] - self.values[row]) * (1 - np.exp(-days / time))
            else:
                self.values[row] = self.dose[row]

    def level(self, name: str) -> Floats:
        """Return how far a condition or agent is in force, [n]."""
        return self.values[_PLACE[name]]


def acting(levels: NDArray[np.float64], people: People, parameters: Parameters) -> Acting:
    """Return what levels (in the order of `CAUSES`, [causes, n]) do together."""
    found: dict[str, Floats] = {
        name: np.full(levels.shape[1], neutral) for name, neutral in TARGETS.items()
    }
    for name, row in (*present(levels), *_pairs(levels)):
        strength = row * people.sensitivity.get(name, 1.0)
        for target in TARGETS:
            size = parameters.values.get(f"{name}.{target}")
            if size is None:
                continue
            if target == "gut_loss":
                found[target] = found[target] + size * strength
            else:  # on the logarithm, so that two doses are the square and none is 1
                found[target] = found[target] * np.exp(np.log(max(size, 1e-6)) * strength)
    return Acting(**found)


def _pairs(levels: NDArray[np.float64]) -> Iterator[tuple[str, Floats]]:
    """Yield what two causes do together, as far as both are in force."""
    for name, (one, other) in PAIRS.items():
        yield name, np.minimum(levels[_PLACE[one]], levels[_PLACE[other]])


def present(levels: NDArray[np.float64]) -> Iterator[tuple[str, Floats]]:
    """Yield the causes in force in anybody, with their levels."""
    for name, row in zip(CAUSES, levels, strict=True):
        if name not in DIRECT and row.any():
            yield name, row
