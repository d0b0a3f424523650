"""Which normalisation, size and fit fit a network: the right answer is known, since the networks are made for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import interactify
from interactify import cli
from interactify.errors import OptionError
from interactify.network.input_report import InputCheck, InputRow
from tests.fixtures import networks

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RIGHT: list[dict[str, Any]] = [
    {"mean": IMAGENET[0], "std": IMAGENET[1]},
    {"mean": 0.5, "std": 0.5},
    {"mean": 0.5, "std": 1.0},
    {"mean": 0.0, "std": 1 / 255},
    {"mean": IMAGENET[0], "std": IMAGENET[1], "bgr": True},
    {"mean": 1.0, "std": -1.0},
]


class Remembering(nn.Module):
    """Batch norms that remember photos of one normalisation; its one class is what is bright."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.deep, self.second = nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12)
        self.head = nn.Conv2d(12, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.second(self.deep(torch.relu(self.norm(self.stem(x)))))))


def photos(count: int = 4, channels: int = 3) -> list[np.ndarray]:
    """Smooth photos in warm colours, so that red and blue differ."""
    found = []
    for seed in range(count):
        grain = networks.random_tensor(1, 3, 6, 8, seed=seed)
        smooth = nn.functional.interpolate(grain, size=(48, 64), mode="bicubic")[0].permute(1, 2, 0).numpy()
        warm = np.clip((smooth * 0.15 + [0.6, 0.45, 0.3]) * 255, 0, 255).astype(np.uint8)
        found.append(warm if channels == 3 else warm[..., :1])
    return found


def trained(right: dict[str, Any], channels: int = 3) -> nn.Module:
    """A network whose batch norms have seen photos of this normalisation."""
    model = networks.seeded(lambda: Remembering(channels)).train()
    mean, std = (torch.tensor(right[key]).view(-1, 1, 1) for key in ("mean", "std"))
    for norm in (model.norm, model.second):
        norm.momentum = None  # the plain mean of all batches
    with torch.no_grad():
        for photo in photos(8, channels):
            image = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
            model(((image.flip(1) if right.get("bgr") else image) - mean) / std)
    return model.eval()


@pytest.mark.parametrize("right", RIGHT, ids=str)
def test_batch_norms_tell_the_normalisation(right: dict[str, Any]) -> None:
    wrong = {"mean": 0.5, "std": 0.5} if right["mean"] != 0.5 else {"mean": 0.0, "std": 1.0}
    net = interactify.wrap(trained(right), **wrong, resolution=64)
    check = net.check_normalisation(photos())
    assert check.by_statistics and check.options is not None
    assert {"bgr": False, **check.options} == {"bgr": False, **right}
    assert check.rows[0].distance is not None and check.rows[0].distance < 0.1 and check.rows[0].wins >= 0.9
    last = str(check).splitlines()[-1]
    assert last.startswith("Write in wrap(): mean=")
    # What it says to write can be written, and is right.
    options = eval(f"dict({last.removeprefix('Write in wrap(): ')})")
    again = interactify.wrap(trained(right), **options, resolution=64).check_normalisation(photos())
    assert "as wrapped" in again.rows[0].name and "Best as it is wrapped" in str(again)


def test_what_it_is_wrapped_with_is_a_candidate() -> None:
    own = {"mean": (0.3, 0.2, 0.1), "std": (0.4, 0.6, 0.5)}
    check = interactify.wrap(trained(own), **own, resolution=64).check_normalisation(photos())
    assert check.rows[0].name == "as wrapped" and len(check.rows) == 13
    assert str(check).endswith("Best as it is wrapped: mean=(0.3, 0.2, 0.1), std=(0.4, 0.6, 0.5), bgr=False")


@pytest.mark.parametrize("right", [{"mean": 1.0, "std": -1.0}, {"mean": 0.5, "std": 0.5}], ids=str)
def test_grey(right: dict[str, Any]) -> None:
    net = interactify.wrap(trained(right, 1), mean=0, std=1, resolution=64)
    check = net.check_normalisation([photo[..., 0] for photo in photos(channels=1)])
    assert check.options is not None and (check.options["mean"], check.options["std"]) == (right["mean"], right["std"])


