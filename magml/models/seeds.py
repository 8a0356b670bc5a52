"""Seeds for every random choice, derived from one seed and the place of the choice."""

from __future__ import annotations

import zlib

import numpy as np


def derive_seed(seed: int, *place: int | str) -> int:
    """Return a seed for one random choice, the same whatever was drawn elsewhere before.

    Parameters
    ----------
    seed
        The seed of the whole run, not negative.
    place
        Names and numbers that tell the choice from all others, such as ``("member", 3)``.

    Returns
    -------
    int
        A number from 0 to 2**31 - 1.

    Examples
    --------
    >>> derive_seed(1, "member", 0) == derive_seed(1, "member", 0)
    True
    >>> derive_seed(1, "member", 0) == derive_seed(1, "member", 1)
    False
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else int(part) for part in place]
    state = np.random.SeedSequence([int(seed), *words]).generate_state(1)
    return int(state[0] % 2**31)
