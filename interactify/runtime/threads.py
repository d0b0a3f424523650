"""Evaluations side by side on a CPU: one thread for each, instead of all threads for one after the other.

Small maps keep few cores busy, and the solver's own steps keep one busy; several passes at once use all of them. Each
pass gives what it gives alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
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
    before, ready = torch.get_num_threads(), threading.Barrier(count + 1)

    def start() -> None:
        torch.get_num_threads()  # the first call in a thread resets its number: it has to come first
        torch.set_num_threads(1)
        ready.wait()

    with ThreadPoolExecutor(count, initializer=start) as pool:
        for _ in range(count):  # starts a new thread each time: none is idle before all have started
            pool.submit(int)
        ready.wait()
        torch.set_num_threads(before)  # set_num_threads in a thread also sets what later threads start with
        yield pool