def test_an_untrained_network_cannot_tell() -> None:
    model = networks.seeded(Remembering)
    check = interactify.wrap(model, mean=0.5, std=0.5, resolution=64).check_normalisation(photos())
    assert not check.by_statistics and all(row.distance is None for row in check.rows)
    constant = networks.seeded(networks.Plain)
    nn.init.zeros_(constant.head.weight)
    check = interactify.wrap(constant, mean=0.5, std=0.5, resolution=64).check_normalisation(photos())
    assert check.options is None and "with none are the predictions stable" in str(check)
    assert all(row.stable == 0 and row.sure > 0.5 for row in check.rows)  # sure of nothing, and that is not rewarded


def test_without_batch_norms_stable_predictions_tell() -> None:
    """Bright is the object, where a pixel is a number from 0 to 1; the maps of larger numbers turn with every edge."""

    class Bright(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.Conv2d(3, 1, 1)
            nn.init.constant_(self.mean.weight, 1 / 3)
            nn.init.constant_(self.mean.bias, 0)

        def forward(self, x: Tensor) -> Tensor:
            grey = self.mean(x)
            return torch.where(grey.abs() <= 1, grey - 0.45, torch.sin(1e4 * grey))

    check = interactify.wrap(networks.seeded(Bright), mean=0, std=1 / 255, resolution=64).check_normalisation(photos())
    assert not check.by_statistics
    named = {row.name: row for row in check.rows}
    assert named["0 to 1"].stable > 0.8 > 0.3 > named["0 to 255 (as wrapped)"].stable
    assert check.rows[0].stable == max(row.stable for row in check.rows)


def test_several_classes_and_labels_that_do_not_exclude_each_other() -> None:
    several = interactify.wrap(networks.seeded(lambda: networks.Plain(classes=4)), mean=0.5, std=0.5, resolution=64)
    independent = interactify.wrap(
        networks.seeded(lambda: nn.Sequential(networks.Plain(classes=4), nn.Sigmoid())),
        mean=0.5,
        std=0.5,
        resolution=64,
    )
    for net in (several, independent):
        check = net.check_normalisation(photos(3))
        assert len(check.rows) == 12 and all(0.25 <= row.sure <= 1 and -1 <= row.stable <= 1 for row in check.rows)


class Sized(nn.Module):
    """Knows objects of 8 pixels only: a blob filter of that size."""

    def __init__(self) -> None:
        super().__init__()
        self.blob = nn.Conv2d(3, 1, 17, padding=8)
        distance = torch.hypot(*torch.meshgrid(torch.arange(17.0) - 8, torch.arange(17.0) - 8, indexing="ij"))
        disc, ring = (distance < 4).float(), ((distance >= 4) & (distance < 6)).float()
        with torch.no_grad():
            self.blob.weight.copy_((disc / disc.sum() - ring / ring.sum())[None, None].expand(1, 3, 17, 17) * 10)
            self.blob.bias.fill_(-14.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.blob(x)


def ovals(size: tuple[int, int], high: int, wide: int) -> list[np.ndarray]:
    """Photos with a bright oval of these half-axes, in several places."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    found = []
    for x, y in ((0.3, 0.4), (0.5, 0.5), (0.7, 0.6), (0.4, 0.6)):
        inside = np.hypot((rows - y * size[0]) / high, (columns - x * size[1]) / wide) < 1
        found.append(np.repeat(np.where(inside, 230, 20)[..., None], 3, 2).astype(np.uint8))
    return found


def test_the_size_at_which_it_knows_its_objects() -> None:
    net = interactify.wrap(networks.seeded(Sized), mean=0, std=1, resolution=128)
    check = net.check_size(ovals((64, 128), 8, 8), resolutions=[64])  # 16 pixels wide: 8 at half the size
    assert check.rows[0].name == "64, letterbox" and not check.by_statistics
    assert check.options == {"resolution": 64, "fit": "letterbox"}
    assert str(check).endswith("Write in wrap(): resolution=64, fit='letterbox'")
    assert interactify.wrap(networks.seeded(Sized), mean=0, std=1, **check.options).spec.resolution == 64


def test_squashing_is_compared_too() -> None:
    net = interactify.wrap(networks.seeded(Sized), mean=0, std=1, resolution=64)
    check = net.check_size(ovals((32, 128), 2, 8), resolutions=[64])  # round in a square
    assert [row.name for row in check.rows] == ["64, squash", "64, letterbox (as wrapped)"]
    assert check.rows[0].stable > check.rows[1].stable


def test_sizes_that_it_does_not_accept_are_left_out() -> None:
    class Square(networks.Plain):
        def forward(self, x: Tensor) -> Any:
            if x.shape[-1] > 128:
                raise ValueError("too large")
            return super().forward(x)

    model = networks.seeded(Square)
    model.pretrained_cfg = {"input_size": (3, 96, 96), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    names = {row.name for row in interactify.wrap(model).check_size(photos(3), resolutions=[64, 256]).rows}
    assert names == {"96, letterbox (as wrapped)", "64, letterbox", "64, squash"}


@pytest.mark.parametrize("given", [[], "photos", None, 3], ids=str)
def test_no_photos(given: Any) -> None:
    net = interactify.wrap(networks.seeded(networks.Plain), mean=0.5, std=0.5)
    for check in (net.check_normalisation, net.check_size):
        with pytest.raises(OptionError, match="list of photos"):
            check(given)
    with pytest.raises(OptionError, match="resolutions"):
        net.check_size(photos(1), resolutions=[64, 0])


def row(name: str, stable: float = 0.8, distance: float | None = None, wins: float = 0.0) -> InputRow:
    return InputRow(name, {"mean": 0.5, "std": 0.25}, stable, 0.9, distance, wins)


@pytest.mark.parametrize(
    ("rows", "photos", "by_statistics", "doubt"),
    [
        ([row("a", wins=0.95), row("b", 0.5, wins=0.05)], 5, False, ""),
        ([row("a", wins=0.95), row("b", 0.5, wins=0.05)], 2, False, "2 photos are too few"),
        ([row("a", 0.2, wins=1.0), row("b", 0.1)], 5, False, "with none are the predictions stable"),
        ([row("a", 0.1, 0.01, 1.0), row("b", 0.2, 0.5)], 5, True, ""),
        ([row("a", 0.1, 0.01, 1.0), row("b", 0.6, 0.5)], 5, True, "far more stable with b"),
        ([row("a", wins=0.6), row("b", 0.7, wins=0.4)], 5, False, "a and b are too close: more photos"),
    ],
)
def test_when_it_can_be_told(rows: list[InputRow], photos: int, by_statistics: bool, doubt: str) -> None:
    check = InputCheck("normalisation", tuple(rows), photos, 0.9, by_statistics)
    assert bool(check.doubt) == bool(doubt) and doubt in check.doubt
    assert (check.options is None) == bool(doubt)
    assert str(check).splitlines()[-1].startswith("Can't tell" if doubt else "Write in wrap(): mean=0.5, std=0.25")


def test_a_close_race_says_whether_it_matters() -> None:
    check = InputCheck("size", (row("a", wins=0.6), row("b", 0.7, wins=0.4)), 5, 0.99, False)
    assert "their masks are nearly the same, so it matters little" in check.doubt


@pytest.mark.filterwarnings("always:Assumed")
def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    for index, photo in enumerate(photos(3)):
        Image.fromarray(photo).save(tmp_path / f"{index}.png")
    model = trained({"mean": 0.5, "std": 0.5})
    monkeypatch.setattr("interactify.models.build.build_model", lambda name: model)
    words = ["inspect", "--model", "mine", "--photos", str(tmp_path), "--resolution", "64"]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert "Write in wrap(): mean=0.5, std=0.5" in out and "64, letterbox (as wrapped)" in out
    assert re.search(r"^interactify: warning: Assumed ImageNet's mean and deviation as the normalisation of Remem", err)
    assert cli.main(["inspect", "--model", "mine", "--photos", str(tmp_path / "none")]) == 2


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("right", RIGHT[:4], ids=str)
def test_the_embedded_network_made_for_another_normalisation(data_root: Path, right: dict[str, Any]) -> None:
    inside = networks.slim_saliency()

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = inside

        def forward(self, x: Tensor) -> Tensor:
            mean, std, own_mean, own_std = (
                torch.tensor(value).view(-1, 1, 1) for value in (right["mean"], right["std"], *IMAGENET)
            )
            return self.inside((x * std + (mean - own_mean)) * (1 / own_std))

    found = sorted((data_root / "GrabCut50" / "images").iterdir())[::5]
    check = interactify.wrap(Other(), mean=0.1, std=0.9, resolution=192).check_normalisation(found)
    assert check.options is not None and {"bgr": False, **check.options} == {"bgr": False, **right}
