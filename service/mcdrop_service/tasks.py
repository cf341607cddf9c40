"""What a worker is asked, and by whom.

Knows the socket to an API process, and which of its asks nobody waits for any more. Refuses to
know how an ask is answered.
"""

import time
from collections.abc import Callable, Iterator

from mcdrop.predictor import Predictor
from mcdrop_service.ask import Ask, Reply
from mcdrop_service.job import Job
from mcdrop_service.walks import Step
from mcdrop_service.wire import Wire

__all__ = ["Peer", "Task"]


class Task:
    """An ask, who asked, and how far it has come."""

    predictor: Predictor
    job: Job
    walk: Iterator[Step]

    def __init__(self, peer: "Peer", number: int, ask: Ask) -> None:
        self._peer, self._number = peer, number
        self.ask = ask
        self.answered = self.gone = False

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.gone or self.answered or time.monotonic() > self.ask.deadline

    def reply(self, reply: Reply) -> None:
        """Send a reply."""
        self.answered = not reply.more
        self._peer.send(self._number, *reply.pack())
        if self.answered:
            self._peer.tasks.pop(self._number, None)


class Peer(Wire):
    """The socket to one API process."""

    def __init__(self, take: Callable[[Task], None]) -> None:
        super().__init__()
        self._take = take
        self.tasks: dict[int, Task] = {}

    def got(self, number: int, head: bytes, content: bytes) -> None:
        """Take an ask, or take one back."""
        if head:
            task = self.tasks[number] = Task(self, number, Ask.unpack(head, content))
            self._take(task)
        elif number in self.tasks:
            self.tasks.pop(number).gone = True

    def lost(self) -> None:
        """Nobody is there for the answers."""
        for task in self.tasks.values():
            task.gone = True
        self.tasks.clear()
