"""Table 1: shares, medians, standardised differences by hand, and no figure of a few people."""

from __future__ import annotations

import numpy as np
import pytest

from magml.experiments.characteristics import _quantity, _share, share_missing


def test_a_share_by_hand() -> None:
    # 30 of 100 cases and 20 of 200 others have it.
    column = np.repeat([1.0, 0.0, 1.0, 0.0], [30, 70, 20, 180])
    labels = np.repeat([True, False], [100, 200])
    texts, smd = _share(column, labels, np.arange(300))
    assert texts == ["50 (16.7%)", "30 (30.0%)", "20 (10.0%)"]
    assert smd == pytest.approx(0.2 / np.sqrt((0.3 * 0.7 + 0.1 * 0.9) / 2), abs=5e-5)


def test_a_share_of_few_people_gives_nobody_away() -> None:
    # Nine of the cases: with 50 and 41 in sight, nine would follow.
    column = np.repeat([1.0, 0.0, 1.0, 0.0], [9, 91, 41, 159])
    labels = np.repeat([True, False], [100, 200])
    assert _share(column, labels, np.arange(300)) == (["50 (16.7%)", None, None], None)
    rare = np.repeat([1.0, 0.0], [9, 291])
    assert _share(rare, labels, np.arange(300)) == ([None, None, None], None)
    # Forty rows of five people are five people.
    persons = np.arange(300)
    persons[:40] = np.arange(40) % 5
    column = np.repeat([1.0, 0.0], [40, 260])
    assert _share(column, labels, persons)[0] == [None, None, None]


def test_a_quantity_by_hand() -> None:
    column = np.concatenate([np.arange(41.0), np.arange(100.0, 181.0), [np.nan] * 20])
    labels = np.repeat([True, False, True], [41, 81, 20])
    texts, smd = _quantity(column, labels, np.arange(142))
    assert texts[1:] == ["20 (10 to 30)", "140 (120 to 160)"]
    one, other = np.arange(41.0), np.arange(100.0, 181.0)
    # Variance of m consecutive whole numbers: m (m + 1) / 12.
    spread = np.sqrt((41 * 42 / 12 + 81 * 82 / 12) / 2)
    assert smd == pytest.approx((one.mean() - other.mean()) / spread, abs=5e-5)
    few = np.where(np.arange(142) < 39, column, np.nan)
    assert _quantity(few, labels, np.arange(142)) == ([None, None, None], None)


def test_missing_is_not_told_of_few() -> None:
    known = np.ones(100, dtype=bool)
    assert share_missing(known, np.arange(100)) == 0.0
    known[:9] = False
    assert share_missing(known, np.arange(100)) is None
    known[:10] = False
    assert share_missing(known, np.arange(100)) == pytest.approx(0.1)
