"""The Elixhauser index through the library, and as plug-ins that models name."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from magml import elixhauser as module
from magml.definitions import read_catalogue
from magml.elixhauser import elixhauser
from magml.errors import MissingDependencyError
from magml.features import build_features, with_plugins
from magml.features.plugins import GROUP

pytest.importorskip("elixhauser_ahrq")
NAMES = ("comorbidity.elixhauser_mortality", "comorbidity.elixhauser_count")


@pytest.mark.parametrize(
    ("codes", "categories", "mortality"),
    [
        # Weights as the package states them of the AHRQ's program v2026-1: heart failure 14,
        # severe kidney failure 7, alcohol -1, complicated diabetes -2.
        (["I50.9"], ("HF",), 14),
        (["N18.4", "F10.20"], ("ALCOHOL", "RENLFL_SEV"), 6),
        # A complication takes the plain category away; dots do not matter.
        (["E11.9", "E1122"], ("DIAB_CX",), -2),
        (["Z00.0"], (), 0),
        ([], (), 0),
    ],
)
def test_categories_and_index(codes: list[str], categories: tuple, mortality: int) -> None:
    found = elixhauser(codes)
    assert found.categories == categories
    assert found.mortality == mortality


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer the plug-ins as the installed package does, whatever version is installed."""
    info = tmp_path / "magml_elixhauser-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: magml-elixhauser\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        f"[{GROUP}]\n{NAMES[0]} = magml.elixhauser:mortality\n{NAMES[1]} = magml.elixhauser:count\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_what_is_not_known_yet_does_not_count(installed: None) -> None:
    rows = [(1, "2026-01-01", "ICD10CM//I50.9"), (1, "2026-02-01", "ICD10CM//N18.4")]
    events = pd.DataFrame(rows, columns=["subject_id", "time", "code"])
    events["time"] = pd.to_datetime(events["time"])
    events["known_time"] = events["time"]
    at = pd.DataFrame(
        {"subject_id": [1, 1], "prediction_time": pd.to_datetime(["2026-01-01", "2026-02-01"])}
    )
    catalogue = with_plugins(read_catalogue(), NAMES)
    table = build_features(events, at, catalogue=catalogue, features=list(NAMES))
    assert table[NAMES[0]].isna().tolist() == [True, False]
    assert table[NAMES[0]].iloc[1] == 14
    assert table[NAMES[1]].iloc[1] == 1


def test_the_package_offers_both() -> None:
    import tomllib

    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    offered = tomllib.loads(text)["project"]["entry-points"][GROUP]
    for name in NAMES:
        where, _, attribute = offered[name].partition(":")
        assert where == "magml.elixhauser"
        assert getattr(module, attribute).feature == name


def test_without_the_library_a_friendly_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "elixhauser_ahrq", None)
    module._library.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"magml\[elixhauser\]"):
        elixhauser(["I50.9"])
    module._library.cache_clear()
