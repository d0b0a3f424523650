"""The gallery of real networks: its pictures, its figures, and its pages are what a run gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import interactify
from benchmarks import support_report
from benchmarks.real_networks import NETWORKS, RealNetwork, gallery, gallery_page
from benchmarks.real_networks import __main__ as command
from benchmarks.real_networks.pictures import SCENES, Scene
from interactify.evaluation import Sample, iou


class Bright(nn.Module):
    """Logits that follow brightness: a segmentation network of three weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.stem.weight, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.stem(x)


def doubled(raw: Any) -> Tensor:
    """Another map."""
    return raw * 2


NETWORK = RealNetwork(
    "bright",
    "pypi bright==1.0",
    "MIT",
    "what is bright",
    load=lambda folder: Bright(),
    options={"output": doubled, "mean": 0.5, "std": 128 / 255},
    source="its README",
)


def scene() -> Scene:
    """Two squares, of which the network sees one."""
    photo = np.full((48, 64, 3), 60, np.uint8)
    photo[8:24, 8:24], photo[24:44, 36:60] = 220, 90
    truth = np.zeros((48, 64), np.int8)
    truth[8:24, 8:24] = truth[24:44, 36:60] = 1
    return Scene(
        Sample("squares", photo, truth), "two squares", "both", note="A note.", instead={"propagation": "none"}
    )


@pytest.fixture
def entry(tmp_path: Path) -> dict[str, Any]:
    return gallery.play(NETWORK, NETWORK.load(tmp_path), scene(), tmp_path / "images")


def test_a_network_is_clicked_where_it_is_wrong(entry: dict[str, Any], tmp_path: Path) -> None:
    squares = 16 * 16, 20 * 24
    assert entry["iou"][0] == pytest.approx(squares[0] / sum(squares), abs=0.01)  # the bright one of both
    x, y, positive = entry["clicks"][0]
    assert positive and 36 <= x < 60 and 24 <= y < 44
    assert entry["iou"][1] > entry["iou"][0] and entry["parameters"] == 3 and entry["stem"] == "stem"
    assert len(entry["iou"]) == 1 + len(entry["clicks"]) == 1 + len(entry["seconds"]) == 1 + len(entry["evaluations"])
    json.dumps(entry)
    assert entry["instead"]["options"] == 'propagation="none"' and entry["instead"]["iou"][0] == entry["iou"][0]

    net = interactify.wrap(Bright(), **NETWORK.options)
    session = net.session(scene().sample.photo)
    mask = session.click(x, y, positive).mask
    assert entry["iou"][1] == round(iou(scene().sample.truth, mask), 4)

    sheet = tmp_path / "images" / "bright.webp"
    assert sheet.stat().st_size <= gallery.LARGEST and Image.open(sheet).width == gallery.WIDTH


def test_options_are_written_as_one_writes_them() -> None:
    lines = gallery.code({"mean": 128 / 255, "std": (0.5, 1.0), "bgr": True, "class_names": ("hair",)}, "hair")
    assert lines == (
        'net = interactify.wrap(model, mean=128 / 255, std=(0.5, 1.0), bgr=True, class_names=("hair",))\n'
        'session = net.session(photo, target="hair")'
    )


def test_the_lines_that_wrap_it_run(entry: dict[str, Any]) -> None:
    assert "std=128 / 255" in entry["code"] and "\ndef doubled" in entry["code"]
    names: dict[str, Any] = {"interactify": interactify, "model": Bright(), "photo": scene().sample.photo}
    exec(entry["code"], names)
    assert names["session"].result.mask[10, 10] and not names["session"].result.mask[30, 40]


def test_a_sheet_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="more than 50 bytes"):
        gallery.write_sheet(tmp_path / "noise.webp", noise, largest=50)


