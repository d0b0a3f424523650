"""The pictures of docs/napari.md, docs/label-studio.md and docs/cvat.md: `python -m benchmarks.tool_pictures [TOOL …]`.

napari's picture is its window, which needs a display (`xvfb-run python -m benchmarks.tool_pictures napari`); the others
show the answers to requests of these tools. Tools that are not installed are skipped, with a note, so each is
imported only for its own picture.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

import interactify
from interactify import Box, Click, Interaction, Scribble, draw
from interactify.draw.gestures import pictured

IMAGES = Path(__file__).parent.parent / "docs" / "images"
CUP = (70, 8, 486, 400)  # left, top, right and bottom borders of cup and saucer
STROKE = [(150, 250), (220, 330), (330, 350), (440, 280)]
CLICKS = [(200, 200, True), (330, 60, False), (410, 60, False)]  # on the astronaut
LABELS = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="mask" toName="image"><Label value="Cup"/></BrushLabels>
  <KeyPointLabels name="point" toName="image" smart="true"><Label value="Cup"/></KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true"><Label value="Cup"/></RectangleLabels>
</View>"""


def coffee() -> Path:
    (path,) = (photo.path for photo in interactify.zoo.photos() if photo.name == "coffee")
    return Path(path)


def cvat() -> Path:
    """The answers of CVAT's function to clicks, to a box, and to a box with a click in it."""
    from interactify.tools.cvat import Function

    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "network.json")
        settings.write_text(json.dumps({"model": "zoo"}))
        function = Function(settings)
        context = SimpleNamespace(
            logger=SimpleNamespace(info=print, warn=print), Response=lambda **fields: SimpleNamespace(**fields)
        )
        image = base64.b64encode(coffee().read_bytes()).decode()
        left, top, right, bottom = CUP
        box = [[left, top], [right, bottom]]
        panels = []
        for title, pos, neg, corners in (
            ("pos_points and neg_points", [[250.5, 230.5]], [[80.5, 80.5]], []),
            ("obj_bbox alone", [], [], box),
            ("obj_bbox and pos_points", [[105.5, 160.5]], [], box),
        ):
            body = {"image": image, "pos_points": pos, "neg_points": neg, "obj_bbox": corners}
            mask = np.array(json.loads(function.handler(context, SimpleNamespace(body=body)).body)["mask"], bool)
            interactions: list[Interaction] = [Box(left, top, right - 1, bottom - 1)] if corners else []
            interactions += [Click(int(x), int(y)) for x, y in pos]
            interactions += [Click(int(x), int(y), False) for x, y in neg]
            panels.append((title, pictured(_photo(), mask, interactions)))
    return _sheet(panels, "cvat.jpg")


def label_studio() -> Path:
    """The backend's answers, by label-studio-ml's own application, to keypoints, a rectangle and a stroke."""
    from interactify.commands.label_studio import application
    from interactify.tools.label_studio import InteractifyBackend
    from interactify.tools.label_studio_rle import decoded, encoded

    photo = _photo()
    height, width = photo.shape[:2]
    left, top, right, bottom = CUP
    stroke = np.zeros((height, width), bool)
    whole = pictured(np.zeros_like(photo), stroke, [Scribble(STROKE, width=25)])
    stroke |= whole.any(-1)

    def region(kind: str, positive: bool = True, /, **value: Any) -> dict[str, Any]:
        return {
            "type": kind, "is_positive": positive, "original_width": width, "original_height": height,
            "image_rotation": 0, "value": {**value, kind: ["Cup"]},
        }  # fmt: skip

    def percent(x: float, y: float) -> dict[str, float]:
        return {"x": 100 * x / width, "y": 100 * y / height}

    requests: dict[str, tuple[list[dict[str, Any]], list[Interaction]]] = {
        "keypoints": (
            [
                region("keypointlabels", **percent(250.5, 230.5), width=0.5),
                region("keypointlabels", False, **percent(80.5, 80.5), width=0.5),
            ],
            [Click(250, 230), Click(80, 80, False)],
        ),
        "a rectangle": (
            [
                region(
                    "rectanglelabels", **percent(left, top),
                    width=100 * (right - left) / width, height=100 * (bottom - top) / height,
                )
            ],
            [Box(left, top, right - 1, bottom - 1)],
        ),
        "a stroke of the brush, and a keypoint": (
            [
                region("brushlabels", format="rle", rle=encoded(stroke)),
                region("keypointlabels", False, **percent(60.5, 60.5), width=0.5),
            ],
            [Scribble(STROKE, width=25), Click(60, 60, False)],
        ),
    }  # fmt: skip
    InteractifyBackend.serve(interactify.wrap(interactify.zoo.load()))
    panels = []
    with tempfile.TemporaryDirectory() as folder:
        client = application(InteractifyBackend, folder).test_client()
        for title, (regions, interactions) in requests.items():
            request = {
                "tasks": [{"id": 1, "data": {"image": str(coffee())}}], "project": "1.0", "label_config": LABELS,
                "params": {"context": {"result": regions}},
            }  # fmt: skip
            found = client.post("/predict", json=request).get_json()["results"][0]["result"][0]
            mask = decoded(found["value"]["rle"], (height, width))
            panels.append((f"{title}\nscore {found['score']:.2f}", pictured(photo, mask, interactions)))
    return _sheet(panels, "label-studio.jpg")


def napari() -> Path:
    """The window, after some clicks."""
    os.environ["NAPARI_CONFIG"] = str(
        Path(tempfile.mkdtemp(), "settings.yaml")
    )  # napari's default look, on any machine
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer(show=False)
    viewer.open_sample("interactify", "astronaut")
    _, widget = viewer.window.add_plugin_dock_widget("interactify", "Segment by clicks")

    def settle() -> None:
        while not widget.worker.idle:
            QApplication.processEvents()
            time.sleep(0.01)
        QApplication.processEvents()

    def click(x: int, y: int, positive: bool = True) -> None:
        (widget.belongs if positive else widget.does_not).setChecked(True)
        widget.layers.points.add([y, x])
        settle()

    viewer.window.resize(1280, 760)
    widget.open_photo()
    settle()
    settle()
    for x, y, positive in CLICKS:
        click(x, y, positive)
    QApplication.processEvents()
    screenshot = viewer.screenshot(canvas_only=False, flash=False)
    viewer.close()
    path = IMAGES / "napari.jpg"
    Image.fromarray(screenshot).convert("RGB").save(path, quality=90)
    return path


TOOLS: dict[str, tuple[Callable[[], Path], str]] = {
    "cvat": (cvat, "json"),
    "label-studio": (label_studio, "label_studio_ml"),
    "napari": (napari, "napari"),
}


def _photo() -> np.ndarray:
    return np.array(Image.open(coffee()).convert("RGB"))


def _sheet(panels: list[tuple[str, np.ndarray]], name: str) -> Path:
    Image.fromarray(draw.contact_sheet(panels, columns=3)).save(IMAGES / name, quality=86)
    return IMAGES / name


def main(names: list[str]) -> None:
    for name in names or list(TOOLS):
        picture, needed = TOOLS[name]
        print(picture() if find_spec(needed) else f"{name}: skipped, since {needed} is not installed", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
