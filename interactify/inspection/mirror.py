"""Mirror averaging: the network runs on the image and on its mirror image, and the mean of both is the output."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from interactify.inspection.maps import map_from

_pass = threading.local()


def mirrored(replica: nn.Module, at_once: bool = True) -> nn.Module:
    """Let a replica return the mean of the maps of an image (N, C, H, W) and of its mirror image, mirrored back.

    Volumes (N, C, D, H, W) are mirrored along x, too. Layers keep their names. Outputs that are not maps are those of
    the image.

    Args:
        replica: the network; its `forward` is replaced.
        at_once: run both in one batch, which is twice as large; else one after the other, for networks that were
            made for one image.

    >>> replica = mirrored(nn.Conv2d(1, 1, (1, 3), padding=(0, 1), bias=False))
    >>> maps = replica(torch.tensor([[[[1.0, 2.0, 1.0], [0.0, 4.0, 0.0]]]]))
    >>> torch.equal(maps, maps.flip(-1)), maps.shape
    (True, torch.Size([1, 1, 2, 3]))
    """
    forward = replica.forward

    def together(_self: nn.Module, image: Tensor) -> Any:
        with _showing("both"):
            leaves, tree = tree_flatten(forward(torch.cat([image, image.flip(-1)])))
        pairs = (_halves(leaf, len(image)) for leaf in leaves)
        return tree_unflatten([_mean(own, other, image) for own, other in pairs], tree)

    def in_turn(_self: nn.Module, image: Tensor) -> Any:
        leaves, tree = tree_flatten(forward(image))
        with _showing("mirror image"):
            others, _ = tree_flatten(forward(image.flip(-1)))
        return tree_unflatten([_mean(own, other, image) for own, other in zip(leaves, others, strict=True)], tree)

    both = together if at_once else in_turn

    def run(own: nn.Module, image: Tensor, *args: Any, **kwargs: Any) -> Any:
        # Other arguments come from an adapter's forward, which runs inside and splits what it was given.
        return forward(image, *args, **kwargs) if args or kwargs else both(own, image)

    replica.forward = MethodType(run, replica)
    return replica


def as_seen(field: Tensor, maps: Tensor) -> Tensor:
    """What lies over the image, (1, c, h, w), as a layer's maps (N, C, h, w) show it in the running pass.

    For maps of the mirror image it is mirrored, so that one place of it is one place of the photo.
    """
    shown = getattr(_pass, "shown", "image")
    if shown == "image":
        return field
    turned = field.flip(-1)
    if shown == "mirror image":
        return turned
    half = len(maps) // 2
    return torch.cat([each.expand(n, *field.shape[1:]) for each, n in ((field, half), (turned, len(maps) - half))])


@contextmanager
def _showing(shown: str) -> Iterator[None]:
    """Within this block and thread, a layer's maps are those of the mirror image, or of the image and of it."""
    before = getattr(_pass, "shown", "image")
    _pass.shown = shown
    try:
        yield
    finally:
        _pass.shown = before


def _halves(leaf: Any, count: int) -> tuple[Any, Any]:
    """The parts of an output for the images and for their mirror images; the same twice where it is not of both."""
    if not isinstance(leaf, Tensor) or leaf.ndim == 0:
        return leaf, leaf
    if len(leaf) == 2 * count:
        return leaf[:count], leaf[count:]
    if leaf.ndim in (4, 5) and leaf.is_floating_point():  # a graph with sizes in it may mix images into channels
        raise RuntimeError(f"a map of shape {tuple(leaf.shape)} for {2 * count} images")
    return leaf, leaf


def _mean(own: Any, other: Any, image: Tensor) -> Any:
    """The mean of a map of an image and of its mirror image's, mirrored back; anything else is the image's own."""
    if not isinstance(own, Tensor) or own is other or not own.is_floating_point():
        return own
    found = map_from((), own, tuple(image.shape[2:]))
    if found is None:
        return own
    return (own + other.flip(-2 if found.channels_last else -1)) / 2
