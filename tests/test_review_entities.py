"""Every entity that the founding review names is in the catalogue, or left out for a reason."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from magml.definitions import Catalogue, read_catalogue

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("MAGML_SHARED_DATA", ROOT.parent / "shared" / "data"))
REVIEW = SHARED.parent / "review_2026.txt"
KINDS = {"Genes": "genes", "Diseases": "diseases", "Chemicals": "chemicals", "Species": "species"}
ENTITIES: dict[str, dict[str, Any]] = yaml.safe_load(
    (ROOT / "tests" / "data" / "review_entities.yaml").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue(ROOT)


@pytest.mark.parametrize(
    ("kind", "entity"), [(kind, name) for kind, names in ENTITIES.items() for name in names]
)
def test_an_entity_is_covered_or_left_out_with_a_reason(
    catalogue: Catalogue, kind: str, entity: str
) -> None:
    found = ENTITIES[kind][entity]
    if isinstance(found, dict):
        assert set(found) == {"left_out"}
        assert len(found["left_out"]) > 5
        return
    assert found
    for name in found:
        assert name in catalogue.by_name or name in catalogue.derived, name


def entities_of(text: str) -> set[tuple[str, str]]:
    """Return ``(kind, name)`` of the review's two lists; an entity ends at its identifier."""
    found: set[tuple[str, str]] = set()
    for line in text.splitlines():
        heading = re.match(r"- \*\*(\w+):\*\* ", line)
        if not heading or heading.group(1) not in KINDS:
            continue
        kind, rest = KINDS[heading.group(1)], line[heading.end() :]
        if kind == "genes":
            names = re.findall(r"(?:^|\], |\}, )([^\s(]+) \(", rest)
        elif kind == "species":
            names = re.findall(r"(?:^|\], )([^(\[]+?) \(", rest)
        else:
            names = re.findall(r"(?:^|\), )(.+?) \((?:MESH|OMIM|MONDO|-)", rest)
        found |= {(kind, name) for name in names}
    return found


@pytest.mark.data
@pytest.mark.skipif(not REVIEW.is_file(), reason="the review's text is not beside the open data")
def test_no_entity_of_the_review_is_forgotten() -> None:
    named = entities_of(REVIEW.read_text(encoding="utf-8"))
    assert len(named) > 150
    listed = {(kind, name) for kind, names in ENTITIES.items() for name in names}
    assert not named - listed
