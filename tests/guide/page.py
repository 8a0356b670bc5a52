"""The commands of a page of docs/, in their order. Standard library only: no magml is needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.S | re.M)
#: Commands that the page starts in a terminal of their own, and the address that answers then.
SERVERS = {
    "magml serve": "http://127.0.0.1:8765/ready",
    "http.server": "http://127.0.0.1:8766/",
}


@dataclass(frozen=True)
class Block:
    """One fenced block: ``language`` is ``bash`` or ``python``."""

    language: str
    text: str

    @property
    def server(self) -> str | None:
        """The address of what this block starts, or None where it ends by itself."""
        return next((url for word, url in SERVERS.items() if word in self.text), None)

    def command(self, python: str = "python", before: str = "") -> list[str]:
        """Return the process that runs the block, after some shell text of one's own."""
        if self.language == "python":
            return ["bash", "-ec", f'{before}\nexec "$0" -c "$1"', python, self.text]
        return ["bash", "-ec", f"{before}\n{self.text}"]


def blocks(name: str) -> list[Block]:
    """Return the blocks of ``docs/NAME.md``."""
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    return [Block(*found) for found in _BLOCK.findall(text)]
