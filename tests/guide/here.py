"""A page's commands with the environment that the tests run in: what it installs is there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT
from tests.guide.page import Block

#: Lines that make the environment; ``make guide`` runs these too.
_INSTALL = ("python3 -m venv", ". .venv/bin/activate", "pip install")
#: What a block exports holds in the next ones, as in the reader's terminal.
_BEFORE, _AFTER = "[ ! -f .exported ] || . ./.exported", "export -p > .exported"


def environment() -> dict[str, str]:
    """Return the variables under which ``magml`` and ``python`` are those of the tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}


def run(block: Block, folder: Path) -> str:
    """Run one block to its end and return what it printed to standard output."""
    text = "\n".join(line for line in block.text.splitlines() if not line.startswith(_INSTALL))
    done = subprocess.run(
        Block(block.language, text).command(sys.executable, _BEFORE, _AFTER), cwd=folder,
        env=environment(), capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@contextmanager
def terminal(block: Block, folder: Path) -> Iterator[None]:
    """Start what a page starts in a terminal of its own; stop it at the end."""
    assert block.server is not None
    process = subprocess.Popen(
        ["bash", "-c", f"{_BEFORE}\nexec {block.text}"], cwd=folder, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(600):
            assert process.poll() is None, f"{block.text} ended"
            try:
                urllib.request.urlopen(block.server, timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(60)
