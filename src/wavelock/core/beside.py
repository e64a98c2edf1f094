"""A thread that does one thing while its caller does another."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class BesideThread:
    """A `kernel.Beside`: the thread starts when there is something to do for the first time."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Callable[[], bytes] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __call__(self, task: Callable[[], bytes]) -> Callable[[], bytes]:
        """Begin something, one at a time. Answers a function that waits for its outcome, and raises what it does."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="wavelock-digest", daemon=True)
            self._thread.start()
        self._asked.put(task)
        return self._result

    def _result(self) -> bytes:
        found = self._done.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def _work(self) -> None:
        while (task := self._asked.get()) is not None:
            try:
                self._done.put(task())
            except BaseException as error:
                self._done.put(error)

    def close(self) -> None:
        """End the thread. Safe to call twice."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join()
            self._thread = None
