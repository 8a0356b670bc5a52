"""Measure the drug matcher against names labelled by hand.

    python benchmarks/drug_matcher.py

Reads ``tests/data/eicu_drug_labels.csv`` (labelled before the matcher was run on its names; the
rule stands in ``tests/data/README.md``) and needs no other data. `--catalogue EARLIER` measures
the ``features/`` of another folder.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from magml.definitions import read_catalogue
from magml.features.names import matches

LABELS = Path(__file__).parents[1] / "tests" / "data" / "eicu_drug_labels.csv"
#: Concepts for one drug or form beside its class; their class is labelled, they are not.
SINGLE_DRUGS = frozenset(
    {
        "omeprazole",
        "pantoprazole",
        "lansoprazole",
        "rabeprazole",
        "esomeprazole",
        "dexlansoprazole",
        "carboplatin",
        "oxaliplatin",
        "cisplatin_per_area",
    }
)
#: What lowers, raises or is magnesium; the catalogue's other classes mark states and treatments.
DETERMINANTS = frozenset(
    {
        "proton_pump_inhibitor",
        "h2_blocker",
        "thiazide",
        "loop_diuretic",
        "osmotic_diuretic",
        "carbonic_anhydrase_inhibitor",
        "cisplatin",
        "carboplatin_oxaliplatin",
        "anti_egfr_antibody",
        "calcineurin_inhibitor",
        "mtor_inhibitor",
        "aminoglycoside",
        "amphotericin_b",
        "pentamidine",
        "foscarnet",
        "polymyxin",
        "capreomycin",
        "laxative",
        "insulin",
        "beta_agonist",
        "theophylline",
        "digoxin",
        "catecholamine",
        "bone_resorption_inhibitor",
        "colchicine",
        "prostaglandin",
        "cation_binder",
        "potassium_sparing_enac",
        "mineralocorticoid_antagonist",
        "sglt2_inhibitor",
        "trimethoprim",
        "lithium",
        "magnesium_oral",
        "magnesium_intravenous",
        "magnesium_antacid_laxative",
        "balanced_crystalloid_with_magnesium",
    }
)


@dataclass(frozen=True)
class Labelled:
    """One distinct name with what a reader saw in it and what the matcher gives."""

    draw: str
    name: str
    weight: int
    labelled: frozenset[str]
    found: frozenset[str]

    def of(self, classes: Iterable[str] | None) -> Labelled:
        """Return the same name with nothing but some classes; None stands for all."""
        if classes is None:
            return self
        kept = frozenset(classes)
        return Labelled(self.draw, self.name, self.weight, self.labelled & kept, self.found & kept)


@dataclass(frozen=True)
class Share:
    """A proportion with its 95% Wilson interval."""

    count: int
    of: int

    @property
    def value(self) -> float:
        return self.count / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval (J Am Stat Assoc 1927;22:209-12)."""
        if not self.of:
            return math.nan, math.nan
        z, n, p = 1.959963984540054, self.of, self.value
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        if not self.of:
            return "none"
        low, high = self.interval
        return f"{self.count}/{self.of}, {self.value:.1%} ({low:.1%} to {high:.1%})"


def read(path: Path = LABELS, *, catalogue: Path | None = None) -> list[Labelled]:
    """Return the labelled names with what the matcher gives for each.

    Parameters
    ----------
    path
        Labels: ``draw``, ``name``, ``rows``, ``classes``.
    catalogue
        Folder that holds ``features/``; by default where magml finds its own.
    """
    found = read_catalogue(catalogue)
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [
        Labelled(
            draw=row["draw"],
            name=row["name"],
            weight=1 if row["draw"] == "names" else int(row["rows"]),
            labelled=frozenset(filter(None, row["classes"].split(";"))),
            found=frozenset(
                concept.removeprefix("medication.")
                for concept in matches(found, f"DRUG//{row['name']}")
                if concept.startswith("medication.")
            )
            - SINGLE_DRUGS,
        )
        for row in rows
    ]


def recall(names: Iterable[Labelled], classes: Iterable[str] | None = None) -> Share:
    """Return the share of relevant rows whose classes were all found."""
    kept = [n for n in (n.of(classes) for n in names) if n.labelled]
    return Share(sum(n.weight for n in kept if n.labelled <= n.found), sum(n.weight for n in kept))


def precision(names: Iterable[Labelled], classes: Iterable[str] | None = None) -> Share:
    """Return the share of rows given a class whose classes are all labelled."""
    kept = [n for n in (n.of(classes) for n in names) if n.found]
    return Share(sum(n.weight for n in kept if n.found <= n.labelled), sum(n.weight for n in kept))


def report(names: list[Labelled]) -> str:
    """Return the figures of all draws as Markdown."""
    draws = list(dict.fromkeys(n.draw for n in names))
    lines = [
        "| draw | classes | names | recall | precision |",
        "|---|---|---|---|---|",
    ]
    for draw in draws:
        own = [n for n in names if n.draw == draw]
        for label, classes in (("determinants", DETERMINANTS), ("all", None)):
            lines.append(
                f"| `{draw}` | {label} | {len(own)} | {recall(own, classes)} "
                f"| {precision(own, classes)} |"
            )
    for draw in draws:
        own = [n for n in names if n.draw == draw]
        lines += ["", f"By class, `{draw}`:", "", "| class | recall | precision |", "|---|---|---|"]
        for one in sorted({c for n in own for c in n.labelled | n.found}):
            lines.append(f"| {one} | {recall(own, [one])} | {precision(own, [one])} |")
    lines += ["", "Names on which reader and matcher differ:", ""]
    for n in names:
        if n.labelled != n.found:
            missed = ", ".join(sorted(n.labelled - n.found)) or "nothing"
            wrong = ", ".join(sorted(n.found - n.labelled)) or "nothing"
            lines.append(f"- `{n.draw}` {n.weight} x {n.name!r}: missed {missed}; added {wrong}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, default=LABELS)
    parser.add_argument("--catalogue", type=Path, help="folder that holds features/")
    options = parser.parse_args()
    print(report(read(options.labels, catalogue=options.catalogue)))


if __name__ == "__main__":
    main()
