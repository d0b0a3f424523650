"""Follow the image through a running network, to the convolutions that read it: the stem.

The stem is found by what the network does, not by names: while the network runs, every torch function is intercepted,
and a tensor computed from nothing but the image is *image-like* until a convolution reads it. Subclasses, weight
standardisation, "same" padding, several parallel convolutions and bare `F.conv2d` calls all look alike from here.
Interaction maps enter a later pass in the same way (see `network/stem_branch.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from interactify.inspection.operators import name_of, ordinary
from interactify.inspection.weak_map import WeakTensorMap

Function = Callable[..., Any]
_running = threading.local()


@dataclass(frozen=True)
class StemCall:
    """One convolution that reads the image: the `index`-th such call of a forward pass.

    `weight` is its shape (O, C / groups, kh, kw), `inputs` the shape (C, H, W) of what it read, `module` the name of
    the calling module ("" for the network itself). In a network of volumes both have a third side, the depth, first.
    """

    index: int
    module: str
    weight: tuple[int, ...]
    inputs: tuple[int, ...]


@dataclass
class Convolution:
    """The arguments of a conv2d or conv3d call, by name."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1


CONVOLUTIONS: Final[dict[int, Function]] = {4: torch.conv2d, 5: torch.conv3d}
"""By the number of dimensions of what they read: images (N, C, H, W), volumes (N, C, D, H, W)."""


class ImageFlow(TorchFunctionMode):
    """Runs a forward pass unchanged, and knows at every torch function which tensors depend on the image, and how.

    Subclasses override what happens `before_stem` (a function of image-like tensors and constants), `at_stem` (a
    convolution of an image-like tensor) and where the image is `used_again` (together with later features).
    With `named`, nothing counts as the image until a `mark_input` hook marks it: the user has named the stem.
    """

    def __init__(self, image: Tensor, *, named: bool = False) -> None:
        super().__init__()
        self.calls = 0
        self.dimensions = image.ndim
        self.convolution = CONVOLUTIONS.get(image.ndim, torch.conv2d)
        self._image_like, self._features = WeakTensorMap[None](), WeakTensorMap[None]()
        if not named:
            self._image_like[image] = None

    def is_image(self, value: Any) -> bool:
        """Whether a value is computed from nothing but the image."""
        return value in self._image_like

    def mark(self, tensor: Tensor) -> None:
        """From here on, `tensor` counts as the image."""
        self._image_like[tensor] = None

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        func, args, kwargs = ordinary(func, args, kwargs or {})
        tensors = tensors_among((args, kwargs))
        if func is self.convolution and (args[0] if args else kwargs.get("input")) in self._image_like:
            self.calls += 1
            out, kind = self.at_stem(self.calls - 1, func, args, kwargs), self._features
        elif any(t in self._features for t in tensors):
            used = any(t in self._image_like for t in tensors)
            out, kind = (self.used_again if used else _plain)(func, args, kwargs), self._features
        elif any(t in self._image_like for t in tensors):
            out, kind = self.before_stem(func, args, kwargs), self._image_like
        else:
            return func(*args, **kwargs)
        for tensor in tensors_among(out):
            kind[tensor] = None
        return out

    def before_stem(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return func(*args, **kwargs)

    def at_stem(self, index: int, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return func(*args, **kwargs)

    def used_again(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return func(*args, **kwargs)


def tensors_among(value: Any) -> list[Tensor]:
    """The tensors of a pytree, in order.

    As by `tree_leaves`, which takes longer than a small convolution and is asked twice for each call of a pass: it is
    left to containers that only it knows.

    >>> tensors_among((torch.zeros(2), [3, None], {"out": torch.ones(1)}))
    [tensor([0., 0.]), tensor([1.])]
    """
    if isinstance(value, Tensor):
        return [value]
    kind = type(value)
    if kind in _NO_CONTAINERS:
        return []
    if kind is tuple or kind is list:
        return [tensor for item in value for tensor in tensors_among(item)]
    if kind is dict:
        return [tensor for item in value.values() for tensor in tensors_among(item)]
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


_NO_CONTAINERS: Final = frozenset(
    {bool, int, float, complex, str, type(None), slice, torch.dtype, torch.device, torch.memory_format, torch.Size}
)


def _plain(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return func(*args, **kwargs)


_ARITHMETIC = ("sub", "rsub", "div", "true_divide", "mul", "add")


def _largest(constant: Any) -> float:
    if isinstance(constant, Tensor):
        return float(constant.detach().abs().max()) if constant.numel() and constant.is_floating_point() else 0.0
    return abs(float(constant)) if isinstance(constant, (int, float)) else 0.0


class StemSearch(ImageFlow):
    """Finds the stem calls, what else reads the image, and how many convolutions there are at all.

    `arithmetic` lists the operations on the image before the stem, each with its largest constant. Set `module` to the
    name of the module that is running.
    """

    def __init__(self, image: Tensor, *, named: bool = False) -> None:
        super().__init__(image, named=named)
        self.stem: list[StemCall] = []
        self.convolutions = 0
        self.other_readers: list[str] = []
        self.arithmetic: list[tuple[str, float]] = []
        self.module = ""

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        func, args, kwargs = ordinary(func, args, kwargs or {})
        self.convolutions += func is self.convolution
        return super().__torch_function__(func, types, args, kwargs)

    def before_stem(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = name_of(func).strip("_")
        if name.startswith(_ARITHMETIC):
            constants = [leaf for leaf in tree_leaves((args, kwargs)) if not self.is_image(leaf)]
            self.arithmetic.append((name, max((_largest(c) for c in constants), default=0.0)))
        return func(*args, **kwargs)

    def at_stem(self, index: int, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = Convolution(*args, **kwargs)
        self.stem.append(StemCall(index, self.module, tuple(call.weight.shape), tuple(call.input.shape[1:])))
        return func(*args, **kwargs)

    def used_again(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = func(*args, **kwargs)
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(out)):  # reading a shape uses no pixel
            self.other_readers.append(f"{name_of(func) or func} in {self.module or 'the network itself'}")
        return out


M = TypeVar("M", bound=ImageFlow)


@contextmanager
def followed(mode: M) -> Iterator[M]:
    """Enter a mode in this thread, and let `mark_input` hooks find it."""
    before = getattr(_running, "mode", None)
    _running.mode = mode
    try:
        with mode:
            yield mode
    finally:
        _running.mode = before


def mark_input(module: nn.Module, args: tuple[Any, ...]) -> None:
    """Forward-pre-hook for a stem that the user named: the first map this module reads counts as the image."""
    mode = getattr(_running, "mode", None)
    for leaf in tree_leaves(args):
        if mode is not None and isinstance(leaf, Tensor) and leaf.ndim == mode.dimensions:
            mode.mark(leaf)
            return
