"""What people are given over the years: starts, stops, gaps, restarts, short courses and doses.

Drugs of the survey are a stationary process: who uses one on day 0 is known, so is for how long
users have used it; stopping and starting balance, and non-users start in proportion to the
prevalence at their age and sex and to their own tendency.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.simulation.people import AGENTS, Exposures
from magml.simulation.population import DAYS, Floats, Population, prevalence_of
from magml.simulation.tables import simulation_table

Ints = NDArray[np.int64]

#: First day of history.
HISTORY = -730
#: Courses end here at the latest: after the last recorded day, so that they are seen as open.
_END = DAYS + 365
#: A tendency of one standard deviation multiplies the rate of starting by e to this.
_TENDENCY = 0.7


@dataclass(frozen=True)
class Courses:
    """Courses of treatment and other exposures, long, one row each.

    Attributes
    ----------
    person
        Row of the population.
    what
        Name: an agent of the physiology, or a drug that only the records know.
    code
        ATC code; empty for what is no drug.
    start, stop
        First day and the day after the last.
    dose
        As the physiology counts it.
    otc
        Whether no prescription records it.
    """

    person: Ints
    what: NDArray[np.object_]
    code: NDArray[np.object_]
    start: Ints
    stop: Ints
    dose: Floats
    otc: NDArray[np.bool_]

    @property
    def n(self) -> int:
        """Number of courses."""
        return int(self.person.shape[0])

    def take(self, index: NDArray[Any]) -> Courses:
        """Return some of the courses."""
        return Courses(
            self.person[index],
            self.what[index],
            self.code[index],
            self.start[index],
            self.stop[index],
            self.dose[index],
            self.otc[index],
        )

    def exposures(self) -> Exposures:
        """Return those that act on magnesium, by person and start."""
        number = {name: code for code, name in enumerate(AGENTS)}
        agent = np.array([number.get(name, -1) for name in self.what], dtype=np.int64)
        order = np.lexsort((self.stop, agent, self.start, self.person))
        order = order[agent[order] >= 0]
        return Exposures(
            person=self.person[order],
            agent=agent[order],
            start=self.start[order],
            stop=self.stop[order],
            dose=self.dose[order],
        )


@dataclass
class CourseList:
    """Courses as they are collected."""

    parts: list[Courses] = field(default_factory=list)

    def add(
        self,
        person: NDArray[Any],
        what: str,
        code: str | NDArray[np.object_],
        start: NDArray[Any],
        stop: NDArray[Any],
        dose: float | NDArray[Any] = 1.0,
        otc: bool | NDArray[np.bool_] = False,
    ) -> None:
        """Add courses of one drug; those that end before they begin are left out."""
        n = len(person)
        first = np.maximum(np.floor(start).astype(np.int64), HISTORY)
        last = np.minimum(np.floor(stop).astype(np.int64), _END)
        kept = (last > first) & (first < DAYS)
        part = Courses(
            person=np.asarray(person, dtype=np.int64),
            what=np.full(n, what, dtype=object),
            code=np.broadcast_to(np.asarray(code, dtype=object), (n,)),
            start=first,
            stop=last,
            dose=np.broadcast_to(np.asarray(dose, dtype=np.float64), (n,)),
            otc=np.broadcast_to(np.asarray(otc, dtype=bool), (n,)),
        )
        self.parts.append(part.take(np.flatnonzero(kept)))

    def courses(self) -> Courses:
        """Return all courses, by person and start."""
        columns = {
            name: np.concatenate([getattr(part, name) for part in self.parts])
            for name in ("person", "what", "code", "start", "stop", "dose", "otc")
        }
        order = np.lexsort((columns["stop"], columns["start"], columns["person"]))
        return Courses(**columns).take(order)


def plan_treatment(people: Population, rng: np.random.Generator) -> Courses:
    """Plan what people are given from two years before the records to their end.

    Parameters
    ----------
    people
        The population.
    rng
        Source of randomness.

    Returns
    -------
    Courses
        Drugs, supplements, chemotherapy, episodes of diarrhoea, lasting changes of diet. What an
        admission brings is for :mod:`magml.simulation.care`.

    Examples
    --------
    >>> from magml.simulation.population import draw_population
    >>> rng = np.random.default_rng(1)
    >>> courses = plan_treatment(draw_population(200, rng), rng)
    >>> bool((courses.stop > courses.start).all())
    True
    """
    settings = simulation_table("treatment")
    found = CourseList()
    for name, rule in settings["drugs"].items():
        _add_drug(people, rng, name, rule, found)
    for name, rule in settings["courses"].items():
        odds = rule["per_decade"] ** ((people.age - 50) / 10)
        users = np.flatnonzero(rng.random(people.n) < np.minimum(rule["share"] * odds, 0.5))
        _add_episodes(rng, users, name, rule, found)
    _add_transplants(people, rng, settings["transplant"], found)
    _add_chemotherapy(people, rng, settings["chemotherapy"], found)
    rule = settings["acute_diarrhoea"]
    who, when = _poisson(rng, np.arange(people.n), rule["a_year"])
    length = rng.integers(rule["days"][0], rule["days"][1] + 1, len(who))
    found.add(who, "acute_diarrhoea", "", when, when + length)
    changing = np.flatnonzero(rng.random(people.n) < settings["diet_change"]["share"])
    multiple = np.exp(settings["diet_change"]["spread"] * rng.standard_normal(len(changing)))
    since = rng.uniform(0, DAYS, len(changing))
    found.add(changing, "diet", "", since, np.full(len(changing), _END), multiple)
    taking = np.flatnonzero(people.supplement > 0)
    since, until = np.full(len(taking), HISTORY), np.full(len(taking), _END)
    _add_with_gaps(rng, taking, "supplement", "", since, until, people.supplement[taking], True,
                   (0.5, 60), found)  # fmt: skip
    return found.courses()


def _add_drug(
    people: Population, rng: np.random.Generator, name: str, rule: Any, found: CourseList
) -> None:
    """Add the courses of one drug of the survey."""
    n, (short_share, short_days) = people.n, rule["short"]
    use = simulation_table("population")["days_of_use"]
    # Days so far of a constant rate of stopping have the mean of the whole course.
    long_days = rule["days"] if "days" in rule else use[name][2] / np.log(2)
    code = rng.choice(np.array(list(rule["atc"]), dtype=object), n, p=_shares(rule["atc"]))
    dose = rng.choice(np.array(list(rule["daily"]), dtype=float), n, p=_shares(rule["daily"]))
    users = people.users[name]
    if "start" in rule:
        yearly = np.where(people.has("known_diabetes", DAYS) & ~users, rule["start"], 0.0)
        rate_long, rate_short = yearly / 365.25, np.zeros(n)
    else:
        odds = prevalence_of(name, people.age, people.female)
        odds = odds / (1 - odds)
        tilt = np.exp(_TENDENCY * people.liking[name])
        tilt = tilt / max(float(tilt[~users].mean()), 1e-9) if (~users).any() else tilt
        rate_long = odds * tilt * (1 - short_share) / long_days
        rate_short = odds * tilt * short_share / short_days
    brief = rng.random(n) < short_share
    mean = np.where(brief, float(short_days), long_days)
    now = np.flatnonzero(users)
    start = -rng.exponential(mean[now])
    stop = rng.exponential(mean[now])
    runs = [(now, start, stop)]
    # Those who stop may take it up again.
    again = now[rng.random(len(now)) < 0.3]
    resumed = stop[np.searchsorted(now, again)] + rng.exponential(150.0, len(again))
    runs.append((again, resumed, resumed + rng.exponential(mean[again])))
    others = np.flatnonzero(~users)
    for rate, length in ((rate_long, long_days), (rate_short, float(short_days))):
        who, when = _poisson(rng, others, rate[others] * 365.25, first=0)
        runs.append((who, when, when + rng.exponential(length, len(who))))
        # Before day 0 by the time they stopped: who does not use it now has stopped.
        who, when = _poisson(rng, others, rate[others] * 365.25, last=0)
        runs.append((who, when - rng.exponential(length, len(who)), when))
    otc = rng.random(n) < rule.get("otc", 0.0)
    for who, begin, end in runs:
        _add_with_gaps(rng, who, name, code[who], begin, end, dose[who], otc[who],
                       rule["gaps"], found)  # fmt: skip


def _add_with_gaps(
    rng: np.random.Generator,
    who: NDArray[Any],
    name: str,
    code: str | NDArray[np.object_],
    start: NDArray[Any],
    stop: NDArray[Any],
    dose: NDArray[Any],
    otc: bool | NDArray[np.bool_],
    gaps: Any,
    found: CourseList,
) -> None:
    """Add courses that are interrupted now and then."""
    start, stop = np.maximum(start, HISTORY), np.minimum(stop, _END)
    years = np.maximum(stop - start, 0.0) / 365.25
    count = rng.poisson(years * gaps[0])
    course = np.repeat(np.arange(len(who)), count)
    begins = start[course] + rng.random(len(course)) * (stop - start)[course]
    order = np.lexsort((begins, course))
    course, begins = course[order], begins[order]
    ends = begins + rng.exponential(gaps[1], len(begins)) + 1.0
    # Pieces: from the start or the end of a gap to the next gap or the stop.
    piece = np.concatenate([np.arange(len(who)), course])
    left = np.concatenate([start, ends])
    order = np.lexsort((left, piece))
    piece, left = piece[order], left[order]
    position = np.searchsorted(begins + course * 1e7, left + piece * 1e7, side="right")
    following = np.full(len(piece), np.inf)
    inside = position < len(begins)
    same = inside.copy()
    same[inside] = course[position[inside]] == piece[inside]
    following[same] = begins[position[same]]
    right = np.minimum(following, stop[piece])

    def of(values: Any) -> Any:
        return values[piece] if isinstance(values, np.ndarray) else values

    found.add(who[piece], name, of(code), left, right, of(dose), of(otc))


def _add_episodes(
    rng: np.random.Generator, users: NDArray[Any], name: str, rule: Any, found: CourseList
) -> None:
    """Add short courses that come again and again."""
    who, when = _poisson(rng, users, rule["a_year"])
    length = rng.exponential(rule["days"], len(who)) + 1
    otc = rng.random(len(who)) < rule["otc"]
    found.add(who, name, rule["atc"], when, when + length, 1.0, otc)


def _add_transplants(
    people: Population, rng: np.random.Generator, rule: Any, found: CourseList
) -> None:
    """Add calcineurin inhibitors from the transplantation on."""
    who = np.flatnonzero(people.diseases["transplant"])
    code = rng.choice(np.array(list(rule["atc"]), dtype=object), len(who), p=_shares(rule["atc"]))
    doses = np.array(list(rule["daily"]), dtype=float)
    dose = rng.choice(doses, len(who), p=_shares(rule["daily"]))
    since = np.maximum(people.onset["transplant"][who], HISTORY)
    found.add(who, "calcineurin", code, since, np.full(len(who), _END), dose)


def _add_chemotherapy(
    people: Population, rng: np.random.Generator, settings: Any, found: CourseList
) -> None:
    """Add cycles of platinum and EGFR antibodies to some of those with cancer."""
    shares = simulation_table("conditions")["chemotherapy"]
    years = (DAYS - HISTORY) / 365.25
    for name, rule in settings.items():
        sick = people.diseases["cancer"] & (rng.random(people.n) < shares[name] * years)
        who = np.flatnonzero(sick)
        first = np.maximum(people.onset["cancer"][who] + 30, HISTORY)
        first = first + rng.random(len(who)) * np.maximum(DAYS - first, 0)
        cycles = rng.integers(rule["cycles"][0], rule["cycles"][1] + 1, len(who))
        index = np.repeat(np.arange(len(who)), cycles)
        number = np.arange(len(index)) - np.repeat(np.cumsum(cycles) - cycles, cycles)
        day = np.floor(first[index]) + rule["every"] * number
        # An antibody acts until the next dose, platinum on its day.
        length = rule["every"] if name == "anti_egfr" else 1
        found.add(who[index], name, rule["atc"], day, day + length)


def _poisson(
    rng: np.random.Generator,
    who: NDArray[Any],
    a_year: float | NDArray[Any],
    first: int = HISTORY,
    last: int = DAYS,
) -> tuple[NDArray[Any], Floats]:
    """Draw moments at a rate a year: who, and when."""
    count = rng.poisson(np.broadcast_to(np.asarray(a_year) * (last - first) / 365.25, who.shape))
    chosen = np.repeat(who, count)
    return chosen, first + rng.random(len(chosen)) * (last - first)


def _shares(shares: dict[Any, float]) -> Floats:
    values = np.array(list(shares.values()), dtype=np.float64)
    return np.asarray(values / values.sum())
