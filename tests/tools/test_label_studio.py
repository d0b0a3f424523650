"""Label Studio: the real WSGI app responds to the front end's requests, and the command serves it."""

from __future__ import annotations

import base64
import io
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import interactify
from interactify import Click, cli
from interactify.tools.label_studio_rle import decoded, encoded
from tests.fixtures.label_studio_fake import LEGACY, PERSONAL, FakeLabelStudio, fake_label_studio
from tests.fixtures.label_studio_regions import CONFIG, SIZE, box, keypoint, region


def network() -> nn.Module:
    """A network of two classes: more red than blue, as the photo's ellipse, and the rest."""
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
    """Send what Label Studio's server sends when a smart tool was used, and with None when a task is opened."""
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


def test_health_and_setup(client: Any):
    assert client.get("/health").get_json()["status"] == "UP"
    setup = {"project": "3.1700000000", "schema": CONFIG, "hostname": "http://localhost:8080", "access_token": "t"}
    assert client.post("/setup", json=setup).status_code == 200


def test_predictions_have_the_version_that_label_studio_was_given(client: Any, photo: np.ndarray):
    """Else it takes none of them for the current one, and each time it retrieves predictions it adds another."""
    from interactify.tools.label_studio import version_of

    setup = {"project": "3.1700000000", "schema": CONFIG, "hostname": "", "access_token": ""}
    version = client.post("/setup", json=setup).get_json()["model_version"]
    for regions in (None, [], [keypoint(55, 42)]):
        (prediction,) = asked(client, uri(photo), regions).get_json()["results"]
        assert prediction["model_version"] == version
    assert version == version_of(interactify.wrap(network(), propagation="none"))
    other = network()
    with torch.no_grad():
        next(other.parameters()).mul_(2)
    assert version != version_of(interactify.wrap(other, propagation="none")), "a retrained network is asked again"


def test_annotations_change_nothing(client: Any, monkeypatch: pytest.MonkeyPatch):
    """Label Studio reports each saved annotation, and takes predictions of another version for outdated ones."""
    from label_studio_ml import api, model

    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(model.mp, "Process", started)
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
        report = {"action": event, "project": {"id": 3}, "annotation": {"id": 1, "result": []}}
        assert client.post("/webhook", json=report).status_code == 201
    assert client.post("/train", json={"annotations": [{}], "project": "3.1"}).status_code == 201
    assert client.post("/setup", json=setup).get_json() == before and list(folder.rglob("*")) == files


def test_a_context_without_regions_gets_an_empty_prediction(client: Any, photo: np.ndarray):
    """As when the last region of a smart tool is deleted; an opened task comes without a context."""
    single = CONFIG.replace('<Label value="Leaf" background="green"/>', "")
    assert masks(asked(client, uri(photo), [], single)) == []
    assert len(masks(asked(client, uri(photo), None, single))) == 1


def test_of_many_tasks_a_broken_one_fails_alone(client: Any, photo: np.ndarray, caplog):
    single = CONFIG.replace('<Label value="Leaf" background="green"/>', "")

    def predictions(*images: str) -> Any:
        tasks = [{"id": 7 + k, "data": {"image": image}} for k, image in enumerate(images)]
        return client.post("/predict", json={"tasks": tasks, "project": "3.17", "label_config": single, "params": {}})

    whole, broken = uri(photo), "data:image/png;base64,AAAA"
    found = predictions(whole, broken, whole).get_json()["results"]
    assert [len(each["result"]) for each in found] == [1, 0, 1] and found[1]["score"] == 0
    assert "task 8" in caplog.text and "picture file" in caplog.text
    assert predictions(broken).status_code == 400
    assert predictions(broken, broken).status_code == 400, "where all fail, it is an error"


