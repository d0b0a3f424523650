"""CVAT's function: responses to the bodies that CVAT sends, the folder that nuclio deploys, and errors as 4xx."""

from __future__ import annotations

import base64
import importlib
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

import interactify
from interactify import cli
from interactify.errors import InteractionError, NonFiniteError, OptionError, PhotoError
from interactify.models.build import build_model
from interactify.tools.cvat import Function, answered, mask_text, served_from
from interactify.tools.served import Served, status_of

ZOO = json.dumps({"model": "zoo", "options": {}})


class Logger:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, line: str) -> None:
        self.lines.append(line)

    warn = info


def network() -> nn.Module:
    """A quick network that finds what is brighter in red than in blue, such as the photo's ellipse."""
    conv = nn.Conv2d(3, 1, 3, padding=1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([3.0, 0.0, -3.0])[None, :, None, None] / 9)
        conv.bias.zero_()
    return conv.eval()


@pytest.fixture(scope="module")
def served() -> Served:
    return Served(interactify.wrap(network(), propagation="none"))


@pytest.fixture
def context() -> SimpleNamespace:
    """What nuclio passes, as far as a handler uses it."""
    return SimpleNamespace(logger=Logger(), Response=lambda **given: SimpleNamespace(**given))


def encoded(photo: np.ndarray, form: str = "PNG", **options: Any) -> str:
    stored = io.BytesIO()
    Image.fromarray(photo).save(stored, form, **options)
    return base64.b64encode(stored.getvalue()).decode("ascii")


def body(photo: np.ndarray, pos: Any = (), neg: Any = (), box: Any = None) -> dict[str, Any]:
    """A request as CVAT's server passes it on to nuclio."""
    return {"image": encoded(photo), "pos_points": list(pos), "neg_points": list(neg), "obj_bbox": box}


def mask_of(text: str) -> np.ndarray:
    return np.array(json.loads(text)["mask"], np.uint8).astype(bool)


@pytest.mark.parametrize("shape", [(72, 100), (100, 72), (40, 200)])
def test_a_click_on_a_rectangular_photo(served: Served, photo: np.ndarray, shape: tuple[int, int]):
    resized = np.array(Image.fromarray(photo).resize(shape[::-1]))
    x, y = 0.55 * shape[1] + 0.3, 0.42 * shape[0]
    mask = mask_of(answered(served, body(resized, pos=[[x, y]])))
    assert mask.shape == shape and mask[int(y), int(x)]
    without = mask_of(answered(served, body(resized, pos=[[x, y]], neg=[[2.5, shape[0] - 1.5]])))
    assert without[int(y), int(x)] and not without[shape[0] - 2, 2]


def test_a_click_gives_the_sessions_mask(served: Served, photo: np.ndarray):
    mask = mask_of(answered(served, body(photo, pos=[[55.7, 30.2]], neg=[[5.0, 60.9]])))
    session = served.network.net.session(photo)
    alone = session.add([interactify.Click(55, 30), interactify.Click(5, 60, positive=False)])
    assert np.array_equal(mask, alone.mask)


def test_points_on_every_border_mean_the_pixels_there(served: Served, photo: np.ndarray):
    corners = {(0, 0): (0, 0), (100, 0): (0, 99), (0, 72): (71, 0), (100, 72): (71, 99)}
    for point, pixel in corners.items():
        mask = mask_of(answered(served, body(photo, pos=[[55, 30]], neg=[list(point)])))
        assert not mask[pixel] and mask[30, 55]
        assert mask_of(answered(served, body(photo, pos=[list(point)])))[pixel]


@pytest.mark.parametrize("box", [[[25, 8], [86, 53]], [[86, 53], [25, 8]], [25, 8, 86, 53]])
def test_a_box_alone(served: Served, photo: np.ndarray, box: Any):
    mask = mask_of(answered(served, body(photo, box=box)))
    inside = np.zeros_like(mask)
    inside[8:53, 25:86] = True
    assert mask[30, 55] and not (mask & ~inside).any()


