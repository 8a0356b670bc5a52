"""The plot files: which there are, that they are the same every time, and what they leave out."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from scipy.special import expit

from magml.errors import InputError
from magml.evaluation import evaluate, write_plots
from magml.evaluation.plots import _bin_edges, _operating_points, _pool_tails


def sample(n: int = 300):
    generator = np.random.default_rng(0)
    score = generator.normal(-1.2, 1.0, n)
    events = generator.random(n) < expit(score)
    return events, {"the_model": expit(score), "constant": np.full(n, 0.25)}


def chunks(png: bytes) -> list[str]:
    """Names of a PNG's chunks."""
    names, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        names.append(png[place + 4 : place + 8].decode())
        place += 12 + length
    return names


def test_plots_are_written_and_are_the_same_bytes_again(tmp_path):
    events, risks = sample()
    done = evaluate(events, risks, groups=np.arange(300), replicates=30)
    first = write_plots(done, events, risks, tmp_path / "a", outcome="low magnesium")
    assert set(first) == {
        "calibration", "roc", "precision_recall", "decision_curve", "risk_distribution",
        "differences",
    }  # fmt: skip
    again = write_plots(done, events, risks, tmp_path / "b", outcome="low magnesium")
    for name, path in first.items():
        png = path.read_bytes()
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert png == again[name].read_bytes()
        assert not {"tEXt", "iTXt", "tIME"} & set(chunks(png))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(
        f"{name}.png" for name in first
    )


def test_the_users_matplotlib_settings_change_nothing_and_stay(tmp_path):
    import matplotlib as mpl

    events, risks = sample(60)
    one = {"m": risks["the_model"]}
    done = evaluate(events, one, groups=np.arange(60), replicates=10)
    plain = write_plots(done, events, one, tmp_path / "a")
    assert "differences" not in plain
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        styled = write_plots(done, events, one, tmp_path / "b")
        assert mpl.rcParams["font.size"] == 30
    assert plain["roc"].read_bytes() == styled["roc"].read_bytes()


def test_operating_points_by_hand_leave_small_cells_out():
    # Twenty people, risks 20/20 down to 1/20; the five highest and the lowest have the outcome.
    risks = np.arange(20, 0, -1) / 20
    events = np.arange(20) < 5
    events[-1] = True
    true, false = _operating_points(events, risks, np.ones(20))
    np.testing.assert_array_equal(true, [0, *[5] * 10, 6])
    np.testing.assert_array_equal(false, [0, *range(5, 15), 14])


def test_histograms_hold_ten_people_at_each_end_and_few_bars_for_few_cases():
    pooled = _pool_tails(np.arange(100) / 100)
    assert (pooled == pooled.min()).sum() == 10
    assert (pooled == pooled.max()).sum() == 10
    assert len(_bin_edges(np.arange(1000) < 80, 1.0)) == 8 + 1
    assert len(_bin_edges(np.arange(1000) < 8, 1.0)) == 5 + 1


def test_other_rows_than_those_evaluated_are_refused(tmp_path):
    events, risks = sample(60)
    done = evaluate(events, risks, groups=np.arange(60), replicates=10)
    with pytest.raises(InputError, match="pass what evaluate was given"):
        write_plots(done, events[:50], {k: v[:50] for k, v in risks.items()}, tmp_path)
    with pytest.raises(InputError, match="the_model"):
        write_plots(done, events, {"constant": risks["constant"]}, tmp_path)
    assert not list(tmp_path.iterdir())
