"""A click network as a network of images: the interaction maps of the running pass are joined to the image it is given.

So everything that runs a network on an image, the variables of users among it, runs click networks too. The maps belong
to a pass in one thread: two sessions on one network, in two threads, don't meet.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from interactify.errors import ModelError
from interactify.inspection.click_input import ClickMaps
from interactify.interactions.click_maps import network_maps

_pass = threading.local()


def of_images(replica: nn.Module, click_maps: ClickMaps) -> nn.Module:
    """Let a replica of (N, C + M, H, W) take images (N, C, H, W), and read the maps of the pass that runs.

    Outside of `reading` these are the maps of no clicks. The replica's own forward, and one that an adapter states for
    it, still take all channels.

    >>> with_maps = nn.Conv2d(5, 1, 1)
    >>> of_images(with_maps, ClickMaps())(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 1, 8, 8])
    """
    forward, running = replica.forward, threading.local()

    def joined(_self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if getattr(running, "inside", False):  # an adapter's forward runs the network itself
            return forward(*args, **kwargs)
        image, *others = args
        if image.ndim != 4:
            raise ModelError(
                "Expected images (N, C, H, W) for a click network, got a volume, whose maps of clicks aren't drawn. "
                "Try the network without click_maps=…."
            )
        maps = maps_of_pass(image, click_maps)
        running.inside = True
        try:
            return forward(torch.cat([image, maps.expand(len(image), -1, -1, -1)], 1), *others, **kwargs)
        finally:
            running.inside = False

    replica.forward = MethodType(joined, replica)
    return replica


@contextmanager
def reading(maps: Tensor | None) -> Iterator[None]:
    """Within this block and thread, click networks read these maps, (1, M, h, w); with None those of no clicks."""
    before = getattr(_pass, "maps", None)
    _pass.maps = maps
    try:
        yield
    finally:
        _pass.maps = before


def maps_of_pass(image: Tensor, click_maps: ClickMaps) -> Tensor:
    """The maps that a click network reads beside an image (N, C, h, w) now: (1, M, h, w), of its device and dtype."""
    maps = getattr(_pass, "maps", None)
    if maps is None:
        size = (image.shape[-2], image.shape[-1])
        maps = network_maps(click_maps, (), size, device=image.device)[None]
    return maps.to(image.device, image.dtype)
