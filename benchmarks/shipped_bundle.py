"""Train the shipped bundle again, or check that training it again gives the same bytes.

    python benchmarks/shipped_bundle.py            # trains and replaces bundles/low_body_status
    python benchmarks/shipped_bundle.py --check    # trains and compares; status 1 if a byte differs

`--check` trains with the definitions and the catalogue that the bundle itself holds, so a catalogue
that changed since does not matter; the simulator must be the one that the bundle names, and the
libraries those of its `training.json`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

import magml
from magml.bundle.shipped import reasons_to_rebuild, shipped_bundles
from magml.definitions.read import search_path
from magml.experiments.fingerprint import library_versions
from magml.files import atomic_directory
from magml.progress import Lines

NAME = "low_body_status"
SHIPPED = Path(__file__).resolve().parent.parent / "bundles" / NAME


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, and replace nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="magml-bundle-") as folder:
        root = Path(folder)
        definition = NAME
        if options.check:
            workspace_of(shipped_bundles()[NAME], root / "workspace")
            definition = str(root / "workspace" / "experiments" / f"{NAME}.yaml")
        result = magml.train(definition, out=root / "runs", track=False, report=Lines())
        print(result.summary())
        if options.check:
            sys.exit(compare(shipped_bundles()[NAME], result.bundle))
        with atomic_directory(SHIPPED) as beside:
            shutil.copytree(result.bundle, beside, dirs_exist_ok=True)
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    print(f"{SHIPPED.name}: {magml.load(SHIPPED).hash}, {size / 1e6:.2f} MB")


def workspace_of(bundle: Path, target: Path) -> Path:
    """Write the definitions that a bundle holds as a workspace of their own."""
    catalogue = read(bundle / "catalogue.json")
    for kind in ("features", "models", "experiments"):
        (target / kind).mkdir(parents=True)
    for domain in catalogue["domains"]:
        write(target / "features" / f"{domain['domain']}.yaml", domain)
    write(target / "features" / "references.yaml", catalogue["references"])
    for other in ("units", "foods"):  # beside the catalogue, no part of it
        for folder in search_path("features")[:1]:
            shutil.copy(folder / f"{other}.yaml", target / "features" / f"{other}.yaml")
    write(target / "models" / f"{NAME}.yaml", read(bundle / "model.json"))
    write(target / "experiments" / f"{NAME}.yaml", read(bundle / "training.json")["experiment"])
    return target


def compare(shipped: Path, trained: Path) -> int:
    """Print which files differ, and why they may; return the exit status."""
    ours, theirs = (
        {p.relative_to(b).as_posix(): p.read_bytes() for p in b.rglob("*") if p.is_file()}
        for b in (shipped, trained)
    )
    differ = sorted(n for n in {*ours, *theirs} if ours.get(n) != theirs.get(n))
    stated = read(shipped / "training.json")["versions"]
    for name, version in library_versions().items():
        if stated.get(name) != version:
            print(f"note: {name} is {version} here and was {stated.get(name)} when it was trained")
    for reason in reasons_to_rebuild(magml.load(shipped)):
        print(f"note: {reason}")
    print(f"{len(ours)} files, {len(differ)} differ" + (f": {', '.join(differ)}" if differ else ""))
    return int(bool(differ))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, content: Any) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


if __name__ == "__main__":
    main()
