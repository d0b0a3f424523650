"""Label Studio: regions in percent become prompts, masks become brush run lengths, and the real WSGI app answers."""

from __future__ import annotations

import base64
import http.server
import io
import json
import re
import threading
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import interactify
from interactify import Click, cli
from interactify.errors import InteractionError, OptionError
from interactify.prompts import Rectangle
from interactify.tools.label_studio_regions import Controls, controls_of, places, read_regions
from interactify.tools.label_studio_rle import decoded, encoded

CONFIG = """
<View>
  <Image name="photo" value="$image" zoom="true"/>
  <BrushLabels name="mask" toName="photo"><Label value="Fruit"/><Label value="Leaf" background="green"/></BrushLabels>
  <KeyPointLabels name="point" toName="photo" smart="true"><Label value="Fruit"/><Label value="Leaf"/></KeyPointLabels>
  <RectangleLabels name="box" toName="photo" smart="true"><Label value="Fruit"/><Label value="Leaf"/></RectangleLabels>
</View>
"""
SIZE = (72, 100)  # H, W of the fixture `photo`


def region(kind: str, label: str = "Fruit", *, positive: bool | None = True, **value: Any) -> dict[str, Any]:
    """A region as the front end serialises it for a smart tool."""
    said: dict[str, Any] = {
        "id": "aB3_x", "type": kind, "from_name": "point", "to_name": "photo", "origin": "manual",
        "original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0,
        "value": {**value, kind: [label]},
    }  # fmt: skip
    return said if positive is None else {**said, "is_positive": positive}


def keypoint(x: float, y: float, label: str = "Fruit", positive: bool | None = True) -> dict[str, Any]:
    return region("keypointlabels", label, positive=positive, x=x, y=y, width=0.3, labels=[label])


def box(x: float, y: float, width: float, height: float, label: str = "Fruit", **more: Any) -> dict[str, Any]:
    return region("rectanglelabels", label, x=x, y=y, width=width, height=height, **more)


def test_run_lengths_of_label_studios_own_converter_read_alike():
    brush = pytest.importorskip("label_studio_converter.brush", reason="needs label-studio-converter")
    generator = np.random.default_rng(0)
    for shape, share in (
        ((7, 9), 0.5),
        ((40, 60), 0.02),
        ((120, 90), 0.0005),
        ((1, 1), 1.0),
        ((3, 5), 0.0),
        ((300, 300), 1.0),
    ):
        mask = generator.random(shape) < share
        ours, theirs = encoded(mask), brush.mask2rle(mask.astype(np.uint8) * 255)
        assert ours == theirs[: len(ours)] and not any(theirs[len(ours) :])
        assert np.array_equal(brush.decode_rle(ours).reshape(*shape, 4)[..., 3] > 0, mask)
        assert np.array_equal(decoded(theirs, shape), mask)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (13, 7), (200, 500)])
def test_run_lengths_come_back(shape: tuple[int, int]):
    generator = np.random.default_rng(1)
    for share in (0, 0.001, 0.3, 0.97, 1):
        mask = generator.random(shape) < share
        assert np.array_equal(decoded(encoded(mask), shape), mask)


def test_single_values_and_colours_of_the_front_end_are_read():
    """Two pixels in red, the first opaque, the second faint; the front end packs so what does not repeat."""
    values = [200, 0, 0, 255, 200, 0, 0, 60]
    bits = f"{8:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    bits += "0" + "00" + f"{7:03b}" + "".join(f"{value:08b}" for value in values)
    data = [int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8)]
    assert decoded(data, (1, 2)).tolist() == [[True, False]]


@pytest.mark.parametrize("rle", [None, "abc", [300, 1], [], [0, 0, 0, 8], encoded(np.ones((4, 4), bool))])
def test_broken_run_lengths_are_refused(rle: Any):
    with pytest.raises(InteractionError, match="run lengths"):
        decoded(rle, (1, 2))


def test_percent_become_pixels_and_the_borders_are_the_last_pixels():
    (said,) = read_regions([keypoint(0, 0), keypoint(100, 100), keypoint(55.5, 41.7, positive=False)], SIZE)
    assert said.label == "Fruit" and said.box is None
    assert said.clicks == (Click(0, 0), Click(99, 71), Click(55, 30, positive=False))
    (said,) = read_regions([box(25, 12.5, 60, 50), keypoint(50, 50)], SIZE)
    assert said.box == Rectangle(25, 9, 84, 44) and said.clicks == (Click(50, 36),)


