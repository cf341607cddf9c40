"""`mcdrop serve`: the repository over HTTP."""

from pathlib import Path
from typing import Annotated

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
) -> None:
    """Serve the repository over HTTP; /docs describes the API.

    Further settings come from MCDROP_* variables or from the file.
    """
    from mcdrop_service import serve as run_server

    run_server(root, config=config, host=host, port=port, workers=workers)
