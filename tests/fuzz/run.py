"""One execution: what may come out of a target, and what may not."""

from __future__ import annotations

import contextlib
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magml.errors import MagmlError

#: An execution that takes longer hangs; one that adds more memory has no bound.
SECONDS, MEGABYTES = 20, 1_500


class Crash(AssertionError):
    """An input that is neither read nor refused as it should be."""


@dataclass(frozen=True)
class Target:
    """Something that reads input from outside.

    Attributes
    ----------
    name
        Its name, that of its folder in the corpus too.
    read
        Reads bytes; a `MagmlError` is a refusal.
    share
        Share of the executions of a whole run.
    secret
        Text that no message may hold: the folder of the files.
    """

    name: str
    read: Callable[[bytes], None]
    share: float
    secret: str = ""

    def execute(self, data: bytes) -> bool:
        """Run once; return whether it was read (True) or refused (False).

        Raises
        ------
        Crash
            For any other error, a message with a path or a trace, a hang, or much memory.
        """
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            with _limited(SECONDS):
                self.read(data)
        except MagmlError as error:
            message = str(error)
            if "Traceback" in message or (self.secret and self.secret in message):
                raise Crash(f"{self.name}: a message with a path or a trace") from error
            return False
        except Crash:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            where = "".join(traceback.format_exception(error)[-4:])
            raise Crash(f"{self.name}: {type(error).__name__}\n{where}") from error
        finally:
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        if grown > MEGABYTES:
            raise Crash(f"{self.name}: {grown:.0f} MB more")
        return True


class _Hang(BaseException):
    pass


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def late(*_: Any) -> None:
        raise _Hang(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def corpus(name: str) -> list[Path]:
    """Return the kept inputs of a target: seeds, and what once crashed it."""
    folder = Path(__file__).parent / "corpus" / name
    return sorted(path for path in folder.glob("*") if path.is_file())
