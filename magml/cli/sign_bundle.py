"""Signing bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magml.cli.options import JsonOption, print_result


def signing_key(
    out: Annotated[Path, typer.Option("--out", help="The secret key; the public is OUT.pub.")],
    as_json: JsonOption = False,
) -> None:
    """Make a pair of keys to sign bundles with."""
    from magml.bundle.sign import make_signing_key

    private, public = make_signing_key(out)
    text = f"Secret key {private}: keep it.\nPublic key {public}: give it to whoever loads bundles."
    print_result({"private": str(private), "public": str(public)}, text, as_json)


def sign_bundle(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    key: Annotated[Path, typer.Option("--key", help="Secret key, PEM.")],
    as_json: JsonOption = False,
) -> None:
    """Sign a bundle, so that who holds the public key can tell where it is from."""
    from magml.bundle.sign import sign_bundle as sign

    own = sign(bundle, key)
    print_result({"bundle": str(bundle), "key": own}, f"Signed with the key {own}", as_json)
