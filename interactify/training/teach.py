"""teach(net, folder): the user's own network is trained on the masks that were accepted, and measured before and after.

Its class outputs are trained, not clicks. A part of the photos is held back from the training, and both networks are
measured on it: their masks before any click, and the clicks that a simulated user needs.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from interactify.adapters import knowledge_of
from interactify.errors import OptionError, quietly, with_type
from interactify.evaluation.data.dataset import Sample
from interactify.evaluation.run import check_clicks, evaluate
from interactify.export.files import prepare_folder, write_json, write_whole
from interactify.inspection.replica import independent_copy_of, unwrapped
from interactify.interactive import Interactive, wrap
from interactify.learning import ClassLogits, ClassTask, Drawing, LabelledPhoto, Recipe, groups_of, train
from interactify.learning.class_task import unclicked_iou
from interactify.learning.labelled_photos import UNKNOWN
from interactify.learning.loop import CURVES
from interactify.learning.low_rank import low_rank_deltas
from interactify.learning.parts import PARTS, Part
from interactify.session.session_file import fingerprint
from interactify.training.accepted import accepted_in, as_files

RECIPE: Final = Recipe(steps=150, batch=4, learning_rate=2e-4, warmup=15, average=0.95)
LESSON: Final = "lesson.json"
LEAST: Final = 3  # photos: one to measure on, and more than one to learn from
RANK: Final = 4
GOAL: Final = 0.9  # IoU that the clicks are counted to
OBJECTS: Final = 8  # that are clicked, at most
SMALLEST: Final = 0.002  # of a photo: nobody would click a smaller class


@dataclass(frozen=True)
class Figures:
    """How good a network is on the photos that were held back.

    Attributes:
        iou: of its masks before any click, 0 to 1: of one class the mean over photos, of several over classes.
        clicks: how many clicks an object takes until its IoU is 0.9, by a simulated user.
    """

    iou: float
    clicks: float


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a network learned.

    Attributes:
        model: a copy of the user's network with the new weights, in the modes that the user's has.
        checkpoint: the file with these weights.
        before, after: figures on the photos that were held back, of the user's network and of `model`.
        trained, held_back: the names of the photos that it learned from, and of those on which it was measured.
        steps, seconds: of the training, over all runs.
        most_clicks: what an object counts that never gets there.
    """

    model: nn.Module
    checkpoint: Path
    before: Figures
    after: Figures
    trained: tuple[str, ...]
    held_back: tuple[str, ...]
    steps: int
    seconds: float
    most_clicks: int

    @property
    def better(self) -> bool:
        """Whether the IoU without clicks rose, and an object takes no more clicks than before."""
        return self.after.iou > self.before.iou and self.after.clicks <= self.before.clicks

    def __str__(self) -> str:
        others = "1 other" if len(self.held_back) == 1 else f"{len(self.held_back)} others"
        counts = f"learned from {len(self.trained)} photos, measured on {others}"
        return (
            f"{counts} ({self.steps} steps, {self.seconds:.0f} s)\n"
            f"IoU without clicks   {self.before.iou:.3f} -> {self.after.iou:.3f}\n"
            f"clicks an object     {self.before.clicks:.2f} -> {self.after.clicks:.2f}  (to IoU {GOAL}, at most "
            f"{self.most_clicks})"
        )


