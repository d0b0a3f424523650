"""A run over a whole data set that may be interrupted: several processes, each photo's records kept at once.

What comes out follows from the configuration alone. Each process runs with its own number of threads, one by default,
since sums over several threads are rounded differently: with one, it does not matter how many processes there are, or
which photo goes to which.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from interactify.errors import InteractifyError, OptionError
from interactify.evaluation.data.dataset import AnnotatedPhoto, Dataset
from interactify.evaluation.data.datasets import dataset_named
from interactify.evaluation.records import Evaluation, Record
from interactify.evaluation.results_file import ResultsFile
from interactify.evaluation.run import check_clicks, click_through
from interactify.evaluation.simulated_user import SimulatedUser, user_named
from interactify.export import prepare_folder, write_mask

if TYPE_CHECKING:
    from interactify.interactive import Interactive

RESULTS = "results.jsonl"
MASKS = "masks"


@dataclass(frozen=True)
class Campaign:
    """All that a run follows from. It is sent to the processes, which build network and data set themselves.

    Attributes:
        dataset: the name of a data set, see `dataset_named`.
        root: its folder.
        out: the folder for results and report.
        model: a network, as `--model` of the command line names it.
        options: those of `interactify.wrap`.
        clicks: how many at most for each object.
        every: take each n-th photo.
        user: who clicks.
        threads: of torch, in each process.
        device: "cpu", or "cuda": then the processes share the GPUs among them.
    """

    dataset: str
    root: Path
    out: Path
    model: str = "zoo"
    options: dict[str, Any] = field(default_factory=dict)
    clicks: int = 20
    every: int = 1
    user: str | SimulatedUser = "centre"
    threads: int = 1
    device: str = "cpu"

    @cached_property
    def photos(self) -> Dataset:
        """The photos that are run, in their order."""
        return dataset_named(self.dataset, self.root).every(self.every)

    def network(self, worker: int = 0) -> Interactive:
        """Build and wrap the network; `worker` chooses among several GPUs."""
        from interactify.interactive import wrap
        from interactify.models.build import build_model

        device = self.device
        if device == "cuda" and torch.cuda.device_count() > 1:
            device = f"cuda:{worker % torch.cuda.device_count()}"
        try:
            model = build_model(self.model).to(device)
        except (RuntimeError, AssertionError) as cause:  # torch without CUDA, or a name that is no device
            raise OptionError(f"The network can't be moved to the device {self.device!r}: {cause}") from cause
        return wrap(model, **self.options)

    def mask_path(self, name: str) -> Path:
        """Where an object's final mask is kept; names of photos in subfolders stay apart."""
        return self.out / MASKS / f"{name.replace('/', '__')}.png"

    def configuration(self, net: Interactive) -> dict[str, Any]:
        """What the records follow from, as JSON knows it; where two runs differ in this, their records don't mix."""
        from interactify import __version__
        from interactify.session.session_file import fingerprint

        names = "\n".join(photo.name for photo in self.photos.photos)
        return {
            "dataset": self.dataset,
            "photos": len(self.photos.photos),
            "photo names": hashlib.sha256(names.encode()).hexdigest()[:16],
            "every": self.every,
            "model": self.model,
            "weights": fingerprint(net.unwrap())[:16],
            "variables": repr(net.variables),
            "energy": repr(net.energy),
            "solver": net.solver,
            "options": {key: repr(value) for key, value in sorted(self.options.items())},
            "clicks": self.clicks,
            "user": repr(user_named(self.user)),
            "threads": self.threads,
            "device": self.device,
            "interactify": __version__,
            "torch": torch.__version__,
        }


@dataclass(frozen=True)
class Outcome:
    """A run that is complete: its figures and what they follow from."""

    campaign: Campaign
    configuration: dict[str, Any]
    evaluation: Evaluation
    photos: dict[str, Path]
    """The photo of each record, by its name."""


def run(campaign: Campaign, *, workers: int = 1, progress: bool = True) -> Outcome:
    """Run what is not done yet, and return all of it.

    Every photo's records are in `results.jsonl` as soon as it is done, and final masks in `masks/`, both in
    `campaign.out`. The same call takes an interrupted run up.

    Args:
        campaign: what to run.
        workers: how many processes; the records don't depend on it, seconds aside.
        progress: show a bar.

    Raises:
        OptionError: an option that is none, a data set that is not there, or results of another configuration in
            `campaign.out`; before any photo is run.
        ModelError, PhotoError, NonFiniteError: as for `interactify.wrap` and `Session.click`.
    """
    check_clicks(campaign.clicks)
    for name, count in (("workers", workers), ("threads", campaign.threads)):
        if not isinstance(count, int) or count < 1:
            raise OptionError(f"Expected a number of {name} from 1 up, got {count!r}.")
    user_named(campaign.user)
    photos = campaign.photos.photos
    prepare_folder(campaign.out / MASKS)
    with _threads(campaign.threads):
        net = campaign.network()
        file = ResultsFile(campaign.out / RESULTS, configuration := campaign.configuration(net))
        waiting = [index for index, photo in enumerate(photos) if photo.name not in file.done]
        workers = min(workers, len(waiting))
        made = _here(campaign, net, waiting) if workers <= 1 else _in_processes(campaign, workers, waiting)
        with tqdm(total=len(photos), initial=len(photos) - len(waiting), desc="photos", disable=not progress) as bar:
            for index, records in made:
                file.add(photos[index].name, records)
                bar.update()
    records = [record for photo in photos for record in file.done[photo.name]]
    if not records:
        raise OptionError(f"The photos of {campaign.dataset} in {campaign.root} have no objects.")
    sources = {record.name: photo.photo for photo in photos for record in file.done[photo.name]}
    return Outcome(campaign, configuration, Evaluation(tuple(records), campaign.clicks), sources)


def _here(campaign: Campaign, net: Interactive, waiting: Iterable[int]) -> Iterator[tuple[int, list[Record]]]:
    for index in waiting:
        yield index, _photo(campaign, net, campaign.photos.photos[index])


def _in_processes(campaign: Campaign, workers: int, waiting: list[int]) -> Iterator[tuple[int, list[Record]]]:
    # Forked processes and torch's threads don't go together, hence "spawn".
    context = multiprocessing.get_context("spawn")
    numbers = context.Queue()
    for number in range(workers):
        numbers.put(number)
    pool = ProcessPoolExecutor(workers, context, _begin, (campaign, numbers))
    try:
        tasks = {pool.submit(_photo_there, index): index for index in waiting}
        for task in as_completed(tasks):
            yield tasks[task], task.result()
    except BrokenProcessPool as cause:
        raise InteractifyError(
            "A worker process ended unexpectedly, perhaps for want of memory. What was done is kept: run the same "
            "command again, with fewer --workers."
        ) from cause
    finally:  # interrupted, it waits for the photos that are being run, and begins no other
        pool.shutdown(wait=True, cancel_futures=True)


_worker: tuple[Campaign, Interactive] | None = None


def _begin(campaign: Campaign, numbers: Any) -> None:
    """Prepare a worker process."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(campaign.threads)
    _worker = campaign, campaign.network(numbers.get())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # a parent that was killed can't say so


def _photo_there(index: int) -> list[Record]:
    assert _worker is not None
    campaign, net = _worker
    return _photo(campaign, net, campaign.photos.photos[index])


def _photo(campaign: Campaign, net: Interactive, photo: AnnotatedPhoto) -> list[Record]:
    records = []
    for sample in photo:
        record, mask = click_through(net, sample, campaign.clicks, user_named(campaign.user))
        write_mask(campaign.mask_path(record.name), mask)
        records.append(record)
    return records


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
