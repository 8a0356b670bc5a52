"""Writing files so that nothing half-written is ever visible, and hashing them."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from magml.errors import InputError
from magml.leftovers import beside, clean

#: No room on the disk, or no right to write there.
_NO_ROOM = (
    errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM,
)  # fmt: skip


#: Of Linux' renameat2: paths relative to the working directory, and changing places.
_AT_FDCWD, _EXCHANGE = -100, 2


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes as a hexadecimal string.

    Examples
    --------
    >>> sha256_bytes(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content, read in blocks."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no NaN, so that equal values give equal text.

    Examples
    --------
    >>> canonical_json({"b": 1, "a": [1.5]})
    '{"a":[1.5],"b":1}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def pretty_json(value: Any) -> str:
    """Return indented JSON with sorted keys and no NaN, ending in a newline."""
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


@contextlib.contextmanager
def atomic_file(
    path: str | os.PathLike[str], outside: str | os.PathLike[str] | None = None
) -> Iterator[Path]:
    """Yield a path to write to; on success it takes the place of `path`, else it is removed.

    Parameters
    ----------
    path
        The file that is to appear. Missing parent folders are made.
    outside
        A folder around it in which nothing else may stand at any moment: what is written stands
        beside that folder until it is whole.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_file(target) as beside:
    ...     _ = beside.write_text("done")
    >>> target.read_text()
    'done'
    """
    target = Path(path)
    _make_parent(target)
    place = target if outside is None else Path(outside)
    clean(place)
    with told(target), beside(place) as folder:
        new = folder / target.name
        new.touch()
        yield new
        os.chmod(new, 0o666 & ~_umask())
        os.replace(new, target)


def new_file(path: str | os.PathLike[str], content: bytes, mode: int) -> None:
    """Write a file that does not exist yet, whole or not at all, and never in another's place.

    Parameters
    ----------
    path
        The file; its folder must stand.
    content, mode
        What is in it, and its permissions.

    Raises
    ------
    FileExistsError
        If the file exists; `filename2` is its path.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "key"
    >>> new_file(target, b"secret", 0o600)
    >>> oct(target.stat().st_mode & 0o777)
    '0o600'
    """
    target = Path(path)
    clean(target)
    with beside(target) as folder:
        new = folder / target.name
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(new, mode)
        os.link(new, target)  # unlike a renaming, it refuses what exists


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a folder to fill; on success it takes the place of `path`, else it is removed.

    An existing folder at `path` changes places with the new one in one step where the system can
    (Linux); elsewhere it is moved aside first and removed only once the new one stands. What a
    killed process left beside the target is removed first (`magml.leftovers`).
    """
    target = Path(path)
    _make_parent(target)
    clean(target)
    with told(target), beside(target) as folder:
        new = folder / target.name
        new.mkdir()
        yield new
        os.chmod(new, 0o777 & ~_umask())
        if not _moved(new, target) and not _exchanged(new, target):
            with beside(target, old=True) as aside:
                os.replace(target, aside / target.name)
                try:
                    os.replace(new, target)
                except OSError:
                    os.replace(aside / target.name, target)
                    raise


@contextlib.contextmanager
def told(target: Path) -> Iterator[None]:
    """Turn a full disk and a missing right into an error that says so.

    Raises
    ------
    InputError
        Naming the file or folder that is written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise InputError(
            f"'{target.name}' cannot be written ({error.strerror})",
            "room on the disk, and the right to write there",
            "free room or choose another place; what stood there before is untouched",
        ) from error


def _moved(folder: Path, target: Path) -> bool:
    """Move a folder to where none stands; False where one does, perhaps since a moment ago."""
    try:
        os.replace(folder, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    return True


def visible(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that match, sorted; hidden ones and folders are passed over.

    What is being written, or what a killed process left, is hidden.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.csv", ".a.csv.magml-x/a.csv", "c/a.csv"):
    ...     (folder / name).parent.mkdir(exist_ok=True)
    ...     (folder / name).touch()
    >>> [str(path.relative_to(folder)) for path in visible(folder, "*.csv")]
    ['b.csv', 'c/a.csv']
    """
    return sorted(
        path
        for path in folder.rglob(pattern)
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _exchanged(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0


def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    current = os.umask(0)
    os.umask(current)
    return current


def _make_parent(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder for '{target.name}' could not be made ({error.strerror})",
            "a place that can be written to",
            "choose another output path",
        ) from error
