"""Imports that come late, and at what cost.

PyTorch, SciPy's distributions and scikit-learn take seconds to import, and most processes need
only some of them. Knows Python's imports and its garbage collector. Refuses to know what is
imported.
"""

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

__all__ = ["importer", "staying"]


def importer(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package (PEP 562).

    Args:
        package: its ``__name__``.
        homes: by name, the package's module that has it.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return find


@contextmanager
def staying() -> Iterator[None]:
    """Have no garbage looked for in what is imported within: it stays as long as the process.

    For a program's first imports: PyTorch's are 200,000 objects, and to look through them again
    and again, and once more at the end, takes a quarter of their time. Where PyTorch has been
    imported before, others' objects are there too, whose garbage shall be found.
    """
    first = "torch" not in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()
        gc.enable()
