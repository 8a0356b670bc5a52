"""Progress of long work: a line on stderr when something has moved, with the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

#: What long work reports to: the share done (0 to 1) and what is being done.
Report = Callable[[float, str], None]


def silent(share: float, text: str) -> None:
    """Report nothing."""


def part(report: Report, start: float, end: float) -> Report:
    """Return a report for a part of the work that runs from `start` to `end` of the whole.

    Examples
    --------
    >>> part(lambda share, text: print(share, text), 0.5, 1.0)(0.5, "half of the second half")
    0.75 half of the second half
    """

    def inner(share: float, text: str) -> None:
        report(start + (end - start) * share, text)

    return inner


@dataclass
class Lines:
    """A report that writes to a stream: one line that is rewritten on a terminal, else lines.

    Away from a terminal a line is written at most every `every` seconds, so that a log stays
    readable.
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    every: float = 10.0
    _begun: float = field(default_factory=time.monotonic)
    _last: float = float("-inf")

    def __call__(self, share: float, text: str) -> None:
        """Show the share done, what is being done, the time gone and the time left."""
        now = time.monotonic()
        terminal = self.stream.isatty()
        if share < 1 and now - self._last < (0.1 if terminal else self.every):
            return
        self._last = now
        gone = now - self._begun
        left = f", about {_clock(gone * (1 - share) / share)} left" if 0.02 < share < 1 else ""
        line = f"{share:4.0%} {text} ({_clock(gone)}{left})"
        if terminal:
            self.stream.write(f"\r\x1b[K{line}" + ("\n" if share >= 1 else ""))
        else:
            self.stream.write(line + "\n")
        self.stream.flush()


def _clock(seconds: float) -> str:
    """Return seconds as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
