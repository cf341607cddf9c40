"""No process outlives the one that started it, however that one ends.

A server that is killed outright cannot stop its children, and those would keep its port.
"""

import os
import threading
import time

__all__ = ["end_with_parent"]


def end_with_parent() -> None:
    """End this process within a second of its parent's end."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
