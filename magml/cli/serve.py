"""The commands of a service and of what it serves."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from magml.cli.options import JsonOption, print_result

_Store = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow store; default as for training.")
]


def serve(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder or models:/name@alias.")],
    host: Annotated[str, typer.Option("--host", help="Beyond loopback: keys and TLS.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8000,
    keys: Annotated[Path | None, typer.Option("--keys", help="File of API keys.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option("--tls-certificate")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key")] = None,
    client_ca: Annotated[
        Path | None, typer.Option("--client-ca", help="Authority of client certificates.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A reverse proxy on this host ends TLS.")
    ] = False,
    max_bytes: Annotated[int, typer.Option("--max-bytes", min=1_000)] = 5_000_000,
    max_rows: Annotated[int, typer.Option("--max-rows", min=1)] = 1_000,
    max_events: Annotated[int, typer.Option("--max-events", min=1)] = 50_000,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds.")] = 30.0,
    waiting: Annotated[int, typer.Option("--waiting", min=1, help="Longest queue.")] = 24,
    patience: Annotated[
        float, typer.Option("--patience", min=0.01, help="Seconds to wait for a turn.")
    ] = 2.0,
    zone: Annotated[str, typer.Option("--zone", help="IANA zone of naive times.")] = "UTC",
    poll: Annotated[
        float, typer.Option("--poll", min=0, help="Seconds between looks for a newer model.")
    ] = 10.0,
    cds_clients: Annotated[
        Path | None, typer.Option("--cds-clients", help="Issuers and public keys of callers.")
    ] = None,
    cds_audience: Annotated[
        str | None, typer.Option("--cds-audience", help="Address that their tokens name.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", help="Web origin that may call; repeatable.")
    ] = None,
    alert_band: Annotated[
        str | None, typer.Option("--alert-band", help="Lowest band with a card; default the top.")
    ] = None,
    review_url: Annotated[
        str | None, typer.Option("--review-url", help="Page of a card's link; {patient} the id.")
    ] = None,
    silent: Annotated[bool, typer.Option("--silent", help="Score, but raise no card.")] = False,
    tracking_uri: _Store = None,
) -> None:
    """Serve a model over HTTP: /score, /explain, /health, /ready, /metrics, /openapi.json."""
    from magml.service import Settings
    from magml.service import serve as run

    run(
        bundle,
        Settings(
            host=host,
            port=port,
            keys=keys,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            client_ca=client_ca,
            behind_proxy=behind_proxy,
            max_bytes=max_bytes,
            max_rows=max_rows,
            max_events=max_events,
            timeout=timeout,
            waiting=waiting,
            patience=patience,
            zone=zone,
            poll=poll,
            tracking_uri=tracking_uri,
            cds_clients=cds_clients,
            cds_audience=cds_audience,
            origins=tuple(origin or ()),
            alert_band=alert_band,
            review_url=review_url,
            silent=silent,
        ),
    )


def serve_key(
    name: Annotated[str, typer.Argument(help="Who will use it.")],
    keys: Annotated[Path, typer.Option("--keys", help="File of API keys; made if missing.")],
    as_json: JsonOption = False,
) -> None:
    """Make an API key for a service; it is shown once, and only its hash is kept."""
    from magml.service.keys import make_key

    key = make_key(keys, name)
    print_result({"name": name, "key": key}, f"{key}\nKept as a hash in {keys}", as_json)


def promote(
    model: Annotated[str, typer.Argument(help="Name of the registered model.")],
    version: Annotated[str | None, typer.Option("--version")] = None,
    silent: Annotated[bool, typer.Option("--silent", help="Begin its silent period only.")] = False,
    tracking_uri: _Store = None,
    as_json: JsonOption = False,
) -> None:
    """Put a version of a registered model into service, or into its silent period."""
    from magml.experiments.registry import promote as run

    _moved(run(model, version, silent=silent, tracking_uri=tracking_uri), as_json)


def sync(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or a bundle.")],
    tracking_uri: _Store = None,
    as_json: JsonOption = False,
) -> None:
    """Record a run or a bundle in MLflow and register its model, unless it is there already."""
    from magml.experiments.sync import sync as run

    done = run(folder, tracking_uri=tracking_uri)
    text = f"{done.model_uri} in {done.tracking_uri}, run {done.run_id}"
    text += f", alias {done.alias}" if done.new else " (there already)"
    print_result(asdict(done), text, as_json)


def rollback(
    model: Annotated[str, typer.Argument(help="Name of the registered model.")],
    tracking_uri: _Store = None,
    as_json: JsonOption = False,
) -> None:
    """Put the version that served before back into service."""
    from magml.experiments.registry import rollback as run

    _moved(run(model, tracking_uri=tracking_uri), as_json)


def _moved(moved: Any, as_json: bool) -> None:
    before = "nothing" if moved.before is None else f"version {moved.before}"
    text = f"{moved.model}@{moved.alias}: version {moved.after} (before: {before})"
    print_result(asdict(moved), text, as_json)
