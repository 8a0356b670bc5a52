"""Bundles: what is written, equal bytes, tampering, catalogues."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magml.bundle import load, write_bundle
from magml.bundle.manifest import MANIFEST, manifest_hash
from magml.bundle.write import bundle_files
from magml.definitions.catalogue import Catalogue
from magml.errors import BundleError
from magml.features import compile_plan
from tests import bundle_parts as parts


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return folder


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may spoil."""
    return Path(shutil.copytree(written, tmp_path / "bundle"))


def test_a_bundle_holds_ubj_json_and_the_card(written: Path) -> None:
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    assert names == {
        "manifest.json",
        "model.json",
        "catalogue.json",
        "plan.json",
        "schema.json",
        "calibrator.json",
        "explanations.json",
        "reference.json",
        "training.json",
        "card.json",
        "card.md",
        *(f"boosters/member_0{number}.ubj" for number in range(4)),
    }
    for path in written.rglob("*.json"):
        json.loads(path.read_text())


def test_schema_states_every_feature(written: Path) -> None:
    schema = json.loads((written / "schema.json").read_text())
    assert [feature["name"] for feature in schema["features"]] == list(parts.FEATURES)
    lowest = schema["features"][1]
    assert (lowest["unit"], lowest["window"], lowest["statistic"]) == ("mmol/L", "24h", "min")
    assert (lowest["domain"], lowest["concept"]) == ("lab", "lab.potassium")


def test_a_loaded_model_is_the_one_written(written: Path) -> None:
    contents = parts.contents()
    X = parts.matrix(200, seed=5)[0]
    model = load(written)
    margin = contents.bag.margin(X)
    found = model.score_matrix(X)
    np.testing.assert_array_equal(found.margin, margin)
    np.testing.assert_array_equal(found.risk, contents.calibrator.risk(margin))
    assert model.features == parts.FEATURES
    assert model.definition == parts.DEFINITION
    # Not only equal: features come in the same order, whatever JSON did on the way.
    assert list(model.catalogue.features) == list(parts.CATALOGUE.features)
    assert model.catalogue == parts.CATALOGUE
    assert model.baseline == contents.baseline
    assert model.card == json.loads(json.dumps(contents.card))
    assert model.card_text.startswith("# Low serum magnesium in the next 24 hours")


def test_equal_training_gives_equal_bytes_for_any_number_of_threads(tmp_path: Path) -> None:
    parts.fitted.cache_clear()
    parts.contents.cache_clear()
    one = bundle_files(parts.contents(1))
    two = bundle_files(parts.contents(2))
    assert one == two
    assert write_bundle(tmp_path / "a", parts.contents(1)) == write_bundle(
        tmp_path / "b", parts.contents(2)
    )
    assert (tmp_path / "a" / MANIFEST).read_bytes() == (tmp_path / "b" / MANIFEST).read_bytes()


def test_no_path_clock_or_run_stands_in_a_bundle(written: Path) -> None:
    text = "".join(path.read_text() for path in written.rglob("*.json"))
    assert str(written.parent) not in text
    assert str(Path.home()) not in text or str(Path.home()) == "/"
    for word in ("run_id", "created", "timestamp_of"):
        assert word not in text


def test_a_changed_file_is_refused(bundle: Path) -> None:
    path = bundle / "calibrator.json"
    path.write_text(path.read_text().replace("intercept", "Intercept"))
    with pytest.raises(BundleError, match=r"changed since it was written: calibrator\.json"):
        load(bundle)


def test_a_booster_changed_by_one_bit_is_refused(bundle: Path) -> None:
    path = bundle / "boosters" / "member_02.ubj"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"member_02\.ubj"):
        load(bundle)


def test_an_added_file_is_refused(bundle: Path) -> None:
    (bundle / "boosters" / "member_04.ubj").write_bytes(b"")
    with pytest.raises(BundleError, match=r"not in the manifest: boosters/member_04\.ubj"):
        load(bundle)


def test_a_missing_file_is_refused(bundle: Path) -> None:
    (bundle / "boosters" / "member_03.ubj").unlink()
    with pytest.raises(BundleError, match=r"missing: boosters/member_03\.ubj"):
        load(bundle)


def test_a_link_is_refused(bundle: Path, tmp_path: Path) -> None:
    path = bundle / "card.md"
    shutil.move(path, tmp_path / "card.md")
    path.symlink_to(tmp_path / "card.md")
    with pytest.raises(BundleError, match="link"):
        load(bundle)


@pytest.mark.parametrize("name", ["../secret.json", "/etc/passwd", "a/../../b", "c:\\x", "C:x"])
def test_a_path_out_of_the_bundle_is_refused(bundle: Path, name: str) -> None:
    def add(manifest: dict) -> None:
        manifest["files"][name] = manifest["files"]["card.md"]

    edit(bundle, add, rehash=True)
    with pytest.raises(BundleError, match="leads out of the bundle"):
        load(bundle)