def test_a_photo_is_opened_once_for_all_classes(photo: np.ndarray, client: Any, monkeypatch: pytest.MonkeyPatch):
    from interactify.session.session import Session
    from interactify.tools.label_studio import InteractifyBackend

    names = tuple(f"class {k}" for k in range(6))
    model = nn.Conv2d(3, len(names), 3, padding=1).eval()
    served, opened, original = InteractifyBackend.served, [], Session.__init__
    monkeypatch.setattr(Session, "__init__", lambda self, *a, **k: opened.append(1) or original(self, *a, **k))
    InteractifyBackend.serve(interactify.wrap(model, class_names=names, activation="none", propagation="none"))
    labels = "".join(f'<Label value="{name}"/>' for name in names)
    config = CONFIG.replace('<Label value="Fruit"/><Label value="Leaf" background="green"/>', labels)
    try:
        for _ in range(2):
            assert masks(asked(client, uri(photo), None, config))
        assert len(opened) == 1
    finally:
        InteractifyBackend.served = served


@pytest.fixture
def studio(photo: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLabelStudio]:
    """A Label Studio that has the photo as an upload, and in a storage for task 7."""
    stored = io.BytesIO()
    Image.fromarray(photo).save(stored, "PNG")
    names = ("/data/upload/3/a.png", "/tasks/7/presign/?fileuri=s3://bucket/a.png")
    monkeypatch.setenv("LABEL_STUDIO_BASE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with fake_label_studio(files=dict.fromkeys(names, stored.getvalue())) as fake:
        monkeypatch.setenv("LABEL_STUDIO_URL", fake.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", PERSONAL)
        yield fake


@pytest.mark.parametrize("key", [PERSONAL, LEGACY])
def test_photos_come_from_label_studio_with_either_kind_of_token(
    client: Any, photo: np.ndarray, studio: FakeLabelStudio, key: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", key)
    studio.legacy_allowed = True
    expected = masks(asked(client, uri(photo), [keypoint(55, 42)]))[0][1]
    for address in ("/data/upload/3/a.png", "s3://bucket/a.png"):
        for _ in range(2):
            ((_, mask),) = masks(asked(client, address, [keypoint(55, 42)]))
            assert np.array_equal(mask, expected)
    fetched = [path for method, path, _ in studio.asked if method == "GET"]
    assert fetched == list(studio.files), "each photo is fetched once"
    assert studio.issued == (key == PERSONAL)


def test_the_advice_names_only_missing_variables(
    client: Any, studio: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def advice() -> str:
        response = asked(client, "/data/upload/3/a.png", [keypoint(55, 42)])
        assert response.status_code == 400
        assert response.get_json()["detail"] in caplog.text, "Label Studio shows no more than the status"
        return response.get_json()["detail"]

    monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY)
    assert "got status 401" in advice() and "legacy tokens are refused" in advice()
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    assert "personal access token" in advice() and "legacy" not in advice()
    monkeypatch.delenv("LABEL_STUDIO_URL")
    assert "LABEL_STUDIO_URL=" in advice()


def test_the_key_of_the_environment_goes_to_the_address_of_the_environment_alone(
    client: Any, studio: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
):
    """Anybody can send a request to connect, which brings an address; its own key is sent there."""
    monkeypatch.delenv("LABEL_STUDIO_URL")
    setup = {"project": "3.1700000000", "schema": CONFIG, "hostname": studio.url, "access_token": LEGACY}
    assert client.post("/setup", json=setup).status_code == 200
    try:
        response = asked(client, "/data/upload/3/a.png", [keypoint(55, 42)])
        assert response.status_code == 400 and "LABEL_STUDIO_URL=" in response.get_json()["detail"]
        assert not studio.asked
        monkeypatch.delenv("LABEL_STUDIO_API_KEY")
        studio.legacy_allowed = True
        assert masks(asked(client, "/data/upload/3/a.png", [keypoint(55, 42)]))
        assert studio.asked == [("GET", "/data/upload/3/a.png", f"Token {LEGACY}")]
    finally:
        client.post("/setup", json={**setup, "hostname": "", "access_token": ""})


def test_keypoints_give_the_sessions_mask(client: Any, photo: np.ndarray):
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


def test_photos_come_from_a_path_or_a_file_uri(client: Any, photo: np.ndarray, tmp_path):
    Image.fromarray(photo).save(tmp_path / "a photo.png")
    direct = masks(asked(client, str(tmp_path / "a photo.png"), [keypoint(55, 42)]))
    assert np.array_equal(direct[0][1], masks(asked(client, uri(photo), [keypoint(55, 42)]))[0][1])
    masks(asked(client, (tmp_path / "a photo.png").as_uri(), [keypoint(55, 42)]))


def test_a_photo_of_a_local_storage_is_read_where_it_lies(client: Any, photo: np.ndarray, tmp_path, monkeypatch):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    monkeypatch.setenv("LOCAL_FILES_DOCUMENT_ROOT", str(tmp_path))
    masks(asked(client, "/data/local-files/?d=photo.png", [keypoint(55, 42)]))


def test_an_opened_task_gets_the_networks_own_mask_for_a_single_label(client: Any, photo: np.ndarray):
    assert masks(asked(client, uri(photo), None)) == []
    ((label, mask),) = masks(
        asked(client, uri(photo), None, CONFIG.replace('<Label value="Leaf" background="green"/>', ""))
    )
    own = interactify.wrap(network(), propagation="none").session(photo).result.mask
    assert label == "Fruit" and np.array_equal(mask, own)


def test_labels_that_are_the_networks_classes_name_the_target(photo: np.ndarray, client: Any):
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


def test_an_invalid_request_is_a_400_with_the_reason(client: Any, photo: np.ndarray):
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


def test_the_command_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    import sys

    monkeypatch.setitem(sys.modules, "interactify.tools.label_studio", None)
    assert cli.main(["label-studio"]) == 2
    assert ".[label-studio]" in capsys.readouterr().err
    assert cli.main(["label-studio", "--port", "99999"]) == 2


def test_the_network_runs_on_the_named_device(monkeypatch: pytest.MonkeyPatch, capsys):
    """On a GPU where there is one, or on that of --device."""
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


def test_a_missing_device_is_one_line(client: Any, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["label-studio", "--device", "none-such"]) == 2
    assert "device of this machine" in capsys.readouterr().err


def test_the_command_serves_until_it_is_interrupted(
    client: Any, monkeypatch, capsys, photo: np.ndarray, tmp_path: Path
):
    """The command itself, with a server that ends after one response over the network."""
    from werkzeug import serving

    responses: list[Any] = []

    def served_once(host: str, port: int, app: Any, **options: Any) -> None:
        server = serving.make_server(host, 0, app, **options)
        worker = threading.Thread(target=server.serve_forever, daemon=True)
        worker.start()
        body = {"tasks": [{"id": 1, "data": {"image": uri(photo)}}], "label_config": CONFIG,
                "project": "1.2", "params": {"context": {"result": [keypoint(55, 42)]}}}  # fmt: skip
        sent = urllib.request.Request(
            f"http://{host}:{server.server_port}/predict",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(sent, timeout=60) as response:
            responses.append(json.load(response))
        server.shutdown()
        worker.join()

    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(serving, "run_simple", served_once)
    monkeypatch.chdir(tmp_path)
    from interactify.tools.label_studio import InteractifyBackend

    served = InteractifyBackend.served
    try:
        assert cli.main(["label-studio", "--resolution", "96"]) == 0
    finally:
        InteractifyBackend.served = served
    printed = capsys.readouterr().out
    assert "http://127.0.0.1:9090" in printed and "ML_BLOCK_LOCAL_IP=false" in printed
    assert "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY" in printed
    assert decoded(responses[0]["results"][0]["result"][0]["value"]["rle"], SIZE)[30, 55]
    assert not list(tmp_path.iterdir())
