"""How well eICU orders without a drug name are named by the number of their ingredients.

    python benchmarks/drug_numbers.py --data ../shared/data/eicu_demo

Four orders in ten have no name, and most of those a ``drughiclseqno`` that stands beside names in
other rows; the source takes the commonest of these. Measured on the orders that have both: all rows
of a name are left out, the rest names them, and the classes of both names are compared.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import duckdb
from drug_matcher import DETERMINANTS, Share

from magml.definitions import Catalogue, read_catalogue
from magml.events.table import text
from magml.features.names import matches


def classes(catalogue: Catalogue, name: str) -> frozenset[str]:
    """Return the determinant classes of a drug name."""
    found = matches(catalogue, f"DRUG//{name}")
    return frozenset(concept.removeprefix("medication.") for concept in found) & DETERMINANTS


def measure(path: Path) -> tuple[Share, Share]:
    """Return recall and precision in orders, each name left out in turn."""
    catalogue = read_catalogue()
    rows = duckdb.sql(
        f"SELECT drughiclseqno, trim(drugname), count(*) FROM {text(path)} "
        "WHERE trim(coalesce(drugname, '')) <> '' AND drughiclseqno > 0 GROUP BY ALL"
    ).fetchall()
    names: dict[int, dict[str, int]] = defaultdict(dict)
    for number, name, count in rows:
        names[number][name] = count
    found = relevant = right = given = 0
    for own in names.values():
        for name, count in own.items():
            others = {other: n for other, n in own.items() if other != name}
            if not others:
                continue
            common = min(others, key=lambda other: (-others[other], other))
            true, said = classes(catalogue, name), classes(catalogue, common)
            relevant += count * bool(true)
            found += count * bool(true and true <= said)
            given += count * bool(said)
            right += count * bool(said and said <= true)
    return Share(found, relevant), Share(right, given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    recall, precision = measure(options.data / "medication.parquet")
    print(f"recall {recall}\nprecision {precision}")


if __name__ == "__main__":
    main()
