"""The backend with Label Studio itself, in processes of their own, with both kinds of tokens.

`make test-label-studio-server` installs Label Studio and runs this.
"""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import interactify
from interactify import Box, Click, zoo
from interactify.errors import PhotoError
from interactify.tools.label_studio_photos import LabelStudio
from interactify.tools.label_studio_regions import clicks_along
from interactify.tools.label_studio_rle import decoded, encoded
from tests.fixtures.label_studio_real import RealLabelStudio, free_port, label_studio, running

EXECUTABLE = os.environ.get("LABEL_STUDIO_SERVER", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXECUTABLE, reason="needs Label Studio beside us: make test-label-studio-server"),
]
CONFIG = """
<View>
  <Image name="photo" value="$image"/>
  <BrushLabels name="mask" toName="photo" smart="true"><Label value="Cup"/></BrushLabels>
  <KeyPointLabels name="point" toName="photo" smart="true"><Label value="Cup"/></KeyPointLabels>
  <RectangleLabels name="box" toName="photo" smart="true"><Label value="Cup"/></RectangleLabels>
</View>
"""
RESOLUTION = 128
LOCAL_BACKENDS = {"ML_BLOCK_LOCAL_IP": "false", "SSRF_PROTECTION_ENABLED": "false"}


@pytest.fixture(scope="module")
def cup() -> NDArray[np.uint8]:
    """The embedded photo of a cup, small: (H, W, 3)."""
    (path,) = (photo.path for photo in zoo.photos() if photo.name == "coffee")
    with Image.open(path) as stored:
        stored.thumbnail((240, 240))
        return np.asarray(stored.convert("RGB"))


@pytest.fixture(scope="module")
def png(cup: NDArray[np.uint8]) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(cup).save(stored, "PNG")
    return stored.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, png: bytes) -> Path:
    """Where Label Studio keeps its files; a local storage is in it."""
    made = tmp_path_factory.mktemp("label-studio")
    (made / "storage" / "cups").mkdir(parents=True)
    (made / "storage" / "cups" / "a cup.png").write_bytes(png)
    return made


@pytest.fixture(scope="module")
def studio(folder: Path) -> Iterator[RealLabelStudio]:
    local = {"LOCAL_FILES_SERVING_ENABLED": "true", "LOCAL_FILES_DOCUMENT_ROOT": str(folder / "storage")}
    with label_studio(EXECUTABLE, folder, **LOCAL_BACKENDS, **local) as started:
        started.sign_up()
        yield started


@pytest.fixture(scope="module")
def personal(studio: RealLabelStudio) -> str:
    return str(studio.post("/api/token/")["token"])


@pytest.fixture(scope="module")
def legacy(studio: RealLabelStudio) -> str:
    return str(studio.get("/api/current-user/token")["token"])


@contextmanager
def legacy_tokens(studio: RealLabelStudio, allowed: bool) -> Iterator[None]:
    """The setting that an organisation has under Access Token Settings."""
    before = studio.get("/api/jwt/settings")
    studio.post("/api/jwt/settings", {**before, "legacy_api_tokens_enabled": allowed})
    try:
        yield
    finally:
        studio.post("/api/jwt/settings", before)


