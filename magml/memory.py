"""How much memory work may take: a size that was given, or a quarter of the machine's.

`limited` holds for what is opened within it: a connection gets its share and spills beyond it,
beside the output, and features are built by ranges of people that fit into the rest.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from magml.errors import InputError
from magml.leftovers import beside as hidden_beside
from magml.leftovers import clean

#: Python, numpy, Arrow and DuckDB take 250 MB before the first row is read.
LEAST = 500 * 1000**2
#: Largest block after which freed memory is kept; less what the C library adds to it.
_KEPT = 32 * 2**20 - 2**16
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}  # fmt: skip
#: Where a container's limit stands (version 2 and 1 of control groups).
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Memory:
    """A limit in bytes, and the folder for what goes to disk beyond it."""

    size: int
    spill: Path

    @property
    def engine(self) -> int:
        """What DuckDB may take of it."""
        return self.size // 2


_Function = TypeVar("_Function", bound=Callable[..., Any])
_LIMIT: ContextVar[Memory | None] = ContextVar("magml_memory", default=None)


def limit() -> Memory:
    """Return the limit that holds here."""
    return _LIMIT.get() or Memory(machine_memory() // 4, _temporary())


@contextlib.contextmanager
def limited(size: str | int | None, beside: str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Let a limit hold for the work within.

    Parameters
    ----------
    size
        As `memory_size` takes it; None leaves the limit that holds, by default a quarter of the
        machine's memory.
    beside
        An output: what spills lies beside it, in a hidden folder that is removed afterwards.
        Default the system's temporary folder.

    Raises
    ------
    InputError
        If the size is none, too small, or more than the machine has.
    """
    held = limit()
    wanted = held.size if size is None else memory_size(size)
    place = contextlib.nullcontext(held.spill) if beside is None else _beside(Path(beside))
    with place as spill:
        token = _LIMIT.set(Memory(wanted, spill))
        try:
            yield
        finally:
            _LIMIT.reset(token)


def bounded(*, inside: bool = False) -> Callable[[_Function], _Function]:
    """Decorate a function that runs in the memory its argument ``memory`` says.

    Parameters
    ----------
    inside
        Whether its argument ``out`` is a folder in which what spills lies; else it lies beside
        ``out``, and in the temporary folder where there is none.
    """

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def within(*arguments: Any, **options: Any) -> Any:
            bound = signature.bind(*arguments, **options)
            bound.apply_defaults()
            out = bound.arguments.get("out")
            beside = Path(str(out)) / function.__name__ if inside else out
            with limited(bound.arguments["memory"], beside):
                return function(*arguments, **options)

        return cast(_Function, within)

    return decorate


def memory_size(size: str | int) -> int:
    """Return a size such as ``4GB``, ``1.5 GiB`` or a number of bytes in bytes.

    Raises
    ------
    InputError
        If it is no size, less than 500 MB, or more than the machine has.

    Examples
    --------
    >>> memory_size("500MB"), memory_size("0.5 GiB")
    (500000000, 536870912)
    """
    wanted = size_of(str(size))
    if wanted is None:
        raise InputError(
            f"the memory size {str(size)!r}", "a size such as 4GB or 800MB", "correct --memory"
        )
    there = machine_memory()
    if not LEAST <= wanted <= there:
        raise InputError(
            f"a memory size of {_text(wanted)}",
            f"at least {_text(LEAST)} and at most what this machine has, {_text(there)}",
            "choose another --memory, or leave it out for a quarter of the machine's",
        )
    return wanted


def size_of(written: str) -> int | None:
    """Return the number that a size stands for, None where it is no size.

    Examples
    --------
    >>> size_of("1.5 GiB"), size_of("20M"), size_of("7"), size_of("much")
    (1610612736, 20000000, 7, None)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?B?)\s*", written.upper())
    unit = found[2] if found else ""
    if found is None or (unit not in _UNITS and unit + "B" not in _UNITS):
        return None
    return int(float(found[1]) * _UNITS[unit if unit in _UNITS else unit + "B"])


def machine_memory() -> int:
    """Return the memory of the machine, or of the container where it has less, in bytes."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            found.append(int(Path(path).read_text()))
    return min(found)


def _text(size: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if size >= unit:
            return f"{size / unit:.3g}{name}"
    return f"{size} bytes"


def _temporary() -> Path:
    """Return where records may spill: not the working directory, where they could be shared."""
    return Path(tempfile.gettempdir()) / f"magml-{os.getpid()}"


@contextlib.contextmanager
def _beside(output: Path) -> Iterator[Path]:
    """Yield a hidden folder beside an output; what killed processes left there is removed."""
    parent = next(folder for folder in output.absolute().parents if folder.is_dir())
    if not os.access(parent, os.W_OK):
        yield _temporary()  # that nothing can be written there is told when it is written
        return
    target = parent / output.name
    clean(target)
    with hidden_beside(target) as folder:
        yield folder


def settle() -> None:
    """Tell the garbage collector that what stands now, modules and a model, will stay.

    Else it looks through all of it again and again while much is made: a third of the time that it
    takes to look up records, and longer answers of a service. For a process of magml's own: what
    goes out of use later, in a cycle, is not collected.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def keep_freed() -> None:
    """Let the C library keep the memory of arrays that are freed, for the next block of rows.

    glibc gives freed memory back to the system beyond a bound that follows the largest block that
    was freed so far, up to 32 MiB (`mallopt`, M_MMAP_THRESHOLD); to have it cleared again for every
    block took a twelfth of a run. The array is never touched: it takes no memory itself. Elsewhere
    nothing comes of it.
    """
    import numpy as np

    np.empty(_KEPT, dtype=np.uint8)