def test_an_edited_manifest_is_refused(bundle: Path) -> None:
    path = bundle / "card.md"
    path.write_text("Better than everything.\n")
    import hashlib

    def adapt(manifest: dict) -> None:
        data = path.read_bytes()
        manifest["files"]["card.md"] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
        }

    edit(bundle, adapt)
    with pytest.raises(BundleError, match="manifest's hash"):
        load(bundle)


def test_another_format_version_is_refused(bundle: Path) -> None:
    edit(bundle, lambda manifest: manifest.update(version=99), rehash=True)
    with pytest.raises(BundleError, match="format version 99"):
        load(bundle)


@pytest.mark.parametrize("text", ["not json", "[]", '{"format": "other"}'])
def test_a_manifest_of_something_else_is_refused(bundle: Path, text: str) -> None:
    (bundle / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match="manifest"):
        load(bundle)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no folder 'nowhere'"):
        load(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="holds no manifest"):
        load(tmp_path)


def edit(bundle: Path, change, *, rehash: bool = False) -> None:
    path = bundle / MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    if rehash:
        manifest["hash"] = manifest_hash(manifest)
    path.write_text(json.dumps(manifest))


def test_a_bundle_replaces_a_bundle_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    write_bundle(target, parts.contents())
    write_bundle(target, parts.contents())
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("years of work")
    with pytest.raises(BundleError, match="'thesis' exists and is not a bundle"):
        write_bundle(other, parts.contents())
    assert (other / "chapter.txt").read_text() == "years of work"


def test_a_crash_while_writing_leaves_the_last_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    before = write_bundle(target, parts.contents())

    def crash(_: object) -> str:
        raise OSError("disk full")

    monkeypatch.setattr("magml.bundle.write.write_manifest", crash)
    with pytest.raises(OSError, match="disk full"):
        write_bundle(target, parts.contents())
    assert load(target).hash == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    contents = parts.contents()
    training = replace(contents.training, performance={"auroc": float("nan")})
    with pytest.raises(BundleError, match=r"training\.json"):
        write_bundle(tmp_path / "bundle", replace(contents, training=training))
    assert list(tmp_path.iterdir()) == []


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    contents = parts.contents()
    plan = compile_plan(parts.CATALOGUE, parts.FEATURES[:-1])
    with pytest.raises(BundleError, match=r"does not compute 1 features.*potassium_drop"):
        write_bundle(tmp_path / "bundle", replace(contents, plan=plan))
    short = replace(contents.baseline, mean_absolute=(0.1,))
    with pytest.raises(BundleError, match="baseline has 1 features"):
        write_bundle(tmp_path / "bundle", replace(contents, baseline=short))


def changed(path: tuple[str, ...], value: object) -> Catalogue:
    """Return the catalogue with one entry of the domain lab changed."""
    content = parts.CATALOGUE.model_dump(mode="json")
    inner = content["domains"][0]
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return Catalogue.model_validate(content)


def test_a_catalogue_with_other_words_agrees(written: Path) -> None:
    load(written, catalogue=parts.CATALOGUE)
    load(written, catalogue=changed(("concepts", "potassium", "label"), "Kalium"))
    load(written, catalogue=changed(("concepts", "potassium", "direction"), "raises"))
    # The model does not use magnesium itself.
    load(written, catalogue=changed(("concepts", "magnesium", "codes"), ["LOINC//1"]))


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("concepts", "potassium", "codes"), ["LOINC//6298-4"], "lab.potassium"),
        (("concepts", "albumin", "unit"), "g/dL", "lab.albumin"),
        (("concepts", "potassium", "plausible"), [2.0, 12.0], "lab.potassium"),
        (("derived", "potassium_drop", "formula"), "ratio", "lab.potassium_drop"),
    ],
)
def test_a_catalogue_with_another_meaning_is_refused(
    written: Path, path: tuple[str, ...], value: object, named: str
) -> None:
    with pytest.raises(BundleError, match=named):
        load(written, catalogue=changed(path, value))


def test_a_catalogue_without_a_feature_is_refused(written: Path) -> None:
    smaller = changed(("concepts", "potassium", "features"), {"ever": ["last"], "24h": ["min"]})
    with pytest.raises(BundleError, match=r"lacks 1 features.*potassium\.count\.24h"):
        load(written, catalogue=smaller)


def test_loading_and_scoring_need_neither_ibis_nor_mlflow(written: Path) -> None:
    code = (
        "import sys, numpy as np, magml\n"
        f"model = magml.load({str(written)!r})\n"
        "model.score_matrix(np.zeros((1, len(model.features)), dtype=np.float32))\n"
        "print([name for name in ('ibis', 'mlflow', 'shap', 'matplotlib', 'optuna') "
        "if name in sys.modules])"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.stdout.strip() == "[]"
