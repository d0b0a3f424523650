"""The refinements of one device, in turn: a session with many actions does not keep others waiting.

Each session has a queue of jobs, which run in the order they came, one at a time. The sessions that have jobs take
turns: after a step of one session's job the next session has its turn. An action is one step; a replay has one for each
action of its log.

A GPU takes one step at a time. On a CPU several threads take steps of several sessions, and torch uses few threads in
each: small maps keep few cores busy, so clicks on a core each are done sooner than one after the other on all cores.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import torch

from interactify.runtime.threads import workers
from interactify.web.failures import Busy, too_many_waiting
from interactify.web.limits import MAX_WAITING

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work in steps: each `yield` lets the next session have its turn; what it returns is the result."""


class Closing(Busy):
    """The service is being shut down; another replica may take the request."""


class Job(Generic[T]):
    """Work of one session.

    Attributes:
        supersedes: whether a running refinement of the same session ends early for it (`DeviceQueue.superseded`).
        future: its result.
        waited: seconds until its first step; None before.
        ends_early: whether its refinement ends early, whatever comes after it.
    """

    def __init__(self, steps: Steps[T], supersedes: bool = False, ends_early: bool = False) -> None:
        self.supersedes, self.ends_early = supersedes, ends_early
        self.future: Future[T] = Future()
        self.future.set_running_or_notify_cancel()  # nobody who waits for it can cancel it
        self.waited: float | None = None
        self._came = time.monotonic()
        self._steps = steps

    def step(self) -> bool:
        """Run a step; returns whether that was the last one."""
        if self.waited is None:
            self.waited = time.monotonic() - self._came
        try:
            next(self._steps)
        except StopIteration as ended:
            self.future.set_result(ended.value)
        except BaseException as cause:  # whatever it is, whoever waits for it has to know
            self.future.set_exception(cause)
        else:
            return False
        return True

    def refuse(self, cause: Exception) -> None:
        """End it with an error."""
        self._steps.close()
        self.future.set_exception(cause)


class DeviceQueue:
    """The jobs of one device, and the threads that run them. All methods may be called from any thread.

    Attributes:
        at_once: how many sessions may have their turn at one time.
    """

    def __init__(self, name: str, most: int = MAX_WAITING, *, at_once: int = 1, threads: int | None = None) -> None:
        """Start the threads.

        Args:
            name: of the device.
            most: jobs of one session that wait.
            at_once: how many sessions may have their turn at one time.
            threads: that torch uses for each of them; None for as many as here.
        """
        self.at_once, self._most = at_once, most
        self._jobs: dict[str, deque[Job[Any]]] = {}  # of each session that has any; the first may be running
        self._turns: deque[str] = deque()  # sessions that have jobs, none of which is running
        self._running: set[Job[Any]] = set()
        self._changed = threading.Condition()
        self._closing = False
        self._threads = workers(at_once, threads or torch.get_num_threads(), self._work, f"interactify-{name}")

    @property
    def alive(self) -> bool:
        """Whether jobs are run."""
        return all(each.is_alive() for each in self._threads)

    def __len__(self) -> int:
        """How many jobs run or wait."""
        with self._changed:
            return sum(len(jobs) for jobs in self._jobs.values())

    def superseded(self, session: str) -> bool:
        """Whether this session's running refinement has to end early: a job waits for it, or it was told to."""
        with self._changed:
            jobs = list(self._jobs.get(session, ()))
            return any(job.supersedes for job in jobs[1:]) or any(job.ends_early for job in jobs[:1])

    def end_early(self, session: str) -> None:
        """Let the refinements of this session that run or wait now end early."""
        with self._changed:
            for job in self._jobs.get(session, ()):
                job.ends_early = True

    def submit(self, session: str, job: Job[T]) -> Future[T]:
        """Queue a job; returns its future at once.

        Raises:
            Busy: too many jobs of this session wait.
            Closing: the queue was closed.
        """
        with self._changed:
            if self._closing:
                raise _closed()
            jobs = self._jobs.setdefault(session, deque())
            if len(jobs) > self._most:
                raise too_many_waiting(self._most, "session")
            if not jobs:
                self._turns.append(session)
            jobs.append(job)
            self._changed.notify_all()
        return job.future

    def close(self, seconds: float) -> None:
        """Take no more jobs, run those that wait for so long at most, and refuse the others with Closing."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._jobs, seconds)
            left = [job for jobs in self._jobs.values() for job in jobs]
            running = set(self._running)
            self._jobs.clear()
            self._turns.clear()
            self._changed.notify_all()
        for job in left:
            if job not in running:
                job.refuse(_closed())
        until = time.monotonic() + max(1.0, seconds)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._turns or self._closing)
                if not self._turns:
                    return
                session = self._turns.popleft()
                job = self._jobs[session][0]
                self._running.add(job)
            ended = job.step()
            with self._changed:
                self._running.remove(job)
                jobs = self._jobs.get(session)
                if jobs is None:  # it was closed meanwhile
                    if not ended:
                        job.refuse(_closed())
                else:
                    if ended:
                        jobs.popleft()
                    if jobs:
                        self._turns.append(session)
                    else:
                        del self._jobs[session]
                self._changed.notify_all()


def _closed() -> Closing:
    return Closing("Expected a service that runs, got one that is shutting down. Try again in a while.")
