"""Interaction maps at the stem, during one pass: a branch parallel to it, or a second image in it.

The branch is added to the convolution's *output*: appending channels to the weight would be wrong where the weight is
standardised (BiT, NFNet), and appending to the input would be wrong where it is padded or folded first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from interactify.errors import ModelError
from interactify.inspection.image_flow import Convolution, Function, ImageFlow, StemCall, followed


class _ZeroBranch(ImageFlow):
    """Adds conv(maps, kernels[i]) to the output of stem call i; the maps are padded as the image is."""

    def __init__(self, image: Tensor, maps: Tensor, kernels: Sequence[Tensor], named: bool) -> None:
        super().__init__(image, named=named)
        self._kernels = kernels
        self._maps: dict[int, Tensor] = {id(image): maps}
        self._held: list[Tensor] = [image]  # alive, so that their ids stay valid

    def before_stem(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = func(*args, **kwargs)
        source = args[0] if args else kwargs.get("input")
        maps = self._maps.get(id(source))
        if isinstance(out, Tensor) and out.ndim == self.dimensions and maps is not None:
            # Only operations that move pixels apply to the maps: normalising them would turn "no click" into a click.
            moved = func(maps, *args[1:], **kwargs) if func is F.pad and args else maps
            self._maps[id(out)] = moved
            self._held.append(out)
        return out

    def at_stem(self, index: int, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = func(*args, **kwargs)
        if index >= len(self._kernels):
            return out
        call = Convolution(*args, **kwargs)
        maps = self._maps.get(id(call.input), next(iter(self._maps.values())))
        kernel = self._kernels[index]
        maps = _on_grid(maps, call.input.shape[2:], kernel.shape[1]).to(out.dtype)
        added: Tensor = self.convolution(maps, kernel.to(out.dtype), None, call.stride, call.padding, call.dilation)
        return out + added


def _on_grid(maps: Tensor, size: Sequence[int], channels: int) -> Tensor:
    """Maps on the grid that a stem reads: folded where it reads space-to-depth, resized otherwise."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    if maps.ndim == 5:
        return F.interpolate(maps, size=tuple(size), mode="trilinear", align_corners=False)
    fold = maps.shape[-2] // size[0] if size[0] else 0
    if channels == maps.shape[1] * fold**2 and maps.shape[-2:] == (size[0] * fold, size[1] * fold):
        return F.pixel_unshuffle(maps, fold)
    return F.interpolate(maps, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)


class _SecondImage(ImageFlow):
    """Lets the stem read `image + maps`, and all other readers of the image the image itself."""

    def __init__(self, image: Tensor, maps: Tensor, named: bool) -> None:
        super().__init__(image, named=named)
        self._needs_gradient = maps.requires_grad and torch.is_grad_enabled()
        self._maps = maps
        self._second: dict[int, Tensor] = {id(image): image + maps}
        self._held: list[Tensor] = [image]

    def mark(self, tensor: Tensor) -> None:
        super().mark(tensor)
        if id(tensor) not in self._second:  # a stem that the user named: the image can't be followed to it
            maps = _on_grid(self._maps, tensor.shape[2:], tensor.shape[1])
            if maps.shape[1] != tensor.shape[1]:
                raise ModelError(
                    f"Expected the named stem to read {self._maps.shape[1]} channels, as the image has, got "
                    f"{tensor.shape[1]}. Try kernels='zero', or refine the input."
                )
            self._second[id(tensor)] = tensor + maps.to(tensor.dtype)
            self._held.append(tensor)

    def _swap(self, value: Any) -> Any:
        return self._second.get(id(value), value) if isinstance(value, Tensor) else value

    def before_stem(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._needs_gradient and not torch.is_grad_enabled():
            raise ModelError(
                "Expected a gradient from the stem to the maps, got an autograd function of the network in between. "
                "Try stem='…' with the name of the module that reads its result, or variables='input'."
            )
        second = func(*tree_map(self._swap, args), **tree_map(self._swap, kwargs))
        out = func(*args, **kwargs)
        pairs = zip(_tensors(out), _tensors(second), strict=True)
        for leaf, changed in pairs:
            self._second[id(leaf)] = changed
            self._held.append(leaf)
        return out

    def at_stem(self, index: int, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return func(*tree_map(self._swap, args), **tree_map(self._swap, kwargs))


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def run_with_kernels(
    model: Callable[[Tensor], Any], image: Tensor, maps: Tensor, kernels: Sequence[Tensor], named: bool = False
) -> Any:
    """Run `model(image)` with a branch over `maps` (N, M, H, W) at each stem call, through `kernels`.

    Image and maps may be of volumes, with a third side.
    """
    with followed(_ZeroBranch(image, maps, kernels, named)):
        return model(image)


def run_with_second_image(model: Callable[[Tensor], Any], image: Tensor, maps: Tensor, named: bool = False) -> Any:
    """Run `model(image)` with the stem reading `image + maps`, both (N, C, H, W).

    At a `named` stem the maps are added to its input, whatever happened to the image before.
    """
    with followed(_SecondImage(image, maps, named)):
        return model(image)


def kernel_shapes(stem: Sequence[StemCall], image_channels: int, maps: int) -> list[tuple[int, ...]]:
    """Shapes (O, M', kh, kw) of the branches' kernels; M' = M·r² where the stem reads r × r pixels as channels.

    Those of volumes are (O, M, kd, kh, kw).
    """
    shapes = []
    for call in stem:
        folded = call.inputs[0] // image_channels if call.inputs[0] % image_channels == 0 else 1
        r = round(folded**0.5)
        out, _, *sides = call.weight
        shapes.append((out, maps * (r * r if r * r == folded and len(sides) == 2 else 1), *sides))
    return shapes


def no_stem_message(model: nn.Module, classes: Sequence[str]) -> str:
    """The error text for a network in which no convolution reads the image."""
    found = f" with modules {', '.join(classes[:8])}" if classes else ""
    return (
        f"Expected a convolution of {type(model).__name__} that reads the image, where interaction maps can enter, got "
        f"none{found}. Try stem='…' with the name of the module that reads it, or variables='input' without a stem."
    )
