"""Break each promise in a copy of the source: ``python -m tests.promises [--promise N ...]``.

For each entry of `tests.promises.breaks` the checkout is copied, one text of one file is replaced,
and the promise's test is run on the copy: it must fail, with an assertion and not because the copy
does not run. First the same tests run on the copy as it is: they must pass.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT
from tests.promises.breaks import BREAKS, Break

#: What the tests need of a checkout.
_PARTS = ("magml", "tests", "features", "models", "experiments", "simulation", "bundles", "docs")
#: Failures that say the copy does not run, not that the promise is broken.
_UNFIT = ("SyntaxError", "IndentationError", "ImportError", "NameError", "AttributeError")


def copied(folder: Path) -> Path:
    """Return a copy of the checkout."""
    for name in _PARTS:
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def tested(folder: Path, tests: list[str]) -> tuple[int, str]:
    """Run tests on a copy; return pytest's status and what it said."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def broken(folder: Path, one: Break) -> str:
    """Break a promise on a copy, run its test, mend it; return what came of it."""
    path = folder / one.file
    kept = path.read_text(encoding="utf-8")
    if kept.count(one.text) != 1:
        return f"NOT BROKEN: the text stands there {kept.count(one.text)} times"
    path.write_text(kept.replace(one.text, one.broken), encoding="utf-8")
    try:
        status, said = tested(folder, [one.named_test])
    finally:
        path.write_text(kept, encoding="utf-8")
    errors = [line for line in said.splitlines() if line.startswith("E  ")]
    if status == 0:
        return "NOT SEEN: the test passes"
    if status != 1 or any(name in line for line in errors for name in _UNFIT):
        return f"UNFIT: {errors[0] if errors else said[-300:]}"
    return "seen"


def main() -> None:
    """Run as a program; the exit status is 1 where a break was not seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--promise", type=int, nargs="*", help="only of these promises")
    chosen = parser.parse_args().promise
    breaks = [one for one in BREAKS if not chosen or one.promise in chosen]
    unseen = 0
    with tempfile.TemporaryDirectory(prefix="magml-promises-") as name:
        folder = copied(Path(name))
        status, said = tested(folder, sorted({one.named_test for one in breaks}))
        if status:
            sys.exit(f"the tests do not pass as they are:\n{said[-3000:]}")
        for one in breaks:
            found = broken(folder, one)
            unseen += found != "seen"
            print(f"{one.promise} | {one.how} | {one.file} | {found}", flush=True)
    print(f"{len(breaks) - unseen} of {len(breaks)} breaks are seen by their tests")
    sys.exit(1 if unseen else 0)


if __name__ == "__main__":
    main()
