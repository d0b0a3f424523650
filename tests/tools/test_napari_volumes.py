"""napari's widget on volumes: points have a z, labels three dimensions; networks of volumes, and of slices."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs napari: pip install 'interactify[napari]'")
pytest.importorskip("qtpy", reason="needs Qt: pip install 'interactify[napari]'")

from interactify.interactions import VoxelClick
from interactify.slices.session import SliceSession
from interactify.volumes.session import VolumeSession
from tests.fixtures.slices import volume

FLAT = "from tests.fixtures.slices import Careful\n\ndef build():\n    return Careful().eval()\n"
DEEP = "from tests.fixtures.volumes import plain\n\ndef build():\n    return plain()\n"


@pytest.fixture(params=[FLAT, DEEP], ids=["slices", "volumes"])
def opened(request: Any, widget: Any, tmp_path: Any, settled: Callable[[Any], None]) -> Any:
    """The widget on a volume in bytes, under a network of images, or under one of volumes."""
    (tmp_path / "network_in_space.py").write_text(request.param)
    widget.network.setText("network_in_space:build")
    widget.viewer.add_image(np.round(volume(8) * 255).astype(np.uint8), name="scan", scale=(2, 1, 1))
    widget.open_photo()
    settled(widget)
    settled(widget)
    assert widget.session is not None, widget.status.text()
    yield widget
    sys.modules.pop("network_in_space", None)


def test_points_have_a_z_and_labels_three_dimensions(opened: Any, settled: Callable[[Any], None]) -> None:
    session, points, labels = opened.session, opened.layers.points, opened.layers.labels
    assert isinstance(session, (SliceSession, VolumeSession)) and labels.data.shape == session.size == (8, 24, 24)
    assert "own prediction" in opened.status.text() and points.ndim == 3
    assert np.array_equal(labels.data, session.result.mask) and labels.scale.tolist() == [2, 1, 1]
    positive = not bool(session.result.mask[4, 12, 11])
    (opened.belongs if positive else opened.does_not).setChecked(True)
    points.add([3.6, 12.2, 10.9])
    settled(opened)
    assert session.result.clicks == (VoxelClick(11, 12, positive, z=4),)
    assert np.array_equal(labels.data, session.result.mask) and bool(labels.data[4, 12, 11]) == positive
    assert "1 click" in opened.status.text() and "satisfied" in opened.status.text()
    assert points.data.tolist() == [[4, 12, 11]] and list(points.features["positive"]) == [positive]
    if isinstance(session, SliceSession):
        assert session.result.carried and not session.result.waiting and "carried to" in opened.status.text()
    opened.undo.click()
    settled(opened)
    assert len(points.data) == 0 and np.array_equal(labels.data, session.result.mask) and session.result.clicks == ()
    opened.redo.click()
    settled(opened)
    opened.reset.click()
    settled(opened)
    assert len(points.data) == 0 and opened.undo.isEnabled() and not opened.new.isEnabled()


def test_a_point_outside_is_refused_and_taken_back(opened: Any, settled: Callable[[Any], None]) -> None:
    opened.layers.points.add([40, 5, 5])
    settled(opened)
    assert "outside the volume" in opened.status.text() and len(opened.layers.points.data) == 0
    assert opened.session.result.clicks == ()


def test_points_are_deleted_and_dragged(opened: Any, settled: Callable[[Any], None]) -> None:
    points, session = opened.layers.points, opened.session
    own = session.result.mask.copy()
    points.add([4, 12, 12])
    settled(opened)
    points._move({0}, (4, 12, 12))
    points._move({0}, (4, 10, 13))  # a drag reports every step
    settled(opened)
    settled(opened)
    assert session.result.clicks == (VoxelClick(13, 10, z=4),) and points.data.tolist() == [[4, 10, 13]]
    points.selected_data = {0}
    points.remove_selected()
    settled(opened)
    assert session.result.clicks == () and np.array_equal(opened.layers.labels.data, own)


def test_colours_and_a_network_of_volumes_on_a_photo(
    widget: Any, tmp_path: Any, settled: Callable[[Any], None]
) -> None:
    widget.viewer.add_image(np.random.default_rng(0).integers(0, 255, (3, 16, 20, 3), np.uint8), rgb=True)
    widget.open_photo()
    settled(widget)
    settled(widget)
    assert isinstance(widget.session, SliceSession) and widget.layers.labels.data.shape == (3, 16, 20)
    (tmp_path / "network_of_volumes.py").write_text(DEEP)
    widget.network.setText("network_of_volumes:build")
    widget.viewer.add_image(np.zeros((16, 20), np.uint8), name="photo")
    widget.photo.setCurrentIndex(widget.photo.findText("photo"))
    widget.open_photo()
    settled(widget)
    assert "network of images" in widget.status.text()
