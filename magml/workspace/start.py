"""Making a workspace: definitions copied out, a mapping guessed, the next command named."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from magml.definitions.read import search_path
from magml.errors import InputError, nearest
from magml.files import atomic_directory

_KINDS = ("features", "models", "experiments")
_EXPERIMENT = """\
# Your first study: adapt the cohort, then train (experiments/README.md explains every key).
name: first
title: Whom to test, on our own records
model: hypomagnesemia_screen
source:
  layout: {layout}
{options}cohort:
  anchor: [VISIT//inpatient]
  offset: 6h
  measured_before: none
validation:
  groups: subject
  folds: 5
"""
_README = """\
# Workspace

Definitions of magml, copied here to be changed. What stands here is used before what the package
ships, as long as commands run in this folder.

- `features/`: the clinical catalogue and the spellings of units
- `models/`, `experiments/`: what is predicted, for whom and from what; `experiments/first.yaml` is
  the one to start with
{mapping}
Next:

```
{commands}
```
"""


@dataclass(frozen=True)
class Workspace:
    """A workspace that was made.

    Attributes
    ----------
    folder
        The folder.
    layout
        Layout of the data; None without data.
    mapping
        The mapping file, for plain tables.
    to_complete
        How many places of the mapping somebody must complete.
    commands
        What to run next, in order.
    """

    folder: Path
    layout: str | None
    mapping: Path | None
    to_complete: int
    commands: tuple[str, ...]


def init(
    folder: str | Path, *, data: str | Path | None = None, source: str | None = None
) -> Workspace:
    """Make a workspace.

    Parameters
    ----------
    folder
        Where; it must not exist, or be empty.
    data
        Folder of the records. Without it, only the definitions are copied.
    source
        Layout of the records; default what their files look like.

    Returns
    -------
    Workspace
        What was made, and the commands to run next.

    Raises
    ------
    InputError
        If the folder holds something, there are no data at that place, or the layout is unknown.

    Examples
    --------
    >>> import tempfile
    >>> made = init(Path(tempfile.mkdtemp()) / "ours")
    >>> sorted(path.name for path in made.folder.iterdir())
    ['README.md', 'experiments', 'features', 'models']
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(
            f"'{target.name}' exists and is not empty",
            "a folder that does not exist yet",
            "choose another folder; nothing is ever overwritten",
        )
    place, layout = _layout(data, source)
    mapping, to_complete = None, 0
    if layout == "plain" and place is not None and not (place / "mapping.yaml").is_file():
        from magml.workspace.mapping import guess_mapping

        mapping, to_complete = guess_mapping(place)
    commands = _commands(target, place, layout, mapping is not None, to_complete)
    with atomic_directory(target) as beside:
        for kind in _KINDS:
            # The definitions as shipped, whatever the working directory holds.
            shipped = search_path(kind, beside)[0]
            (beside / kind).mkdir()
            for path in sorted(shipped.rglob("*")):
                if path.suffix in (".yaml", ".md"):
                    place_of = beside / kind / path.relative_to(shipped)
                    place_of.parent.mkdir(exist_ok=True)
                    shutil.copyfile(path, place_of)
        if mapping is not None:
            (beside / "mapping.yaml").write_text(mapping, encoding="utf-8")
        options = "  options: {mapping: mapping.yaml}\n" if mapping is not None else ""
        (beside / "experiments" / "first.yaml").write_text(
            _EXPERIMENT.format(layout=layout or "events", options=options), encoding="utf-8"
        )
        about = "- `mapping.yaml`: which column of your tables is what\n" if mapping else ""
        (beside / "README.md").write_text(
            _README.format(mapping=about, commands="\n".join(commands)), encoding="utf-8"
        )
    return Workspace(
        target,
        layout,
        target / "mapping.yaml" if mapping is not None else None,
        to_complete,
        commands,
    )


def _layout(data: str | Path | None, source: str | None) -> tuple[Path | None, str | None]:
    """Return the data's place and layout, checked."""
    from magml.sources.registry import LAYOUTS

    if source is not None and source not in LAYOUTS:
        raise InputError(f"no layout {source!r}", nearest(source, LAYOUTS), "correct --source")
    if data is None:
        if source is not None:
            raise InputError(
                "--source without --data", "--data FOLDER", "name the folder of the records"
            )
        return None, None
    place = Path(data)
    if not place.exists():
        raise InputError(f"no file or folder '{place.name}'", "the records", "check the path")
    return place, source or find_layout(place)


def find_layout(place: Path) -> str:
    """Return the layout that the files of a folder look like; ``plain`` when no other."""
    if place.is_file():
        return "events" if place.suffix != ".zip" else "omop"
    names = {path.name.lower() for path in place.iterdir()}
    stems = {name.split(".")[0] for name in names}
    if {"person", "observation_period"} <= stems or {"person", "visit_occurrence"} <= stems:
        return "omop"
    if (place / "metadata" / "codes.parquet").is_file():
        return "meds"
    if "patient" in stems and stems & {"hourly", "lab", "medication", "apachepatientresult"}:
        return "eicu"
    if "subset_x" in stems:
        return "nhanes1"
    if any(name.startswith("demo") and ".xpt" in name for name in names):
        return "nhanes"
    if any(stem.startswith(("outcomes", "set-")) for stem in stems):
        return "physionet2012"
    if "events.parquet" in names or "data" in names:
        return "events"
    return "plain"


def _commands(
    target: Path, place: Path | None, layout: str | None, mapped: bool, to_complete: int
) -> tuple[str, ...]:
    """Return what to run next."""
    enter = f"cd {shlex.quote(str(target))}"
    if place is None or layout is None:
        return (enter, "magml check EVENTS", "magml train experiments/first.yaml --data FOLDER")
    where = shlex.quote(str(place.resolve()))
    option = " --option mapping=mapping.yaml" if mapped else ""
    edit = (
        (f"$EDITOR mapping.yaml  # complete the {to_complete} places marked COMPLETE",)
        if to_complete
        else ()
    )
    return (
        enter,
        *edit,
        f"magml check --source {layout} --data {where}{option}",
        f"magml train experiments/first.yaml --data {where}",
    )