def test_a_turned_rectangle_is_the_box_around_it():
    (said,) = read_regions([box(50, 50, 10, 20, rotation=90)], SIZE)
    # 10 pixels across and 14.4 down, turned about the corner (50, 36): to the left of it, and below.
    assert said.box == Rectangle(35, 36, 49, 45)


def test_labels_are_objects_and_so_are_several_boxes():
    regions = [keypoint(10, 10), keypoint(20, 20, "Leaf"), box(50, 50, 10, 10, "Leaf"), box(70, 70, 20, 20, "Leaf")]
    found = read_regions([*regions, keypoint(75, 75, "Leaf", positive=False)], SIZE)
    assert [(said.label, said.box is not None, len(said.clicks)) for said in found] == [
        ("Fruit", False, 1), ("Leaf", True, 0), ("Leaf", True, 1), ("Leaf", False, 1),
    ]  # fmt: skip


def test_what_was_accepted_or_drawn_by_hand_is_not_asked_about():
    """Regions of smart tools say whether they are positive, where any does."""
    by_hand = [keypoint(10, 10, positive=None), box(1, 1, 10, 10, positive=None)]
    (said,) = read_regions([*by_hand, box(50, 50, 20, 20), keypoint(55, 55, positive=False)], SIZE)
    assert said.box == Rectangle(50, 36, 69, 50) and said.clicks == (Click(55, 39, positive=False),)
    assert read_regions([keypoint(5, 5, "Leaf", positive=None), keypoint(50, 50)], SIZE)[0].label == "Fruit"
    (said,) = read_regions([keypoint(10, 10, positive=None), keypoint(20, 20, positive=None)], SIZE)
    assert len(said.clicks) == 2, "where none says so, all are read"


def stroke(*rows_and_columns: slice, label: str = "Fruit", positive: bool | None = None) -> dict[str, Any]:
    mask = np.zeros(SIZE, bool)
    mask[rows_and_columns] = True
    return region("brushlabels", label, positive=positive, format="rle", rle=encoded(mask))


def test_of_strokes_the_last_one_of_a_label_is_read():
    """Those before are masks that were accepted, which nothing tells from strokes."""
    accepted, drawn = stroke(np.s_[5:60], np.s_[2:40]), stroke(np.s_[28:33], np.s_[60:90])
    leaf = stroke(np.s_[2:4], np.s_[90:95], label="Leaf")
    other, fruit = read_regions([accepted, leaf, drawn], SIZE)
    assert fruit.clicks == read_regions([drawn], SIZE)[0].clicks and all(click.x >= 60 for click in fruit.clicks)
    assert other.label == "Leaf" and other.clicks
    marked = [stroke(np.s_[5:9], np.s_[2:40], positive=True), stroke(np.s_[50:54], np.s_[2:40], positive=False)]
    (said,) = read_regions([accepted, *marked, keypoint(50, 50)], SIZE)
    ys = {positive: [click.y for click in said.clicks if click.positive is positive] for positive in (True, False)}
    assert max(ys[True]) == 36 and sorted(ys[True])[-2] < 9 and min(ys[False]) >= 50, "those of the tool are all read"


def test_results_that_are_no_shapes_are_passed_over():
    chosen = region("choices", x=50, y=50, width=20, height=20, choices=["big"])
    spoken = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    (said,) = read_regions([chosen, box(50, 50, 20, 20), spoken, region("textarea", text=["a leaf"])], SIZE)
    assert said.box == Rectangle(50, 36, 69, 50)
    assert read_regions([chosen], SIZE) == []


def test_a_stroke_is_read_as_places_in_its_middle():
    stroke = np.zeros(SIZE, bool)
    stroke[28:33, 40:70] = True
    (said,) = read_regions([region("brushlabels", format="rle", rle=encoded(stroke))], SIZE)
    assert 4 <= len(said.clicks) <= 8 and all(click.positive and click.y == 30 for click in said.clicks)
    assert max(c.x for c in said.clicks) - min(c.x for c in said.clicks) > 20
    one = np.zeros(SIZE, bool)
    one[5, 7] = True
    assert places(one, False) == [Click(7, 5, positive=False)] and places(np.zeros(SIZE, bool)) == []