@contextmanager
def backend(studio: RealLabelStudio, folder: Path, key: str) -> Iterator[tuple[str, Path]]:
    """The command, as a user starts it: its address, and what it prints."""
    port, log = free_port(), folder / f"backend-{free_port()}.log"
    command = [sys.executable, "-m", "interactify", "label-studio", "--port", str(port), "--device", "cpu"]
    command += ["--resolution", str(RESOLUTION)]
    ours = {
        "LABEL_STUDIO_URL": studio.url,
        "LABEL_STUDIO_API_KEY": key,
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "no uploads here"),  # else they are read from the disk
        "PYTHONPATH": os.pathsep.join(
            [str(Path(interactify.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        ),
    }
    with running(command, f"http://127.0.0.1:{port}/health", ours, log, 120):
        yield f"http://127.0.0.1:{port}", log


def region(kind: str, size: tuple[int, int], positive: bool | None, **value: Any) -> dict[str, Any]:
    """A region as Label Studio's front end sends it; places in percent."""
    name = {"keypointlabels": "point", "rectanglelabels": "box", "brushlabels": "mask"}[kind]
    serialised: dict[str, Any] = {
        "id": "aB3_x", "type": kind, "from_name": name, "to_name": "photo", "origin": "manual",
        "original_width": size[1], "original_height": size[0], "image_rotation": 0, "value": {**value, kind: ["Cup"]},
    }  # fmt: skip
    return serialised if positive is None else {**serialised, "is_positive": positive}


def keypoint(x: int, y: int, size: tuple[int, int], positive: bool = True) -> dict[str, Any]:
    place = {"x": 100 * (x + 0.5) / size[1], "y": 100 * (y + 0.5) / size[0]}
    return region("keypointlabels", size, positive, width=0.3, labels=["Cup"], **place)


def answered(studio: RealLabelStudio, ml: int, task: int, regions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a smart tool gets: regions of the brush."""
    answer = studio.post(f"/api/ml/{ml}/interactive-annotating", {"task": task, "context": {"result": regions}})
    assert "errors" not in answer, answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def mask_of(regions: list[dict[str, Any]], size: tuple[int, int]) -> NDArray[np.bool_]:
    (found,) = regions
    assert (found["from_name"], found["to_name"], found["value"]["brushlabels"]) == ("mask", "photo", ["Cup"])
    return decoded(found["value"]["rle"], size)


@pytest.mark.parametrize("kind", ["personal", "legacy"])
def test_from_an_uploaded_photo_to_an_exported_mask(
    kind: str, studio: RealLabelStudio, folder: Path, cup: NDArray[np.uint8], png: bytes, request: pytest.FixtureRequest
):
    size = cup.shape[:2]
    height, width = size
    x, y = width // 2, height // 2
    net = interactify.wrap(zoo.load(), resolution=RESOLUTION)
    with legacy_tokens(studio, kind == "legacy"), backend(studio, folder, request.getfixturevalue(kind)) as (url, log):
        project = studio.project(CONFIG)
        task = studio.upload(project, "cup.png", png)
        assert task["data"]["image"].startswith("/data/upload/")
        ml = studio.connect(project, url)

        # Each smart tool gets the mask that a session gives.
        point = keypoint(x, y, size)
        mask = mask_of(answered(studio, ml, task["id"], [point]), size)
        assert np.array_equal(mask, net.session(cup).click(x, y).mask) and mask[y, x] and not mask.all()
        off = keypoint(3, 3, size, positive=False)
        corrected_regions = answered(studio, ml, task["id"], [point, off])
        corrected = mask_of(corrected_regions, size)
        clicks = [Click(x, y), Click(3, 3, positive=False)]
        assert np.array_equal(corrected, net.session(cup).add(clicks).mask) and not corrected[3, 3]
        left, top, right, bottom = width // 4, height // 4, width // 4 * 3, height // 4 * 3
        share = {"x": 100 * left / width, "y": 100 * top / height,
                 "width": 100 * (right - left) / width, "height": 100 * (bottom - top) / height}  # fmt: skip
        boxed = mask_of(answered(studio, ml, task["id"], [region("rectanglelabels", size, True, **share)]), size)
        assert np.array_equal(boxed, net.session(cup).add([Box(left, top, right - 1, bottom - 1)]).mask) and boxed.any()
        stroke = np.zeros(size, bool)
        stroke[y - 2 : y + 3, x - 20 : x + 21] = True
        drawn = region("brushlabels", size, None, format="rle", rle=encoded(stroke))
        brushed = mask_of(answered(studio, ml, task["id"], [drawn]), size)
        assert np.array_equal(brushed, net.session(cup).add(clicks_along(stroke)).mask) and brushed[y, x]

        # Save it, and export it for other programs.
        studio.post(f"/api/tasks/{task['id']}/annotations/", {"result": corrected_regions})
        assert studio.get(f"/api/tasks/{task['id']}")["is_labeled"]
        with Image.open(io.BytesIO(exported(studio, project, "BRUSH_TO_PNG", ".png"))) as picture:
            assert np.array_equal(np.asarray(picture) > 0, corrected)
        coco = json.loads(exported(studio, project, "BRUSH_TO_COCO", ".json"))
        assert [each["name"] for each in coco["categories"]] == ["Cup"] and len(coco["annotations"]) >= 1
        assert (coco["images"][0]["width"], coco["images"][0]["height"]) == (width, height)
        outlined = polygons(coco, size)
        assert (outlined & corrected).sum() / (outlined | corrected).sum() > 0.9  # outlines run through pixels' middles

        plain = json.loads(exported(studio, project, "COCO", ".json"))
        assert plain["annotations"] == [], "plain COCO leaves brushes out, as the page says"

        # The network's own masks, for tasks that nobody has opened.
        studio.upload(project, "second cup.png", png)
        for _ in range(2):  # what is known already is not asked for again
            studio.post(f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}",
                        {"selectedItems": {"all": True, "excluded": []}})  # fmt: skip
        own = net.session(cup).result.mask
        for each in studio.tasks(project):
            (prediction,) = studio.get(f"/api/tasks/{each['id']}")["predictions"]
            assert np.array_equal(mask_of(prediction["result"], size), own)
            assert prediction["model_version"].startswith("interactify ")
        assert "ML_BLOCK_LOCAL_IP=false" in log.read_text()


def exported(studio: RealLabelStudio, project: int, kind: str, ending: str) -> bytes:
    """The only file with that ending in an export, which is an archive where there are several files."""
    whole = studio.download(f"/api/projects/{project}/export", exportType=kind)
    if not zipfile.is_zipfile(io.BytesIO(whole)):
        return whole
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(ending))
        return archive.read(name)


def polygons(coco: dict[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    from PIL import ImageDraw

    drawn = Image.new("1", size[::-1])
    for annotation in coco["annotations"]:
        for outline in annotation["segmentation"]:
            ImageDraw.Draw(drawn).polygon([*map(float, outline)], fill=1, outline=1)
    return np.asarray(drawn)


def test_new_installations_refuse_legacy_tokens_and_we_say_what_to_do(
    studio: RealLabelStudio, folder: Path, legacy: str, png: bytes
):
    """As with the key of a request to connect, which is a legacy one."""
    with backend(studio, folder, legacy) as (url, log):
        project = studio.project(CONFIG)
        task = studio.upload(project, "cup.png", png)
        ml = studio.connect(project, url)
        regions = [keypoint(100, 50, (160, 240))]
        answer = studio.post(
            f"/api/ml/{ml}/interactive-annotating", {"task": task["id"], "context": {"result": regions}}
        )
        assert "400" in answer["errors"][0]
        assert "got status 401 (Authentication token no longer valid" in log.read_text()
        assert "personal access token" in log.read_text()


def test_files_of_a_local_storage_and_tokens_that_end(
    studio: RealLabelStudio, folder: Path, personal: str, legacy: str, png: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LABEL_STUDIO_BASE_DATA_DIR", str(folder / "none"))
    project = studio.project(CONFIG)
    storage = studio.post("/api/storages/localfiles/", {
        "project": project, "path": str(folder / "storage" / "cups"), "use_blob_urls": True
    })  # fmt: skip
    studio.post(f"/api/storages/localfiles/{storage['id']}/sync")
    (task,) = studio.tasks(project)
    address = task["data"]["image"]
    assert address.startswith("/data/local-files/?d=")
    server = LabelStudio(studio.url, personal)
    assert server.fetch(address, task["id"]) == png
    with legacy_tokens(studio, True):
        assert LabelStudio(studio.url, legacy).fetch(address, task["id"]) == png

    uploaded = studio.upload(project, "ä cup.png", png)["data"]["image"]
    server._access = ("e30.e30.e30", float("inf"))  # as one that has expired
    assert server.fetch(uploaded) == png
    server = LabelStudio(studio.url, personal)
    server._access = ("e30.e30.e30", float("inf"))
    assert server.fetch(address, task["id"]) == png
    with pytest.raises(PhotoError, match=r"got status 401.*revoked"):
        LabelStudio(studio.url, personal[:-2] + "xx").fetch(uploaded)


@pytest.mark.parametrize("settings", [{}, {"ML_BLOCK_LOCAL_IP": "false"}])
def test_without_the_settings_label_studio_refuses_a_backend_on_the_same_computer(
    settings: dict[str, str], studio: RealLabelStudio, folder: Path, personal: str, png: bytes
):
    """With the first of them alone it reports an error, about a webhook, and has connected the backend nevertheless."""
    with label_studio(EXECUTABLE, folder, **settings) as strict, backend(studio, folder, personal) as (url, _):
        strict.log_in()
        project = strict.project(CONFIG)
        with pytest.raises(AssertionError, match="reserved network address"):
            strict.connect(project, url)
        connected = strict.get("/api/ml/", project=project)
        assert [each["url"] for each in connected] == [url] * len(settings)
        if connected:
            task = strict.upload(project, "cup.png", png)
            assert answered(strict, connected[0]["id"], task["id"], [keypoint(120, 80, (160, 240))])
