"""The plugin in a real window of napari, which needs OpenGL and a display on which Qt starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("napari", reason="needs napari: pip install 'interactify[napari]'")
pytest.importorskip("qtpy", reason="needs Qt: pip install 'interactify[napari]'")

WINDOW = "xvfb, libgl1-mesa-dri, libxcb-cursor0 and the other libraries of X that .ci/run names"


OWN_PROCESS = "INTERACTIFY_TEST_IN_OWN_PROCESS"


def test_a_viewer_in_a_process_of_its_own(display):
    """As napari always runs. What other tests load, such as another LLVM, crashes Mesa's OpenGL."""
    if not display:
        pytest.skip(f"needs a display on which Qt starts, for napari's canvas: on Debian {WINDOW}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{Path(__file__)}::{_viewer.__name__}"]
    command += ["--override-ini", f"python_functions={_viewer.__name__}"]
    environment = {**os.environ, "DISPLAY": display, OWN_PROCESS: "1"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert ran.returncode == 0 and "1 passed" in ran.stdout, ran.stdout + ran.stderr


def _viewer(display, application, settled, tmp_path, monkeypatch):
    """The plugin as napari loads it, docked in a window: the mouse clicks on the canvas, which displays the masks."""
    assert display and os.environ[OWN_PROCESS]
    import napari
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    viewer = napari.Viewer(show=False)
    try:
        viewer.open_sample("interactify", "coffee")
        _, widget = viewer.window.add_plugin_dock_widget("interactify", "Segment by clicks")
        viewer.show()
        viewer.window.resize(1280, 800)
        assert QTest.qWaitForWindowExposed(viewer.window._qt_window, 20_000)
        widget.open_photo()
        settled(widget)
        settled(widget)
        before = viewer.screenshot(canvas_only=True, flash=False)
        canvas = viewer.window._qt_viewer.canvas

        def press(row: float, column: float, modifier: Any) -> None:
            """The mouse on a pixel of the photo."""
            application.processEvents()
            height, width = canvas.native.height(), canvas.native.width()
            x = width / 2 + (column - viewer.camera.center[2]) * viewer.camera.zoom
            y = height / 2 + (row - viewer.camera.center[1]) * viewer.camera.zoom
            QTest.mouseClick(canvas.native, Qt.MouseButton.LeftButton, modifier, QPoint(round(x), round(y)))
            settled(widget)

        press(280, 60, Qt.KeyboardModifier.NoModifier)
        press(20, 300, Qt.KeyboardModifier.AltModifier)
        first, second = widget.session.interactions
        assert first.positive and abs(first.x - 60) <= 2 and abs(first.y - 280) <= 2
        assert not second.positive and abs(second.x - 300) <= 2 and abs(second.y - 20) <= 2
        assert widget.layers.labels.data[first.y, first.x] == 1 and widget.layers.labels.data[second.y, second.x] == 0
        after = viewer.screenshot(canvas_only=True, flash=False)
        QTest.keyClick(canvas.native, Qt.Key.Key_T)
        assert widget.does_not.isChecked()
        QTest.keyClick(canvas.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        settled(widget)
        assert widget.session.interactions == (first,) and len(widget.layers.points.data) == 1
        QTest.keyClick(
            canvas.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
        )
        settled(widget)
        assert widget.session.interactions == (first, second)
        assert before.shape == after.shape and (before != after).any(-1).mean() > 0.005
        widget.parent().destroyOnClose()
        assert widget.session is None and [layer.name for layer in viewer.layers] == ["coffee", "coffee: objects"]
    finally:
        viewer.close()