def teach(
    net: Interactive,
    folder: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    photos: str | os.PathLike[str] | None = None,
    parts: Part = "all",
    recipe: Recipe = RECIPE,
    held_back: float = 0.2,
    clicks: int = 5,
    seed: int = 0,
    progress: bool = True,
) -> Lesson:
    """Train a copy of a network on accepted masks, and measure on photos that were held back what it is good for.

    The copy sees photos as the wrapped network does, moved, mirrored and recoloured gently. Batch norms keep their
    statistics: those of few photos would be worse. The same call goes on with a training that was interrupted.

    Args:
        net: a wrapped network of one class, or of several. Its model is not changed.
        folder: photos with accepted masks: `images/` and `masks/` with files of the same names (maps of classes for a
            network of several), the folder of `interactify app`, of which photos marked as done count, photos with the
            NAME-mask.png of `interactify segment`, or photos with their sessions, NAME.npz. Several objects of a photo
            are together the object of a network of one class.
        out: a folder for the checkpoint, the curves and the state of an unfinished training; by default FOLDER/taught.
        checkpoint: the file of the new weights, .safetensors or .pt; by default taught.safetensors in `out`.
        photos: where the photos are, if they are not where the folder's layout says.
        parts: what is trained: "all", "stem+decoder" (all but the encoder) or "low-rank" (deltas of rank 4).
        recipe: the settings of the training.
        held_back: the share of photos that are measured on, and not trained on: one at least, half at most. Whether
            a photo is one of them depends on its name and the seed, so it stays one as more photos are accepted.
        clicks: the most clicks that a simulated user makes on an object.
        seed: of the photos that are held back.
        progress: show progress bars.

    Returns:
        A `Lesson`; `print` it.

    Raises:
        OptionError: a folder of another layout, fewer than three photos, masks that don't fit the network, or an
            invalid option; before any training.
        PhotoError: a photo or mask is missing, can't be read, or they are of different sizes.
        CheckpointError: a session of another network; a damaged state of a training.
        TrainingError: the loss is no longer a finite number.

    >>> import tempfile, PIL.Image
    >>> def example(k):
    ...     photo = np.full((64, 64, 3), 40, np.uint8)
    ...     photo[8 * k : 8 * k + 24, 10:50, 0] = 220
    ...     return photo
    >>> net = interactify.wrap(nn.Conv2d(3, 1, 1), mean=0.5, std=0.5)
    >>> recipe = Recipe(steps=50, batch=2, learning_rate=0.2, warmup=1, average=0.9)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for k in range(4):
    ...         for name, picture in (("images", example(k)), ("masks", (example(k)[..., 0] > 99) * 255)):
    ...             Path(folder, name).mkdir(exist_ok=True)
    ...             PIL.Image.fromarray(picture.astype(np.uint8)).save(f"{folder}/{name}/{k}.png")
    ...     lesson = teach(net, folder, recipe=recipe, progress=False)
    >>> lesson.after.iou > 0.9, len(lesson.held_back) < 3
    (True, True)
    """
    _check(net, parts, held_back)
    check_clicks(clicks)
    root, where = Path(folder), None if photos is None else Path(photos)
    accepted = accepted_in(root, net, where)
    if len(accepted) < LEAST:
        raise OptionError(
            f"Expected at least {LEAST} photos with accepted masks in {root}, since some of them are held back to "
            f"measure on, got {len(accepted)}. Try to accept more: in the page, mark photos as done."
        )
    into = prepare_folder(root / "taught" if out is None else out)
    target = into / "taught.safetensors" if checkpoint is None else Path(checkpoint)
    prepare_folder(target.parent)
    labelled = as_files(accepted, into / "accepted")
    names = [each.name for each in accepted]
    held = held_back_of(names, held_back, seed)
    learned_from = [photo for photo, name in zip(labelled, names, strict=True) if name not in held]
    measured_on = [photo for photo, name in zip(labelled, names, strict=True) if name in held]
    _check_known(learned_from)
    copy = independent_copy_of(net.unwrap())
    modes = [module.training for module in nn.Module.modules(copy)]
    network = ClassLogits(copy, net.spec.output, knowledge_of(unwrapped(net.unwrap()), net.options["adapter"]).forward)
    before = _measured(net, network, measured_on, clicks, progress)
    task = ClassTask(Drawing(learned_from), measured_on, net.network, net.value_range)
    state = into / f"training-{_identity(net, labelled, held, parts, recipe)}"
    with low_rank_deltas(network, RANK, recipe.seed) if parts == "low-rank" else nullcontext():
        went = train(
            network,
            task,
            recipe,
            state,
            groups=groups_of(network, parts),
            device=net.spec.device,
            validate_every=max(1, (recipe.steps or 200) // 5),
            save_every=20.0,
            progress_bar=progress,
        )
    copy.to(memory_format=torch.contiguous_format)
    with quietly():  # what had to be assumed was said when the user wrapped it
        taught = wrap(copy, **net.options)
    after = _measured(taught, network, measured_on, clicks, progress)
    for module, training in zip(nn.Module.modules(copy), modes, strict=True):
        module.training = training
    write_weights(target, copy)
    if (state / CURVES).is_file():
        write_whole(into / CURVES, (state / CURVES).read_bytes())
    trained = tuple(name for name in names if name not in held)
    lesson = Lesson(copy, target, before, after, trained, tuple(sorted(held)), went.step, went.seconds, clicks)
    write_json(into / LESSON, _as_json(lesson))
    shutil.rmtree(state, ignore_errors=True)
    return lesson


def write_weights(path: Path, model: nn.Module) -> Path:
    """Write a network's state dict, whole or not at all: .safetensors, or as `torch.save` does.

    Raises:
        OptionError: the file can't be written.
    """
    # Cloned, since safetensors takes no tensors that share memory, as tied weights do.
    state = {
        key: value.detach().cpu().clone() for key, value in model.state_dict().items() if isinstance(value, Tensor)
    }
    if path.suffix == ".safetensors":
        return write_whole(path, save(state))
    content = io.BytesIO()
    torch.save(state, content)
    return write_whole(path, content.getvalue())


def held_back_of(names: Sequence[str], share: float, seed: int) -> set[str]:
    """The names of the photos that are held back: about `share` of them, one at least and half at most.

    A name's place between 0 and 1 is drawn from the seed and itself. So a photo that was held back among few photos is
    never trained on among more, but for the one that is held back where no name falls under the share.

    >>> few = held_back_of([f"{k}" for k in range(20)], 0.2, seed=0)
    >>> few <= held_back_of([f"{k}" for k in range(40)], 0.2, seed=0), 1 <= len(few) <= 10
    (True, True)
    """

    def place(name: str) -> float:
        digest = hashlib.sha256(f"{seed}\n{name}".encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:6], "big") / 2**48

    ordered = sorted(names, key=place)
    count = sum(place(name) < share for name in names)
    return set(ordered[: max(1, min(count, len(names) // 2))])


def _check(net: Any, parts: object, held_back: object) -> None:
    if not isinstance(net, Interactive):
        raise OptionError(f"Expected a wrapped network, got {with_type(net)}. Try interactify.wrap(model).")
    check_teachable(net)
    if parts not in PARTS or parts == "stem":
        known = ", ".join(each for each in PARTS if each != "stem")
        raise OptionError(f"Expected parts to be one of {known}, got {parts!r}.")
    if isinstance(held_back, bool) or not isinstance(held_back, (int, float)) or not 0 < held_back <= 0.5:
        raise OptionError(f"Expected held_back as a share of the photos, above 0 and up to 0.5, got {held_back!r}.")
    if net.spec.dtype != torch.float32:
        raise OptionError(
            f"Expected a network in float32, since smaller steps are lost in {str(net.spec.dtype).split('.')[-1]}, got "
            "another one. Try wrap(model.float())."
        )
    if net.spec.output.classes >= UNKNOWN:
        raise OptionError(
            f"Expected a network of fewer than {UNKNOWN} classes, whose maps fit into 8 bits, got one of "
            f"{net.spec.output.classes}."
        )


def check_teachable(net: Interactive) -> None:
    """Raise OptionError for a network whose own masks, before any click, can't be taught: one that reads clicks."""
    net.now()  # follows a model that has changed since it was wrapped
    if net.spec.click_maps is not None:
        raise OptionError(
            "Expected a network that gives masks without clicks, got one that was trained for clicks, which `teach` "
            "does not train. Try the network inside, --model zoo, or `interactify train` with the accepted masks."
        )


def _check_known(photos: Sequence[LabelledPhoto]) -> None:
    if not any((photo.read_labels() != UNKNOWN).any() for photo in photos):
        raise OptionError(
            "Expected masks with known pixels, got masks in which every pixel is unknown (255). Try masks with 0 for "
            "the background."
        )


def _identity(net: Interactive, photos: Sequence[LabelledPhoto], held: set[str], parts: str, recipe: Recipe) -> str:
    """A short text of all that a training depends on: another network, or other masks, begin another training."""
    masks = [[photo.image.name, hashlib.sha256(photo.mask.read_bytes()).hexdigest()] for photo in photos]
    depends_on = [fingerprint(net.unwrap()), masks, sorted(held), parts, asdict(recipe)]
    return hashlib.sha256(json.dumps(depends_on).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _measured(
    net: Interactive, network: ClassLogits, photos: Sequence[LabelledPhoto], clicks: int, progress: bool
) -> Figures:
    iou = unclicked_iou(network, photos, net.network, net.value_range)
    samples = samples_of(photos, net.spec.output.classes)
    return Figures(iou, evaluate(net, samples, clicks=clicks, progress=progress).noc(GOAL) if samples else 0.0)


def samples_of(photos: Sequence[LabelledPhoto], classes: int) -> list[Sample]:
    """The objects that a simulated user clicks, at most 8: the first class of each photo, then the second, and so on.

    Classes come in the order of their area, the largest first. Of two or more classes, the first is the background
    of most networks and counts like any other.
    """
    found: list[tuple[int, int, Sample]] = []
    for number, photo in enumerate(photos):
        labels = photo.read_labels()
        areas = np.bincount(labels[labels != UNKNOWN], minlength=classes)
        order = [1] if classes <= 2 else [int(k) for k in np.argsort(-areas, kind="stable")]
        for rank, k in enumerate(k for k in order if areas.size > k and areas[k] >= SMALLEST * labels.size):
            truth = np.where(labels == UNKNOWN, -1, labels == k).astype(np.int8)
            target = None if classes == 1 else k
            found.append((rank, number, Sample(f"{photo.mask.stem}#{k}", photo.image, truth, target)))
    return [sample for _, _, sample in sorted(found, key=lambda each: each[:2])[:OBJECTS]]


def _as_json(lesson: Lesson) -> dict[str, Any]:
    """What `lesson.json` holds: all but the network."""
    return {
        "better": lesson.better,
        "before": asdict(lesson.before),
        "after": asdict(lesson.after),
        "most_clicks": lesson.most_clicks,
        "trained": list(lesson.trained),
        "held_back": list(lesson.held_back),
        "steps": lesson.steps,
        "seconds": round(lesson.seconds, 1),
        "checkpoint": lesson.checkpoint.name,
    }