@pytest.mark.parametrize(
    ("curve", "satisfied", "expected"),
    [
        ([0.5, 0.7, 0.9, 0.95], [True] * 3, "IoU 0.500 → 0.950."),
        (
            [0.9, 0.8, 0.85, 0.7],
            [True, False, False],
            "**The clicks made it worse**: IoU 0.900 → 0.700. After click 2 and 3 not",
        ),
        ([0.5, 0.4, 0.9, 0.9], [True] * 3, "IoU 0.500 → 0.900. Worse than before it after click 1."),
        ([0.9, 0.902, 0.903, 0.903], [True] * 3, "The clicks changed little"),
        ([1.0], [], "There was nothing to click."),
    ],
)
def test_the_page_says_where_clicks_do_not_help(curve: list[float], satisfied: list[bool], expected: str) -> None:
    assert gallery_page.verdict({"iou": curve, "satisfied": satisfied}).startswith(expected)


def test_one_command_writes_the_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network that is not run again, the earlier entry stays."""
    for name in ("PAGE", "RESULTS"):
        monkeypatch.setattr(gallery_page, name, tmp_path / name)
    monkeypatch.setattr(support_report, "PAGE", tmp_path / "support.md")
    monkeypatch.setattr(command, "NETWORKS", {"bright": NETWORK, "other": NETWORK})
    monkeypatch.setattr(command, "SCENES", {"bright": scene})
    (tmp_path / "bright").mkdir()  # the package is there
    earlier = {**gallery.play(NETWORK, Bright(), scene(), tmp_path), "name": "other"}
    gallery_page.keep([earlier], ["other"])

    command.write_gallery(["bright"], tmp_path, tmp_path / "images")

    entries = gallery_page.read()
    assert [entry["name"] for entry in entries] == ["bright", "other"] and entries[1] == earlier
    page = (tmp_path / "PAGE").read_text(encoding="utf-8")
    assert "## Bright" in page and "**Trained for**: what is bright." in page
    assert (
        'A note. With `propagation="none"` the same user gets IoU 0.' in page
        and "PyPI `bright==1.0`; licence: MIT" in page
    )
    assert "clicks](images/bright.webp)" in page and (tmp_path / "images/bright.webp").exists()
    row = f"| bright: PyPI `bright==1.0` | what is bright | 0.0 M | `stem` | {entries[0]['iou'][0]:.3f} |"
    assert row in page and row in (tmp_path / "support.md").read_text(encoding="utf-8")


def test_the_pages_are_those_of_the_results() -> None:
    """What is typed by hand is lost at the next run."""
    entries = gallery_page.read()
    assert [entry["name"] for entry in entries] == list(NETWORKS) == list(SCENES)
    assert gallery_page.PAGE.read_text(encoding="utf-8") == gallery_page.page(entries)
    summary = json.loads(support_report.SUMMARY.read_text(encoding="utf-8"))
    page = support_report.page(summary["networks"], summary["versions"], entries)
    assert support_report.PAGE.read_text(encoding="utf-8") == page
    for entry in entries:
        assert (gallery_page.IMAGES / f"{entry['name']}.webp").stat().st_size <= gallery.LARGEST
        network, shown = NETWORKS[entry["name"]], SCENES[entry["name"]]()
        assert entry["code"] == gallery.code({**network.options, **shown.options}, shown.sample.target)


@pytest.mark.parametrize("name", SCENES)
def test_a_picture_has_its_truth(name: str) -> None:
    shown = SCENES[name]()
    photo, truth = shown.sample.photo, shown.sample.truth
    assert isinstance(photo, np.ndarray) and photo.dtype == np.uint8 and photo.shape[:2] == truth.shape
    assert set(np.unique(truth)) == {-1, 0, 1} and 0.005 < (truth == 1).mean() < 0.8
    assert shown.picture and shown.truth


def test_a_network_of_one_channel_is_clicked_by_the_command_too(tmp_path: Path) -> None:
    class Grey(Bright):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 1, 1)

    torch.manual_seed(0)
    (tmp_path / "grey").mkdir()
    network = RealNetwork(
        "grey", "pypi grey==1", "MIT", "", load=lambda folder: Grey(), options={"mean": 0.5, "std": 0.5}
    )
    assert "stem stem" in command.line(network, tmp_path, resolution=64)
