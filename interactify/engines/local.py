"""Work in several processes of this machine. One that ends unexpectedly is replaced, and its item tried again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from interactify.engines.work import Finished, Work, counted, raised, sent
from interactify.errors import InteractifyError


@dataclass(frozen=True)
class Local:
    """Processes of this machine.

    Attributes:
        workers: how many. 0 works in this process: without the seconds that a process takes to start, and without
            protection from an item that ends it.
        retries: how often an item is tried again whose process ended with it.
    """

    workers: int = 1
    retries: int = 1

    def run(self, work: Work, items: Sequence[str]) -> Iterator[Finished]:
        """See `Engine.run`."""
        counted("workers", self.workers, least=0)
        if not items:
            return iter(())
        return self._in_processes(work, items) if self.workers else self._here(work, items)

    def _here(self, work: Work, items: Sequence[str]) -> Iterator[Finished]:
        answer = work.start(0)
        for index, item in enumerate(items):
            yield Finished(index, answer(item))

    def _in_processes(self, work: Work, items: Sequence[str]) -> Iterator[Finished]:
        waiting = deque(range(len(items)))
        deaths: Counter[int] = Counter()
        workers = [_Worker(work, number) for number in range(min(self.workers, len(items)))]
        try:
            while waiting or any(worker.index is not None for worker in workers):
                for worker in workers:
                    if worker.ready and waiting:
                        worker.give(waiting.popleft(), items)
                for worker in _that_speak(workers):
                    index = worker.index
                    try:
                        kind, content = worker.heard()
                    except (EOFError, OSError):
                        code = worker.ended()
                        if worker.ready:  # it was waiting for an item that no longer comes
                            workers.remove(worker)
                            continue
                        if index is None:
                            raise InteractifyError(
                                f"Expected worker processes that start, got one that ended with exit code {code}, "
                                "perhaps without memory. Try fewer --workers."
                            ) from None
                        deaths[index] += 1
                        if deaths[index] <= self.retries:
                            waiting.appendleft(index)
                        else:
                            yield Finished(index, None, f"its process ended with exit code {code}, each time")
                        if waiting:
                            workers[workers.index(worker)] = _Worker(work, worker.number)
                        else:
                            workers.remove(worker)
                        continue
                    if kind == "raised":
                        raise raised(content)
                    if kind == "answer":
                        assert index is not None
                        yield Finished(index, content)
        finally:  # after an interruption, running items are finished and no other is started
            for worker in workers:
                worker.dismiss()
            for worker in workers:
                worker.process.join()


class _Worker:
    """A worker process as its parent sees it: started, then ready, then busy with the item `index`."""

    def __init__(self, work: Work, number: int) -> None:
        # torch's threads don't survive a fork, hence "spawn".
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.index: int | None = None
        self.ready = False
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(work, number, theirs), daemon=True)
        self.process.start()
        theirs.close()  # so that the end of the process is the end of the connection

    def give(self, index: int, items: Sequence[str]) -> None:
        """Send an item."""
        self.index, self.ready = index, False
        with suppress(OSError):  # where it has ended, that is heard next
            self.connection.send(items[index])

    def heard(self) -> tuple[str, Any]:
        """What it says: that it is ready, an answer, or an exception; raises EOFError where it has ended."""
        kind, content = self.connection.recv()
        self.index, self.ready = None, True
        return kind, content

    def ended(self) -> int | None:
        """Its exit code."""
        self.connection.close()
        self.process.join()
        return self.process.exitcode

    def dismiss(self) -> None:
        """Let it end after its item; one that still starts has nothing to finish."""
        if not self.connection.closed:
            self.connection.close()
        if self.index is None and not self.ready:
            self.process.kill()


def _that_speak(workers: Sequence[_Worker]) -> list[_Worker]:
    by_connection: dict[Any, _Worker] = {worker.connection: worker for worker in workers}
    return [by_connection[each] for each in wait(list(by_connection))]


def _serve(work: Work, number: int, parent: Connection) -> None:
    """A worker process, until its parent closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer = work.start(number)
        parent.send(("ready", None))
        while True:
            parent.send(("answer", answer(parent.recv())))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as problem:
        try:
            parent.send(("raised", sent(problem)))
        except OSError:
            return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # a killed parent can't stop its workers itself
