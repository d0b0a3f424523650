"""The two layers of a session in napari: points, which are clicks, and labels, which follow them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.layers import Labels, Points
from napari.utils.colormaps import CyclicLabelColormap
from numpy.typing import NDArray

from interactify.interactions.click import Click
from interactify.tools.napari_plugin.shown import Shown

# Of the objects, in turn; the first is for none. Apart from each other and from the clicks for colour-blind eyes too.
PALETTE = ["#000000", "#1088ff", "#f5a524", "#b45cff", "#14c8c8", "#f06292", "#c6d92c", "#8d6e63"]
COLOURS = {True: "#16a34a", False: "#dc2626"}
SYMBOLS = {True: "disc", False: "x"}


class ClickLayers:
    """The layers, laid over an image layer; what is done to the points is told by three functions.

    Args:
        viewer: napari's, or its model.
        image: the layer that is clicked on.
        size: (H, W) of its picture.
        added: called with new clicks.
        removed: called with the places of points that were deleted, the last first.
        moved: called with the place of a point that is being dragged, and its pixel x, y.
    """

    def __init__(
        self,
        viewer: Any,
        image: Any,
        size: tuple[int, int],
        added: Callable[[list[Click]], None],
        removed: Callable[[list[int]], None],
        moved: Callable[[int, int, int], None],
    ) -> None:
        self.viewer = viewer
        self.positive = True
        self._told = added, removed, moved
        self._quiet = False
        self._other = False
        place = _place(image)
        self.labels = Labels(
            np.zeros(size, np.int32),
            name=f"{image.name}: objects",
            opacity=0.5,
            colormap=CyclicLabelColormap(colors=PALETTE),
            **place,
        )
        self.points = Points(
            np.empty((0, 2)), ndim=2, features={"positive": np.empty(0, bool)}, size=max(6, round(max(size) / 60)),
            border_color="white", name=f"{image.name}: clicks", **place,
        )  # fmt: skip
        viewer.add_layer(self.labels)
        viewer.add_layer(self.points)
        self._let_paint(False)
        self.points.events.data.connect(self._changed)
        self.points.mouse_drag_callbacks.append(self._pressed)
        self.ready()

    def ready(self) -> None:
        """Make the next mouse click on the picture a point."""
        self.viewer.layers.selection.active = self.points
        self.points.mode = "add"

    def end(self) -> None:
        """Listen to the points no more, and leave the labels to be painted on; nothing is taken out of the viewer."""
        self._quiet = True
        self.points.events.data.disconnect(self._changed)
        self.points.mouse_drag_callbacks.remove(self._pressed)
        self.points.keymap.clear()  # napari keeps a layer that was taken out, and with it all that is called by it
        self._let_paint(True)

    def remove_points(self) -> None:
        """Take the points out of the viewer, where they are there still."""
        if self.points in self.viewer.layers:
            self.viewer.layers.remove(self.points)

    def show(self, shown: Shown, clicks: bool) -> None:
        """Show the labels of a session, and with `clicks` its clicks too, in the place of the points there are."""
        self.labels.data = shown.labels
        self._let_paint(False)  # new data makes a layer one that can be painted on
        self.labels.selected_label = shown.active + 1
        if not clicks:
            return
        with self._silently():
            self.points.selected_data = set()
            self.points.data = np.array([[click.y, click.x] for click in shown.clicks], float).reshape(-1, 2)
            self.points.features = {"positive": np.array([click.positive for click in shown.clicks], bool)}
            self._paint([click.positive for click in shown.clicks])

    def _let_paint(self, can_be: bool) -> None:
        """Whether the labels can be painted on: not while the next click would overwrite that."""
        self.labels.editable = can_be

    @contextmanager
    def _silently(self) -> Iterator[None]:
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _pressed(self, layer: Points, event: Any) -> None:
        self._other = "Alt" in event.modifiers  # this one click says the opposite

    def _changed(self, event: Any) -> None:
        if self._quiet:
            return
        added, removed, moved = self._told
        count = len(self.points.data)
        places = sorted({int(each) % count if count else 0 for each in event.data_indices}) if count else []
        if event.action == "added":
            positive = self.positive != self._other
            self._other = False
            said = list(self.points.features["positive"])
            said[len(said) - len(places) :] = [positive] * len(places)
            with self._silently():
                self.points.features = {"positive": np.array(said, bool)}
                self._paint(said)
            added([Click(*_pixel(self.points.data[place]), positive) for place in places])
        elif event.action == "removed":
            removed(sorted((int(each) for each in event.data_indices), reverse=True))
        elif event.action == "changed":
            for place in places:
                moved(place, *_pixel(self.points.data[place]))

    def _paint(self, said: Sequence[Any]) -> None:
        if said:
            self.points.face_color = [COLOURS[bool(each)] for each in said]
            self.points.symbol = [SYMBOLS[bool(each)] for each in said]


def _pixel(coordinates: NDArray[Any]) -> tuple[int, int]:
    """X and y of the pixel: napari's coordinates are row, then column, whole numbers at the pixels' centres."""
    y, x = np.floor(coordinates + 0.5).astype(int).tolist()
    return x, y


def _place(image: Any) -> dict[str, Any]:
    """Where an image layer of two dimensions lies, as arguments of the layers that lie over it."""
    place = {name: getattr(image, name) for name in ("scale", "translate", "rotate", "shear")}
    place["affine"] = np.array(image.affine.affine_matrix)
    return place | ({"units": image.units} if hasattr(image, "units") else {})  # which napari 0.5.0 has not
