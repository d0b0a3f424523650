"""Evaluations side by side on a CPU: one thread for each, instead of all threads for one after the other.

Small maps keep few cores busy, and the solver's own steps keep one busy; several passes at once use all of them. Each
pass gives what it gives alone.

How many threads torch uses is set for each thread that calls it. But the first call in a thread takes the number that
any thread set last, and setting it sets what later threads start with: both have to be undone around it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def side_by_side(count: int) -> Iterator[Executor | None]:
    """A pool of `count` threads, in each of which torch uses one thread; None if `count` is less than two.

    >>> with side_by_side(2) as pool:
    ...     list(pool.map(lambda x: (x * x, torch.get_num_threads()), [2, 3]))
    [(4, 1), (9, 1)]
    """
    if count < 2:
        yield None
        return
    starting = _Starting(count, 1)
    with ThreadPoolExecutor(count, initializer=starting.in_thread) as pool:
        for _ in range(count):  # starts a new thread each time: none is idle before all have started
            pool.submit(int)
        starting.finish()
        yield pool


def workers(count: int, threads: int, work: Callable[[], object], name: str) -> tuple[threading.Thread, ...]:
    """Start `count` threads that run `work`, in each of which torch uses so many threads; they are daemons.

    >>> found = []
    >>> for each in workers(2, 1, lambda: found.append(torch.get_num_threads()), "example"):
    ...     each.join()
    >>> found
    [1, 1]
    """
    starting = _Starting(count, threads)

    def run() -> None:
        starting.in_thread()
        work()

    started = tuple(threading.Thread(target=run, name=f"{name}-{number}", daemon=True) for number in range(count))
    for each in started:
        each.start()
    starting.finish()
    return started


class _Starting:
    """Threads that start, each with its number of torch's threads; the thread that starts them keeps its own."""

    def __init__(self, count: int, threads: int) -> None:
        self._before, self._threads = torch.get_num_threads(), threads
        self._ready = threading.Barrier(count + 1)

    def in_thread(self) -> None:
        """In each new thread, before all else."""
        torch.get_num_threads()  # the first call in a thread resets its number: it has to come first
        torch.set_num_threads(self._threads)
        self._ready.wait()

    def finish(self) -> None:
        """In the thread that has started them, which waits until all are ready."""
        self._ready.wait()
        torch.set_num_threads(self._before)
