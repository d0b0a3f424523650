"""napari's widget on the model of a viewer: points are clicks and labels are masks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import interactify
from interactify import Click
from interactify.errors import InteractifyError

pytest.importorskip("napari", reason="needs napari: pip install 'interactify[napari]'")
pytest.importorskip("qtpy", reason="needs Qt: pip install 'interactify[napari]'")


def alone(widget: Any, photo: np.ndarray, *clicks: Click) -> np.ndarray:
    session = widget.session.net.session(photo)
    result = session.result
    for click in clicks:
        result = session.add([click])
    return result.mask


def test_the_manifest_is_valid_and_names_existing_functions():
    npe2 = pytest.importorskip("npe2")
    path = Path(interactify.__file__).parent / "tools" / "napari_plugin" / "napari.yaml"
    manifest = npe2.PluginManifest.from_file(path)
    manifest.validate_imports()
    assert manifest.name == "interactify"
    from interactify.tools.napari_plugin import samples

    for name in ("cat", "coffee", "astronaut"):
        ((data, options, kind),) = getattr(samples, name)()
        assert kind == "image" and options["name"] == name and data.dtype == np.uint8 and data.ndim == 3


def test_opening_displays_the_networks_own_prediction(opened: Any, photo: np.ndarray):
    assert np.array_equal(opened.layers.labels.data, alone(opened, photo).astype(np.int32))
    assert "own prediction" in opened.status.text() and not opened.undo.isEnabled() and opened.reset.isEnabled()
    assert opened.viewer.layers.selection.active is opened.layers.points and opened.layers.points.mode == "add"


def test_a_services_network_gives_what_its_own_would(widget, photo, settled, tmp_path, monkeypatch):
    pytest.importorskip("uvicorn", reason="needs uvicorn: install interactify[serve]")
    pytest.importorskip("httpx", reason="needs httpx: install interactify[client]")
    from interactify.tools.napari_plugin.networks import Networks
    from tests.fixtures.service import ANA, KEYS, serving

    net = Networks().named(widget.network.text())
    widget.viewer.add_image(photo, name="photo", rgb=True)
    with serving(net, tmp_path / "s.db", KEYS) as (address, service):
        widget.network.setText(f"{address}#default")
        widget.open_photo()
        settled(widget)
        assert widget.session is None and "A key is needed" in widget.status.text()
        monkeypatch.setenv("INTERACTIFY_KEY", ANA)
        widget.open_photo()
        settled(widget)
        settled(widget)
        widget.layers.points.add([30.4, 54.6])
        settled(widget)
        mask = net.session(photo).click(55, 30).mask
        assert np.array_equal(widget.layers.labels.data, mask.astype(np.int32))
        assert len(service.memory) == 1 and "1 click" in widget.status.text()
        widget.undo.click()
        settled(widget)
        assert widget.session.interactions == () and ANA not in widget.status.text()
        widget.close_session()


def test_at_a_service_the_plugins_own_modules_need_no_torch():
    code = """
import sys
from interactify.tools.napari_plugin import layers, networks, session_state, widget, worker
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "QT_QPA_PLATFORM": "offscreen"})


def test_points_are_clicks_and_labels_follow(opened: Any, photo: np.ndarray, settled: Callable[[Any], None]):
    points = opened.layers.points
    points.add([30.4, 54.6])
    settled(opened)
    opened.does_not.setChecked(True)
    points.add([[60, 5]])
    settled(opened)
    clicks = (Click(55, 30), Click(5, 60, positive=False))
    assert opened.session.interactions == clicks
    assert np.array_equal(opened.layers.labels.data, alone(opened, photo, *clicks).astype(np.int32))
    assert points.data.tolist() == [[30, 55], [60, 5]] and list(points.features["positive"]) == [True, False]
    assert not np.array_equal(points.face_color[0], points.face_color[1]) and points.symbol[0] != points.symbol[1]
    assert (
        "2 clicks" in opened.status.text()
        and "ms" in opened.status.text()
        and "all are satisfied" in opened.status.text()
    )


def test_undo_redo_and_reset_go_through_the_session(opened: Any, settled: Callable[[Any], None]):
    labels = [opened.layers.labels.data.copy()]
    for point in ([30, 55], [60, 5]):
        opened.layers.points.add([point])
        settled(opened)
        labels.append(opened.layers.labels.data.copy())
    for button, count in ((opened.undo, 1), (opened.undo, 0), (opened.redo, 1), (opened.redo, 2)):
        button.click()
        settled(opened)
        assert len(opened.layers.points.data) == count == len(opened.session.interactions)
        assert np.array_equal(opened.layers.labels.data, labels[count])
    assert not opened.redo.isEnabled()
    opened.reset.click()
    settled(opened)
    assert len(opened.layers.points.data) == 0 and np.array_equal(opened.layers.labels.data, labels[0])
    opened.undo.click()
    settled(opened)
    assert len(opened.layers.points.data) == 2


