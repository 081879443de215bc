"""Read the next piece while somebody works on this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.2


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items in the same order, the next one made in a thread of its own. What `items` raises is raised here.

    Closing it (or leaving the loop over it) ends the thread after the item that it is at.
    """
    waiting: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=1)
    over = threading.Event()

    def put(item: T | None, problem: BaseException | None) -> bool:
        while not over.is_set():
            try:
                waiting.put((item, problem), timeout=_POLL_S)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for item in items:
                if not put(item, None):
                    return
            put(None, StopIteration())
        except BaseException as problem:  # noqa: BLE001 - whatever it is, it belongs to whoever reads
            put(None, problem)

    thread = threading.Thread(target=read, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, problem = waiting.get()
            if isinstance(problem, StopIteration):
                return
            if problem is not None:
                raise problem
            yield item  # type: ignore[misc]
    finally:
        over.set()
