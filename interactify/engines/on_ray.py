"""Work on a cluster, by Ray Data: a pool of actors, each prepared once, which take blocks of items.

Ray starts an actor again that ended, on its machine or another, and gives it its blocks anew, as often as it takes. A
ledger beside the driver keeps that from going on for ever where it is an item that ends its actor, and from doing again
what the actor had done before. Where a cluster has shrunk, an actor without room waits until one of the others has
nothing left to do.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from interactify.engines.work import Finished, Work, counted, raised, sent
from interactify.errors import InteractifyError, OptionError, extra, quietly, reason_of

AHEAD: Final = 2  # blocks that an actor has, its own and the next: back-pressure, and no wait between two

STARTS: Final = 2  # of an actor that is never ready: some may end with their machine, but then it can't start


@dataclass(frozen=True)
class OnRay:
    """A cluster, by Ray Data.

    Attributes:
        address: of the cluster, "auto" or HOST:PORT; None for the one that `ray.init` finds, or starts here.
        workers: the most actors; by default as many as the cluster has room for.
        cpus: of each actor.
        gpus: of each actor; a part of one shares it.
        block: items that an actor takes at a time, and gives back together.
        retries: how often an item is tried again whose actor ended with it.
    """

    address: str | None = None
    workers: int | None = None
    cpus: float = 1
    gpus: float = 0
    block: int = 4
    retries: int = 2

    def run(self, work: Work, items: Sequence[str]) -> Iterator[Finished]:
        """See `Engine.run`. Where no machine with room for an actor is left, it waits for one."""
        counted("items in a block", self.block)
        counted("retries", self.retries, least=0)
        if self.workers is not None:
            counted("workers", self.workers)
        for name, amount in (("CPUs", self.cpus), ("GPUs", self.gpus)):
            if not 0 <= amount < float("inf"):
                raise OptionError(f"Expected a number of {name} for each actor from 0 up, got {amount}. Try 1.")
        check_ray()
        return self._run(work, items) if items else iter(())

    def _run(self, work: Work, items: Sequence[str]) -> Iterator[Finished]:
        import ray.data

        rows = [{"index": index, "item": item} for index, item in enumerate(items)]
        blocks = -(-len(rows) // self.block)
        with _connected(self.address):
            workers = max(1, min(blocks, self.workers or self._room()))
            pool = ray.data.ActorPoolStrategy(
                min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=AHEAD
            )
            ledger = started_ledger()
            with _ray_data_settings():
                answered = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
                    Actor,
                    fn_constructor_args=(work, ledger, self.retries),
                    batch_size=None,
                    batch_format="numpy",
                    compute=pool,
                    num_cpus=self.cpus,
                    num_gpus=self.gpus,
                )
            try:
                for row in answered.iter_rows():
                    if row["problem"]:
                        raise raised(row["problem"])
                    index = int(row["index"])
                    ledger.reported.remote(index)
                    yield Finished(index, *((None, row["answer"]) if row["lost"] else (row["answer"], None)))
            except ray.exceptions.RayError as cause:
                raise InteractifyError(
                    f"Expected a cluster that works to the end, got an error of Ray's: {reason_of(cause)}. What is "
                    "finished is kept. Try the same command again, or Ray's logs."
                ) from cause

    def _room(self) -> int:
        """How many actors the cluster has room for now."""
        import ray

        total = ray.cluster_resources()
        needs = {"CPU": self.cpus, "GPU": self.gpus}
        room = [int(total.get(kind, 0) / amount) for kind, amount in needs.items() if amount]
        if room and min(room) < 1:
            needed = ", ".join(f"{amount:g} {kind}" for kind, amount in needs.items() if amount)
            has = ", ".join(f"{total.get(kind, 0):g} {kind}" for kind in needs)
            raise OptionError(f"Expected a cluster with {needed} for an actor, got one with {has}. Try fewer.")
        return min(room, default=1)


class Actor:
    """What runs on the cluster: the work, prepared once for each actor. Public because Ray shows its name."""

    def __init__(self, work: Work, ledger: Any, retries: int) -> None:
        import ray

        self.ledger, self.tries = ledger, retries + 1
        self.answer: Callable[[str], str] | None = None
        self.problem = b""
        name = ray.get_runtime_context().get_actor_id()  # the same when it is started again
        try:
            if ray.get(ledger.starting.remote(name)) > STARTS:
                raise InteractifyError(
                    f"Expected actors that start, got one that ended {STARTS} times before it was ready, perhaps "
                    "without memory. Try fewer on each machine, with more --cpus for each."
                )
            with quietly():  # the driver has warned
                self.answer = work.start(0)  # Ray shows each actor its own GPUs only
        except Exception as problem:
            self.problem = sent(problem)
        ray.get(ledger.ready.remote(name))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Answer a block's items. Exceptions go back in the answer: Ray would end the run with one of its own."""
        found: dict[str, list[Any]] = {"index": [], "answer": [], "lost": [], "problem": []}
        for index, item in zip(batch["index"].tolist(), batch["item"].tolist(), strict=True):
            answer, lost, problem = "", False, self.problem
            if self.answer is not None:
                try:
                    answer, lost = self._answered(int(index), str(item), self.answer)
                except Exception as cause:
                    problem = sent(cause)
            for name, value in (("index", int(index)), ("answer", answer), ("lost", lost), ("problem", problem)):
                found[name].append(value)
        return found

    def _answered(self, index: int, item: str, answer: Callable[[str], str]) -> tuple[str, bool]:
        """The answer, or why there is none."""
        import ray

        known, tries = ray.get(self.ledger.begin.remote(index))
        if known is not None:
            return str(known), False
        if tries > self.tries:
            return f"its actor ended, {self.tries} times in {self.tries}", True
        found = answer(item)
        self.ledger.end.remote(index, found)  # it is there before the answer to the next `begin`
        return found, False


