"""Measure the drug matcher against the classes that NHANES gives its drugs.

    python benchmarks/drug_matcher_nhanes.py --data ../shared/data/nhanes

``RXQ_DRUG`` holds the Multum Lexicon category of every drug named in NHANES and of its ingredients:
a classification made by others, for other purposes. Categories that mean the same as a class of
the catalogue were chosen before the matcher was run on these names; laxatives, antacids, minerals
and antidiarrhoeals mean something else there and are not compared.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from drug_matcher import Share

from magml.definitions import read_catalogue
from magml.features.names import matches
from magml.sources.nhanes_files import read_table

#: Multum category to the class, or classes, of which one must be found.
CLASSES: dict[str, frozenset[str]] = {
    "PROTON PUMP INHIBITORS": frozenset({"proton_pump_inhibitor"}),
    "H2 ANTAGONISTS": frozenset({"h2_blocker"}),
    "THIAZIDE AND THIAZIDE-LIKE DIURETICS": frozenset({"thiazide"}),
    "LOOP DIURETICS": frozenset({"loop_diuretic"}),
    "CARBONIC ANHYDRASE INHIBITORS": frozenset({"carbonic_anhydrase_inhibitor"}),
    "ALDOSTERONE RECEPTOR ANTAGONISTS": frozenset({"mineralocorticoid_antagonist"}),
    "POTASSIUM-SPARING DIURETICS": frozenset(
        {"mineralocorticoid_antagonist", "potassium_sparing_enac"}
    ),
    "SGLT-2 INHIBITORS": frozenset({"sglt2_inhibitor"}),
    "CALCINEURIN INHIBITORS": frozenset({"calcineurin_inhibitor"}),
    "MTOR INHIBITORS": frozenset({"mtor_inhibitor"}),
    "AMINOGLYCOSIDES": frozenset({"aminoglycoside"}),
    "INSULIN": frozenset({"insulin"}),
    "BIGUANIDES": frozenset({"metformin"}),
    "ADRENERGIC BRONCHODILATORS": frozenset({"beta_agonist"}),
    "BISPHOSPHONATES": frozenset({"bone_resorption_inhibitor"}),
    "ANGIOTENSIN CONVERTING ENZYME (ACE) INHIBITORS": frozenset({"acei_arb"}),
    "ANGIOTENSIN II INHIBITORS": frozenset({"acei_arb"}),
    "BETA BLOCKERS, NON-CARDIOSELECTIVE": frozenset({"beta_blocker"}),
    "BETA BLOCKERS, CARDIOSELECTIVE": frozenset({"beta_blocker"}),
    "GLUCOCORTICOIDS": frozenset({"corticosteroid"}),
    "MINERALOCORTICOIDS": frozenset({"mineralocorticoid"}),
    "CATION EXCHANGE RESINS": frozenset({"cation_binder"}),
    "METHYLXANTHINES": frozenset({"theophylline"}),
}


@dataclass(frozen=True)
class Drug:
    """A drug with what Multum says, what the matcher gives, and how often people reported it."""

    name: str
    wanted: tuple[frozenset[str], ...]
    found: frozenset[str]
    prescriptions: int

    @property
    def missed(self) -> bool:
        return any(not (classes & self.found) for classes in self.wanted)

    @property
    def added(self) -> frozenset[str]:
        """Compared classes that Multum does not give it."""
        return self.found - frozenset().union(*self.wanted)


def read(folder: Path, catalogue: Path | None = None) -> list[Drug]:
    """Return every drug of NHANES that has a compared class in either classification."""
    lists = next(iter(sorted(folder.glob("RXQ_DRUG*"))))
    categories = tuple(
        f"RXD{kind}CN{number}{letter}"
        for kind, numbers in (("D", range(1, 5)), ("I", range(1, 7)))
        for number in numbers
        for letter in "ABC"
    )
    # One row a drug, not a person: there is no SEQN, which `read_table` asks for.
    packed = "gzip" if lists.suffix == ".gz" else None
    drugs = pd.read_sas(lists, format="xport", encoding="latin-1", compression=packed)
    reported: Counter[str] = Counter()
    for path in sorted(folder.glob("RXQ_RX_*")):
        reported.update(read_table(path, ("RXDDRUG",))["RXDDRUG"].astype(str).str.strip())
    known, compared = read_catalogue(catalogue), frozenset().union(*CLASSES.values())
    result = []
    for row in drugs[["RXDDRUG", *categories]].astype(str).to_dict("records"):
        name = row["RXDDRUG"].strip()
        given = {row[column].strip() for column in categories}
        wanted = tuple(classes for category, classes in CLASSES.items() if category in given)
        found = {m.partition(".")[2] for m in matches(known, f"DRUG//{name}")} & compared
        if wanted or found:
            result.append(Drug(name, wanted, frozenset(found), reported[name]))
    return result


def figures(drugs: list[Drug]) -> dict[str, Share]:
    """Return recall and precision by drug name and by reported prescription."""
    wanted = [d for d in drugs if d.wanted]
    found = [d for d in drugs if d.found]
    return {
        "recall, names": Share(sum(not d.missed for d in wanted), len(wanted)),
        "precision, names": Share(sum(not d.added for d in found), len(found)),
        "recall, prescriptions": Share(
            sum(d.prescriptions for d in wanted if not d.missed),
            sum(d.prescriptions for d in wanted),
        ),
        "precision, prescriptions": Share(
            sum(d.prescriptions for d in found if not d.added),
            sum(d.prescriptions for d in found),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the NHANES files")
    parser.add_argument("--catalogue", type=Path, help="folder that holds features/")
    options = parser.parse_args()
    drugs = read(options.data, options.catalogue)
    for name, share in figures(drugs).items():
        print(f"{name}: {share}")
    for drug in drugs:
        if drug.missed or drug.added:
            wanted = ", ".join("/".join(sorted(c)) for c in drug.wanted) or "none"
            found = ", ".join(sorted(drug.found)) or "none"
            print(f"  {drug.name} ({drug.prescriptions}): there {wanted}; here {found}")


if __name__ == "__main__":
    main()
