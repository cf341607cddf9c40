"""The page at ``/``: a playground for people, in their browser.

Knows where the page's files are, what a browser may do with them (nothing but ask this server),
and the example rows that a version may come with. Refuses to know answers: the page asks for them
like any other client.
"""

import logging
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from mcdrop.card import Examples
from mcdrop.errors import RepositoryError
from mcdrop.repository import load_examples, read_card, resolve

__all__ = ["POLICY", "install"]

POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The page's content security policy: its own files, no inline script or style, nobody else."""

_log = logging.getLogger(__name__)
_FOLDER = Path(__file__).parent / "page"
# A browser asks each time whether its copy is still right: an upgrade is seen at once.
_HEADERS = {"content-security-policy": POLICY, "cache-control": "no-cache"}


class _Files(StaticFiles):
    """The page's files, under its policy."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file, or that the browser's copy is still right."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_HEADERS)
        return response


async def _index(_request: Any) -> Response:
    return FileResponse(_FOLDER / "index.html", headers=_HEADERS)


def install(app: FastAPI, repository: Path) -> None:
    """Put the page at ``/``, its files under ``/static``, and examples beside each version.

    LitServe has a route for ``/`` already; the first one that fits answers.
    """
    app.router.routes[:0] = [
        Route("/", _index, methods=["GET"]),
        Mount("/static", _Files(directory=_FOLDER)),
    ]

    @app.get("/models/{model}/versions/{version}/examples")
    def examples(model: str, version: int) -> Examples:
        """Raw rows of the test part to try a version on; none where it came without them."""
        try:
            folder = resolve(repository, model, version)
        except RepositoryError as error:
            raise HTTPException(404, str(error)) from None
        try:
            return load_examples(folder, read_card(folder))
        except RepositoryError as error:  # its message names a path of the server's
            _log.error("examples cannot be read: %s", error)
            raise HTTPException(500, "the examples cannot be read: see the server's log") from None
