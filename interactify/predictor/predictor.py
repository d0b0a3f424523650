"""A wrapped network behind Segment Anything's interface: set a photo, pass points, a box, a mask, get masks and scores.

Names, arguments, defaults and shapes are those of SAM 2's image predictor (Ravi et al., "SAM 2: Segment Anything in
Images and Videos", 2024), so that code written for it runs. `prompts.py` reads the arguments, `photo.py` refines them
in a session, and `candidates.py` rates the three readings of a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from interactify.errors import InteractionError, ModelError, NoPhotoError, OptionError, PhotoError, with_type
from interactify.interactive import Interactive
from interactify.pictures.picture import PictureLike
from interactify.predictor.candidates import expected_iou, pointed_at
from interactify.predictor.photo import ObjectLogits, PromptedPhoto, low_resolution
from interactify.predictor.prompts import Prompt, read_prompts
from interactify.refinement.result import Result

Masks = NDArray[np.float32]
Prediction = tuple[Masks, Masks, Masks]  # masks, scores, low-resolution logits


class Predictor:
    """Segment Anything's image predictor, over a network that was never trained for it.

    Every call of `predict` is a session of its own, to which the prompts are added as interactions: it depends on its
    arguments alone, and nothing is remembered of earlier calls. Not to be shared between threads.

    Attributes:
        model: the `Interactive` that makes the masks.
        mask_threshold: masks are where the logits are above it.

    >>> predictor = interactify.Predictor(interactify.wrap(interactify.zoo.load()))
    >>> predictor.set_image(np.zeros((60, 80, 3), np.uint8))
    >>> masks, scores, logits = predictor.predict(np.array([[40, 30]]), np.array([1]))
    >>> masks.shape, scores.shape, logits.shape
    ((3, 60, 80), (3,), (3, 256, 256))
    """

    def __init__(self, net: Interactive, mask_threshold: float = 0.0) -> None:
        """Start without a photo.

        Args:
            net: what `interactify.wrap` returned.
            mask_threshold: in logits; 0 is where the object is more likely than not. Points are satisfied at 0: another
                threshold may leave them on the wrong side.

        Raises:
            OptionError: net is no wrapped network, or the threshold not a finite number.
            ModelError: it is a network of volumes.
        """
        if not isinstance(net, Interactive):
            raise OptionError(
                f"Expected a wrapped network, got {type(net).__name__}. Try Predictor(interactify.wrap(model))."
            )
        if isinstance(mask_threshold, bool) or not isinstance(mask_threshold, (int, float, np.number)):
            raise OptionError(f"Expected mask_threshold to be a number, got {mask_threshold!r}.")
        if not np.isfinite(mask_threshold):
            raise OptionError(f"Expected mask_threshold to be finite, got {mask_threshold!r}.")
        net.check_reads_images()
        self.model = net
        self.mask_threshold = float(mask_threshold)
        self._photos: tuple[PromptedPhoto, ...] = ()
        self._many = False

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return self.model.spec.device

    def set_image(self, image: PictureLike) -> None:
        """Open a photo for `predict`.

        Args:
            image: (H, W, 3) uint8 in red, green, blue, a PIL image, or anything else that `Interactive.session` takes.

        Raises:
            PhotoError, ModelError, NonFiniteError: as `Interactive.session`. The photo set before stays.
        """
        with self._undisturbed():
            self._photos, self._many = (self._opened(image),), False

    def set_image_batch(self, image_list: Sequence[PictureLike]) -> None:
        """Open several photos, of any sizes, for `predict_batch`.

        For each, what does not depend on a prompt is computed once and kept: `Interactive.describe` shows how much that
        is, under "memory".

        Raises:
            PhotoError: no list of photos, or an empty one.
            PhotoError, ModelError, NonFiniteError: as `Interactive.session`. The photos set before stay.

        >>> predictor = interactify.Predictor(interactify.wrap(interactify.zoo.load()))
        >>> predictor.set_image_batch([np.zeros((60, 80, 3), np.uint8), np.zeros((50, 40, 3), np.uint8)])
        >>> masks, scores, logits = predictor.predict_batch(box_batch=[[10, 10, 50, 40], None], multimask_output=False)
        >>> [mask.shape for mask in masks]
        [(1, 60, 80), (1, 50, 40)]
        """
        if not isinstance(image_list, (list, tuple)) or not image_list:
            came = "an empty one" if isinstance(image_list, (list, tuple)) else type(image_list).__name__
            raise PhotoError(f"Expected a list of photos, got {came}. For one photo try set_image.")
        with self._undisturbed():
            self._photos, self._many = tuple(map(self._opened, image_list)), True

    def _opened(self, image: PictureLike) -> PromptedPhoto:
        return PromptedPhoto(self.model, self.model.session(image))

    def reset_predictor(self) -> None:
        """Forget the photo, or photos, and free what was computed of them."""
        self._photos, self._many = (), False

    def predict(
        self,
        point_coords: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> Prediction:
        """Segment the object that the prompts describe.

        Args:
            point_coords: (N, 2), x to the right, then y down, in pixels; rounded to the nearest. All are satisfied at
                once, as by `Session.add`.
            point_labels: (N,), 1 for the object, 0 for the background, -1 for padding, which is ignored.
            box: (4,) left, top, right, bottom in pixels: the whole object lies inside. It is stretched to positive
                points outside it.
            mask_input: (1, 256, 256) logits, from an earlier call or any other source, to start from. The mask is where
                they are above 0. It stays, except in the pieces that a point contradicts and where the network, given
                all points, disagrees with it. A click network that reads the previous mask gets it there, as
                probabilities, and what it answers is the mask. Without points or a box it comes back unchanged.
            multimask_output: True for three masks, the narrow, usual and wide reading of the prompts, from the same
                evaluations; False for the usual one.
            return_logits: True for logits instead of masks.
            normalize_coords: False where points and boxes are shares of the photo's width and height, from 0 to 1.

        Without any prompt it is the network's own prediction. Several objects take points (B, N, 2) with labels
        (B, N), boxes (B, 4) and masks (B, 1, 256, 256), those that are given; for B of 2 or more, what is returned has
        B as its first dimension.

        Returns:
            Masks (C, H, W) float32, of 0 and 1, or logits; C is 3 or 1. Scores (C,) float32: estimated IoU in [0, 1].
            Logits (C, 256, 256) float32 in [-32, 32], of the whole photo, for the next call's `mask_input`.

        Raises:
            NoPhotoError: before `set_image`. It is a RuntimeError.
            InteractionError: arguments that can't be read or don't fit the photo or each other; before any work.
            OptionError: a switch that is neither True nor False.
            NonFiniteError: the network returned NaN or infinity.
        """
        self._expect(many=False)
        _check_switches(multimask_output, return_logits, normalize_coords)
        prompts = read_prompts(point_coords, point_labels, box, mask_input, self._photos[0].size, normalize_coords)
        return self._refine(self._photos[0], prompts, multimask_output, return_logits)

    def predict_batch(
        self,
        point_coords_batch: Sequence[ArrayLike | None] | None = None,
        point_labels_batch: Sequence[ArrayLike | None] | None = None,
        box_batch: Sequence[ArrayLike | None] | None = None,
        mask_input_batch: Sequence[ArrayLike | None] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[list[Masks], list[Masks], list[Masks]]:
        """The same for every photo of `set_image_batch`: lists with an entry, or None, for each.

        Returns:
            Lists of masks, scores and low-resolution logits, one of each for a photo, as `predict` returns them.

        Raises:
            NoPhotoError: before `set_image_batch`. It is a RuntimeError.
            InteractionError, OptionError, NonFiniteError: as `predict`; arguments of all photos are read before any
                work.
        """
        self._expect(many=True)
        _check_switches(multimask_output, return_logits, normalize_coords)
        columns = []
        for name, batch in (
            ("point_coords_batch", point_coords_batch),
            ("point_labels_batch", point_labels_batch),
            ("box_batch", box_batch),
            ("mask_input_batch", mask_input_batch),
        ):
            if batch is not None and (not hasattr(batch, "__len__") or len(batch) != len(self._photos)):
                came = f"{len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
                raise InteractionError(f"Expected {name} to have {len(self._photos)} entries, one a photo, got {came}.")
            columns.append([None] * len(self._photos) if batch is None else list(batch))
        points, labels, boxes, masks = columns
        prompts = [
            read_prompts(points[i], labels[i], boxes[i], masks[i], photo.size, normalize_coords)
            for i, photo in enumerate(self._photos)
        ]
        found = [
            self._refine(photo, each, multimask_output, return_logits)
            for photo, each in zip(self._photos, prompts, strict=True)
        ]
        return [each[0] for each in found], [each[1] for each in found], [each[2] for each in found]

    def get_image_embedding(self) -> NoReturn:
        """Raise ModelError: any segmentation network may be wrapped, and few have one embedding of a photo."""
        raise ModelError(
            "Expected an encoder with one embedding of the photo, got a segmentation network: there is no image "
            "embedding. Try model.insertion_points(), which lists its layers."
        )

    def _expect(self, many: bool) -> None:
        if self._photos and self._many == many:
            return
        setter, method = ("set_image_batch(…)", "predict_batch") if many else ("set_image(…)", "predict")
        other = "predict" if many else "predict_batch"
        hint = f" Photos were set for {other}." if self._photos else ""
        raise NoPhotoError(f"Expected {setter} before {method}.{hint}")

    def _refine(self, photo: PromptedPhoto, prompts: list[Prompt], three: bool, as_logits: bool) -> Prediction:
        """The arrays of one object, or those of several, stacked."""
        with self._undisturbed():
            found = [self._read(photo.refine(prompt), three, as_logits) for prompt in prompts]
        if len(found) == 1:
            return found[0]
        masks, scores, low = (np.stack(part) for part in zip(*found, strict=True))
        return masks, scores, low

    def _read(self, result: Result, three: bool, as_logits: bool) -> Prediction:
        found = ObjectLogits.of(result)
        maps = found.logits[None]
        if three:
            narrow, usual, wide = (ObjectLogits.of(each).logits for each in result.alternatives)
            maps = np.stack([pointed_at(narrow, found.clicks), usual, wide])
            result.release_arrays()  # they hold each other, and would be freed late
        scores = np.array([expected_iou(found.logits, each > self.mask_threshold) for each in maps], np.float32)
        logits = found.on_photo(maps)
        masks = logits if as_logits else (logits > self.mask_threshold).astype(np.float32)
        return masks, scores, low_resolution(logits)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Lift a caller's inference mode and autocast, which are usual around SAM 2: refinement needs gradients."""
        with torch.inference_mode(False), torch.autocast(self.device.type, enabled=False):
            yield


def _check_switches(multimask_output: bool, return_logits: bool, normalize_coords: bool) -> None:
    for name, switch in (
        ("multimask_output", multimask_output),
        ("return_logits", return_logits),
        ("normalize_coords", normalize_coords),
    ):
        if not isinstance(switch, (bool, np.bool_)):
            raise OptionError(f"Expected {name} to be True or False, got {with_type(switch)}.")
