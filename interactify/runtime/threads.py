"""Evaluations side by side on a CPU: one thread for each, instead of all threads for one after the other.

Small maps keep few cores busy, and the solver's own steps none of them; several passes at once do. Each gives what it
gives alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def side_by_side(count: int) -> Iterator[Executor | None]:
    """`count` threads in which torch uses one thread each; None for fewer than two.

    >>> with side_by_side(2) as pool:
    ...     list(pool.map(lambda x: (x * x, torch.get_num_threads()), [2, 3]))
    [(4, 1), (9, 1)]
    """
    if count < 2:
        yield None
        return
    own, ready = torch.get_num_threads(), threading.Barrier(count + 1)

    def begin() -> None:
        torch.get_num_threads()  # the first question sets a thread's number to the process's; only then does ours hold
        torch.set_num_threads(1)
        ready.wait()

    with ThreadPoolExecutor(count, initializer=begin) as pool:
        for _ in range(count):  # a thread is started for each, since none is idle before all have begun
            pool.submit(int)
        ready.wait()
        torch.set_num_threads(own)  # what was set in a thread is what later ones begin with
        yield pool
