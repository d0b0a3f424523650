"""napari's widget for the tests, on a display on which Qt starts, if there is one.

A window needs OpenGL and Qt's libraries of X: a display, or Xvfb, which is started here. Without them everything but
the window is tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NETWORK = """
import torch
from torch import nn

def build():
    conv = nn.Conv2d(3, 1, 3, padding=1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([3.0, 0.0, -3.0])[None, :, None, None] / 9)
        conv.bias.zero_()
    return conv
"""


def qt_fails(platform: str, display: str) -> str:
    """Why Qt does not start on a platform, "" where it does. Tried in another process, since Qt ends it."""
    environment = {**os.environ, "QT_QPA_PLATFORM": platform, "DISPLAY": display}
    start = [sys.executable, "-c", "from qtpy.QtWidgets import QApplication; QApplication([])"]
    tried = subprocess.run(start, env=environment, capture_output=True, text=True)
    return (tried.stderr.strip() or f"it ends with {tried.returncode}").splitlines()[-1] if tried.returncode else ""


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An X display on which Qt starts, the user's or Xvfb's; "" where there is none."""
    if os.environ.get("DISPLAY"):
        yield "" if qt_fails("xcb", os.environ["DISPLAY"]) else os.environ["DISPLAY"]
        return
    if shutil.which("Xvfb") is None:
        yield ""
        return
    there, here = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(here), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"],
        pass_fds=[here], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(here)
    with os.fdopen(there) as output:
        number = output.readline().strip()
    try:
        yield f":{number}" if number and not qt_fails("xcb", f":{number}") else ""
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def application(display: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not display and (why := qt_fails("offscreen", "")):
        pytest.skip(f"Qt needs more of this system, such as libegl1 and libgl1: {why}")
    with pytest.MonkeyPatch.context() as patched:
        # The user's settings, where napari stores the size of its window, are neither read nor written.
        patched.setenv("NAPARI_CONFIG", str(tmp_path_factory.mktemp("napari") / "settings.yaml"))
        patched.setenv("DISPLAY", display)
        patched.setenv("QT_QPA_PLATFORM", "xcb" if display else "offscreen")
        from napari.qt import get_qapp

        yield get_qapp()


@pytest.fixture
def settled(application: Any) -> Callable[[Any], None]:
    """Let a widget's worker finish its jobs and their callbacks."""

    def settle(widget: Any) -> None:
        end = time.monotonic() + 60
        while True:
            application.processEvents()
            if widget.worker.idle and not widget._rest.isActive():
                application.processEvents()  # what waits until napari is done
                return
            assert time.monotonic() < end, "the worker did not finish"
            time.sleep(0.002)

    return settle


@pytest.fixture
def widget(application: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The widget on the model of a viewer, with a quick network named."""
    from napari.components import ViewerModel

    from interactify.tools.napari_plugin.widget import ClicksWidget

    monkeypatch.chdir(tmp_path)
    (tmp_path / "network_for_napari.py").write_text(NETWORK)
    clicks_widget = ClicksWidget(ViewerModel())
    clicks_widget.network.setText("network_for_napari:build")
    yield clicks_widget
    clicks_widget.close_session()
    clicks_widget.worker.stop()
    clicks_widget.close()


@pytest.fixture
def opened(widget: Any, photo: np.ndarray, settled: Callable[[Any], None]) -> Any:
    widget.viewer.add_image(photo, name="photo", rgb=True)
    widget.open_photo()
    settled(widget)
    settled(widget)
    assert widget.session is not None, widget.status.text()
    return widget
