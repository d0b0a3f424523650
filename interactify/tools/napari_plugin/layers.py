"""The two layers of a session in napari: points, which are its clicks, and labels, which are its masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.layers import Labels, Points
from napari.utils.colormaps import CyclicLabelColormap
from numpy.typing import NDArray

from interactify.interactions.click import Click
from interactify.tools.napari_plugin.session_state import SessionState
from interactify.tools.napari_plugin.volume_state import click_at, place_of

# The first is the background's, the others the objects' in turn. Colour-blind eyes too tell them from the clicks' two.
PALETTE = ["#000000", "#1088ff", "#f5a524", "#b45cff", "#14c8c8", "#f06292", "#c6d92c", "#8d6e63"]
COLOURS = {True: "#16a34a", False: "#dc2626"}
SYMBOLS = {True: "disc", False: "x"}


class ClickLayers:
    """The layers, over an image layer; three functions are called for changes of the points.

    Args:
        viewer: napari's, or its model.
        image: the layer that the user clicks on.
        size: (H, W) of its picture, or (D, H, W) of its volume.
        added: called with new clicks.
        removed: called with the indices of deleted points, the last first.
        moved: called with the index of a point that is being dragged, and its pixel (x, y), or voxel (x, y, z).
    """

    def __init__(
        self,
        viewer: Any,
        image: Any,
        size: tuple[int, ...],
        added: Callable[[list[Click]], None],
        removed: Callable[[list[int]], None],
        moved: Callable[[int, tuple[int, ...]], None],
    ) -> None:
        self.viewer = viewer
        self.positive = True
        self._callbacks = added, removed, moved
        self._ignoring = False  # whether changes of the points are this class's own
        self._inverted = False  # whether the next click has the other polarity
        transform = _transform(image)
        self.labels = Labels(
            np.zeros(size, np.int32 if len(size) == 2 else np.uint8),
            name=f"{image.name}: objects",
            opacity=0.5,
            colormap=CyclicLabelColormap(colors=PALETTE),
            **transform,
        )
        self.points = Points(
            np.empty((0, len(size))), ndim=len(size), features={"positive": np.empty(0, bool)},
            size=max(6, round(max(size[-2:]) / 60)), border_color="white", name=f"{image.name}: clicks", **transform,
        )  # fmt: skip
        viewer.add_layer(self.labels)
        viewer.add_layer(self.points)
        self._set_editable(False)
        self.points.events.data.connect(self._changed)
        self.points.mouse_drag_callbacks.append(self._pressed)
        self.ready()

    def ready(self) -> None:
        """Let the next mouse click on the picture add a point."""
        self.viewer.layers.selection.active = self.points
        self.points.mode = "add"

    def end(self) -> None:
        """Disconnect from the points, and let the user paint on the labels; both layers stay in the viewer."""
        self._ignoring = True
        self.points.events.data.disconnect(self._changed)
        self.points.mouse_drag_callbacks.remove(self._pressed)
        self.points.keymap.clear()  # napari keeps removed layers alive, and with them all that they call
        self._set_editable(True)

    def remove_points(self) -> None:
        """Remove the points from the viewer, if they are still there."""
        if self.points in self.viewer.layers:
            self.viewer.layers.remove(self.points)

    def show(self, state: SessionState, clicks: bool) -> None:
        """Display the labels of a session, and with `clicks` replace the points by its clicks."""
        self.labels.data = state.labels
        self._set_editable(False)  # new data makes a layer editable
        self.labels.selected_label = state.active + 1
        if not clicks:
            return
        with self._ignoring_changes():
            self.points.selected_data = set()
            self.points.data = np.array([place_of(each) for each in state.clicks], float).reshape(-1, self.points.ndim)
            self.points.features = {"positive": np.array([click.positive for click in state.clicks], bool)}
            self._colour_points([click.positive for click in state.clicks])

    def _set_editable(self, editable: bool) -> None:
        """Allow painting on the labels or not: while a session is open, the next click would overwrite it."""
        self.labels.editable = editable

    @contextmanager
    def _ignoring_changes(self) -> Iterator[None]:
        self._ignoring = True
        try:
            yield
        finally:
            self._ignoring = False

    def _pressed(self, layer: Points, event: Any) -> None:
        self._inverted = "Alt" in event.modifiers  # for this one click

    def _changed(self, event: Any) -> None:
        if self._ignoring:
            return
        added, removed, moved = self._callbacks
        count = len(self.points.data)
        indices = sorted({int(each) % count if count else 0 for each in event.data_indices}) if count else []
        if event.action == "added":
            positive = self.positive != self._inverted
            self._inverted = False
            polarities = list(self.points.features["positive"])
            polarities[len(polarities) - len(indices) :] = [positive] * len(indices)
            with self._ignoring_changes():
                self.points.features = {"positive": np.array(polarities, bool)}
                self._colour_points(polarities)
            added([click_at(_pixel(self.points.data[index]), positive) for index in indices])
        elif event.action == "removed":
            removed(sorted((int(each) for each in event.data_indices), reverse=True))
        elif event.action == "changed":
            for index in indices:
                moved(index, _pixel(self.points.data[index]))

    def _colour_points(self, polarities: Sequence[Any]) -> None:
        if polarities:
            self.points.face_color = [COLOURS[bool(each)] for each in polarities]
            self.points.symbol = [SYMBOLS[bool(each)] for each in polarities]


def _pixel(coordinates: NDArray[Any]) -> tuple[int, ...]:
    """X, y and, in a volume, z: napari's coordinates are slice, row, column, whole numbers at the pixels' centres."""
    return tuple(np.floor(coordinates + 0.5).astype(int).tolist()[::-1])


def _transform(image: Any) -> dict[str, Any]:
    """The transform of an image layer, as arguments of the layers over it."""
    transform = {name: getattr(image, name) for name in ("scale", "translate", "rotate", "shear")}
    transform["affine"] = np.array(image.affine.affine_matrix)
    return transform | ({"units": image.units} if hasattr(image, "units") else {})  # napari 0.5.0 has no units