def test_points_that_are_deleted_and_dragged(opened: Any, photo: np.ndarray, settled: Callable[[Any], None]):
    points = opened.layers.points
    for point in ([30, 55], [60, 5], [8, 90]):
        points.add([point])
    settled(opened)
    points.selected_data = {0, 2}
    points.remove_selected()
    settled(opened)
    assert opened.session.interactions == (Click(5, 60),)
    points.add([30, 55])
    settled(opened)
    points._move({0}, (60, 5))
    points._move({0}, (66, 12))  # a drag reports every step
    settled(opened)
    settled(opened)
    assert opened.session.interactions == (Click(12, 66), Click(55, 30)) and points.data.tolist() == [
        [66, 12],
        [30, 55],
    ]
    assert np.array_equal(opened.layers.labels.data > 0, alone(opened, photo, Click(12, 66), Click(55, 30)))


def test_several_objects_are_label_values(opened: Any, settled: Callable[[Any], None]):
    opened.layers.points.add([30, 55])
    settled(opened)
    opened.new.click()
    settled(opened)
    assert opened.object.count() == 2 and opened.object.currentIndex() == 1 and len(opened.layers.points.data) == 0
    assert opened.layers.labels.selected_label == 2
    opened.layers.points.add([60, 5])
    settled(opened)
    labels = opened.layers.labels.data
    assert labels[60, 5] == 2 and labels[30, 55] == 1
    assert np.array_equal(labels, opened.session.label_map())
    opened._object_chosen(0)
    settled(opened)
    assert opened.session.active == "object 1" and opened.layers.points.data.tolist() == [[30, 55]]
    opened.delete.click()
    settled(opened)
    assert opened.session.objects == ("object 2",) and opened.layers.labels.data[60, 5] == 1


def test_a_point_outside_is_reported_and_removed(opened: Any, settled: Callable[[Any], None]):
    opened.layers.points.add([30, 55])
    opened.layers.points.add([300, 5])
    settled(opened)
    assert "outside the photo" in opened.status.text()
    assert opened.layers.points.data.tolist() == [[30, 55]] and opened.session.interactions == (Click(55, 30),)


def test_refinement_leaves_the_windows_thread_free_and_is_superseded(opened: Any, monkeypatch, settled):
    session, started, go_on = opened.session, threading.Event(), threading.Event()
    threads, cancelled = [], []
    add, cancel = session.add, session.cancel

    def slow(clicks: Any) -> Any:
        threads.append(threading.current_thread())
        started.set()
        assert go_on.wait(30)
        return add(clicks)

    def cancelling() -> None:
        cancelled.append(not opened.worker.idle)
        cancel()

    monkeypatch.setattr(session, "add", slow)
    monkeypatch.setattr(session, "cancel", cancelling)
    opened.layers.points.add([30, 55])
    assert started.wait(30)  # this thread goes on while the other one waits
    opened.layers.points.add([60, 5])
    assert cancelled == [False, True]
    go_on.set()
    settled(opened)
    assert all(thread is not threading.main_thread() for thread in threads) and len(threads) == 2
    assert session.interactions == (Click(55, 30), Click(5, 60)) and len(opened.layers.points.data) == 2


def test_layers_have_the_photos_transform(widget: Any, photo: np.ndarray, settled: Callable[[Any], None]):
    image = widget.viewer.add_image(photo, rgb=True, scale=(0.5, 0.5), translate=(10, 20))
    widget.open_photo()
    settled(widget)
    settled(widget)
    points = widget.layers.points
    points.add(points.world_to_data(image.data_to_world((30, 55))))
    settled(widget)
    assert widget.session.interactions == (Click(55, 30),)
    assert np.allclose(widget.layers.labels.data_to_world((30, 55)), image.data_to_world((30, 55)))


