"""Learning between photos: a process of low priority trains the network on the photos that are done.

Clicks stay quick, since it has a process and not a thread. It ends with its server; a lesson that was cut short goes on
where it was, as long as no other photo was accepted.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import torch

from interactify.app.networks import Networks
from interactify.app.store.project import Project
from interactify.checkpoints import load_into, read_weights
from interactify.errors import InteractifyError, quietly, reason_of
from interactify.export.files import prepare_folder
from interactify.interactive import wrap
from interactify.learning import Recipe
from interactify.models.build import build_model
from interactify.training.teach import LEAST, RECIPE, teach, write_weights

EVERY: Final = 5  # photos
NICE: Final = 10


@dataclass(frozen=True)
class Plan:
    """How a network learns.

    Attributes:
        model: the network, as `--model` names it: the process builds it anew.
        options: the arguments of `interactify.wrap`.
        every: how many photos are accepted between two lessons.
        recipe: of the training.
    """

    model: str
    options: Mapping[str, Any]
    every: int = EVERY
    recipe: Recipe = RECIPE


class Lessons:
    """Begins a lesson when enough photos were accepted, and takes up weights that are better.

    Attributes:
        note: what came out of the last lesson, "" before the first.
        count: how many lessons have ended since the server was started.
    """

    def __init__(self, plan: Plan, networks: Networks, project: Project, settle: Callable[[], None]) -> None:
        """With `settle`, a function that writes the masks of all photos that are done."""
        self.plan, self.networks, self.project, self._settle = plan, networks, project, settle
        self.note, self.count = "", 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process: multiprocessing.process.BaseProcess | None = None
        self._ends = False

    @property
    def learning(self) -> bool:
        """Whether a lesson is running."""
        return self._thread is not None and self._thread.is_alive()

    def consider(self) -> None:
        """Begin a lesson if enough photos were accepted since the last one; returns at once."""
        with self._lock:
            done = sum(photo.status == "done" for photo in self.project.photos)
            last = self.networks.lessons[-1].photos if self.networks.lessons else 0
            if not self._ends and not self.learning and done >= max(LEAST, last + self.plan.every):
                self._thread = threading.Thread(target=self._run, args=(done,), name="interactify-lesson", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End a running lesson."""
        self._ends = True
        if self._process is not None and self._process.is_alive():
            self._process.kill()

    def _run(self, done: int) -> None:
        try:
            self._settle()
            self.note = self._lesson(done)
        except Exception as cause:  # of the process, or of a full disk: the page goes on with the weights it has
            self.note = f"Learning failed: {cause if isinstance(cause, InteractifyError) else reason_of(cause)}"
        self.count += 1

    def _lesson(self, done: int) -> str:
        folder = self.networks.folder / f"lesson-{len(self.networks.lessons) + 1}"
        outside = [photo.path.parent for photo in self.project.photos if not photo.id.startswith("photos/")]
        net, weights = self.networks.latest()
        if weights is None:  # a network that is built anew may have other random weights
            weights = write_weights(prepare_folder(self.networks.folder) / "first.safetensors", net.unwrap())
        job = _Job(self.plan, weights, self.project.out, outside[0] if outside else None, folder)
        context = multiprocessing.get_context("spawn")  # torch's threads don't survive a fork
        receiving, sending = context.Pipe(duplex=False)
        self._process = context.Process(target=_learn, args=(job, sending), daemon=True)
        self._process.start()
        sending.close()
        try:
            outcome: _Outcome = receiving.recv()
        except EOFError:
            raise InteractifyError("the process that learns ended unexpectedly, perhaps without memory.") from None
        finally:
            self._process.join()
        if outcome.error:
            self.networks.add(done, None)  # the same photos would fail again
            raise InteractifyError(outcome.error)
        self.networks.add(done, folder / "taught.safetensors" if outcome.better else None)
        then = "The next photos open with the new weights" if outcome.better else "No better: the weights stay"
        return f"{outcome.text}. {then}."


@dataclass(frozen=True)
class _Job:
    plan: Plan
    weights: Path
    results: Path
    photos: Path | None
    out: Path


@dataclass(frozen=True)
class _Outcome:
    text: str = ""
    better: bool = False
    error: str = ""


def _learn(job: _Job, sending: Connection) -> None:
    """What the process does: build the network, teach it, and send what came out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server, and this process with it
    with suppress(OSError, AttributeError):  # Windows has no such priority
        os.nice(NICE)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    try:
        with quietly():  # the server has warned
            model = load_into(build_model(job.plan.model), read_weights(job.weights), job.weights)
            net = wrap(model, **job.plan.options)
            lesson = teach(net, job.results, out=job.out, photos=job.photos, recipe=job.plan.recipe, progress=False)
    except Exception as cause:  # sent as text: not every error can be pickled
        sending.send(_Outcome(error=str(cause) if isinstance(cause, InteractifyError) else reason_of(cause)))
        return
    before, after = lesson.before, lesson.after
    text = (
        f"Learned from {len(lesson.trained)} photos: on {len(lesson.held_back)} held back IoU without clicks "
        f"{before.iou:.2f} → {after.iou:.2f}, clicks an object {before.clicks:.1f} → {after.clicks:.1f}"
    )
    sending.send(_Outcome(text, lesson.better))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # a killed server can't end it
