"""People of the simulator: who they are, what they eat and have, before any physiology.

Age and sex follow the population. Within them, body size, kidney function, intake, drinking,
diseases and drugs are drawn together by a Gaussian copula whose margins and correlations are
estimates from NHANES (``population.yaml``); conditions that the survey does not count follow by
sequential logistic models (``conditions.yaml``).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri

from magml.errors import InputError
from magml.simulation.tables import simulation_table

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Setting = Literal["community", "hospital"]

#: 1 mmol of magnesium in mg.
MG_PER_MMOL = 24.305
#: Recorded days.
DAYS = 1095
#: There from birth.
_LIFELONG = ("gitelman_like",)
_OLDEST = 100.0
#: How many are drawn for each one kept where an institution's patients are wanted.
_DRAWN_FOR_ONE = 3


@dataclass(frozen=True)
class Population:
    """People, one element of every array each.

    Attributes
    ----------
    age
        Years on day 0, 18 to 100.
    female
        bool.
    race
        Index into the keys of ``race`` in ``population.yaml``.
    height, weight, bmi
        cm, kg, kg/m2.
    egfr
        What creatinine usually says, mL/min/1.73 m2 (CKD-EPI 2021).
    gfr
        True filtration, mL/min/1.73 m2.
    intake
        Usual magnesium of food and drink, mmol/day.
    supplement
        Magnesium of supplements, mmol/day, 0 for who takes none.
    drinks
        Usual alcoholic drinks a day.
    need
        Log rate of use of care.
    diseases
        Whether ever, during the three recorded years at the latest.
    onset
        Day of onset, -inf from birth, inf never.
    users
        Drugs: whether in use on day 0.
    liking
        Normal scores of the tendency to be given each drug.
    """

    age: Floats
    female: Bools
    race: NDArray[np.int64]
    height: Floats
    weight: Floats
    bmi: Floats
    egfr: Floats
    gfr: Floats
    intake: Floats
    supplement: Floats
    drinks: Floats
    need: Floats
    diseases: dict[str, Bools]
    onset: dict[str, Floats]
    users: dict[str, Bools]
    liking: dict[str, Floats]

    @property
    def n(self) -> int:
        """Number of people."""
        return int(self.age.shape[0])

    def take(self, index: NDArray[Any]) -> Population:
        """Return the people at `index`, in that order."""
        chosen: dict[str, Any] = {}
        for part in fields(self):
            value = getattr(self, part.name)
            chosen[part.name] = (
                {name: array[index] for name, array in value.items()}
                if isinstance(value, dict)
                else value[index]
            )
        return Population(**chosen)

    def has(self, disease: str, day: float | NDArray[Any] = 0.0) -> Bools:
        """Return who has a disease on a day (one for all, or one each)."""
        return np.asarray(self.onset[disease] <= day)


def draw_population(n: int, rng: np.random.Generator, setting: Setting = "community") -> Population:
    """Draw people.

    Parameters
    ----------
    n
        How many.
    rng
        Source of randomness; equal states give equal people.
    setting
        ``community``: adults as NHANES has them. ``hospital``: an institution's patients, who
        are drawn from three times as many people in proportion to their need of care, with
        referral diseases more often.

    Returns
    -------
    Population

    Examples
    --------
    >>> people = draw_population(1000, np.random.default_rng(1))
    >>> people.n, bool(people.age.min() >= 18)
    (1000, True)
    """
    if n < 1:
        raise InputError(f"{n} people asked for", "at least 1", "correct the number")
    if setting == "community":
        return _draw(n, rng, {})
    if setting != "hospital":
        raise InputError(f"no setting {setting!r}", "community or hospital", "correct it")
    everybody = _draw(_DRAWN_FOR_ONE * n, rng, simulation_table("conditions")["hospital_factor"])
    # Sampling without replacement in proportion to exp(need): the largest need + Gumbel noise.
    order = np.argsort(-(everybody.need + rng.gumbel(size=everybody.n)), kind="stable")
    return everybody.take(np.sort(order[:n]))


def prevalence_of(name: str, age: Floats, female: Bools) -> Floats:
    """Return the survey's share with a disease or drug at each age and sex.

    Examples
    --------
    >>> prevalence_of("thiazide", np.array([34.5]), np.array([False]))
    array([0.0203])
    """
    table = simulation_table("population")
    return _share(table["prevalence"][name], age, female, table)


def _draw(n: int, rng: np.random.Generator, factors: dict[str, float]) -> Population:
    """Draw people of the community, rare conditions multiplied by `factors`."""
    table, settings = simulation_table("population"), simulation_table("conditions")
    age, female = _ages(n, rng, table)
    names = table["correlation"]["names"]
    score = dict(zip(names, _normal(n, rng, table).T, strict=True))
    number = {
        name: np.exp(_margin(table["continuous"][name], age, female, score[name], table))
        for name in ("height", "bmi", "egfr", "intake")
    }
    races = table["race"]
    race = rng.choice(len(races), n, p=_shares([each["share"] for each in races.values()]))
    number["intake"] *= np.array([each["intake"] for each in races.values()])[race]
    drinks = _drinks(table, age, female, score["drinks"])
    weight = number["bmi"] * (number["height"] / 100) ** 2
    diseases, onset, users = {}, {}, {}
    for name in table["prevalence"]:
        if name in ("insulin", "metformin"):
            continue
        share = _share(table["prevalence"][name], age, female, table)
        if name in names[5:14]:  # diseases come before drugs in the table
            onset[name] = _onset(rng, age, score[name] > -ndtri(share), score[name], share)
            diseases[name] = onset[name] <= DAYS
        else:
            users[name] = score[name] > -ndtri(share)
    heavy = np.where(female, settings["alcohol_use"]["women"], settings["alcohol_use"]["men"])
    onset["alcohol_use"] = np.where(drinks >= heavy, -rng.uniform(365, 7300, n), np.inf)
    diseases["alcohol_use"] = drinks >= heavy
    liking = {name: score[name] for name in users}
    _add_diabetes_drugs(rng, table, age, female, diseases, onset, users, liking)
    traits = {
        "obese": number["bmi"] >= 35,
        "thin": number["bmi"] < 19,
        "metformin": users["metformin"],
    }
    for name, rule in settings["rare"].items():
        factor = factors.get(name, 1.0)
        ever = _sequential(rng, rule, factor, age, female, {**diseases, **traits})
        diseases[name] = ever
        began = np.where(
            rng.random(n) < settings["incidence"], rng.uniform(0, DAYS, n), _past(rng, age)
        )
        onset[name] = np.where(ever, -np.inf if name in _LIFELONG else began, np.inf)
    gfr = _true_filtration(rng, table, age, female, number["egfr"])
    need = settings["care_need"]["base"] + settings["care_need"]["per_decade"] * (age - 50) / 10
    for name, effect in settings["care_need"].items():
        if name not in ("base", "per_decade"):
            has = number["egfr"] < 60 if name == "kidney_disease" else diseases[name]
            need = need + effect * has
    share = np.where(female, settings["supplement"]["women"], settings["supplement"]["men"])
    dose = settings["supplement"]["median"] * np.exp(
        settings["supplement"]["spread"] * rng.standard_normal(n)
    )
    return Population(
        age=age,
        female=female,
        race=race,
        height=number["height"],
        weight=weight,
        bmi=number["bmi"],
        egfr=number["egfr"],
        gfr=gfr,
        intake=number["intake"] / MG_PER_MMOL,
        supplement=np.where(rng.random(n) < share, dose, 0.0),
        drinks=drinks,
        need=need,
        diseases=diseases,
        onset=onset,
        users=users,
        liking=liking,
    )


def _shares(values: list[float]) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    return found / found.sum()


def _ages(n: int, rng: np.random.Generator, table: Any) -> tuple[Floats, Bools]:
    """Draw age and sex."""
    men, women = (np.array(table["share"][sex]) for sex in ("men", "women"))
    # The survey's first band begins at 20, adulthood at 18.
    men[0], women[0] = men[0] * 1.2, women[0] * 1.2
    cell = rng.choice(2 * len(men), n, p=_shares([*men, *women]))
    band = cell % len(men)
    starts = np.array(table["ages"], dtype=np.float64)
    starts[0] = 18.0
    width = np.append(np.diff(starts), 0.0)
    age = starts[band] + rng.random(n) * width[band]
    old = band == len(starts) - 1
    age[old] += np.minimum(rng.exponential(5.0, int(old.sum())), _OLDEST - starts[-1])
    return age, cell >= len(men)


def _normal(n: int, rng: np.random.Generator, table: Any) -> Floats:
    """Draw correlated normal scores [n, names]."""
    names, rows = table["correlation"]["names"], table["correlation"]["rows"]
    matrix = np.eye(len(names))
    for i, row in enumerate(rows, start=1):
        matrix[i, :i] = matrix[:i, i] = row
    # Rounded to three digits the table may have lost its definiteness by a hair.
    values, vectors = np.linalg.eigh(matrix)
    root = vectors * np.sqrt(np.maximum(values, 1e-9))
    scores = rng.standard_normal((n, len(names))) @ root.T
    return np.asarray(scores / np.sqrt(np.sum(root**2, axis=1)))


def _bands(table: Any, age: Floats, female: Bools) -> tuple[NDArray[np.int64], Floats]:
    """Return the lower of two neighbouring bands and the weight of the upper one."""
    weight = np.empty(len(age))
    lower = np.empty(len(age), dtype=np.int64)
    for sex, group in (("men", ~female), ("women", female)):
        middle = np.array(table["mean_age"][sex])
        middle[-1] = 85.0  # the survey writes 80 (in some cycles 85) for everybody older
        position = np.interp(age[group], middle, np.arange(len(middle)))
        lower[group] = np.minimum(position.astype(np.int64), len(middle) - 2)
        weight[group] = position - lower[group]
    return lower, weight


def _share(margin: Any, age: Floats, female: Bools, table: Any) -> Floats:
    """Return each person's prevalence, between the bands' middles by line."""
    both = np.array([margin["men"], margin["women"]])
    lower, weight = _bands(table, age, female)
    sex = female.astype(int)
    found = both[sex, lower] * (1 - weight) + both[sex, lower + 1] * weight
    return np.asarray(np.clip(found, 1e-6, 1 - 1e-6))


def _margin(margin: Any, age: Floats, female: Bools, score: Floats, table: Any) -> Floats:
    """Return the log of a quantity at a normal score: a line between the table's quantiles."""
    at = ndtri(np.array(table["quantiles"]))
    both = np.log(np.array([margin["men"], margin["women"]]))  # [sex, quantile, band]
    lower, weight = _bands(table, age, female)
    sex = female.astype(int)
    curve = both[sex, :, lower] * (1 - weight)[:, None] + both[sex, :, lower + 1] * weight[:, None]
    # Beyond the last quantiles the line goes on.
    step = np.clip(np.searchsorted(at, score) - 1, 0, len(at) - 2)
    row = np.arange(len(score))
    slope = (curve[row, step + 1] - curve[row, step]) / (at[step + 1] - at[step])
    extreme = np.clip(score, -3.5, 3.5)
    return np.asarray(curve[row, step] + slope * (extreme - at[step]))