@pytest.mark.parametrize("how", ["rotated", "sheared", "by a matrix", "in micrometres", "all"])
def test_layers_have_the_transform_of_a_rotated_or_sheared_photo(widget: Any, photo: np.ndarray, settled, how: str):
    matrix = np.array([[1.1, 0.3, 4], [-0.2, 0.9, -7], [0, 0, 1]])
    options = {
        "rotated": {"rotate": 30},
        "sheared": {"shear": [0.4]},
        "by a matrix": {"affine": matrix},
        "in micrometres": {"units": ("um", "um")},
        "all": {"rotate": -10, "shear": [0.2], "affine": matrix, "scale": (0.5, 2), "units": ("um", "um")},
    }[how]
    image = widget.viewer.add_image(photo, rgb=True, **options)
    widget.open_photo()
    settled(widget)
    settled(widget)
    for layer in (widget.layers.labels, widget.layers.points):
        for pixel in ((0, 0), (30, 55), (71, 99)):
            assert np.allclose(layer.data_to_world(pixel), image.data_to_world(pixel))
        assert layer.units == image.units
    points = widget.layers.points
    points.add(points.world_to_data(image.data_to_world((30, 55))))
    settled(widget)
    assert widget.session.interactions == (Click(55, 30),)


def test_grey_pictures_are_scaled_by_their_contrast_limits(photo: np.ndarray):
    from napari.layers import Image

    from interactify.tools.napari_plugin.session_state import photo_of

    grey = photo.mean(2).astype(np.uint16) * 5 + 100
    scaled = photo_of(Image(grey, contrast_limits=(100, 1375)))
    assert scaled.dtype == np.float32 and np.allclose(scaled, photo.mean(2).astype(np.uint16) / 255, atol=1e-6)
    assert photo_of(Image([photo, photo[::2, ::2]], multiscale=True, rgb=True)).shape == photo.shape
    with pytest.raises(InteractifyError, match="one picture"):
        photo_of(Image(np.zeros((5, 60, 80))))


def test_a_photo_or_network_that_can_not_be_opened_is_reported(
    widget: Any, photo: np.ndarray, settled: Callable[[Any], None]
):
    widget.open_photo()
    assert "no image layer" in widget.status.text()
    widget.viewer.add_image(np.zeros((2, 4, 50, 60)), name="stacks")
    widget.open_photo()
    settled(widget)
    assert "one picture" in widget.status.text() and widget.session is None and widget.open.isEnabled()
    widget.viewer.add_image(photo, rgb=True)
    widget.network.setText("unet/none-such")
    widget.open_photo()
    settled(widget)
    assert "none-such" in widget.status.text() and len(widget.viewer.layers) == 2


def test_labels_are_not_painted_on_while_the_next_click_would_overwrite_it(opened: Any, settled):
    labels = opened.layers.labels
    assert not labels.editable
    for point in ([30, 55], [60, 5]):
        opened.layers.points.add([point])
        settled(opened)
        labels.mode = "paint"
        assert not labels.editable and labels.mode == "pan_zoom"
    opened.close_session()
    labels.mode = "paint"
    assert labels.editable and labels.mode == "paint" and labels in opened.viewer.layers


def test_failed_opening_leaves_the_session(opened: Any, settled: Callable[[Any], None]):
    opened.layers.points.add([30, 55])
    settled(opened)
    session, layers, labels = opened.session, opened.layers, opened.layers.labels.data.copy()
    opened.network.setText("unet/none-such")
    opened.open_photo()
    assert opened.session is session, "it stays until the next one is open"
    settled(opened)
    assert "none-such" in opened.status.text() and opened.open.isEnabled()
    assert opened.session is session and opened.layers is layers and len(opened.viewer.layers) == 3
    assert np.array_equal(layers.labels.data, labels)
    layers.points.add([60, 5])
    settled(opened)
    assert len(session.interactions) == 2 and "2 clicks" in opened.status.text()


def test_opening_another_photo_leaves_the_previous_labels(opened: Any, photo: np.ndarray, settled):
    opened.layers.points.add([30, 55])
    settled(opened)
    before = opened.layers.labels
    labels = before.data.copy()
    opened.viewer.add_image(photo[::-1], name="other", rgb=True)
    opened.photo.setCurrentIndex(1)
    opened.open_photo()
    settled(opened)
    settled(opened)
    names = [layer.name for layer in opened.viewer.layers]
    assert names == ["photo", "photo: objects", "other", "other: objects", "other: clicks"]
    assert before in opened.viewer.layers and before.editable and np.array_equal(before.data, labels)
    before.data[:5] = 7
    opened.layers.points.add([30, 55])
    settled(opened)
    assert (before.data[:5] == 7).all() and len(opened.session.interactions) == 1


