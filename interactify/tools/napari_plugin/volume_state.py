"""Volumes in napari: sessions on image layers of three dimensions, and what the window displays of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from interactify.errors import OptionError
from interactify.interactions.click import Click
from interactify.interactions.in_space import VoxelClick
from interactify.tools.napari_plugin.networks import AtService
from interactify.tools.napari_plugin.session_state import SessionState

if TYPE_CHECKING:  # a session at a service needs no torch, which these bring with them
    from interactify.interactive import Interactive
    from interactify.slices.result import SlicesResult
    from interactify.slices.session import SliceSession
    from interactify.volumes.result import VolumeResult
    from interactify.volumes.session import VolumeSession

SpaceSession: TypeAlias = "VolumeSession | SliceSession"
SpaceResult: TypeAlias = "VolumeResult | SlicesResult"


def is_volume(layer: Any) -> bool:
    """Whether an image layer has three dimensions: slices, rows, columns."""
    return bool(layer.ndim == 3)


def open_volume_layer(net: Interactive | AtService, layer: Any, target: int | str | None) -> SpaceSession:
    """A session on an image layer of three dimensions.

    A network of volumes is given the voxels in their own units. A network of images sees each slice in the layer's
    contrast limits, or in its colours; what is on disk stays there.

    Raises:
        OptionError: the network is that of a service, which takes photos.
        All else as `Interactive.session` and `Interactive.slices`.
    """
    if isinstance(net, AtService):
        raise OptionError("Expected a network on this machine for a volume, got a service's, which takes photos.")
    data = layer.data[0] if layer.multiscale else layer.data
    if layer.rgb:
        data = np.moveaxis(np.asarray(data), -1, 0)[:3]
    if net.spec.sides == 3:
        return net.session(data, target=target)
    if layer.rgb:
        return net.slices(data, target=target)
    low, high = layer.contrast_limits
    return net.slices(data, target=target, value_range=(low, high if high > low else low + 1))


def volume_state_of(session: SpaceSession, result: SpaceResult) -> SessionState:
    """A session's current state; `result` is that of the last change."""
    now = session.result
    labels = now.mask.astype(np.uint8)  # a volume of int32 takes four times as much
    changes, waiting = (session.can_undo, session.can_redo), bool(getattr(now, "waiting", ()))
    return SessionState(labels, now.clicks, ("object",), 0, *changes, _summary(result), waiting)


def _summary(result: SpaceResult) -> str:
    """A line about a result: the number of clicks, the time, which slices changed, and which clicks are unsatisfied."""
    count = len(result.clicks)
    if not count:
        return "The network's own prediction. Click where it is wrong."
    line = f"{count} click{'s' * (count > 1)}, {result.seconds * 1000:.0f} ms"
    carried = getattr(result, "carried", {})
    if carried:
        line += f", carried to {len(carried)} slice{'s' * (len(carried) > 1)}"
    if result.satisfied:
        return f"{line}: {'all are satisfied' if count > 1 else 'it is satisfied'}."
    return f"{line}: {len(result.unsatisfied)} not satisfied."


def click_at(place: tuple[int, ...], positive: bool) -> Click:
    """The click at a pixel x, y, or at a voxel x, y, z."""
    if len(place) == 3:
        return VoxelClick(place[0], place[1], positive, z=place[2])
    return Click(place[0], place[1], positive)


def place_of(click: Click) -> list[float]:
    """Its place as napari has it: row, column, or slice, row, column."""
    return [click.z, click.y, click.x] if isinstance(click, VoxelClick) else [click.y, click.x]