@pytest.mark.parametrize("box", [[[25, 8], [40, 30], [86, 53], [60, 20]], [25, 8, 40, 30, 86, 53, 60, 20]])
def test_two_boxes_are_read_as_the_box_around_them(served: Served, photo: np.ndarray, box: Any):
    around = mask_of(answered(served, body(photo, box=[[25, 8], [86, 53]])))
    assert np.array_equal(mask_of(answered(served, body(photo, box=box))), around)


def test_a_picture_of_16_bits_keeps_its_depth(served: Served, photo: np.ndarray):
    """As the library reads the file; in eight bits it would be white everywhere."""
    deep = photo.mean(2).astype(np.uint16) * 100 + 300
    mask = mask_of(answered(served, body(deep, pos=[[55.7, 30.2]])))
    assert np.array_equal(mask, served.network.net.session(deep).click(55, 30).mask) and not mask.all()


def test_a_box_beyond_the_photo_is_cut_and_one_outside_is_refused(served: Served, photo: np.ndarray):
    mask = mask_of(answered(served, body(photo, box=[[-20, -5], [150, 90]])))
    assert mask.shape == (72, 100)
    with pytest.raises(InteractionError, match="lies in the photo"):
        answered(served, body(photo, box=[[120, 5], [150, 30]]))


def test_a_request_without_prompts_gets_the_networks_own_prediction(served: Served, photo: np.ndarray):
    own = served.network.net.session(photo).result.mask
    assert np.array_equal(mask_of(answered(served, body(photo, box=[]))), own)
    assert np.array_equal(mask_of(answered(served, json.dumps(body(photo)).encode())), own)


def test_the_rotation_in_a_file_is_applied(served: Served, photo: np.ndarray):
    exif = Image.Exif()
    exif[0x0112] = 6
    request = {**body(photo), "image": encoded(photo, "JPEG", exif=exif)}
    assert mask_of(answered(served, request)).shape == (100, 72)


