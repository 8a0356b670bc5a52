"""Run the fuzzing: ``python -m tests.fuzz --executions 1000000 --cases 10000``.

Each target runs in a process of its own, so that a crash of the interpreter is a finding too.
With atheris its inputs follow the code that they reach (``--engine atheris``, the default for
targets in pure Python where it is installed); otherwise they are seeded random bytes and changed
corpus. Crashes are written to ``tests/fuzz/corpus/TARGET/`` and replayed by the tests.

A slow or busy machine may cut a target short (``--seconds``): the last line names it, and the
quickest target makes up for it, so that the total is what was asked for.

With ``--kept FILE`` each finished target is written there, and a run that was interrupted goes on
behind it: the totals are those of the whole.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.run import Crash, Target, corpus

#: Targets that atheris can follow: Python code that takes well under a millisecond.
GUIDED = (
    "fhir_rows", "fhir_dates", "requests", "names", "doses", "manifest", "definitions",
    "monitored", "signature",
)  # fmt: skip
_LONGEST = 400
#: The generated cases of the API among the targets, and the target that makes up for others.
CASES, QUICKEST = "api_contract", "fhir_rows"


def inputs(target: Target, seed: int) -> object:
    """Yield inputs without end: the corpus, then random bytes and changed corpus."""
    rng = random.Random(f"{seed} {target.name}")
    kept = [path.read_bytes() for path in corpus(target.name)]
    yield from kept
    while True:
        if kept and rng.random() < 0.3:
            data = bytearray(rng.choice(kept))
            for _ in range(rng.randint(1, 8)):
                if data:
                    data[rng.randrange(len(data))] = rng.randrange(256)
            yield bytes(data)
        else:
            yield rng.randbytes(rng.randint(0, _LONGEST))


def run_random(
    target: Target, executions: int, seed: int, last: Path, seconds: float = float("inf")
) -> dict[str, int]:
    """Run a target on seeded inputs; the input at work stands in `last`."""
    read = done = 0
    end = time.monotonic() + seconds
    handle = os.open(last, os.O_RDWR | os.O_CREAT)
    for data in inputs(target, seed):
        if done >= executions or time.monotonic() > end:
            break
        os.pwrite(handle, len(data).to_bytes(4, "big") + data, 0)
        try:
            read += target.execute(data)
        except Crash as error:
            _keep(target, data)
            print(f"CRASH {error}", file=sys.stderr, flush=True)
            return {"executions": done + 1, "read": read, "crashes": 1}
        done += 1
    return {"executions": done, "read": read, "crashes": 0}


def run_atheris(target: Target, executions: int, seed: int, seconds: float) -> None:
    """Run a target with atheris; the process ends with it."""
    import atheris

    def once(data: bytes) -> None:
        try:
            target.execute(data)
        except Crash:
            _keep(target, data)
            raise

    with tempfile.TemporaryDirectory() as found:
        options = [
            sys.argv[0], found, *(str(path.parent) for path in corpus(target.name)[:1]),
            f"-runs={executions}", f"-seed={seed + 1}", f"-max_len={_LONGEST}",
            f"-max_total_time={int(seconds)}", "-timeout=20", "-rss_limit_mb=4000",
            "-verbosity=1", f"-artifact_prefix={found}/",
        ]  # fmt: skip
        atheris.Setup(options, once)
        atheris.Fuzz()


def _keep(target: Target, data: bytes) -> None:
    folder = Path(__file__).parent / "corpus" / target.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"crash-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)


def _child(name: str, executions: int, seed: int, engine: str, seconds: float, last: Path) -> None:
    """Run one target in this process."""
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["magml"]):
            from tests.fuzz.targets import targets

            target = targets()[name]
            target.execute(b"")
        run_atheris(target, executions, seed, seconds)
        return
    from tests.fuzz.targets import targets

    print(json.dumps(run_random(targets()[name], executions, seed, last, seconds)))


def _spawn(name: str, executions: int, seed: int, engine: str, seconds: float) -> dict[str, object]:
    """Run one target in a new process and return what it counted."""
    with tempfile.TemporaryDirectory() as folder:
        last = Path(folder) / "last"
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", "--only", name, "--executions", str(executions),
             "--seed", str(seed), "--engine", engine, "--seconds", str(seconds),
             "--child", str(last)],
            capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        taken = round(time.monotonic() - started, 1)
        if engine == "atheris":
            # libFuzzer's own count, which holds runs that a limit of time cut short.
            counted = [line for line in done.stderr.splitlines() if line.startswith("Done ")]
            runs = int(counted[-1].split()[1]) if counted else 0
            crashed = done.returncode != 0 or not counted
            found: dict[str, object] = {"executions": runs, "crashes": int(crashed)}
        elif done.returncode == 0:
            found = json.loads(done.stdout.splitlines()[-1])
            crashed = bool(found["crashes"])
        else:  # the interpreter itself went down
            found, crashed = {"executions": 0, "crashes": 1}, True
            if last.is_file():
                raw = last.read_bytes()
                size = int.from_bytes(raw[:4], "big")
                folder_ = Path(__file__).parent / "corpus" / name
                folder_.mkdir(parents=True, exist_ok=True)
                data = raw[4 : 4 + size]
                (folder_ / f"died-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
        if crashed:
            print(f"{name}: {done.stderr[-3000:]}", file=sys.stderr, flush=True)
        return {"target": name, "engine": engine, "seconds": taken, **found}


def _api(cases: int, seed: int) -> dict[str, object]:
    """Send generated cases to the API in a new process and return what it counted."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.api", "--cases", str(cases), "--seed", str(seed)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    taken = round(time.monotonic() - started, 1)
    found: dict[str, object] = {"executions": 0, "crashes": 1}
    if done.returncode == 0:
        said = json.loads(done.stdout.splitlines()[-1])
        found = {"executions": said["cases"], "crashes": 0, "answers": said["answers"]}
    else:
        print(f"{CASES}: {done.stderr[-3000:]}", file=sys.stderr, flush=True)
    return {"target": CASES, "engine": "schemathesis", "seconds": taken, **found}