def _drinks(table: Any, age: Floats, female: Bools, score: Floats) -> Floats:
    """Return usual drinks a day; many drink nothing, so quantiles are met on the plain scale."""
    at = ndtri(np.array(table["quantiles"]))
    margin = table["continuous"]["drinks"]
    both = np.array([margin["men"], margin["women"]])
    lower, weight = _bands(table, age, female)
    sex = female.astype(int)
    curve = both[sex, :, lower] * (1 - weight)[:, None] + both[sex, :, lower + 1] * weight[:, None]
    step = np.clip(np.searchsorted(at, score) - 1, 0, len(at) - 2)
    row = np.arange(len(score))
    slope = (curve[row, step + 1] - curve[row, step]) / (at[step + 1] - at[step])
    found = curve[row, step] + slope * (np.clip(score, -3.0, 3.0) - at[step])
    return np.asarray(np.clip(found, 0.0, 15.0))


def _past(rng: np.random.Generator, age: Floats) -> Floats:
    """Draw a day of onset in the past: within 15 years and adult life."""
    span = np.minimum(15.0, np.maximum(age - 17.0, 0.5))
    return -rng.random(len(age)) * span * 365.25


def _onset(
    rng: np.random.Generator, age: Floats, now: Bools, score: Floats, share: Floats
) -> Floats:
    """Draw the day of onset: in the past for who has it, in the recorded years for those next."""
    extra = simulation_table("conditions")["incidence"]
    later = ~now & (score > -ndtri(np.minimum(share * (1 + extra), 0.999)))
    began = np.where(now, _past(rng, age), np.inf)
    return np.where(later, rng.uniform(0, DAYS, len(age)), began)


