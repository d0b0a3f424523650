"""Work on a cluster, by Ray Data: a pool of actors, each prepared once, which take blocks of items.

Ray drops the block of an actor that ends, because its node was lost for instance, and here its items are tried again,
each by itself. Ray could restart the actor and repeat the block as well; but then an item that ends its process does so
for ever, and where a cluster has shrunk the block waits for a node that never comes.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from interactify.engines.work import Finished, Work, counted, raised, sent
from interactify.errors import InteractifyError, OptionError, extra, quietly, reason_of

AHEAD: Final = 2  # blocks that an actor has, its own and the next: back-pressure, and no wait between two

INIT_DEATHS: Final = 8  # of actors one after the other: then it is not a lost node, they can't start


@dataclass(frozen=True)
class OnRay:
    """A cluster, by Ray Data.

    Attributes:
        address: of the cluster, "auto" or HOST:PORT; None for the one that `ray.init` finds, or starts here.
        workers: the most actors; by default as many as the cluster has room for.
        cpus: of each actor.
        gpus: of each actor; a part of one shares it.
        block: items that an actor takes at a time, and that are lost together where it ends.
        retries: how often an item is tried again whose actor ended with it.
    """

    address: str | None = None
    workers: int | None = None
    cpus: float = 1
    gpus: float = 0
    block: int = 4
    retries: int = 2

    def run(self, work: Work, items: Sequence[str]) -> Iterator[Finished]:
        """See `Engine.run`."""
        counted("items in a block", self.block)
        if self.workers is not None:
            counted("workers", self.workers)
        for name, amount in (("CPUs", self.cpus), ("GPUs", self.gpus)):
            if not 0 <= amount < float("inf"):
                raise OptionError(f"Expected a number of {name} for each actor from 0 up, got {amount}. Try 1.")
        check_ray()
        return self._run(work, items) if items else iter(())

    def _run(self, work: Work, items: Sequence[str]) -> Iterator[Finished]:
        waiting = list(range(len(items)))
        with _connected(self.address):
            for attempt in range(self.retries + 1):
                # Ray gives items to an actor for a moment after its end, and they are lost with it. The last attempt is
                # for one item after the other, each with an actor of its own: what is lost then is lost by itself.
                last = attempt == self.retries > 0
                done = set()
                for indices in [[index] for index in waiting] if last else [waiting]:
                    for finished in self._round(work, items, indices, alone=attempt > 0):
                        done.add(finished.number)
                        yield finished
                waiting = [index for index in waiting if index not in done]
                if not waiting:
                    return
            for index in waiting:
                yield Finished(index, None, f"its actor ended, {self.retries + 1} times in {self.retries + 1}")

    def _round(self, work: Work, items: Sequence[str], indices: Sequence[int], alone: bool) -> Iterator[Finished]:
        """Those of the items that end before their actor does."""
        import ray.data

        block = 1 if alone else self.block
        rows = [{"index": index, "item": items[index]} for index in indices]
        blocks = -(-len(rows) // block)
        workers = max(1, min(blocks, self.workers or self._room()))
        pool = ray.data.ActorPoolStrategy(
            min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=1 if alone else AHEAD
        )
        with _ray_data_settings():
            answered = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
                Actor,
                fn_constructor_args=(work,),
                batch_size=None,
                batch_format="numpy",
                compute=pool,
                num_cpus=self.cpus,
                num_gpus=self.gpus,
                max_restarts=0,
                max_task_retries=0,
            )
        try:
            for row in answered.iter_rows():
                if row["problem"]:
                    raise raised(row["problem"])
                yield Finished(int(row["index"]), row["answer"])
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

    def __init__(self, work: Work) -> None:
        self.answer: Callable[[str], str] | None = None
        self.problem = b""
        try:
            with quietly():  # the driver has warned
                self.answer = work.start(0)  # Ray shows each actor its own GPUs only
        except Exception as problem:
            self.problem = sent(problem)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Answer a block's items. Exceptions go back in the answer: Ray would drop the block."""
        found: dict[str, list[Any]] = {"index": [], "answer": [], "problem": []}
        for index, item in zip(batch["index"].tolist(), batch["item"].tolist(), strict=True):
            answer, problem = "", self.problem
            if self.answer is not None:
                try:
                    answer = self.answer(str(item))
                except Exception as cause:
                    problem = sent(cause)
            for name, value in (("index", int(index)), ("answer", answer), ("problem", problem)):
                found[name].append(value)
        return found


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
    """Ray Data's settings in the block: lost blocks are no error, and the terminal is left to our own progress bar."""
    from ray.data import DataContext

    own = DataContext.get_current().copy()
    own.max_errored_blocks = -1
    own.max_consecutive_actor_init_deaths = INIT_DEATHS  # a node may be lost while an actor starts on it
    own.enable_progress_bars = False
    own.execution_options.preserve_order = False
    with DataContext.current(own), warnings.catch_warnings():  # a data set keeps the settings that it was made with
        # That actors are not restarted has no other name yet; pyproject.toml leaves out the versions without it.
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*deprecated")
        yield