def main() -> None:
    """Run all targets, or some."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--cases", type=int, default=0, help="generated cases of the API, besides")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=600, help="longest time of one target")
    parser.add_argument("--engine", choices=("auto", "random", "atheris"), default="auto")
    parser.add_argument("--only", nargs="*", help="these targets")
    parser.add_argument("--kept", type=Path, help="file of finished targets, to go on behind")
    parser.add_argument("--stop", type=float, help="begin no target after so many seconds")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child is not None:
        _child(chosen.only[0], chosen.executions, chosen.seed, chosen.engine, chosen.seconds,
               chosen.child)  # fmt: skip
        return
    from importlib.util import find_spec

    from tests.fuzz.targets import targets

    known = {name: target.share for name, target in targets().items()}
    names = chosen.only or [*known, *([CASES] if chosen.cases else [])]
    total = sum(known.values())
    lines = _kept(chosen.kept)
    started, left = (
        time.monotonic(),
        [n for n in names if n not in {one["target"] for one in lines}],
    )
    cut: list[str] = []
    while left and (chosen.stop is None or time.monotonic() - started < chosen.stop):
        name = left.pop(0)
        executions = 0
        if name == CASES:
            line = _api(chosen.cases, chosen.seed)
        else:
            engine = chosen.engine
            if engine == "auto":
                engine = "atheris" if name in GUIDED and find_spec("atheris") else "random"
            executions = max(200, round(chosen.executions * known[name] / total))
            seed = chosen.seed + sum(one["target"] == name for one in lines)
            line = _spawn(name, executions, seed, engine, chosen.seconds)
            if not line["crashes"] and int(str(line["executions"])) < executions:
                cut.append(name)
        lines.append(line)
        print(json.dumps(line), flush=True)
        if chosen.kept is not None:
            with chosen.kept.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
        lacking = chosen.executions - _executed(lines)
        if not left and lacking > 0 and chosen.only is None and not line["crashes"]:
            known[QUICKEST] = total * lacking / chosen.executions
            left.append(QUICKEST)
    crashes = sum(int(str(line["crashes"])) for line in lines)
    cases = sum(int(str(line["executions"])) for line in lines if line["target"] == CASES)
    count = _executed(lines)
    print(json.dumps({
        "executions": count, "api cases": cases, "crashes": crashes, "left": left,
        "cut short": cut, "seed": chosen.seed,
        "seconds": round(sum(float(str(line["seconds"])) for line in lines)),
    }))  # fmt: skip
    sys.exit(1 if crashes or left else 0)


def _executed(lines: list[dict[str, object]]) -> int:
    """Return how often targets were run, generated cases of the API besides."""
    return sum(int(str(line["executions"])) for line in lines if line["target"] != CASES)


def _kept(file: Path | None) -> list[dict[str, object]]:
    """Return what an earlier run finished."""
    if file is None or not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
