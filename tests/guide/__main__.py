"""Follow the integration guide on a bare machine: ``python3 -m tests.guide --out FOLDER``.

A clone of the last commit, with nothing beside it; a new home; no variable of the caller's but
those that tell pip and TLS where to find things; a new virtual environment, made as the guide
says. Every block of the guide runs as it stands, and nothing else is installed. It ends with a
RiskAssessment that validates and a card in Chromium: ``risk-assessment.json`` and ``card.png`` in
the folder, with the demonstration's page. The clone and its environment go at the end. Needs Python
3.11 with venv, git and Chromium; nothing of magml or its tests.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.guide.page import ROOT, Block, blocks

#: What a bare machine still has to say to pip: its index, its proxy, its certificates.
_KEPT = re.compile(r"PIP_\w+|SSL_CERT_\w+|(http|https|no)_proxy", re.I)
_ACTIVATE = "if [ -f .venv/bin/activate ]; then . .venv/bin/activate; fi"


class Stumbled(Exception):
    """A step of the guide did not do what the guide says."""


def bare(home: Path, path: str) -> dict[str, str]:
    """Return the variables of a machine on which nobody has worked."""
    kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    return {**kept, "HOME": str(home), "PATH": path, "LANG": "C.UTF-8"}


def run(block: Block, checkout: Path, environment: dict[str, str]) -> str:
    """Run one block to its end and return what it printed."""
    print("".join(f"    {line}\n" for line in block.text.splitlines()), end="", flush=True)
    began = time.monotonic()
    done = subprocess.run(
        block.command(before=_ACTIVATE), cwd=checkout, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1800, check=False,
    )  # fmt: skip
    print(f"  {time.monotonic() - began:.1f} s, status {done.returncode}", flush=True)
    if done.returncode:
        raise Stumbled(f"{block.text}\n{done.stdout[-3000:]}")
    return done.stdout


def start(block: Block, checkout: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start what the guide starts in a terminal of its own, and wait until it answers."""
    print(f"    {block.text.strip()}   # in a terminal of its own", flush=True)
    assert block.server is not None
    with (checkout.parent / "terminals.log").open("ab") as log:
        process = subprocess.Popen(
            block.command(before=_ACTIVATE), cwd=checkout, env=environment, stdout=log,
            stderr=log, start_new_session=True,
        )  # fmt: skip
    for _ in range(300):
        if process.poll() is not None:
            raise Stumbled(f"{block.text} ended with status {process.returncode}; terminals.log")
        try:
            urllib.request.urlopen(block.server, timeout=5)
            return process
        except OSError:
            time.sleep(0.2)
    raise Stumbled(f"{block.text} did not answer at {block.server} within a minute")


def look(out: Path, environment: dict[str, str]) -> str:
    """Open the sandbox in Chromium as the guide says, keep its picture, return its text."""
    browser = shutil.which("chromium", path=environment["PATH"]) or shutil.which("google-chrome")
    if browser is None:
        raise Stumbled("no Chromium: install it to see the card (apt-get install chromium)")
    page = next(block.server for block in blocks("integration") if "http.server" in block.text)
    assert page is not None
    common = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=900,1000",
              f"--user-data-dir={out / 'profile'}", "--virtual-time-budget=20000"]  # fmt: skip
    told: list[str] = []
    for extra in (f"--screenshot={out / 'card.png'}", "--dump-dom"):
        done = subprocess.run(
            [*common, extra, page], env=environment, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        told.append(done.stdout)
    shutil.rmtree(out / "profile", ignore_errors=True)
    return told[-1]


def follow(out: Path, path: str) -> dict[str, object]:
    """Follow the guide in an empty folder and return what came of it."""
    home, checkout = out / "home", out / "magml"
    home.mkdir()
    environment = bare(home, path)
    try:
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(checkout)],
                       check=True, env=environment)  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        raise Stumbled(f"git cannot clone {ROOT}: this needs git and a clone of magml") from error
    for url in filter(None, (block.server for block in blocks("integration"))):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2)
            raise Stumbled(f"something answers at {url} already: stop it first")
    terminals: list[subprocess.Popen[bytes]] = []
    said: list[str] = []
    try:
        for block in blocks("integration"):
            if block.server is None:
                said.append(run(block, checkout, environment))
            else:
                terminals.append(start(block, checkout, environment))
        dom = look(out, environment)
    finally:
        for process in terminals:
            os.killpg(process.pid, signal.SIGTERM)
        for process in terminals:
            process.wait(60)
    assessed = said[-1].strip()
    if not re.fullmatch(r"Patient/\S+ 0\.\d+", assessed):
        raise Stumbled(f"the RiskAssessment says {assessed!r}")
    summary = re.search(r"<h2[^>]*>([^<]+)</h2>", dom)
    if "1 card(s)" not in dom or summary is None or not re.search(r"\d+%", summary[1]):
        raise Stumbled(f"no card in the browser: {dom[-2000:]}")
    shutil.copy(checkout / "risk-assessment.json", out)
    shutil.copy(checkout / "demo" / "results.html", out)
    for folder in (checkout, home):
        shutil.rmtree(folder)
    return {"risk_assessment": assessed, "card": summary[1], "picture": str(out / "card.png")}


def main() -> None:
    """Run as a program; the exit status is 1 where the guide cannot be followed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="An empty folder; default a temporary one.")
    parser.add_argument(
        "--path", default="/usr/local/bin:/usr/bin:/bin", help="PATH of the machine."
    )
    chosen = parser.parse_args()
    out = Path(tempfile.mkdtemp(prefix="magml-guide-")) if chosen.out is None else chosen.out
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        sys.exit(f"{out} is not empty: give an empty folder")
    began = time.monotonic()
    try:
        found = follow(out, chosen.path)
    except Stumbled as error:
        sys.exit(f"The guide cannot be followed: {error}")
    print(json.dumps({**found, "seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
