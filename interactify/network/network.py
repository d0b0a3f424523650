"""The user's network as the library runs it: its replica, its spec, and one way from an image to a class's logits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final

import torch
from torch import Tensor, nn

from interactify.errors import ModelError, NonFiniteError, OptionError, ran_out
from interactify.inspection.activation import BeforeActivation
from interactify.inspection.outputs import resized, to_logits
from interactify.inspection.probe import mark_stem
from interactify.inspection.spec import ModelSpec
from interactify.interactions.click import Interaction, checked
from interactify.network.targets import class_index, target_logit
from interactify.pictures.resize_pad import SMALLEST, View

_version_of = attrgetter("_version")


class Network:
    """A replica and what is known of it. Holds no state of any session."""

    def __init__(
        self,
        replica: nn.Module,
        spec: ModelSpec,
        stem: str | None = None,
        precision: str = "float32",
    ) -> None:
        self.replica = replica
        self.spec = spec
        self.autocast = autocast_named(precision, spec)
        self.stem_is_named = stem is not None
        if stem is not None:
            mark_stem(replica, stem)
        self.weights = [*nn.Module.parameters(replica), *nn.Module.buffers(replica)]
        self._versioned = [tensor for tensor in self.weights if not tensor.is_inference()]

    def version(self) -> int:
        """A number that changes whenever the weights are trained on, so that what was computed of them is not kept."""
        return sum(map(_version_of, self._versioned))

    def view(self, size: tuple[int, int]) -> View:
        """How a photo, or a window of one, of (H, W) pixels lies in this network's input."""
        spec = self.spec
        smallest = max(spec.smallest, SMALLEST if spec.smallest == 1 else 1)
        return View.fit(size, resolution=spec.resolution, divisor=spec.divisor, smallest=smallest)

    def target(self, target: int | str | None) -> int | None:
        """The class index that is meant. Raises OptionError for a class the network hasn't."""
        return class_index(target, self.spec.output.classes, self.spec.class_names)

    def checked(self, interaction: Interaction, photo_size: tuple[int, int]) -> Interaction:
        """The interaction as it is taken for a photo (H, W): in whole pixels, a class as its index.

        Raises InteractionError for what is none, OptionError for a class the network hasn't.
        """
        own = checked(interaction, photo_size)
        label = getattr(own, "label", None)
        if label is None:
            return own
        index = self.target(label)
        if index is None:  # "clicked" is a target, and no class
            raise OptionError(f"Expected label to be a class's index or name, got {label!r}.")
        return replace(own, label=index)  # type: ignore[type-var]

    def image(self, photo: Tensor, view: View) -> Tensor:
        """A photo (C, H, W) in [0, 1] as the network reads it: (1, C, h', w'), normalised, on its device."""
        return self.normalised(view.to_network(photo))

    def normalised(self, image: Tensor) -> Tensor:
        """What is seen of a photo, (1, C, h', w') in [0, 1], as the network reads it, on its device."""
        mean = torch.tensor(self.spec.mean).view(-1, 1, 1)
        std = torch.tensor(self.spec.std).view(-1, 1, 1)
        image = ((image.flip(1) if self.spec.bgr else image) - mean) / std
        return image.to(self.spec.device, self.spec.dtype)

    def photo(self, image: Tensor) -> Tensor:
        """The pixels (1, C, h', w'), in [0, 1], of which `image` made what the network reads."""
        mean, std = (torch.tensor(each).view(-1, 1, 1).to(image) for each in (self.spec.mean, self.spec.std))
        return image * std + mean

    @torch.no_grad()
    def plain_logits(self, image: Tensor) -> Tensor:
        """The network's own answer to an image (1, C, h', w'): (1, K, h, w), on its own grid."""
        try:
            with self._own_random_state(), self._precision(), self._reading() as seen:
                raw = self.replica(image.clone())  # some networks write over their input
        except Exception as cause:  # the user's own code, on a size it may not take
            if ran_out(cause):
                raise
            raise ModelError(
                f"The network failed on an image {tuple(image.shape)}: {type(cause).__name__}: {cause}. It may need "
                "another size: try resolution=… or divisor=… in wrap()."
            ) from cause
        return finite(self._logits(raw, seen))

    def class_logits(self, one_pass: Callable[[], Any]) -> Tensor:
        """Logits (1, K, h, w), on the network's own grid, of what `one_pass` returns when it runs the replica."""
        with self._own_random_state(), self._precision(), self._reading() as seen:
            raw = one_pass()
        return self._logits(raw, seen)

    def _logits(self, raw: Any, seen: BeforeActivation | None) -> Tensor:
        """The logits in the raw output, in the precision that the network's own weights have."""
        logits = to_logits(self.spec.output, raw, seen)
        return logits if self.autocast is None else logits.to(self.spec.dtype)

    def log_odds(self, logits: Tensor, target: int | None, image: Tensor) -> Tensor:
        """Log-odds (1, 1, h', w') of the target class, as large as the image, from logits (1, K, h, w)."""
        odds = target_logit(logits, target, self.spec.output.activation)
        return resized(odds, (image.shape[-2], image.shape[-1]))

    def _reading(self) -> AbstractContextManager[BeforeActivation | None]:
        """How a pass is seen where its logits are read before a sigmoid or softmax at its end."""
        return BeforeActivation() if self.spec.output.bypassed else nullcontext()

    def _precision(self) -> AbstractContextManager[object]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.spec.device.type, self.autocast)

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """A network that draws numbers draws the same ones each time, and leaves the caller's as they were."""
        if not self.spec.draws:
            yield
            return
        devices = [self.spec.device.index or 0] if self.spec.device.type == "cuda" else []
        with _drawing, torch.random.fork_rng(devices):  # the state is global: one at a time
            torch.manual_seed(0)
            yield


PRECISIONS: Final = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast_named(precision: str, spec: ModelSpec) -> torch.dtype | None:
    """What convolutions and matrix products are computed in under autocast; None for the network's own precision.

    Raises OptionError for another name, or where the network does not compute in float32.
    """
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise OptionError(f"Expected precision to be one of {', '.join(PRECISIONS)}, got {precision!r}.")
    dtype = PRECISIONS[precision]
    if dtype is not None and spec.dtype != torch.float32:
        raise OptionError(
            f"precision={precision!r} is for networks in float32; this one is in {str(spec.dtype).split('.')[-1]}. "
            "Leave precision out, or call model.float() first."
        )
    return dtype


def finite(logits: Tensor) -> Tensor:
    """The logits of a photo before any click, where they are numbers. Raises NonFiniteError elsewhere."""
    if not bool(torch.isfinite(logits).all()):
        raise NonFiniteError(
            f"The network returned NaN or infinity for this photo, before any click ({logits.dtype}). Check its "
            "weights and the mean= and std= it expects, or use float32."
        )
    return logits


_drawing = threading.Lock()
