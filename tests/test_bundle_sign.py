"""Signed bundles: who vouches for them; what was changed, by whom, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("cryptography", reason="needs the extra sign")

from magml.bundle import load, write_bundle
from magml.bundle.manifest import MANIFEST, SIGNATURE, write_manifest
from magml.bundle.sign import VARIABLE, make_signing_key, sign_bundle
from magml.cli.app import app
from magml.errors import BundleError, InputError
from tests import bundle_parts as parts


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return folder


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "bundle"))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return make_signing_key(tmp_path / "ours")


def test_a_signed_bundle_loads_and_is_the_same_bundle(
    bundle: Path, pair: tuple[Path, Path]
) -> None:
    before = load(bundle).hash
    sign_bundle(bundle, pair[0])
    assert load(bundle, keys=[pair[1]]).hash == load(bundle).hash == before


def test_what_is_not_signed_or_by_another_is_refused(
    bundle: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="not signed"):
        load(bundle, keys=[pair[1]])
    theirs = make_signing_key(tmp_path / "theirs")
    sign_bundle(bundle, theirs[0])
    with pytest.raises(BundleError, match="not signed with a key you trust"):
        load(bundle, keys=[pair[1]])
    # A second signature stands beside the first.
    sign_bundle(bundle, pair[0])
    for key in (pair[1], theirs[1]):
        load(bundle, keys=[key])


def test_an_attacker_who_writes_a_new_manifest_is_found(
    bundle: Path, pair: tuple[Path, Path]
) -> None:
    """Without the key, files and manifest can be made to agree; the signature cannot."""
    sign_bundle(bundle, pair[0])
    path = bundle / "card.md"
    path.write_text("Better than everything.\n")
    (bundle / MANIFEST).unlink()
    write_manifest(bundle)
    load(bundle)
    with pytest.raises(BundleError, match="the signature is not of this bundle"):
        load(bundle, keys=[pair[1]])


def test_a_signature_of_another_bundle_or_altered_is_refused(
    bundle: Path, pair: tuple[Path, Path]
) -> None:
    sign_bundle(bundle, pair[0])
    path = bundle / SIGNATURE
    value = json.loads(path.read_text())
    value["signatures"][0]["signature"] = "00" * 64
    path.write_text(json.dumps(value))
    with pytest.raises(BundleError, match="not of this bundle"):
        load(bundle, keys=[pair[1]])
    for nonsense in ("", "[]", '{"format": "x"}', '{"format": "magml signature", "version": 1}'):
        path.write_text(nonsense)
        with pytest.raises(BundleError, match="does not read"):
            load(bundle, keys=[pair[1]])


def test_the_variable_asks_every_command(
    bundle: Path, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    shutil.copy(pair[1], keys / "ours.pub")
    monkeypatch.setenv(VARIABLE, str(keys))
    with pytest.raises(BundleError, match="not signed"):
        load(bundle)
    done = CliRunner().invoke(app, ["sign-bundle", str(bundle), "--key", str(pair[0])])
    assert done.exit_code == 0, done.output
    load(bundle)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "empty"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no key"):
        load(bundle)
    # Asking for keys and naming none is not the same as not asking.
    with pytest.raises(BundleError):
        load(bundle, keys=[])


def test_keys_are_kept_and_never_overwritten(bundle: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["signing-key", "--out", str(tmp_path / "k"), "--json"])
    private = Path(json.loads(done.stdout)["private"])
    assert private.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InputError, match="exists"):
        make_signing_key(private)
    os.chmod(private, 0o644)
    with pytest.raises(InputError, match="others can read"):
        sign_bundle(bundle, private)
    os.chmod(private, 0o600)
    private.write_text("nonsense")
    with pytest.raises(InputError, match="no private"):
        sign_bundle(bundle, private)
    with pytest.raises(InputError, match="no public"):
        load(bundle, keys=[private])


def test_a_bundle_that_was_changed_is_not_signed(bundle: Path, pair: tuple[Path, Path]) -> None:
    (bundle / "card.md").write_text("changed")
    with pytest.raises(BundleError, match="changed"):
        sign_bundle(bundle, pair[0])
    assert not (bundle / SIGNATURE).exists()


def test_a_pair_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "ours.pub"
    taken.write_text("another's")
    with pytest.raises(InputError, match=r"'ours\.pub' exists"):
        make_signing_key(tmp_path / "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["ours.pub"]
    assert taken.read_text() == "another's"
    taken.unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        make_signing_key(tmp_path / "ours")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    private, public = make_signing_key(tmp_path / "new" / "ours")
    assert [oct(path.stat().st_mode & 0o777) for path in (private, public)] == ["0o600", "0o644"]
    assert sorted(path.name for path in private.parent.iterdir()) == ["ours", "ours.pub"]
