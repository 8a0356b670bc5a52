"""What a killed process left beside its target: told from what is in use by a lock, and removed.

Whoever writes does so in a hidden folder beside the target and holds a lock on it, which the system
lets go when the process ends, however it ends. A folder with magml's mark that nobody holds is
nobody's any more. Where the system has no such locks nothing is ever removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

try:
    import fcntl
except ImportError:  # pragma: no cover  # Windows
    fcntl = None  # type: ignore[assignment]

#: Stands in the names of what is written beside a target, and of what was moved aside for it.
_MARK, _OLD = ".magml-", ".magml-old-"
#: The random part of names by `tempfile`.
_RANDOM = "[a-z0-9_]{8}"
_Lock = Literal["mine", "another's", "none"]


@contextlib.contextmanager
def beside(target: Path, *, old: bool = False) -> Iterator[Path]:
    """Yield a new hidden folder beside a target, locked until the block ends, and then removed.

    Parameters
    ----------
    target
        File or folder that is to appear.
    old
        For what stands at the target now, moved aside: `clean` would put it back.
    """
    prefix = f".{target.name}{_OLD if old else _MARK}"
    while True:
        folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=prefix))
        with _locked(folder) as lock:
            # Between making and locking, somebody who cleans may have taken it for nobody's.
            if lock == "another's" or not folder.exists():
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


def clean(target: Path) -> None:
    """Remove what killed processes left beside a target; a folder that they took away comes back.

    Whoever replaced a folder in two steps and was killed between them left no folder at all, and
    the last complete one aside.

    Parameters
    ----------
    target
        A file or folder that is to be written or read.
    """
    kinds = re.compile(
        rf"\.{re.escape(target.name)}({re.escape(_MARK)}|{re.escape(_OLD)}){_RANDOM}"
    )
    try:
        with os.scandir(target.parent) as entries:
            found = [Path(entry.path) for entry in entries if kinds.fullmatch(entry.name)]
    except OSError:
        return
    for folder in found:
        with _locked(folder) as lock:
            if lock != "mine":
                continue
            whole = folder / target.name
            if _OLD in folder.name and whole.exists() and not target.exists():
                with contextlib.suppress(OSError):
                    os.replace(whole, target)
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[_Lock]:
    """Hold the lock of a folder, and say whose it is; none where the system has none."""
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:  # gone, or a system that opens no folders
        yield "none"
        return
    try:
        yield _lock(handle, folder)
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> _Lock:
    if fcntl is None:
        return "none"
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "another's"
    except OSError:  # a file system without locks
        return "none"
    try:
        # Locked, and still what stands under its name.
        return "mine" if os.path.samestat(os.fstat(handle), os.stat(folder)) else "another's"
    except OSError:
        return "another's"
