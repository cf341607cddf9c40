"""Ask a server as one asks a predictor: the same arguments, the same types of answers, to the bit.

`Client` waits, `AsyncClient` awaits; both need the extra ``client`` (httpx). Knows the service's
HTTP contract from outside. Imports nothing of the service.
"""

from importlib.util import find_spec

if find_spec("httpx") is None:
    raise ImportError("the client needs httpx: pip install 'mcdrop[client]'")

from mcdrop.client.asynchronous import AsyncClient
from mcdrop.client.synchronous import Client

__all__ = ["AsyncClient", "Client"]
