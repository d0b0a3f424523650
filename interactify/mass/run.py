"""refine_photos(net, photos, prompts, out): the masks of many photos, by several processes or machines.

The run can be stopped at any moment, also by a kill: the same call goes on. Everything that can be checked without the
network is checked before any work; what only shows in a photo, such as damage, becomes a row of the manifest.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from interactify._version import __version__
from interactify.engines import Engine, Local
from interactify.engines.work import counted
from interactify.errors import InteractionError
from interactify.evaluation.network_recipe import NetworkRecipe
from interactify.export.formats import checked_tolerance, formats_named
from interactify.interactive import Interactive
from interactify.mass.manifest import Manifest, Row, check_configuration
from interactify.mass.masks_out import check_names, write_whole_coco
from interactify.mass.photos import matched, outside, photos_at, stated_size
from interactify.mass.places import Place
from interactify.mass.prompts.photo_prompts import USES, PhotoPrompts, check_shapes, used, uses_named
from interactify.mass.prompts.reading import read_prompts
from interactify.mass.refining import OTHER, Refining, error_row
from interactify.session.session_file import fingerprint


@dataclass(frozen=True)
class MassOutcome:
    """What a run has done, with the runs that it went on with.

    Attributes:
        out: its folder.
        rows: of the manifest: one for each object, or for a photo with an error.
        files: the names of the files about all photos, in `out`.
        without_prompts: how many photos there are that no prompt names; they are left alone.
    """

    out: Place
    rows: tuple[Row, ...]
    files: tuple[str, ...]
    without_prompts: int

    @property
    def errors(self) -> tuple[Row, ...]:
        """The rows of photos that have no masks."""
        return tuple(row for row in self.rows if row["error"])

    @property
    def unsatisfied(self) -> int:
        """How many objects have an interaction that could not be satisfied."""
        return sum(row["satisfied"] is False for row in self.rows)

    def __str__(self) -> str:
        photos = len({row["photo"] for row in self.rows})
        objects = len(self.rows) - len(self.errors)
        return (
            f"{objects} objects in {photos} photos, {self.unsatisfied} of them not wholly satisfied; "
            f"{len(self.errors)} photos with errors"
        )


def refine_photos(
    net: Interactive | NetworkRecipe,
    photos: str,
    prompts: str | Iterable[PhotoPrompts],
    out: str,
    *,
    formats: Sequence[str] = ("png",),
    tolerance: float = 0.0,
    uses: Sequence[str] = USES,
    engine: Engine | None = None,
    threads: int = 1,
    retry_errors: bool = False,
    progress: bool = True,
) -> MassOutcome:
    """Refine all objects that prompts describe in the photos of a folder, and write their masks.

    The masks of a photo are in `out`/masks/, and its rows in `out`/manifest.jsonl, as soon as it is done: one for each
    object, with `satisfied`, `evaluations`, `seconds` (of its refinement), `area` (pixels), `uncertainty` (1 - the IoU
    that the network's probabilities expect), `status`, and the photo's `photo_seconds` and `error`. At the end the rows
    are put in the photos' order, and written as manifest.parquet where pyarrow is there. With the format "coco", all
    photos' annotations are in `out`/coco.json too.

    Args:
        net: a wrapped network, which is sent to the workers; or how each of them builds it.
        photos: a folder, with those below it, or one photo; of this machine, or anywhere that fsspec knows.
        prompts: a file, or a folder of files, as `read_prompts` takes it; or prompts.
        out: a folder, of this machine or anywhere that fsspec knows. That of an unfinished run is gone on with.
        formats: names out of `interactify.export.formats.FORMATS`.
        tolerance: of outlines, in pixels.
        uses: which shapes of the prompts are used: "boxes", "clicks", "masks". A box beside an earlier mask is not.
        engine: where: by default in this process; `Local(workers=…)`, in processes beside it, which a script has to
            start below `if __name__ == "__main__":`; or `OnRay(…)`.
        threads: of torch, in each worker. With 1, neither engine nor number of workers changes a mask.
        retry_errors: run those photos again that ended with an error before.
        progress: show a progress bar.

    Returns:
        The rows of all photos, also of those that were done before.

    Raises:
        OptionError: an invalid option, a missing file or photo, an `out` that can't be written or has another run; all
            before any work. Later, where masks can't be written any more.
        InteractionError: invalid prompts, or a point outside of its photo; before any work.
        PhotoError: there are no photos.
        InteractifyError: worker processes don't start.
    """
    counted("threads", threads)
    names, tolerance = tuple(formats_named(list(formats))), checked_tolerance(tolerance)
    shapes = uses_named(",".join(uses))
    folder, found = photos_at(photos)
    found = outside(found, folder, Place.of(out))
    given = read_prompts(prompts) if isinstance(prompts, str) else list(prompts)
    tasks = [replace(each, photo=name) for name, each in matched(given, found)]
    _check(folder, tasks, shapes)
    objects = [[each.name for each in task.objects] for task in tasks]
    check_names([task.photo for task in tasks], objects, names)
    place = Place.of(out)
    place.prepare()
    wrapped = net.network() if isinstance(net, NetworkRecipe) else net
    categories = check_configuration(
        place,
        {**_configuration(net, wrapped, threads), "formats": list(names), "tolerance": tolerance, "uses": list(shapes),
         "categories": _categories(tasks, wrapped)},
        growing="categories",
    )  # fmt: skip
    digests = {task.photo: task.digest() for task in tasks}
    manifest = Manifest(place, digests, again=retry_errors)
    work = Refining(net, folder, place, names, tuple(categories), tolerance, shapes, threads)
    waiting = [task for task in tasks if task.photo not in manifest.done]
    _work_off(engine or Local(0), work, waiting, manifest, len(tasks), progress)
    files = manifest.finish()
    rows = tuple(row for photo in digests for row in manifest.rows[photo])
    if "coco" in names:
        whole = [photo for photo in digests if not any(row["error"] for row in manifest.rows[photo])]
        files.append(write_whole_coco(place, whole, categories))
    return MassOutcome(place, rows, tuple(files), len(found) - len(tasks))


def _work_off(
    engine: Engine, work: Refining, waiting: Sequence[PhotoPrompts], manifest: Manifest, total: int, progress: bool
) -> None:
    """Run the photos that are not done; each is in the manifest as soon as it is."""
    errors = 0
    results = engine.run(work, [task.to_text() for task in waiting])
    bar = tqdm(total=total, initial=total - len(waiting), desc="photos", disable=not progress, file=sys.stderr)
    try:
        with bar:
            for index, answer, lost in results:
                task = waiting[index]
                rows = [error_row(task.photo, str(lost), task.digest())] if answer is None else json.loads(answer)
                manifest.add(task.photo, rows)
                errors += bool(rows[0]["error"])
                if errors:
                    bar.set_postfix(errors=errors, refresh=False)
                bar.update()
    finally:
        manifest.flush()
        close = getattr(results, "close", None)
        if close is not None:
            close()  # ends the workers, also after an interruption


def _check(folder: Place, tasks: Sequence[PhotoPrompts], uses: Sequence[str]) -> None:
    """Raise InteractionError for the first object that has no shapes, or one that lies outside its photo."""
    for task in tasks:
        stated = task.size
        if stated is None and not folder.remote and not task.log:
            stated = stated_size(Path(folder.at(task.photo).path))
        for each in task.objects:
            try:
                shapes = used(each.shapes, uses)
                if not shapes:
                    raise InteractionError(f"Expected shapes of {', '.join(uses)}, got none. Try others in --use.")
                check_shapes(shapes, stated)
            except InteractionError as cause:
                raise InteractionError(f"{task.photo}, object {each.name}: {cause}") from cause


def _categories(tasks: Sequence[PhotoPrompts], net: Interactive) -> list[str]:
    """The names of all classes of a run: the labels in the prompts, and the network's where logs name none."""
    labels = {each.label or OTHER for task in tasks for each in task.objects}
    logs = any(task.log for task in tasks)
    return [*sorted(labels), *([*net.spec.class_names, OTHER] if logs else ())]


def _configuration(net: Interactive | NetworkRecipe, wrapped: Interactive, threads: int) -> dict[str, Any]:
    """What the masks depend on beside the prompts, as JSON values."""
    options = net.options if isinstance(net, NetworkRecipe) else wrapped.options
    return {
        "model": net.model if isinstance(net, NetworkRecipe) else type(wrapped.unwrap()).__name__,
        "weights": fingerprint(wrapped.unwrap())[:16],
        "variables": repr(wrapped.variables),
        "energy": repr(wrapped.energy),
        "solver": wrapped.solver,
        "options": {key: repr(value) for key, value in sorted(options.items())},
        "threads": threads,
        "device": net.device if isinstance(net, NetworkRecipe) else str(wrapped.spec.device),
        "interactify": __version__,
        "torch": torch.__version__,
    }
