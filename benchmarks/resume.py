"""Kill training with SIGKILL at random moments, start it again, and compare the bytes.

    python benchmarks/resume.py --kills 10 --subjects 3000 --seed 1

A run is trained once for reference. Then, for each kill, the same command starts in a new folder,
dies at a moment drawn evenly over the run's time, and is started again until it ends. Every file of
the run must equal the reference.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from magml.simulation import generate_hospital


def command(data: Path, out: Path) -> list[str]:
    magml = str(Path(sys.executable).with_name("magml"))
    return [magml, "train", "demo", "--data", str(data), "--out", str(out), "--no-track"]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--subjects", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory() as folder:
        data = generate_hospital(chosen.subjects, seed=chosen.seed).write(Path(folder) / "hospital")
        started = time.perf_counter()
        subprocess.run(command(data, Path(folder) / "whole"), check=True, **quiet)
        whole = time.perf_counter() - started
        expected = files_of(Path(folder) / "whole" / "demo")
        print(f"uninterrupted: {whole:.1f} s, {len(expected)} files")
        wrong = 0
        for number in range(chosen.kills):
            out = Path(folder) / f"killed{number}"
            moment = float(rng.uniform(0.05, 1.0)) * whole
            process = subprocess.Popen(command(data, out), **quiet)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
            stands = (out / "demo").exists()
            kept = len(list((out / ".demo.unfinished").glob("*.npz"))) if out.exists() else 0
            started = time.perf_counter()
            subprocess.run(command(data, out), check=True, **quiet)
            again = time.perf_counter() - started
            same = files_of(out / "demo") == expected
            left = [path.name for path in out.iterdir() if path.name != "demo"]
            wrong += not same
            print(
                f"killed at {moment:5.1f} s ({'finished' if stands else f'{kept} parts kept'}): "
                f"resumed in {again:5.1f} s, {'same bytes' if same else 'OTHER BYTES'}"
                + (f", left behind: {', '.join(left)}" if left else "")
            )
    print(f"{chosen.kills - wrong} of {chosen.kills} the same")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
