"""Ways to break each promise of magml in its source, and the test that must fail then."""

from __future__ import annotations

from dataclasses import dataclass

_PROMISE = "tests/test_promises.py::test_the_promise_is_kept[{}]"


@dataclass(frozen=True)
class Break:
    """One change of one file.

    Attributes
    ----------
    promise
        Number of the promise in `tests/test_promises.py`.
    how
        What is broken, in words.
    file
        Below the checkout.
    text, broken
        What stands there exactly once, and what stands there instead.
    test
        Pytest's name of the test that must fail; by default the promise's own.
    """

    promise: int
    how: str
    file: str
    text: str
    broken: str
    test: str = ""

    @property
    def named_test(self) -> str:
        """The test, the promise's own where none is named."""
        return self.test or _PROMISE.format(self.promise)


BREAKS = (
    # 1. Same input, same seed, same bytes, whatever the number of threads.
    Break(1, "a member's seed is drawn anew at each training", "magml/models/bag.py",
          '"seed": derive_seed(seed, "member", number)',
          '"seed": int.from_bytes(__import__("os").urandom(3), "little")'),
    Break(1, "seeds depend on the number of threads", "magml/models/bag.py",
          "        seed=seed,\n        on_disk=each > room,",
          "        seed=seed + workers,\n        on_disk=each > room,"),
    Break(1, "the bundle holds the time at which it was written", "magml/bundle/write.py",
          '"card.json": dict(contents.card),',
          '"card.json": {**contents.card, "written": __import__("time").time()},'),
    # 2. Nothing is trained, tuned, calibrated or thresholded on what it is tested on.
    Break(2, "the tested rows train too", "magml/models/nested.py",
          "    own = train & setting.cohort\n",
          "    train = train | test\n    own = train & setting.cohort\n"),
    Break(2, "risks are shifted by the tested rows' prevalence", "magml/models/nested.py",
          "risks[name] = model.risk(new, used)",
          "risks[name] = model.risk(new, used) + 1e-6 * outcome[test].mean()"),
    Break(2, "baselines train on the tested rows", "magml/models/nested.py",
          'rows = train if name in setting.peers and setting.peer_rows == "all" else own',
          "rows = train | test"),
    Break(2, "margins for the calibrator are of bags that saw their rows",
          "magml/models/crossfit.py", "            rows=train,", "            rows=None,",
          "tests/test_models_fit.py::"
        "test_margins_for_the_calibrator_know_nothing_of_their_own_outcome"),
    Break(2, "a person stands on both sides of a cut in time", "magml/models/outer.py",
          "test, train = ~early & wanted, early & ~over",
          "test, train = (moment >= cut) & wanted, early & ~over",
          "tests/test_models_outer.py::"
          "test_a_person_is_on_one_side_and_no_outcome_lies_beyond_the_cut"),
    # 3. A crash at any moment leaves the last complete bundle and run usable.
    Break(3, "folders are written in their place", "magml/files.py",
          "    with told(target), beside(target) as folder:\n        new = folder / target.name\n"
          "        new.mkdir()\n        yield new\n        os.chmod",
          '    __import__("shutil").rmtree(target, ignore_errors=True)\n    target.mkdir()\n'
          "    yield target\n    return\n"
          "    with told(target), beside(target) as folder:\n        new = folder / target.name\n"
          "        os.chmod"),
    Break(3, "the last bundle goes before the new one stands", "magml/bundle/write.py",
          "    with atomic_directory(target) as beside:\n",
          '    __import__("shutil").rmtree(target, ignore_errors=True)\n'
          "    with atomic_directory(target) as beside:\n"),
    # 4. A bundle that was changed does not load. A table that does not fit is refused, with counts.
    Break(4, "sizes of files are compared, hashes are not", "magml/bundle/manifest.py",
          "if _entry(files[name]) != entries[name]:",
          'if len(files[name]) != entries[name]["size"]:'),
    Break(4, "files that the manifest does not know are let through", "magml/bundle/manifest.py",
          '    _refuse("not in the manifest", sorted(present - set(entries)))\n', "",
          "tests/test_bundle.py::test_an_added_file_is_refused"),
    Break(4, "names of files are not checked", "magml/bundle/manifest.py",
          "    for name in entries:\n        _check_name(name)\n", "",
          "tests/test_bundle.py::test_a_path_out_of_the_bundle_is_refused"),
    Break(4, "a signature that is not of this bundle will do", "magml/bundle/sign.py",
          "    except (InvalidSignature, ValueError):\n        return False",
          "    except (InvalidSignature, ValueError):\n        return True",
          "tests/test_bundle_sign.py::test_an_attacker_who_writes_a_new_manifest_is_found"),
    Break(4, "rows without a code are let in", "magml/events/read.py",
          "        if missing:\n            raise InputError(\n"
          '                f"{missing} rows of the',
          '        if missing and name != "code":\n            raise InputError(\n'
          '                f"{missing} rows of the'),
    Break(4, "the refusal does not say how many rows", "magml/events/read.py",
          'f"{missing} rows of the {table.name} have', 'f"some rows of the {table.name} have'),
    # 5. Patient rows stay where they are; what leaves is aggregates, small cells suppressed.
    Break(5, "cells of two to nine are exported", "magml/validation/aggregate.py",
          "SMALL = 10", "SMALL = 2"),
    Break(5, "a group that alone is hidden can be had by subtraction",
          "magml/validation/aggregate.py", "if len(hidden) == 1:", "if len(hidden) > 1e9:"),
    Break(5, "a subgroup that alone is hidden can be had by subtraction",
          "magml/validation/aggregate.py", "if hidden.get(dimension, 0) == 1:",
          "if hidden.get(dimension, 0) > 1e9:"),
    Break(5, "who is left tells how many left", "magml/validation/aggregate.py",
          'hidden = _count(step["left_out"]) is None', "hidden = False"),
    Break(5, "a leaf may hold one person", "magml/models/leaves.py",
          "LEAST_PEOPLE = 5", "LEAST_PEOPLE = 1",
          "tests/test_models_leaves.py::test_a_person_with_many_rows_has_no_leaf_alone"),
    Break(5, "scoring logs whom it scored", "magml/bundle/scores.py",
          '    table.attrs["left_out"]',
          '    __import__("logging").getLogger("magml").warning(table.to_csv())\n'
          '    table.attrs["left_out"]',
          "tests/test_privacy.py::test_no_command_lets_a_patient_out"),
    # 6. Nothing phones home: every library's telemetry is off unless the user turns it on.
    Break(6, "MLflow's telemetry stays as it comes", "magml/experiments/store.py",
          '    "MLFLOW_DISABLE_TELEMETRY": "true",\n    "DO_NOT_TRACK": "true",\n', ""),
    Break(6, "loading a bundle asks for a newer version", "magml/bundle/load.py",
          "    model = model_of(read_bundle(",
          "    import contextlib, urllib.request\n\n"
          "    with contextlib.suppress(OSError):\n"
          '        urllib.request.urlopen("http://example.org/magml/version", timeout=5)\n'
          "    model = model_of(read_bundle("),
)  # fmt: skip