def test_the_photo_stays_open_between_requests(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    served = Served(interactify.wrap(network(), propagation="none"))
    opened = []
    session = type(served.network.net).session
    monkeypatch.setattr(type(served.network.net), "session", lambda *a, **k: opened.append(1) or session(*a, **k))
    first = answered(served, body(photo, pos=[[55, 30]]))
    others = [photo[::-1].copy(), photo[:, ::-1].copy()]
    for other in (photo, others[0], photo):
        answered(served, body(other, neg=[[5, 5]]))
    assert len(opened) == 2 and answered(served, body(photo, pos=[[55, 30]])) == first
    for other in (*others, photo):
        answered(served, body(other))
    assert len(opened) == 4, "two photos stay open, and no more"


BROKEN = {
    "no JSON": (b"\xff{", "JSON"),
    "a list": ([1], "Expected a request"),
    "no image": ({"pos_points": []}, "base64"),
    "no base64": ({"image": "§"}, "base64"),
    "no picture": ({"image": base64.b64encode(b"text").decode()}, "picture file"),
    "points that are numbers": ({"pos_points": [1, 2]}, r"\[\[x, y\], …\]"),
    "points that are text": ({"pos_points": [["a", 2]]}, "number of pixels"),
    "NaN": ({"neg_points": [[float("nan"), 2]]}, "finite"),
    "outside": ({"pos_points": [[100.5, 2]]}, "from 0 to 100"),
    "below": ({"neg_points": [[3, -0.1]]}, "from 0 to 72"),
    "half a box": ({"obj_bbox": [[1, 2]]}, "obj_bbox"),
    "a box of text": ({"obj_bbox": "all"}, "obj_bbox"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_invalid_request_is_a_400_with_the_reason(kind, photo, tmp_path, context, served):
    broken, reason = BROKEN[kind]
    whole = {**body(photo), **broken} if isinstance(broken, dict) and "image" not in broken else broken
    if kind == "no image":
        whole = broken
    function = Function(tmp_path / "network.json")
    function.served = served
    response = function.handler(context, SimpleNamespace(body=whole))
    assert response.status_code == 400 and response.content_type == "application/json"
    with pytest.raises((InteractionError, PhotoError), match=reason):
        answered(served, whole)
    assert json.loads(response.body)["error"] in " ".join(context.logger.lines).replace("\n", " ")


def test_a_network_that_fails_is_a_500(photo: np.ndarray, tmp_path: Path, context: SimpleNamespace, served: Served):
    class Failing(Served):
        def segment(self, *_: Any) -> Any:
            raise NonFiniteError("NaN")

    function = Function(tmp_path / "network.json")
    function.served = Failing(served.network.net)
    assert function.handler(context, SimpleNamespace(body=body(photo))).status_code == 500
    assert status_of(InteractionError("")) == 400


def test_masks_as_text():
    mask = np.random.default_rng(0).random((7, 9)) > 0.5
    assert mask_text(mask) == json.dumps(mask.astype(int).tolist(), separators=(",", ":"))


def test_the_folder_has_all_that_the_function_needs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["cvat-function", "out", "--resolution", "96", "--mean", "0.5,0.5,0.5"]) == 0
    out = capsys.readouterr().out
    assert "nuctl deploy" in out and "--torch-index" in out
    spec = yaml.safe_load(Path("out/function.yaml").read_text())
    notes = spec["metadata"]["annotations"]
    assert notes["type"] == "interactor" and all(isinstance(note, str) for note in notes.values())
    assert json.loads(notes["spec"]) == [] and notes["min_pos_points"] == "0" and "startswith_box" not in notes
    runs = [each["value"] for each in spec["spec"]["build"]["directives"]["preCopy"] if each["kind"] == "RUN"]
    assert runs[0].endswith("install --no-cache-dir torch torchvision")
    assert "segmentation-models-pytorch" in runs[1] and " torch" not in runs[1]
    assert "resources" not in spec["spec"]
    assert Path("out/interactify/adapters/__init__.py").is_file() and not list(Path("out").rglob("*.pyc"))


@pytest.mark.slow
def test_another_process_responds_from_the_folder(photo, tmp_path, monkeypatch, capsys):
    """As in the container, it imports the folder's copy of the package."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["cvat-function", "out", "--resolution", "96"]) == 0
    capsys.readouterr()
    Path("request.json").write_text(json.dumps(body(photo, pos=[[55, 30]])))
    code = """
import json, types, main, interactify
class Context:
    Response = staticmethod(lambda **given: types.SimpleNamespace(**given))
    logger = types.SimpleNamespace(info=print, warn=print)
main.init_context(Context)
response = main.handler(Context, types.SimpleNamespace(body=json.load(open("../request.json"))))
print(interactify.__file__)
print(response.status_code, len(json.loads(response.body)["mask"]), main.function.served.network.net.spec.resolution)
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd="out", capture_output=True, text=True, env={})
    assert ran.returncode == 0, ran.stderr
    *_, file, response = ran.stdout.splitlines()
    assert Path(file).parent == (tmp_path / "out" / "interactify").resolve() and response == "200 72 96"


def test_weights_and_modules_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("network_for_cvat.py").write_text("from torch import nn\ndef build():\n    return nn.Conv2d(3, 1, 1)\n")
    assert cli.main(["cvat-function", "one", "--model", "network_for_cvat:build", "--gpu", "--name", "My cells"]) == 0
    assert Path("one/network_for_cvat.py").is_file()
    spec = yaml.safe_load(Path("one/function.yaml").read_text())
    assert spec["metadata"]["name"] == "interactify-my-cells"
    assert spec["spec"]["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert "--index-url" not in Path("one/function.yaml").read_text()

    name = "linknet/mobilenet_v2,encoder_depth=3"
    model = build_model(name)
    torch.save(model.state_dict(), "mine.pt")
    assert cli.main(["cvat-function", "two", "--model", f"{name}@mine.pt", "--requirement", "albumentations",
                     "--torch-index", "https://wheels.example.org/cpu"]) == 0  # fmt: skip
    assert json.loads(Path("two/network.json").read_text())["model"] == f"{name}@weights/mine.pt"
    written = Path("two/function.yaml").read_text()
    assert "albumentations" in written
    assert "pip install --no-cache-dir torch torchvision --index-url https://wheels.example.org/cpu\n" in written
    Path("mine.pt").unlink()
    built = served_from(Path("two/network.json")).network.net
    assert torch.equal(next(iter(built.model.parameters())), next(iter(model.parameters())))
    capsys.readouterr()


NAME = "linknet/mobilenet_v2,encoder_depth=3"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The bytes of mine.pt in the current folder, which is a new one: weights for NAME."""
    monkeypatch.chdir(tmp_path)
    torch.save(build_model(NAME).state_dict(), "mine.pt")
    return Path("mine.pt").read_bytes()


def deployed() -> list[str]:
    return sorted(path.name for path in Path("out/weights").iterdir())


def test_weights_already_in_the_folder_stay_there(weights: bytes, capsys):
    Path("out/weights").mkdir(parents=True)
    Path("mine.pt").rename("out/weights/mine.pt")
    Path("out/network.json").write_text("{}")
    for _ in range(2):
        assert cli.main(["cvat-function", "out", "--model", f"{NAME}@out/weights/mine.pt"]) == 0, capsys.readouterr()
        assert Path("out/weights/mine.pt").read_bytes() == weights
        assert json.loads(Path("out/network.json").read_text())["model"] == f"{NAME}@weights/mine.pt"
    assert cli.main(["cvat-function", "out"]) == 2, "another network does not need the user's own file"
    assert "Move it elsewhere" in capsys.readouterr().err and Path("out/weights/mine.pt").read_bytes() == weights


def test_a_folder_of_weights_already_in_the_folder_stays_there(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    build_model(NAME).save_pretrained("out/weights/mine")
    Path("out/network.json").write_text("{}")
    files = {path: path.read_bytes() for path in Path("out/weights/mine").iterdir()}
    monkeypatch.chdir("out")
    for source in ("weights/mine", str(tmp_path / "out" / "weights" / "mine")):
        assert cli.main(["cvat-function", ".", "--model", f"@{source}"]) == 0, capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert files and {path: path.read_bytes() for path in Path("out/weights/mine").iterdir()} == files


def test_copied_weights_of_another_network_are_deleted(weights: bytes, capsys):
    """Files of the user are neither deployed nor deleted, whatever their name."""
    Path("other.pt").write_bytes(weights)
    for name in ("mine.pt", "other.pt", "mine.pt"):
        assert cli.main(["cvat-function", "out", "--model", f"{NAME}@{name}"]) == 0
        assert deployed() == [name] and Path("mine.pt").is_file() and Path("other.pt").is_file()
    Path("out/weights/of others.txt").write_text("keep")
    assert cli.main(["cvat-function", "out", "--model", f"{NAME}@other.pt"]) == 2
    assert "found of others.txt" in capsys.readouterr().err and deployed() == ["mine.pt", "of others.txt"]
    Path("out/weights/of others.txt").unlink()
    assert cli.main(["cvat-function", "out"]) == 0 and deployed() == []
    Path("out/weights/mine.pt").write_text("another one")
    assert cli.main(["cvat-function", "out", "--model", f"{NAME}@mine.pt"]) == 2
    assert Path("out/weights/mine.pt").read_text() == "another one"


def test_a_failed_copy_deletes_nothing(weights: bytes, monkeypatch: pytest.MonkeyPatch, capsys):
    assert cli.main(["cvat-function", "out", "--model", f"{NAME}@mine.pt"]) == 0
    files = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}

    def full(source: Any, target: Any, **_: Any) -> None:
        raise OSError(28, "No space left on device")

    for copying in ("copyfile", "copytree"):
        with monkeypatch.context() as patched:
            patched.setattr(f"interactify.tools.cvat_folder.shutil.{copying}", full)
            assert cli.main(["cvat-function", "out", "--model", f"{NAME}@mine.pt"]) == 2
        assert "No space left" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == files


def test_a_source_that_holds_the_folder_or_is_in_the_replaced_one_is_not_copied(weights: bytes, capsys):
    Path("out/weights/mine.pt").mkdir(parents=True)
    Path("mine.pt").rename("out/weights/mine.pt/mine.pt")
    Path("out/network.json").write_text("{}")
    assert cli.main(["cvat-function", "out", "--model", f"{NAME}@out/weights/mine.pt/mine.pt"]) == 2
    assert "found mine.pt" in capsys.readouterr().err
    assert Path("out/weights/mine.pt/mine.pt").read_bytes() == weights
    build_model(NAME).save_pretrained("all")
    Path("all/out").mkdir()
    assert cli.main(["cvat-function", "all/out", "--model", "@all"]) == 2
    assert "one holds the other" in capsys.readouterr().err and Path("all/config.json").is_file()
    Path("main.py").write_text("from torch import nn\ndef build():\n    return nn.Conv2d(3, 1, 1)\n")
    assert cli.main(["cvat-function", "new", "--model", "main:build"]) == 2
    assert "what nuclio calls" in capsys.readouterr().err and not Path("new").exists()


@pytest.mark.slow
def test_the_package_in_the_folder_writes_it_again(tmp_path: Path, monkeypatch, capsys):
    """From inside, where Python imports the copy: it would be copied to itself, and stays."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["cvat-function", "out"]) == 0
    files = {path for path in Path("out").rglob("*.py")}
    again = [sys.executable, "-m", "interactify.cli", "cvat-function", ".", "--name", "Again"]
    ran = subprocess.run(again, cwd="out", capture_output=True, text=True, env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert ran.returncode == 0, ran.stderr
    assert {path for path in Path("out").rglob("*.py")} == files and "Again" in Path("out/function.yaml").read_text()
    capsys.readouterr()


def test_other_folders_are_left_alone_and_its_own_is_written_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("theirs").mkdir()
    Path("theirs/notes.txt").write_text("keep")
    assert cli.main(["cvat-function", "theirs"]) == 2
    assert "holds other files" in capsys.readouterr().err and list(Path("theirs").iterdir()) == [
        Path("theirs/notes.txt")
    ]
    assert cli.main(["cvat-function", "own", "--model", "no/such"]) == 2 and not Path("own").exists()
    with pytest.raises(OptionError, match="cvat-function"):
        served_from(tmp_path / "network.json")


def test_nuclios_own_types_fit(photo: np.ndarray, tmp_path: Path, served: Served):
    nuclio_sdk = pytest.importorskip("nuclio_sdk", reason="needs nuclio's SDK: pip install nuclio-sdk")
    function = Function(tmp_path / "network.json")
    function.served = served
    context = nuclio_sdk.Context(logger=nuclio_sdk.Logger("ERROR"))
    sent = json.dumps(body(photo, pos=[[55, 30]]))
    event = {  # as nuclio's processor writes it
        "body": json.loads(sent), "content_type": "application/json", "trigger": {"kind": "http", "name": "t"},
        "fields": {}, "headers": {}, "id": "1", "method": "POST", "path": "/", "size": len(sent), "timestamp": 0,
        "url": "", "shard_id": 0, "num_shards": 1, "type": "", "type_version": "", "version": "",
    }  # fmt: skip
    events = importlib.import_module("nuclio_sdk.event")
    deserialized = events.Event.deserialize(json.dumps(event), events.EventDeserializerKinds.json)
    response = function.handler(context, deserialized)
    encoder = json.dumps
    returned = nuclio_sdk.Response.from_entrypoint_output(encoder, response)
    assert returned["status_code"] == 200 and mask_of(returned["body"])[30, 55]
