"""What a worker does with a photo: it refines its objects, writes their masks, and returns their rows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from interactify.engines.work import worker_threads
from interactify.errors import InteractionError, PhotoError, quietly, reason_of
from interactify.evaluation.network_recipe import NetworkRecipe
from interactify.interactive import Interactive
from interactify.mass.manifest import Row
from interactify.mass.masks_out import MASKS, NamedMask, write_masks
from interactify.mass.places import Place
from interactify.mass.prompts.photo_prompts import PhotoPrompts, interactions_of, used
from interactify.pictures.window import whole
from interactify.predictor.candidates import expected_iou
from interactify.refinement.result import Result
from interactify.session.loading import replay

OTHER: Final = "object"  # the category of objects without a label
MOST_LOOKED_AT: Final = 512  # pixels of a side, for the uncertainty: it takes every n-th pixel of larger photos


@dataclass(frozen=True)
class Refining:
    """The work of a run; see `interactify.engines.work.Work`.

    Attributes:
        net: the network, or how it is built.
        photos: their folder.
        out: the run's folder.
        formats: of the masks.
        categories: the names of all classes of the run.
        tolerance: of outlines, in pixels.
        uses: which shapes of the prompts are used.
        threads: of torch, in each worker.
    """

    net: Interactive | NetworkRecipe
    photos: Place
    out: Place
    formats: tuple[str, ...]
    categories: tuple[str, ...]
    tolerance: float
    uses: tuple[str, ...]
    threads: int

    def start(self, worker: int) -> Callable[[str], str]:
        """See `Work.start`."""
        with worker_threads(self.threads), quietly():  # the parent has warned
            net = self.net.network(worker) if isinstance(self.net, NetworkRecipe) else self.net

        def answer(item: str) -> str:
            return json.dumps(self.rows(net, PhotoPrompts.from_text(item)))

        return answer

    def rows(self, net: Interactive, prompts: PhotoPrompts) -> list[Row]:
        """The rows of a photo, whose masks are written then; or one row with the error that it ended with.

        Raises:
            OptionError: the masks can't be written: no other photo's could be.
        """
        started = time.perf_counter()
        photo = prompts.photo
        try:
            with worker_threads(self.threads), quietly(), self.photos.at(photo).here() as path:
                objects = refined(net, path, prompts, self.uses)
                measured = [_measured(each.result) for each in objects]
        except Exception as problem:  # a damaged photo must not end the others, and decoders raise nearly anything
            return [error_row(photo, reason_of(problem), prompts.digest(), time.perf_counter() - started)]
        known = [each if each.category in self.categories else each._replace(category=OTHER) for each in objects]
        with self.out.at(str(PurePosixPath(MASKS, PurePosixPath(photo).parent))).filled() as folder:
            write_masks(folder, photo, known, self.formats, self.categories, self.tolerance)
        took = round(time.perf_counter() - started, 4)
        shared = {"of": len(objects), "photo_seconds": took, "error": None, "prompts": prompts.digest()}
        return [
            {"photo": photo, "object": each.name, "label": each.category, **row, **shared}
            for each, row in zip(known, measured, strict=True)
        ]


def refined(net: Interactive, photo: Path, prompts: PhotoPrompts, uses: tuple[str, ...]) -> list[NamedMask]:
    """The objects of a photo, each refined by itself as the first step of a session; those of a log replayed.

    A label that is the name of one of the network's classes is what the object's clicks mean, unless `wrap` was given a
    target.

    Raises:
        PhotoError: the photo can't be read, or has another size than the prompts state.
        InteractionError: a shape that lies outside the photo.
    """
    picture = net.picture(photo)
    if prompts.size not in (None, picture.size):
        height, width = prompts.size or (0, 0)
        raise PhotoError(
            f"Expected a photo {width} wide and {height} high, as the prompts say, got one {picture.size[1]} wide and "
            f"{picture.size[0]} high. Try the photo that they were made for."
        )
    if prompts.log is not None:
        with replay(prompts.log, net, picture) as session:
            return [NamedMask(name, session.category(name), session.result_of(name)) for name in session.objects]
    by_target: dict[str | None, list[int]] = {}
    classes = net.spec.class_names if len(net.spec.class_names) > 1 and net.options["target"] is None else ()
    for k, each in enumerate(prompts.objects):
        by_target.setdefault(each.label if each.label in classes else None, []).append(k)
    given = []
    for each in prompts.objects:
        shapes = used(each.shapes, uses)
        if not shapes:
            raise InteractionError(f"Expected shapes of {', '.join(uses)} for the object {each.name}, got none.")
        given.append(interactions_of(shapes, picture.size))
    results: dict[int, Result] = {}
    for target, indices in by_target.items():
        found = net.refine(picture, [given[k] for k in indices], target=target)
        results.update(zip(indices, found, strict=True))
    return [NamedMask(each.name, each.label or OTHER, results[k]) for k, each in enumerate(prompts.objects)]


def error_row(photo: str, error: str, digest: str, seconds: float = 0.0) -> Row:
    """The only row of a photo that has no masks."""
    nothing = dict.fromkeys(("object", "label", "satisfied", "evaluations", "seconds", "area", "uncertainty", "status"))
    took = round(seconds, 4)
    return {"photo": photo, **nothing, "of": 1, "photo_seconds": took, "error": error, "prompts": digest}


def _measured(result: Result) -> Row:
    """What the manifest says of a result; its mask is computed here, so that its errors are the photo's."""
    return {
        "satisfied": bool(result.satisfied),
        "evaluations": int(result.evaluations),
        "seconds": round(float(result.seconds), 4),
        "area": int(np.count_nonzero(result.mask)),
        "uncertainty": round(uncertainty(result), 6),
        "status": str(result.status),
    }


def uncertainty(result: Result) -> float:
    """How much of a mask is open: 1 - its IoU with the truth, as the network's own probabilities estimate it.

    From 0, certain, to 1. Of photos larger than 512 pixels, every n-th pixel is looked at.
    """
    step = max(1, max(result.size) // MOST_LOOKED_AT)
    window = whole(result.size)
    logits = result.logits_in(window, step).float().cpu().numpy()
    return 1.0 - expected_iou(logits, logits > 0)