def _add_diabetes_drugs(
    rng: np.random.Generator,
    table: Any,
    age: Floats,
    female: Bools,
    diseases: dict[str, Bools],
    onset: dict[str, Floats],
    users: dict[str, Bools],
    liking: dict[str, Floats],
) -> None:
    """Draw who knows of their diabetes, and their metformin, insulin and SGLT2 inhibitors."""
    n, prevalence = len(age), table["prevalence"]
    known = rng.random(n) >= table["undiagnosed_diabetes"]
    diseases["known_diabetes"] = diseases["diabetes"] & known
    onset["known_diabetes"] = np.where(known, onset["diabetes"], np.inf)
    diagnosed = onset["known_diabetes"] <= 0
    sick = _share(prevalence["diabetes"], age, female, table)
    for name in ("metformin", "insulin"):
        share = _share(prevalence[name], age, female, table)
        given = np.minimum(share / (sick * (1 - table["undiagnosed_diabetes"])), 0.95)
        liking[name] = rng.standard_normal(n)
        users[name] = diagnosed & (liking[name] > -ndtri(given))
    # NHANES has few: the class came late in its years. Shares of the diagnosed are assumed.
    liking["sglt2"] = rng.standard_normal(n)
    given = np.where(diseases["heart_failure"], 0.20, 0.10)
    users["sglt2"] = diagnosed & (ndtr(liking["sglt2"]) > 1 - given)