REFUSED = {
    "rotated": ({**keypoint(5, 5), "image_rotation": 90}, "rotated by 90"),
    "of another photo": ({**keypoint(5, 5), "original_width": 640}, "640 x 72"),
    "an ellipse": (region("ellipselabels", x=5, y=5, radiusX=3, radiusY=3), "ellipselabels"),
    "outside": (keypoint(105, 5), "from 0 to 100"),
    "no number": (keypoint(float("nan"), 5), "finite"),
    "no value": ({"type": "keypointlabels"}, "Expected a region"),
    "text": ("region", "Expected a region"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_regions_that_are_refused(kind: str):
    with pytest.raises(InteractionError, match=re.escape(REFUSED[kind][1])):
        read_regions([REFUSED[kind][0]], SIZE)


def test_the_configuration_names_brush_image_and_labels():
    assert controls_of(CONFIG) == Controls("mask", "photo", "image", ("Fruit", "Leaf"))
    assert controls_of(CONFIG).label("Leaf") == "Leaf"
    with pytest.raises(OptionError, match="Fruit, Leaf"):
        controls_of(CONFIG).label("Stone")
    for config in (
        None,
        "",
        "<View",
        "<View><Image name='a' value='$b'/></View>",
        CONFIG.replace('"photo"', '"other"', 1),
    ):
        with pytest.raises(OptionError, match="BrushLabels"):
            controls_of(config)


def test_tasks_of_several_images_are_refused_by_name():
    with pytest.raises(OptionError, match=r"valueList.*not supported"):
        controls_of(CONFIG.replace('value="$image"', 'valueList="$images"'))


# From here on what label-studio-ml itself serves.


def network() -> nn.Module:
    """A network of two classes, what is redder than blue and the rest: the photo's ellipse is of the first."""
    conv = nn.Conv2d(3, 1, 3, padding=1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([3.0, 0.0, -3.0])[None, :, None, None] / 9)
        conv.bias.zero_()
    return conv.eval()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory):
    """A client of label-studio-ml's own application."""
    pytest.importorskip("label_studio_ml", reason="needs label-studio-ml: pip install 'interactify[label-studio]'")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MODEL_DIR", str(tmp_path_factory.mktemp("model")))
        from interactify.commands.label_studio import application
        from interactify.tools.label_studio import InteractifyBackend

        InteractifyBackend.serve(interactify.wrap(network(), propagation="none"))
        yield application(InteractifyBackend, str(tmp_path_factory.mktemp("jobs"))).test_client()


def uri(photo: np.ndarray) -> str:
    stored = io.BytesIO()
    Image.fromarray(photo).save(stored, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stored.getvalue()).decode('ascii')}"


def asked(client: Any, image: str, regions: list[dict[str, Any]] | None, config: str = CONFIG) -> Any:
    """What Label Studio's server sends when a smart tool was used, and with None when a task is opened."""
    context = None if regions is None else {"result": regions}
    return client.post(
        "/predict",
        json={
            "tasks": [{"id": 7, "data": {"image": image}}],
            "model_version": None,
            "project": "3.1700000000",
            "label_config": config,
            "params": {"login": None, "password": None, "context": context},
        },
    )


def masks(response: Any) -> list[tuple[str, np.ndarray]]:
    assert response.status_code == 200, response.get_data(as_text=True)[:500]
    (prediction,) = response.get_json()["results"]
    assert 0 <= prediction["score"] <= 1
    found = []
    for each in prediction["result"]:
        assert (each["type"], each["from_name"], each["to_name"]) == ("brushlabels", "mask", "photo")
        assert (each["original_width"], each["original_height"], each["image_rotation"]) == (SIZE[1], SIZE[0], 0)
        assert each["value"]["format"] == "rle"
        found.append((each["value"]["brushlabels"][0], decoded(each["value"]["rle"], SIZE)))
    return found


def test_it_is_up_and_is_set_up(client: Any):
    assert client.get("/health").get_json()["status"] == "UP"
    said = {"project": "3.1700000000", "schema": CONFIG, "hostname": "http://localhost:8080", "access_token": "t"}
    assert client.post("/setup", json=said).status_code == 200


