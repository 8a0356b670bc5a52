"""A writer of SAS transport files, version 5, for tests of what reads them (SAS TS-140)."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

_STAMP = b"01JAN20:00:00:00"


def write_xport(path: Path, columns: dict[str, list]) -> None:
    """Write columns of numbers (None is missing) or texts; gzipped if the name ends in .gz."""
    texts = {name: any(isinstance(v, str) for v in values) for name, values in columns.items()}
    width = {name: 40 if texts[name] else 8 for name in columns}
    names, place = b"", 0
    for number, name in enumerate(columns, 1):
        names += struct.pack(
            ">hhhh8s40s8shhh2s8shhl52s",
            *(2 if texts[name] else 1, 0, width[name], number),
            *(name.encode().ljust(8), b" " * 40, b" " * 8, 0, 0, 0, b"  ", b" " * 8, 0, 0),
            *(place, b""),
        )
        place += width[name]
    rows = b"".join(
        value.encode().ljust(40) if isinstance(value, str) else _number(value)
        for row in zip(*columns.values(), strict=True)
        for value in row
    )
    content = (
        _header(b"LIBRARY HEADER", b"0" * 30)
        + (b"SAS     SAS     SASLIB  9.4     Linux   " + b" " * 24 + _STAMP)
        + _STAMP.ljust(80)
        + _header(b"MEMBER  HEADER", b"000000000000000001600000000140")
        + _header(b"DSCRPTR HEADER", b"0" * 30)
        + (b"SAS     DATA    SASDATA 9.4     Linux   " + b" " * 24 + _STAMP)
        + _STAMP.ljust(80)
        + _header(b"NAMESTR HEADER", b"000000%04d" % len(columns) + b"0" * 20)
        + _padded(names)
        + _header(b"OBS     HEADER", b"0" * 30)
        + _padded(rows)
    )
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _header(kind: bytes, digits: bytes) -> bytes:
    return b"HEADER RECORD*******" + kind + b" RECORD!!!!!!!" + digits + b"  "


def _padded(content: bytes) -> bytes:
    return content + b" " * (-len(content) % 80)


def _number(value: float | None) -> bytes:
    """Return a number in IBM's format: a sign, an exponent of 16 and a fraction of 56 bits."""
    if value is None:
        return b"." + bytes(7)
    if value == 0:
        return bytes(8)
    exponent, size = 64, abs(value)
    while size >= 1:
        size, exponent = size / 16, exponent + 1
    while size < 1 / 16:
        size, exponent = size * 16, exponent - 1
    return bytes([exponent | (0x80 if value < 0 else 0)]) + int(size * 2**56).to_bytes(7, "big")
