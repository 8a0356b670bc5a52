"""Mass balance for any parameter draw, the corners of the ranges included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magml.simulation.body import Content, advance, bodies, urine
from magml.simulation.cohorts import outpatients
from magml.simulation.parameters import Parameters, read_parameters, table_rows
from magml.simulation.people import AGENTS, Exposures
from magml.simulation.physiology import simulate_physiology

RANGES = [row for row in table_rows() if row["low"] is not None]
COHORT = outpatients(np.random.default_rng(1), read_parameters(), 60)

shares = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)),
    min_size=len(RANGES),
    max_size=len(RANGES),
)
courses = st.lists(
    st.tuples(
        st.integers(0, 59),
        st.sampled_from(AGENTS),
        st.integers(-30, 50),
        st.integers(1, 60),
        st.floats(0, 20),
    ),
    max_size=40,
)


def drawn(where: list[float]) -> Parameters:
    """Return a world whose parameters lie at these shares of their ranges."""
    changes = {
        row["name"].replace(".", "__"): row["low"] + share * (row["high"] - row["low"])
        for row, share in zip(RANGES, where, strict=True)
    }
    return read_parameters().with_values(**changes)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(shares, courses)
def test_nothing_is_made_or_lost_whatever_the_parameters_and_doses(where, rows) -> None:
    world = drawn(where)
    taken = Exposures.of(
        [(p, a, start, start + length, dose) for p, a, start, length, dose in rows]
    )
    course = simulate_physiology(COHORT.people, taken, world, 60, first_day=-30)
    assert course.imbalance < 1e-6
    assert np.isfinite(course.serum).all()
    assert (course.serum > 0).all()
    assert (course.urine > -1e-6).all()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    shares, st.floats(0, 60), st.floats(0, 15), st.floats(0.5, 1.2), st.floats(0.01, 1),
    st.sampled_from([1 / 96, 1.0]),
)  # fmt: skip
def test_what_leaves_by_the_kidney_is_what_the_kidney_excretes_at_that_serum(
    where, income, losses, threshold, filled, days
) -> None:
    """The urine of a step is reckoned from the balance; here it is compared with the kidney's law.

    So a solution that had not converged would be seen, and mass that were made or lost.
    """
    world = drawn(where)
    made, n = bodies(COHORT.people, world), COHORT.people.n
    one = np.ones(n)
    now = Content(
        made.volume * 0.85 * filled, made.soft_room * filled * 0.9, made.bone_room * filled * 0.9,
        made.core_full.copy(), 1 - filled * one,
    )  # fmt: skip
    before, conserved = now.total, now.conservation.copy()
    out = advance(
        now, made, world, days, income=income * one, losses=losses * one,
        threshold=threshold * one, soft=one,
    )  # fmt: skip
    serum = now.extracellular / made.volume
    by_law = days * urine(serum, made, world, threshold, conserved)[0]
    assert out == pytest.approx(by_law, abs=1e-6 * before.max())
    lost = days * losses * serum / made.serum
    assert now.total - before == pytest.approx(
        days * income - by_law - lost, abs=1e-6 * before.max()
    )
