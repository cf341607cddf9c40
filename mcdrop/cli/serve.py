"""`mcdrop serve`: the repository over HTTP."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["serve"]


def serve(
    root: Annotated[
        Path | None, typer.Option("--repository", help="The model repository; models by default.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings; flags beat it.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to bind; 127.0.0.1 by default.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port; 8000 by default.")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Inference processes; 1 by default.")
    ] = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated."),
    ] = None,
) -> None:
    """Serve the repository over HTTP; /docs describes the API.

    Settings that are not given come from MCDROP_* variables or from the file.
    """
    from mcdrop_service import serve as run_server

    flags: dict[str, Any] = {"host": host, "port": port, "workers": workers}
    for text in others or ():
        _add(flags, text)
    run_server(root, config=config, **flags)


def _add(flags: dict[str, Any], text: str) -> None:
    """Add ``NAME=VALUE``: a value as TOML has it, or else a text, which then needs no quotes.

    ``NAME.KEY=VALUE`` is an entry of a setting that has several.
    """
    name, equals, value = text.partition("=")
    if not equals or not name or name in ("repository", "config"):
        raise typer.BadParameter(
            f"got {text!r}, wanted NAME=VALUE of a setting", param_hint="--set"
        )
    try:
        given = tomllib.loads(f"{name} = {value}")
    except tomllib.TOMLDecodeError:
        given = {name: value}
    for key, part in given.items():
        before = flags.get(key)
        if isinstance(before, dict) and isinstance(part, dict):
            before.update(part)
        else:
            flags[key] = part