def _sequential(
    rng: np.random.Generator,
    rule: Any,
    factor: float,
    age: Floats,
    female: Bools,
    others: dict[str, Bools],
) -> Bools:
    """Draw a condition by a logistic model whose intercept gives the prevalence stated."""
    odds = np.zeros(len(age))
    odds += np.log(rule.get("women", 1.0)) * female
    odds += np.log(rule.get("per_decade", 1.0)) * (age - 50) / 10
    for name, ratio in rule.get("with", {}).items():
        odds += np.log(ratio) * others[name]
    wanted, low, high = min(rule["prevalence"] * factor, 0.5), -30.0, 10.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(odds + middle).mean() < wanted else (low, middle)
    return np.asarray(rng.random(len(age)) < expit(odds + high))


def _true_filtration(
    rng: np.random.Generator, table: Any, age: Floats, female: Bools, egfr: Floats
) -> Floats:
    """Draw true filtration given its estimate, which regresses to the mean of age and sex."""
    error = simulation_table("conditions")["egfr_error"]
    zero = np.zeros(len(age))
    margin = table["continuous"]["egfr"]
    middle = _margin(margin, age, female, zero, table)
    low, high = (_margin(margin, age, female, zero + ndtri(q), table) for q in (0.1, 0.9))
    spread = (high - low) / (ndtri(0.9) - ndtri(0.1))
    # Among the young the estimate varies little more than it errs: some of it is real all the same.
    reliability = np.maximum(1 - (error / spread) ** 2, 0.4)
    noise = spread * np.sqrt(reliability * (1 - reliability)) * rng.standard_normal(len(age))
    found = np.exp(middle + reliability * (np.log(egfr) - middle) + noise)
    return np.asarray(np.clip(found, 4.0, 180.0))
