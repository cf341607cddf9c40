"""`mcdrop serve`: the repository over HTTP."""

from typing import Annotated

import typer

from mcdrop.cli.options import MODELS, Repository

__all__ = ["serve"]


def serve(
    root: Repository = MODELS,
    host: Annotated[str, typer.Option("--host", help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1024, max=65535, help="Port to bind.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Inference processes.")] = 1,
) -> None:
    """Serve the repository over HTTP; /docs describes the API."""
    from mcdrop_service import serve as run_server

    run_server(root, host=host, port=port, workers=workers)
