"""The commands of a page of docs/, in their order. Standard library only: no magml is needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.S | re.M)
#: Commands that a page starts in a terminal of their own: what answers when they are ready.
_SERVERS = {
    r"magml serve .*--port (\d+)": "/ready",
    r"magml review .*--port (\d+)": "/login",
    r"http\.server (\d+)": "/",
}


@dataclass(frozen=True)
class Block:
    """One fenced block: ``language`` is ``bash`` or ``python``."""

    language: str
    text: str

    @property
    def server(self) -> str | None:
        """The address of what this block starts, or None where it ends by itself."""
        for pattern, path in _SERVERS.items():
            if found := re.search(pattern, self.text, re.S):
                return f"http://127.0.0.1:{found[1]}{path}"
        return None

    def command(self, python: str = "python", before: str = "", after: str = "") -> list[str]:
        """Return the process that runs the block between shell text of one's own."""
        if self.language == "python":
            return ["bash", "-ec", f'{before}\nexec "$0" -c "$1"', python, self.text]
        return ["bash", "-ec", f"{before}\n{self.text}\n{after}"]


def blocks(name: str) -> list[Block]:
    """Return the blocks of ``docs/NAME.md``."""
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    return [Block(*found) for found in _BLOCK.findall(text)]