def test_what_was_annotated_changes_nothing(client: Any, monkeypatch: pytest.MonkeyPatch):
    """Label Studio tells of each annotation that is saved, and takes predictions of another version for old ones."""
    from label_studio_ml import api, model

    def begun(*_: Any, **__: Any) -> None:
        raise AssertionError("a process was begun")

    monkeypatch.setattr(model.mp, "Process", begun)
    folder = Path(api._manager.model_dir)
    setup = {"project": "3.1700000000", "schema": CONFIG, "hostname": "", "access_token": ""}
    before, files = client.post("/setup", json=setup).get_json(), list(folder.rglob("*"))
    for event in (
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATION_DELETED",
        "PROJECT_UPDATED",
        "START_TRAINING",
    ):
        told = {"action": event, "project": {"id": 3}, "annotation": {"id": 1, "result": []}}
        assert client.post("/webhook", json=told).status_code == 201
    assert client.post("/train", json={"annotations": [{}], "project": "3.1"}).status_code == 201
    assert client.post("/setup", json=setup).get_json() == before and list(folder.rglob("*")) == files


def test_nothing_said_is_answered_with_nothing(client: Any, photo: np.ndarray):
    """As when the last region of a smart tool is deleted; a task that is opened comes without a context."""
    single = CONFIG.replace('<Label value="Leaf" background="green"/>', "")
    assert masks(asked(client, uri(photo), [], single)) == []
    assert len(masks(asked(client, uri(photo), None, single))) == 1


def test_of_many_tasks_one_that_is_broken_fails_alone(client: Any, photo: np.ndarray, caplog):
    single = CONFIG.replace('<Label value="Leaf" background="green"/>', "")

    def predictions(*images: str) -> Any:
        tasks = [{"id": 7 + k, "data": {"image": image}} for k, image in enumerate(images)]
        return client.post("/predict", json={"tasks": tasks, "project": "3.17", "label_config": single, "params": {}})

    whole, broken = uri(photo), "data:image/png;base64,AAAA"
    found = predictions(whole, broken, whole).get_json()["results"]
    assert [len(each["result"]) for each in found] == [1, 0, 1] and found[1]["score"] == 0
    assert "task 8" in caplog.text and "picture file" in caplog.text
    assert predictions(broken).status_code == 400
    assert predictions(broken, broken).status_code == 400, "where none can be answered, it is an error"


def test_a_photo_is_opened_once_for_all_classes(photo: np.ndarray, client: Any, monkeypatch: pytest.MonkeyPatch):
    from interactify.session import Session
    from interactify.tools.label_studio import InteractifyBackend

    names = tuple(f"class {k}" for k in range(6))
    model = nn.Conv2d(3, len(names), 3, padding=1).eval()
    served, begun, begin = InteractifyBackend.served, [], Session.__init__
    monkeypatch.setattr(Session, "__init__", lambda self, *a, **k: begun.append(1) or begin(self, *a, **k))
    InteractifyBackend.serve(interactify.wrap(model, class_names=names, activation="none", propagation="none"))
    labels = "".join(f'<Label value="{name}"/>' for name in names)
    config = CONFIG.replace('<Label value="Fruit"/><Label value="Leaf" background="green"/>', labels)
    try:
        for _ in range(2):
            assert masks(asked(client, uri(photo), None, config))
        assert len(begun) == 1
    finally:
        InteractifyBackend.served = served


