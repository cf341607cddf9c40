"""Making things before they are asked for: what lets reading, inference and writing overlap.

Knows threads and queues. Refuses to know what is made.
"""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")

_PATIENCE = 0.1  # seconds after which a maker looks whether anyone still wants what it makes


def ahead(items: Iterable[Item], most: int = 2) -> Iterator[Item]:
    """The same items, made by a thread of their own.

    An error in making them is raised where they are taken. Where the taker stops early, so does
    the maker, after the item it is at.

    Args:
        items: made one after another.
        most: items that may lie ready; 0 for any number.
    """
    ready: queue.Queue[tuple[Any, BaseException | None, bool]] = queue.Queue(most)
    unwanted = threading.Event()
    maker = threading.Thread(target=_make, args=(items, ready, unwanted), daemon=True)
    maker.start()
    try:
        while True:
            item, error, more = ready.get()
            if error is not None:
                raise error
            if not more:
                return
            yield item
    finally:
        unwanted.set()
        maker.join()


def _make(items: Any, ready: queue.Queue[Any], unwanted: threading.Event) -> None:
    def put(item: Any, error: BaseException | None, more: bool) -> bool:
        while not unwanted.is_set():
            try:
                ready.put((item, error, more), timeout=_PATIENCE)
                return True
            except queue.Full:
                continue
        return False

    try:
        for item in items:
            if not put(item, None, True):
                break
        else:
            put(None, None, False)
    except BaseException as error:
        put(None, error, False)
    finally:
        if hasattr(items, "close"):
            items.close()  # so that makers further up stop too
