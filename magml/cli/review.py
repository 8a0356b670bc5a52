"""Opening a review, and the people who may read and sign."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from magml.cli.options import (
    AtOption,
    DataOption,
    EventsOption,
    ExperimentOption,
    JsonOption,
    LabelsOption,
    ThreadsOption,
    print_result,
    progress_lines,
)
from magml.cli.verify_reviews import DatabaseOption, HeadOption, KeyOption, RecordOption
from magml.errors import InputError


def review(
    bundle: Annotated[
        str, typer.Argument(help="Folder of a bundle or a run, or models:/name@alias.")
    ],
    events: EventsOption = None,
    at: AtOption = None,
    labels: LabelsOption = None,
    experiment: ExperimentOption = None,
    data: DataOption = None,
    record: RecordOption = Path("reviews"),
    db: DatabaseOption = None,
    key: KeyOption = None,
    head: HeadOption = None,
    host: Annotated[str, typer.Option("--host", help="Beyond loopback: users and TLS.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8765,
    tls_certificate: Annotated[Path | None, typer.Option("--tls-certificate")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key")] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option("--proxy", help="Address of a reverse proxy that ends TLS; repeatable."),
    ] = None,
    user_header: Annotated[
        str | None, typer.Option("--user-header", help="Header in which it names the user.")
    ] = None,
    proxy_secret: Annotated[
        Path | None,
        typer.Option("--proxy-secret", help="File of the secret it sends; made if missing."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="Host name that readers use; repeatable."),
    ] = None,
    prepare_only: Annotated[
        bool, typer.Option("--prepare-only", help="Prepare the pages and stop.")
    ] = False,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let clinicians read the reasons behind each risk and sign what they think of them.

    With --labels alone the outcomes are known to the calibration of the reviewed, to no reader.
    """
    from magml.review import Settings, open_review

    settings = Settings(
        host=host,
        port=port,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        proxies=tuple(proxy or ()),
        user_header=user_header,
        proxy_secret=proxy_secret,
        names=tuple(name or ()),
    )
    from magml.cli.rows import prediction_rows
    from magml.report import find_run

    run = find_run(bundle)
    rows = prediction_rows(run.model, events, at, labels, experiment, data)
    desk = open_review(
        run,
        rows.events,
        rows.at,
        labels=labels,
        record=record,
        db=db,
        key=key,
        head=head,
        settings=settings,
        threads=threads,
        report=progress_lines(),
    )
    try:
        result = {"pages": len(desk.prepared), "address": desk.address(), "record": str(record)}
        if prepare_only:
            print_result({**result, "address": None}, f"{len(desk.prepared):,} pages", as_json)
            return
        lines = [f"{len(desk.prepared):,} pages. Open {desk.address()}"]
        if desk.local:
            lines.append(
                "The address lets in whoever has it, as a lead. For more readers add people with "
                "magml review-user, then start again."
            )
        print_result(result, "\n".join([*lines, "Ctrl+C stops."]), as_json)
        sys.stdout.flush()
        desk.serve()
    finally:
        desk.close()


def review_user(
    name: Annotated[str | None, typer.Argument(help="Whom; without a name all are listed.")] = None,
    role: Annotated[str, typer.Option("--role", help="reviewer, lead or read-only.")] = "reviewer",
    no_password: Annotated[
        bool, typer.Option("--no-password", help="A proxy logs this person in.")
    ] = False,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    disable: Annotated[bool, typer.Option("--disable", help="Shut this person out.")] = False,
    record: RecordOption = Path("reviews"),
    db: DatabaseOption = None,
    key: KeyOption = None,
    head: HeadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add, change, shut out or list the people of a review. The password is asked for."""
    from magml.review import open_review  # noqa: F401  # says which extra is missing
    from magml.review.accounts import disable_account, list_accounts, set_account
    from magml.review.record import Places, open_record

    opened = open_record(Places.of(record, db, key, head))
    try:
        if name is None:
            found = list_accounts(opened.engine)
            text = "\n".join(
                f"{one.name}\t{one.role}{'' if one.active else ', disabled'}" for one in found
            )
            people = [{"name": one.name, "role": one.role, "active": one.active} for one in found]
            print_result({"people": people}, text or "Nobody yet.", as_json)
            return
        if disable:
            disable_account(opened.engine, name)
            print_result({"name": name, "active": False}, f"{name} is shut out.", as_json)
            return
        password = None if no_password else _password(password_stdin)
        made = set_account(opened.engine, name, role, password)
        print_result({"name": made.name, "role": made.role}, f"{name} is {made.role}.", as_json)
    finally:
        opened.close()


def _password(from_stdin: bool) -> str:
    """Return a password that never stands among the arguments, where others could see it."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InputError(
            "nobody to ask for a password", "a terminal, or --password-stdin", "add the option"
        )
    found: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return found