@pytest.fixture
def cloud(photo: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A Label Studio that gives the photo of task 7 to who has the key; what it was asked."""
    stored, asked_of = io.BytesIO(), []
    Image.fromarray(photo).save(stored, "PNG")

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked_of.append(self.path)
            known = self.path.startswith("/tasks/7/") and self.headers["Authorization"] == "Token mine"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(stored.getvalue() if known else b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LABEL_STUDIO_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "mine")
    yield asked_of
    server.shutdown()
    server.server_close()


def test_a_photo_in_the_cloud_is_asked_of_label_studio_by_its_task(client: Any, photo: np.ndarray, cloud: list[str]):
    ((_, mask),) = masks(asked(client, "s3://bucket/a.png", [keypoint(55, 42)]))
    assert np.array_equal(mask, masks(asked(client, uri(photo), [keypoint(55, 42)]))[0][1])
    assert cloud == ["/tasks/7/presign/?fileuri=s3://bucket/a.png"]


def test_what_is_set_is_not_asked_for(client: Any, cloud: list[str], monkeypatch: pytest.MonkeyPatch):
    def advice() -> str:
        response = asked(client, "s3://bucket/b.png", [keypoint(55, 42)])
        assert response.status_code == 400
        return response.get_json()["detail"]

    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "another's")
    assert "Set " not in advice() and "can be reached with LABEL_STUDIO_API_KEY" in advice()
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    assert "Set LABEL_STUDIO_API_KEY," in advice()


def test_keypoints_are_answered_as_by_the_library_alone(client: Any, photo: np.ndarray):
    regions = [keypoint(55.2, 41.9), keypoint(5.1, 90.3, positive=False)]
    ((label, mask),) = masks(asked(client, uri(photo), regions))
    session = interactify.wrap(network(), propagation="none").session(photo)
    assert label == "Fruit"
    assert np.array_equal(mask, session.add([Click(55, 30), Click(5, 65, positive=False)]).mask)


def test_a_box_and_a_stroke(client: Any, photo: np.ndarray):
    ((_, mask),) = masks(asked(client, uri(photo), [box(25, 11, 61, 63)]))
    assert mask[30, 55] and not mask[:, :20].any() and not mask[60:].any()
    stroke = np.zeros(SIZE, bool)
    stroke[28:33, 45:66] = True
    ((_, mask),) = masks(asked(client, uri(photo), [region("brushlabels", format="rle", rle=encoded(stroke))]))
    assert mask[30, 45:66].all()


def test_several_labels_are_several_masks(client: Any, photo: np.ndarray):
    found = masks(asked(client, uri(photo), [keypoint(55, 42), keypoint(5, 90, "Leaf")]))
    assert [label for label, _ in found] == ["Fruit", "Leaf"]
    assert found[0][1][30, 55] and found[1][1][64, 5]


def test_photos_come_from_a_path_and_through_label_studio(client: Any, photo: np.ndarray, tmp_path, monkeypatch):
    Image.fromarray(photo).save(tmp_path / "a photo.png")
    direct = masks(asked(client, str(tmp_path / "a photo.png"), [keypoint(55, 42)]))
    assert np.array_equal(direct[0][1], masks(asked(client, uri(photo), [keypoint(55, 42)]))[0][1])
    masks(asked(client, (tmp_path / "a photo.png").as_uri(), [keypoint(55, 42)]))
    from interactify.tools.label_studio import InteractifyBackend

    wanted = []
    monkeypatch.setattr(
        InteractifyBackend, "get_local_path",
        lambda self, url, **_: wanted.append(url) or str(tmp_path / "a photo.png"),
    )  # fmt: skip
    masks(asked(client, "/data/upload/3/photo.png", [keypoint(55, 42)]))
    assert wanted == ["/data/upload/3/photo.png"]


def test_a_photo_of_a_local_storage_is_found_by_its_own_lookup(client: Any, photo: np.ndarray, tmp_path, monkeypatch):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    path = (tmp_path / "photo.png").as_posix().lstrip("/")  # label-studio-ml's document root is / by default
    masks(asked(client, f"/data/local-files/?d={path}", [keypoint(55, 42)]))


def test_an_opened_task_gets_the_networks_own_mask_where_it_is_clear_of_what(client: Any, photo: np.ndarray):
    assert masks(asked(client, uri(photo), None)) == []
    ((label, mask),) = masks(
        asked(client, uri(photo), None, CONFIG.replace('<Label value="Leaf" background="green"/>', ""))
    )
    own = interactify.wrap(network(), propagation="none").session(photo).result.mask
    assert label == "Fruit" and np.array_equal(mask, own)


def test_labels_that_are_the_networks_classes_ask_for_those(photo: np.ndarray, client: Any):
    from interactify.tools.label_studio import InteractifyBackend

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fruit = network()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            odds = self.fruit(x)
            return torch.cat([odds, -odds], 1)

    served = InteractifyBackend.served
    InteractifyBackend.serve(
        interactify.wrap(Two(), class_names=("leaf", "fruit"), activation="none", propagation="none")
    )
    try:
        found = dict(masks(asked(client, uri(photo), None)))
        assert set(found) == {"Fruit", "Leaf"} and not (found["Fruit"] & found["Leaf"]).any()
        assert found["Leaf"][30, 55] and not found["Fruit"][30, 55]  # the first map is called leaf here
        ((label, mask),) = masks(asked(client, uri(photo), [keypoint(5, 90, "Fruit")]))
        assert label == "Fruit" and mask[64, 5]
    finally:
        InteractifyBackend.served = served


def test_what_can_not_be_answered_is_a_400_with_the_reason(client: Any, photo: np.ndarray):
    whole = uri(photo)
    for image, regions, config, reason in (
        (whole, [{**keypoint(5, 5), "image_rotation": 90}], CONFIG, "rotated by 90 degrees"),
        (whole, [keypoint(5, 5, "Stone")], CONFIG, "same labels"),
        (whole, [keypoint(5, 5)], "<View/>", "BrushLabels"),
        ("", [keypoint(5, 5)], CONFIG, "photo's address"),
        ("data:image/png;base64,AAAA", [keypoint(5, 5)], CONFIG, "picture file"),
        ("data:image/png;base64,%%%", [keypoint(5, 5)], CONFIG, "data URI"),
        ("/no/such/photo.png", [keypoint(5, 5)], CONFIG, "LABEL_STUDIO_URL"),
        (uri(photo[:50]), [keypoint(5, 5)], CONFIG, "100 x 72"),
    ):
        response = asked(client, image, regions, config)
        assert response.status_code == 400 and reason in response.get_json()["detail"], response.get_data(as_text=True)


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    import sys

    monkeypatch.setitem(sys.modules, "interactify.tools.label_studio", None)
    assert cli.main(["label-studio"]) == 2
    assert "interactify[label-studio]" in capsys.readouterr().err
    assert cli.main(["label-studio", "--port", "99999"]) == 2


def test_the_network_runs_where_it_is_said_to(monkeypatch: pytest.MonkeyPatch, capsys):
    """On a GPU where there is one, and else where --device says."""
    import argparse

    from interactify.commands import inspect, label_studio
    from interactify.commands.network_options import network

    moved: list[str] = []
    monkeypatch.setattr(interactify.Interactive, "to", lambda net, device: moved.append(device) or net)

    def built(command: Any, *words: str) -> None:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        network(parser.parse_args(words))

    for gpu in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        built(label_studio)
        built(label_studio, "--device", "cuda:1")
        built(inspect)
    assert moved == ["cuda", "cuda:1", "cpu", "cpu", "cuda:1", "cpu"]


def test_a_device_that_there_is_not_is_one_line(client: Any, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["label-studio", "--device", "none-such"]) == 2
    assert "device of this machine" in capsys.readouterr().err


def test_the_command_serves_until_it_is_interrupted(
    client: Any, monkeypatch, capsys, photo: np.ndarray, tmp_path: Path
):
    """The command as it is, its server one that ends after an answer over the network."""
    from werkzeug import serving

    answers: list[Any] = []

    def served_once(host: str, port: int, app: Any, **options: Any) -> None:
        server = serving.make_server(host, 0, app, **options)
        worker = threading.Thread(target=server.serve_forever, daemon=True)
        worker.start()
        said = {"tasks": [{"id": 1, "data": {"image": uri(photo)}}], "label_config": CONFIG,
                "project": "1.2", "params": {"context": {"result": [keypoint(55, 42)]}}}  # fmt: skip
        sent = urllib.request.Request(
            f"http://{host}:{server.server_port}/predict",
            json.dumps(said).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(sent, timeout=60) as response:
            answers.append(json.load(response))
        server.shutdown()
        worker.join()

    monkeypatch.setattr(serving, "run_simple", served_once)
    monkeypatch.chdir(tmp_path)
    from interactify.tools.label_studio import InteractifyBackend

    served = InteractifyBackend.served
    try:
        assert cli.main(["label-studio", "--resolution", "96"]) == 0
    finally:
        InteractifyBackend.served = served
    assert "http://127.0.0.1:9090" in capsys.readouterr().out
    assert decoded(answers[0]["results"][0]["result"][0]["value"]["rle"], SIZE)[30, 55]
    assert not list(tmp_path.iterdir())
