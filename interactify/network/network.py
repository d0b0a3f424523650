"""The user's network as the library runs it: its replica, its spec, and the way from an image to a class's logits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from operator import attrgetter
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from interactify.errors import InteractionError, ModelError, NonFiniteError, OptionError, ran_out, reason_of
from interactify.inspection.activation import BeforeActivation
from interactify.inspection.outputs import resized, to_logits
from interactify.inspection.probe import mark_stem
from interactify.inspection.spec import ModelSpec
from interactify.interactions.click import Click, Interaction, checked
from interactify.interactions.click_maps import network_maps
from interactify.interactions.gestures import Labels
from interactify.network.click_network import maps_of_pass, reading
from interactify.network.feature_hooks import changed_at
from interactify.network.precision import autocast_named, unsteered
from interactify.network.targets import class_index, target_logit
from interactify.pictures.resize_pad import SMALLEST, View

_version_of = attrgetter("_version")


class Network:
    """A replica and its spec. It has no state of any session."""

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
        self.unsteered = unsteered(precision, spec)  # why refinement is not steered in lower precision
        self.stem_is_named = stem is not None
        if stem is not None:
            mark_stem(replica, stem)
        self.weights = [*nn.Module.parameters(replica), *nn.Module.buffers(replica)]
        self._versioned = [tensor for tensor in self.weights if not tensor.is_inference()]
        self._map_sizes: dict[tuple[str, tuple[int, ...]], tuple[int, ...]] = {}  # by layer and size of the image

    @property
    def doubts(self) -> tuple[str, ...]:
        """What its user should know of how it is run."""
        if self.autocast != torch.float16 or self.spec.device.type != "cpu":
            return ()
        return (
            "float16 on a processor: most compute it many times slower than float32. Try precision='bfloat16', which "
            "is faster on processors with AMX, the default precision, or a GPU.",
        )

    def version(self) -> int:
        """A number that changes when the weights do, so that results computed from old weights are dropped."""
        return sum(map(_version_of, self._versioned))

    def view(self, size: tuple[int, int]) -> View:
        """The view of a photo, or a window of one, of (H, W) pixels in this network's input."""
        spec = self.spec
        if spec.exact is not None:
            exact = cast(tuple[int, int], spec.exact)
            return View(size, exact, exact) if spec.fit == "squash" else View.into(size, exact)
        smallest = max(spec.smallest, SMALLEST if spec.smallest == 1 else 1)
        return View.fit(size, resolution=spec.resolution, divisor=spec.divisor, smallest=smallest, fit=spec.fit)

    def target(self, target: int | str | None) -> int | None:
        """The index of a class. Raises OptionError for a class the network doesn't have."""
        return class_index(target, self.spec.output.classes, self.spec.class_names)

    def checked(self, interaction: Interaction, photo_size: tuple[int, int]) -> Interaction:
        """The interaction checked against a photo (H, W): in whole pixels, a class as its index.

        Raises InteractionError for an invalid one, OptionError for a class the network doesn't have.
        """
        own = checked(interaction, photo_size)
        if isinstance(own, Labels):
            self._check_classes(own)
        label = getattr(own, "label", None)
        if label is None:
            return own
        index = self.target(label)
        if index is None:  # "clicked" is a target, but not a class
            raise OptionError(f"Expected label to be a class's index or name, got {label!r}.")
        return replace(own, label=index)  # type: ignore[type-var]

    def _check_classes(self, labels: Labels) -> None:
        """Raise InteractionError for a label map that is none of this network's classes."""
        output = self.spec.output
        if output.classes < 2:
            raise InteractionError(
                "Expected a network of several classes for a label map, got one class only. Try Mask(labels == 1)."
            )
        if not output.exclusive:
            raise InteractionError(
                "Expected classes that exclude each other for a label map, got a network with a sigmoid for each. Try "
                "an object for each class, session.add_object(target=1), and Mask(labels == 1)."
            )
        if int(labels.labels.max()) >= output.classes:
            unknown = [each for each in np.unique(labels.labels).tolist() if each >= output.classes]
            raise InteractionError(
                f"Expected a label map of the network's classes, 0 to {output.classes - 1}, got "
                f"{', '.join(map(str, unknown[:5]))}{', …' if len(unknown) > 5 else ''}. Try ignore=… for pixels of no "
                "known class, or change the values to those of the network."
            )

    def image(self, photo: Tensor, view: View) -> Tensor:
        """A photo (C, H, W) in [0, 1] as the network reads it: (1, C, h', w'), normalised, on its device."""
        return self.normalised(view.to_network(photo))

    def normalised(self, image: Tensor) -> Tensor:
        """An image (1, C, h', w') in [0, 1], or a volume in its own units, as the network reads it, on its device."""
        mean, std = self._mean_and_std()
        image = ((image.flip(1) if self.spec.bgr else image) - mean) / std
        return image.to(self.spec.device, self.spec.dtype)

    def photo(self, image: Tensor) -> Tensor:
        """The inverse of `normalised`, without `bgr`: (1, C, h', w') in [0, 1]."""
        mean, std = (each.to(image) for each in self._mean_and_std())
        return image * std + mean

    def _mean_and_std(self) -> list[Tensor]:
        """Both as (C, 1, 1) in float32 on the CPU, whatever torch's default type and device are."""
        return [
            torch.tensor(each, dtype=torch.float32, device="cpu").view(-1, *[1] * self.spec.sides)
            for each in (self.spec.mean, self.spec.std)
        ]

    @property
    def reads_clicks(self) -> bool:
        """Whether it is a click network, which reads interaction maps beside the image."""
        return self.spec.click_maps is not None

    def click_maps(self, clicks: Iterable[Click], image: Tensor, previous: Tensor | None = None) -> Tensor | None:
        """The maps (1, M, h', w') that a click network reads beside an image (1, C, h', w'); None for other networks.

        `clicks` are in network pixels; `previous` (h', w') is the mask before the newest one, as probabilities.
        """
        if self.spec.click_maps is None:
            return None
        size = (image.shape[-2], image.shape[-1])
        maps = network_maps(self.spec.click_maps, clicks, size, previous=previous, device=image.device)
        return maps[None].to(image.dtype)

    def maps_of_pass(self, image: Tensor) -> Tensor:
        """The maps (1, M, h', w') that a click network reads in the running pass: for variables that change them."""
        if self.spec.click_maps is None:
            raise ModelError(f"Expected a click network, got {type(self.replica).__name__}, which reads no maps.")
        return maps_of_pass(image, self.spec.click_maps)

    def map_size(self, layer: str, image: Tensor) -> tuple[int, ...]:
        """(h, w) of the map that a layer gives for an image (1, C, h', w'); `feature_hooks.attach` was called for it.

        The network runs once for each size of images. Raises ModelError where the layer's maps have several sizes.
        """
        key = layer, tuple(image.shape[2:])
        if key not in self._map_sizes:
            sizes: list[tuple[int, ...]] = []

            def noted(x: Tensor) -> Tensor:
                sizes.append(tuple(x.shape[2:]))
                return x

            with changed_at(self.replica, layer, noted):
                self.plain_logits(image)
            if len(set(sizes)) != 1:
                found, own = (", ".join("×".join(map(str, each)) for each in all) for all in (sizes, [key[1]]))
                raise ModelError(
                    f"Expected a layer whose maps have one size for variables with a place, got {layer!r} with "
                    f"{found or 'none'} for an image of {own}. Try another layer, or "
                    f"'scale_bias@{layer}'."
                )
            self._map_sizes[key] = sizes[0]
        return self._map_sizes[key]

    @torch.no_grad()
    def plain_logits(self, image: Tensor, maps: Tensor | None = None) -> Tensor:
        """The network's own logits for an image (1, C, h', w'): (1, K, h, w), on its own grid.

        `maps` (1, M, h', w') are what a click network reads beside it; those of no clicks by default.
        """
        try:
            with self._own_random_state(), self._precision(), reading(maps), self._reading() as activations:
                raw = self.replica(image.clone())  # some networks write over their input
        except Exception as cause:  # the user's own code, on a size it may not accept
            if ran_out(cause):
                raise
            raise ModelError(
                f"Expected the network to run on an image {tuple(image.shape)}, got {reason_of(cause)}. "
                "It may need another size. Try resolution=… or divisor=… in wrap()."
            ) from cause
        return finite(self._logits(raw, activations), "before any click" if maps is None else "for these clicks")

    def class_logits(self, one_pass: Callable[[], Any], maps: Tensor | None = None) -> Tensor:
        """Logits (1, K, h, w), on the network's own grid; `one_pass` runs the replica and returns its raw output.

        A click network reads `maps` in it, as in `plain_logits`.
        """
        with self._own_random_state(), self._precision(), reading(maps), self._reading() as activations:
            raw = one_pass()
        return self._logits(raw, activations)

    def _logits(self, raw: Any, activations: BeforeActivation | None) -> Tensor:
        """The logits in the raw output, in the precision of the network's weights."""
        logits = to_logits(self.spec.output, raw, activations)
        return logits if self.autocast is None else logits.to(self.spec.dtype)

    def log_odds(self, logits: Tensor, target: int | None, image: Tensor) -> Tensor:
        """Log-odds (1, 1, h', w') of the target class, as large as the image, from logits (1, K, h, w)."""
        odds = target_logit(logits, target, self.spec.output.activation)
        return resized(odds, tuple(image.shape[2:]))

    def _reading(self) -> AbstractContextManager[BeforeActivation | None]:
        """The mode to run a pass under, if its logits are read before a sigmoid or softmax at its end."""
        return BeforeActivation() if self.spec.output.bypassed else nullcontext()

    def _precision(self) -> AbstractContextManager[object]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.spec.device.type, self.autocast)

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Let the network draw the same random numbers each time, and leave the caller's random state unchanged."""
        if not self.spec.draws:
            yield
            return
        devices = [self.spec.device.index or 0] if self.spec.device.type == "cuda" else []
        with _random_state, torch.random.fork_rng(devices):  # the state is global: one pass at a time
            torch.manual_seed(0)
            yield


def finite(logits: Tensor, when: str = "before any click") -> Tensor:
    """The network's own logits of a photo. Raises NonFiniteError where they are not finite."""
    if not bool(torch.isfinite(logits).all()):
        raise NonFiniteError(
            f"Expected finite logits for this photo {when}, got NaN or infinity ({logits.dtype}). Try to "
            "check the network's weights and the mean= and std= it expects, or use float32."
        )
    return logits


_random_state = threading.Lock()
