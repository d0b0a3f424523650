"""A run over a whole data set that may be interrupted: several processes, each photo's records saved at once.

The results depend on the configuration alone. Each process runs with the given number of threads, one by default: sums
over several threads are rounded differently. With one thread, neither the number of processes nor the distribution of
the photos among them changes a record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from interactify._version import __version__
from interactify.engines import Engine, Local
from interactify.engines.work import counted, worker_threads
from interactify.errors import InteractifyError, OptionError, quietly
from interactify.evaluation.data.dataset import AnnotatedPhoto, Dataset
from interactify.evaluation.data.datasets import dataset_named
from interactify.evaluation.network_recipe import NetworkRecipe
from interactify.evaluation.records import Evaluation, Record
from interactify.evaluation.results_file import ResultsFile
from interactify.evaluation.run import check_clicks, check_until, click_through
from interactify.evaluation.simulated_user import SimulatedUser, user_named
from interactify.export import prepare_folder, write_mask
from interactify.interactive import Interactive
from interactify.session.session_file import fingerprint

RESULTS = "results.jsonl"
MASKS = "masks"


@dataclass(frozen=True)
class Campaign:
    """The settings that a run depends on. They are sent to the processes, which build network and data set themselves.

    Attributes:
        dataset: the name of a data set, see `dataset_named`.
        root: its folder.
        out: the folder for results and report.
        model: a network, as `--model` of the command line names it.
        options: arguments of `interactify.wrap`.
        clicks: the most clicks for each object.
        every: take each n-th photo.
        user: the simulated user who clicks.
        until: an IoU at which an object is left, as for `evaluate`.
        threads: of torch, in each process.
        device: "cpu", or "cuda": then the GPUs are shared among the processes.
    """

    dataset: str
    root: Path
    out: Path
    model: str = "zoo"
    options: dict[str, Any] = field(default_factory=dict)
    clicks: int = 20
    every: int = 1
    user: str | SimulatedUser = "centre"
    until: float | None = None
    threads: int = 1
    device: str = "cpu"

    @cached_property
    def photos(self) -> Dataset:
        """The photos of the run, in their order."""
        return dataset_named(self.dataset, self.root).every(self.every)

    def network(self, worker: int = 0) -> Interactive:
        """Build and wrap the network; `worker` chooses among several GPUs."""
        return NetworkRecipe(self.model, self.options, self.device).network(worker)

    def mask_path(self, name: str) -> Path:
        """The file of an object's final mask; names of photos in subfolders stay unique."""
        return self.out / MASKS / f"{name.replace('/', '__')}.png"

    def configuration(self, net: Interactive) -> dict[str, Any]:
        """What the records depend on, as JSON values; records of two runs are mixed only where this is equal."""
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
            **({} if self.until is None else {"until": self.until}),
            "user": repr(user_named(self.user)),
            "threads": self.threads,
            "device": self.device,
            "interactify": __version__,
            "torch": torch.__version__,
        }


@dataclass(frozen=True)
class Outcome:
    """A complete run: its figures and the configuration they depend on."""

    campaign: Campaign
    configuration: dict[str, Any]
    evaluation: Evaluation
    photos: dict[str, Path]
    """The photo of each record, by its name."""
    channels: int = 3
    """Those of a photo that the network reads."""


def run(campaign: Campaign, *, workers: int = 1, engine: Engine | None = None, progress: bool = True) -> Outcome:
    """Run the photos that are not done yet, and return the results of all.

    Every photo's records are in `results.jsonl` as soon as it is done, and final masks in `masks/`, both in
    `campaign.out`. The same call resumes an interrupted run.

    Args:
        campaign: what to run.
        workers: number of processes; the records don't depend on it, except for seconds.
        engine: where the photos are run, in place of `workers`: `OnRay(…)` for a cluster, where every machine has the
            data set and `campaign.out` under the same paths.
        progress: show a progress bar.

    Raises:
        OptionError: an invalid option, a missing data set, or results of another configuration in `campaign.out`;
            raised before any photo is run.
        ModelError, PhotoError, NonFiniteError: as for `interactify.wrap` and `Session.click`.
    """
    check_clicks(campaign.clicks)
    check_until(campaign.until)
    counted("workers", workers)
    counted("threads", campaign.threads)
    user_named(campaign.user)
    photos = campaign.photos.photos
    prepare_folder(campaign.out / MASKS)
    with worker_threads(campaign.threads):
        net = campaign.network()
        file = ResultsFile(campaign.out / RESULTS, configuration := campaign.configuration(net))
        waiting = [index for index, photo in enumerate(photos) if photo.name not in file.done]
        if engine is None and min(workers, len(waiting)) <= 1:
            results = _in_this_process(campaign, net, waiting)
        else:
            results = _by_engine(engine or Local(workers, retries=0), campaign, waiting)
        with tqdm(total=len(photos), initial=len(photos) - len(waiting), desc="photos", disable=not progress) as bar:
            for index, records in results:
                file.add(photos[index].name, records)
                bar.update()
    records = [record for photo in photos for record in file.done[photo.name]]
    if not records:
        raise OptionError(
            f"Expected photos with objects in {campaign.root}, got none for {campaign.dataset}. Try another --root."
        )
    sources = {record.name: photo.photo for photo in photos for record in file.done[photo.name]}
    return Outcome(campaign, configuration, Evaluation(tuple(records), campaign.clicks), sources, net.spec.channels)


def _in_this_process(
    campaign: Campaign, net: Interactive, waiting: Iterable[int]
) -> Iterator[tuple[int, list[Record]]]:
    for index in waiting:
        yield index, _run_photo(campaign, net, campaign.photos.photos[index])


def _by_engine(engine: Engine, campaign: Campaign, waiting: list[int]) -> Iterator[tuple[int, list[Record]]]:
    for index, answer, lost in engine.run(Clicking(campaign), [str(index) for index in waiting]):
        if answer is None:
            raise InteractifyError(
                f"Expected the worker processes to run to the end, got one that did not: {lost}, perhaps without "
                "memory. Finished photos are kept. Try the same command with fewer --workers."
            )
        yield waiting[index], [Record.from_json(record) for record in json.loads(answer)]


@dataclass(frozen=True)
class Clicking:
    """What a worker does with a photo, by its index; see `interactify.engines.work.Work`."""

    campaign: Campaign

    def start(self, worker: int) -> Callable[[str], str]:
        """See `Work.start`."""
        with worker_threads(self.campaign.threads), quietly():  # the parent has warned
            net = self.campaign.network(worker)

        def answer(item: str) -> str:
            with worker_threads(self.campaign.threads):
                records = _run_photo(self.campaign, net, self.campaign.photos.photos[int(item)])
            return json.dumps([record.to_json() for record in records])

        return answer


def _run_photo(campaign: Campaign, net: Interactive, photo: AnnotatedPhoto) -> list[Record]:
    records = []
    for sample in photo:
        record, mask = click_through(net, sample, campaign.clicks, user_named(campaign.user), campaign.until)
        write_mask(campaign.mask_path(record.name), mask)
        records.append(record)
    return records
