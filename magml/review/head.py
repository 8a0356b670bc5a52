"""The head of a record, kept outside its database: how many entries there are, and the last hash.

Entries cut off the end of a chain leave a chain that is whole in itself; only somebody who knows
where it ended can tell. The head is written after an entry is stored and before it is
acknowledged, so it never counts more than the database held.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from magml.errors import InputError
from magml.files import atomic_file, canonical_json, told
from magml.review.chain import START
from magml.review.key import derive


@dataclass(frozen=True)
class Head:
    """Number of entries and hash of the last one."""

    count: int = 0
    hash: str = START

    def text(self) -> str:
        """Return the head as one line, to be noted elsewhere.

        Examples
        --------
        >>> Head(3, "ab").text()
        '3:ab'
        """
        return f"{self.count}:{self.hash}"

    @classmethod
    def of(cls, text: str) -> Head:
        """Return the head that `text` wrote.

        Raises
        ------
        InputError
            If it is none.
        """
        count, _, found = text.strip().partition(":")
        if not count.isdigit() or len(found) != len(START):
            raise InputError(
                "what is no head of a record",
                "COUNT:HASH as magml verify-reviews prints it",
                "copy the whole line",
            )
        return cls(int(count), found)


def read_head(path: Path, key: bytes) -> Head | None:
    """Return the head that a file holds, or None if there is no file.

    Raises
    ------
    InputError
        If the file was not written with this key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        value = json.loads(text)
        head = Head(int(value["count"]), str(value["hash"]))
        right = hmac.compare_digest(_signature(head, key), str(value["signature"]))
    except (ValueError, KeyError, TypeError):
        right = False
    if not right:
        raise InputError(
            f"'{path.name}' was not written with this key, or was altered",
            "the head that magml keeps beside the record",
            "run magml verify-reviews, and restore the head from a backup",
        )
    return head


def write_head(path: Path, head: Head, key: bytes) -> None:
    """Write the head so that it is on the disk when this returns."""
    value = {"count": head.count, "hash": head.hash, "signature": _signature(head, key)}
    with atomic_file(path) as beside, open(beside, "w", encoding="utf-8") as stream:
        stream.write(canonical_json(value) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    with contextlib.suppress(OSError):  # a file system on which a folder cannot be synced
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time append: entry and head belong together."""
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(f"{path}.lock", "a+")  # noqa: SIM115  # closed below
    with handle:
        _lock(handle.fileno())
        yield  # closing the file gives the lock back, and so does the end of the process


def _lock(handle: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
        return
    fcntl.flock(handle, fcntl.LOCK_EX)


def _signature(head: Head, key: bytes) -> str:
    return hmac.new(derive(key, "head"), head.text().encode(), hashlib.sha256).hexdigest()