class Ledger:
    """What the actors have begun, and what they answered."""

    def __init__(self) -> None:
        self.begun: Counter[int] = Counter()
        self.answers: dict[int, str] = {}  # without its text where the driver has it
        self.unready: Counter[str] = Counter()

    def starting(self, actor: str) -> int:
        """An actor starts; returns how often it has since it was last ready."""
        self.unready[actor] += 1
        return self.unready[actor]

    def ready(self, actor: str) -> None:
        """It has started."""
        del self.unready[actor]

    def begin(self, index: int) -> tuple[str | None, int]:
        """An item is begun; returns its answer where there is one, and how often it has been begun."""
        known = self.answers.get(index)
        if known is None:
            self.begun[index] += 1
        return known, self.begun[index]

    def end(self, index: int, answer: str) -> None:
        """It is answered."""
        self.answers[index] = answer

    def reported(self, index: int) -> None:
        """The driver has its answer. A block can still be given anew: its machine may end before it has said so."""
        self.answers[index] = ""
        self.begun.pop(index, None)


def started_ledger() -> Any:
    """A ledger on the driver's own machine, with which it ends."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(Ledger).options(scheduling_strategy=here).remote()


def check_ray() -> None:
    """Raise OptionError where Ray Data can't be imported."""
    try:
        import ray.data  # noqa: F401
    except ImportError as cause:
        raise OptionError(
            f"Expected Ray Data, which --engine ray needs, got none ({reason_of(cause)}). Try {extra('ray')}."
        ) from cause


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Ray, connected; what was not connected before is left so afterwards."""
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to others unasked
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as cause:
        raise OptionError(
            f"Expected a Ray cluster at {address or 'this machine'}, got none: {reason_of(cause)}. Try `ray status` "
            "there, and --address HOST:PORT."
        ) from cause
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _ray_data_settings() -> Iterator[None]:
    """Ray Data's settings in the block: the terminal is left to our own progress bar."""
    from ray.data import DataContext

    own = DataContext.get_current().copy()
    own.enable_progress_bars = False
    own.execution_options.preserve_order = False
    with DataContext.current(own):  # a data set keeps the settings that it was made with
        yield
