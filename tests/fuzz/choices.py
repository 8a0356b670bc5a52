"""Structured values drawn from bytes, so that any engine that makes bytes makes resources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")
#: Texts that something in magml reads in a special way, and texts that should not matter.
TEXTS = (
    "Patient/a", "final", "2025-03-01T08:00:00Z", "2025-02-30", "0001-01-01", "9999-12-31",
    "9999-12-31T23:59:59-14:00", "2025", "http://loinc.org", "19123-9", "mg/dL", "female", "#m",
    "IMP", "order", "urn:uuid:x", "", " ", "'; DROP TABLE x; --", "=1+1", "\x00", "\ud800", "1e999",
    "NaN", "-0", "true", "null", "{{", "%s", "../../etc/passwd", "𝟙", "a" * 300, "LOINC//2823-3",
    "MEDS_BIRTH", "http://snomed.info/sct", "entered-in-error", "inf", "1_000", "0x10",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 0.5, 3.1, 2**31, -(2**31) - 1, 2**63 - 1, 2**63, -(2**63), 10**30, 1e308, -1e308,
    5e-324, float("nan"), float("inf"), float("-inf"), -0.0, 1e15, 20250301,
)  # fmt: skip

#: What stands in cells of numbers and times, beside the texts of `Choices`.
CELLS = (
    "1,000 mg", "12.5 MCG/hr", "<0.2", ">5", "3.1", "3,1", "1e5", "-7", "2025-03-01",
    "2025-03-01 08:00", "01/03/2025", "2025-03-01T08:00:00+02:00", "2025-03-01 08:00:00Z",
    "294247-01-10", "290309-12-22 (BC)", "infinity", "Q8H", "BID WC", "Once X1", "Q0H", "abnormal",
)  # fmt: skip


class Choices:
    """Choices by the bytes of an input, in order; when they are used up, the simplest."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def below(self, n: int) -> int:
        """Return 0 to n - 1."""
        if self._place >= len(self._data):
            return 0
        value = self._data[self._place]
        self._place += 1
        if n > 256:
            value = value * 256 + self.below(256)
        return value % n

    def one(self, options: Sequence[T]) -> T:
        """Return one of several."""
        return options[self.below(len(options))]

    def text(self) -> str:
        """Return a text, most often a meaningful one."""
        if self.below(4):
            return self.one(TEXTS)
        return "".join(chr(self.below(0x250) or 65) for _ in range(self.below(12)))

    def value(self, keys: Sequence[str], depth: int = 4) -> Any:
        """Return any JSON value, objects having keys of a list."""
        kind = self.below(9 if depth else 6)
        if kind < 3:
            return self.text()
        if kind == 3:
            return self.one(NUMBERS)
        if kind == 4:
            return self.one((None, True, False))
        if kind == 5:
            return self.below(256)
        if kind == 6:
            return [self.value(keys, depth - 1) for _ in range(self.below(4))]
        return {self.one(keys): self.value(keys, depth - 1) for _ in range(self.below(6))}

    def changed(self, value: Any, keys: Sequence[str], times: int = 2) -> Any:
        """Return a JSON value with a few places replaced, dropped or repeated."""
        for _ in range(1 + self.below(times)):
            value = self._change(value, keys)
        return value

    def _change(self, value: Any, keys: Sequence[str]) -> Any:
        if isinstance(value, dict) and value and self.below(12):
            key = self.one(list(value))
            if not self.below(16):
                return {k: v for k, v in value.items() if k != key}
            return {**value, key: self._change(value[key], keys)}
        if isinstance(value, list) and value and self.below(12):
            place = self.below(len(value))
            if not self.below(16):
                return value[:place] + value[place + 1 :]
            if not self.below(16):
                return [*value, value[place]]
            return [*value[:place], self._change(value[place], keys), *value[place + 1 :]]
        return self.value(keys, 2)

    def damaged(self, content: bytes) -> bytes:
        """Return content with a few bytes changed, cut out, doubled or put in."""
        made = bytearray(content)
        for _ in range(1 + self.below(6)):
            place = self.below(max(1, min(len(made), 65_535)))
            kind = self.below(6)
            if kind < 2 and made:
                made[place] = self.below(256)
            elif kind == 2:
                del made[place : place + 1 + self.below(32)]
            elif kind == 3:
                made[place:place] = self.text().encode("utf-8", "surrogatepass")
            elif kind == 4:
                made[place:place] = made[place : place + 1 + self.below(64)]
            elif made:
                made[place] ^= 1 << self.below(8)
        return bytes(made)

    def cell(self) -> str:
        """Return the content of a cell of a table."""
        kind = self.below(4)
        if kind == 0:
            return self.text()
        found = self.one(CELLS)
        return found if kind < 3 else self.damaged(found.encode()).decode("utf-8", "replace")

    def spoiled(self, content: bytes) -> bytes:
        """Return a CSV table with a few other cells, most often; else with other bytes.

        Bytes at random break the first line or its number of columns, and no cell is looked at.
        """
        if not self.below(3):
            return self.damaged(content)
        lines = content.split(b"\n")
        for _ in range(1 + self.below(3)):
            place = self.below(len(lines))
            parts = lines[place].split(b",")
            parts[self.below(len(parts))] = self.cell().encode("utf-8", "surrogatepass")
            lines[place] = b",".join(parts)
        return b"\n".join(lines)
