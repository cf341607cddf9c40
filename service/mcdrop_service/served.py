"""Which version of a model answers where none is named.

Workers know: the latest on disk may be broken, or not loaded yet. Refuses to know how they choose
(``shelf``).
"""

from mcdrop_service.backend import Backend

__all__ = ["served"]


async def served(backend: Backend) -> dict[str, int]:
    """By model, the version that answers; while workers go over to another, the one they leave.

    A model that no worker answers for is not there.

    Raises:
        RefusedError: 503; no worker is there, or one of them does not say.
    """
    found: dict[str, int] = {}
    for state in await backend.states():
        for model, version in state["served"].items():
            found[model] = min(version, found.get(model, version))
    return found