@pytest.mark.parametrize("how", ["selected", "clear", "clicks, then objects", "objects, then clicks", "clicks"])
def test_layers_that_are_removed_together(opened: Any, how: str, settled: Callable[[Any], None]):
    layers, listed = opened.layers, opened.viewer.layers
    layers.points.add([30, 55])
    settled(opened)
    if how == "selected":
        listed.selection = {layers.points, layers.labels}
        listed.remove_selected()
    elif how == "clear":
        listed.clear()
    else:
        for each in how.split(", then "):
            listed.remove(f"photo: {each}")
    settled(opened)
    assert opened.session is None and not opened.undo.isEnabled()
    left = {"clear": [], "clicks": ["photo", "photo: objects"]}.get(how, ["photo"])
    assert [layer.name for layer in listed] == left
    assert layers.labels.editable


def test_another_error_is_reported_and_points_and_session_agree(opened: Any, monkeypatch, settled):
    from napari.utils.notifications import notification_manager

    opened.layers.points.add([30, 55])
    settled(opened)

    def broken(clicks: Any) -> Any:
        raise RuntimeError("out of order")

    monkeypatch.setattr(opened.session, "add", broken)
    before = len(notification_manager.records)
    opened.layers.points.add([60, 5])
    settled(opened)
    assert opened.layers.points.data.tolist() == [[30, 55]] and opened.session.interactions == (Click(55, 30),)
    assert opened.status.text() == "RuntimeError: out of order" and opened.undo.isEnabled()
    assert [str(record.message) for record in notification_manager.records[before:]] == ["out of order"]
    monkeypatch.undo()
    opened.layers.points.add([60, 5])
    settled(opened)
    assert len(opened.session.interactions) == 2


def threads() -> int:
    return sum(thread.name == "interactify" for thread in threading.enumerate())


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "dropped"])
def test_a_deleted_widget_leaves_its_labels_and_no_thread(widget, application, photo, settled, closed: bool):
    from qtpy.QtWidgets import QDockWidget

    from interactify.tools.napari_plugin.widget import ClicksWidget

    before, viewer = threads(), widget.viewer
    viewer.add_image(photo, name="photo", rgb=True)
    for count in range(1, 3):
        clicks_widget, dock = ClicksWidget(viewer), QDockWidget()
        dock.setWidget(clicks_widget)
        clicks_widget.network.setText("network_for_napari:build")
        clicks_widget.open_photo()
        settled(clicks_widget)
        settled(clicks_widget)
        assert clicks_widget.session is not None and threads() == before + 1
        clicks_widget.layers.points.add([30, 55])
        if closed:
            clicks_widget.setParent(None)  # as napari does it
            assert clicks_widget.session is None
        else:
            settled(clicks_widget)
            clicks_widget.close_session()
            dock.setWidget(None)
        gone = weakref.ref(clicks_widget)
        del clicks_widget, dock
        end = time.monotonic() + 20
        while (gone() is not None or threads() > before) and time.monotonic() < end:
            application.processEvents()
            gc.collect()
            time.sleep(0.01)
        assert gone() is None and threads() == before
        assert [layer.name for layer in viewer.layers if "objects" in layer.name][-1].startswith("photo: objects")
        assert len(viewer.layers) == 1 + count and not any("clicks" in layer.name for layer in viewer.layers)


def test_closing_the_widget_while_a_photo_is_opened(widget, photo, settled):
    from qtpy.QtWidgets import QWidget

    parent = QWidget()
    widget.setParent(parent)
    widget.viewer.add_image(photo, name="photo", rgb=True)
    widget.open_photo()
    widget.setParent(None)
    settled(widget)
    assert widget.session is None and len(widget.viewer.layers) == 1
    widget.setParent(parent)  # docked again, it works
    widget.open_photo()
    settled(widget)
    settled(widget)
    assert widget.session is not None and len(widget.viewer.layers) == 3
    widget.setParent(None)  # before the parent is destroyed with its children


def test_the_network_runs_on_a_gpu_where_there_is_one(widget, photo, settled, monkeypatch):
    import torch

    moved = []
    to = interactify.Interactive.to
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(interactify.Interactive, "to", lambda net, device: moved.append(device) or to(net, "cpu"))
    widget.viewer.add_image(photo, rgb=True)
    widget.open_photo()
    settled(widget)
    settled(widget)
    assert moved == ["cuda"] and widget.session is not None


def test_removing_a_layer_ends_the_session(opened: Any, settled: Callable[[Any], None]):
    opened.layers.points.add([30, 55])
    opened.viewer.layers.remove(opened.layers.labels)
    settled(opened)
    assert opened.session is None and [layer.name for layer in opened.viewer.layers] == ["photo"]
    assert "begin again" in opened.status.text() and not opened.reset.isEnabled()
    opened.open_photo()
    settled(opened)
    settled(opened)
    assert len(opened.viewer.layers) == 3
