"""How often sites are wrongly refused, and how often a wrong unit is found, by simulation.

    python benchmarks/unit_sites.py --draws 1000

Sites draw the true median of serum magnesium from a lognormal distribution whose standard deviation
(log scale) is the case mix; people and values vary around it. Each site reports in mg/dL (to 0.1),
mmol/L (to 0.01) or mEq/L (to 0.1). Between the hospitals of the eICU demo the standard deviation of
the log median, sampling included, is 0.04 for magnesium (14 hospitals). In a second series one site
labels mg/dL as mEq/L.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass

import numpy as np

from magml.definitions import Catalogue, read_catalogue
from magml.units import UnitGroup, check_units

MOLAR_MASS, VALENCE = 24.305, 2
#: Unit: reported value for one mmol/L, and the step of reports.
REPORTED = {"mg/dL": (MOLAR_MASS / 10, 0.1), "mmol/L": (1.0, 0.01), "mEq/L": (VALENCE, 0.1)}
#: A wrong label, as (true unit, declared unit).
SWAPPED = ("mg/dL", "mEq/L")


@dataclass(frozen=True)
class Rates:
    """What became of sites over all draws.

    Attributes
    ----------
    sites, range, compared, doubtful
        Sites of one kind: how many, refused for the usual range, refused by the comparison with
        the others, and made doubtful by it.
    """

    sites: int
    range: int
    compared: int
    doubtful: int


def simulate(
    catalogue: Catalogue,
    *,
    draws: int,
    sites: int,
    case_mix: float,
    people: int = 200,
    swapped: int = 0,
    typical: float = 0.82,
    seed: int = 0,
) -> tuple[Rates, Rates]:
    """Return the rates of rightly and of wrongly labelled sites over seeded draws."""
    count: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    for draw in range(draws):
        random = np.random.default_rng([seed, draw])
        groups = [
            _site(random, number, number < swapped, case_mix, people, typical)
            for number in range(sites)
        ]
        for finding in check_units(groups, catalogue.by_name).findings:
            kind = count[int(finding.group.site or 0) < swapped]
            kind["sites"] += 1
            kind["compared"] += finding.status == "refused" and finding.others is not None
            kind["range"] += finding.status == "refused" and finding.others is None
            kind["doubtful"] += finding.status == "doubtful"
    right, wrong = (
        Rates(kind["sites"], kind["range"], kind["compared"], kind["doubtful"])
        for kind in (count[False], count[True])
    )
    return right, wrong


def _site(
    random: np.random.Generator,
    number: int,
    swapped: bool,
    case_mix: float,
    people: int,
    typical: float,
) -> UnitGroup:
    """Return one site's summary: three values a person around the site's own median."""
    level = typical * np.exp(case_mix * random.standard_normal())
    own = level * np.exp(0.11 * random.standard_normal((people, 1)))
    values = own * np.exp(0.07 * random.standard_normal((people, 3)))
    true, declared = SWAPPED if swapped else 2 * (str(random.choice(list(REPORTED))),)
    factor, step = REPORTED[true]
    written = np.round(values.ravel() * factor / step) * step
    low, middle, high = np.quantile(written, [0.25, 0.5, 0.75])
    return UnitGroup(
        "lab.magnesium",
        "LAB//Mg",
        declared,
        str(number),
        written.size,
        float(middle),
        float(high - low),
        people,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    catalogue = read_catalogue()
    print("| sites | people a site | case mix | median | of right sites | of wrong sites |")
    print("|---|---|---|---|---|---|")
    for sites in (4, 8, 20):
        for people, case_mix in ((25, 0.03), (200, 0.03), (200, 0.05), (200, 0.07)):
            for typical in (0.76, 0.82):
                common = {
                    "draws": options.draws,
                    "sites": sites,
                    "people": people,
                    "case_mix": case_mix,
                    "typical": typical,
                }
                right, _ = simulate(catalogue, **common)
                _, wrong = simulate(catalogue, swapped=1, seed=1, **common)
                print(
                    f"| {sites} | {people} | {case_mix:g} | {typical:g} | {_shown(right)} "
                    f"| {_shown(wrong)} |",
                    flush=True,
                )


def _shown(rates: Rates) -> str:
    """Return shares: for the range, by comparison, doubtful."""
    parts = (rates.range, rates.compared, rates.doubtful)
    return ", ".join(f"{part / rates.sites:.1%}" for part in parts)


if __name__ == "__main__":
    main()
