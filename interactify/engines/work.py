"""What an engine runs, and what it gives back: items and answers are texts, so that they travel through anything."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from interactify.errors import InteractifyError, OptionError, reason_of


class Work(Protocol):
    """What is done with each item. It is pickled and sent to every worker."""

    def start(self, worker: int) -> Callable[[str], str]:
        """Prepare a worker, as by building a network; returns what is called for each item, and answers it.

        `worker` counts the workers of one machine from 0, to choose among its GPUs.
        """


class Finished(NamedTuple):
    """An item that has ended.

    Attributes:
        number: of the item, from 0.
        answer: what the work said of it; None where it was given up.
        lost: why it was given up: its process ended each time it was tried.
    """

    number: int
    answer: str | None
    lost: str | None = None


class Engine(Protocol):
    """Where work is done."""

    def run(self, work: Work, items: Sequence[str]) -> Iterator[Finished]:
        """Do the work; each item ends once, in any order.

        Raises:
            OptionError: the engine can't be used, before any work.
            Exception: what `Work.start`, or the function that it returned, raised in a worker.
        """


def counted(name: str, count: object, least: int = 1) -> int:
    """A number of workers or the like. Raises OptionError for others.

    >>> counted("workers", 2)
    2
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < least:
        raise OptionError(f"Expected a number of {name} from {least} up, got {count!r}. Try {max(least, 1)}.")
    return count


def cores() -> int:
    """The cores this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def worker_threads(count: int) -> Iterator[None]:
    """So many threads of torch in the block; afterwards as many as before."""
    import torch  # not at the top: the command line reads this module before torch is needed

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sent(problem: Exception) -> bytes:
    """An exception as bytes that another process raises; one of ours with its text where it can't be sent as it is."""
    try:
        pickled = pickle.dumps(problem)
        pickle.loads(pickled)  # some can be written and not be read
        return pickled
    except Exception:
        return pickle.dumps(InteractifyError(reason_of(problem)))


def raised(problem: bytes) -> Exception:
    """The exception that `sent` wrote.

    >>> raised(sent(OptionError("Expected …")))
    OptionError('Expected …')
    """
    found = pickle.loads(problem)
    return found if isinstance(found, Exception) else InteractifyError(str(found))
