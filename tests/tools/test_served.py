"""A network behind a server: a file's bytes give the same photo as its path, and photos stay open."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import interactify
from interactify import Box, Click
from interactify.errors import OptionError
from interactify.pictures.decode import read_photo
from interactify.predictor.prompts import Prompt
from interactify.session.session import Session
from interactify.tools.served import Served, image_of

ROWS, COLUMNS = np.mgrid[:60, :80]


def picture(kind: str) -> tuple[Image.Image, str]:
    """A picture of a mode that is not simply colours, and the name of a file for it."""
    grey = Image.fromarray((COLUMNS * 3).astype(np.uint8))
    if kind == "16 bits":
        return Image.fromarray((1000 + COLUMNS * 400).astype(np.uint16)), "a.png"
    if kind == "float":
        return Image.fromarray((COLUMNS / 80).astype(np.float32)), "a.tif"
    if kind == "grey and alpha":
        return Image.merge("LA", [grey, Image.fromarray((ROWS * 4).astype(np.uint8))]), "a.png"
    if kind == "colours and alpha":
        return Image.merge("RGBA", [grey, grey, grey, Image.fromarray((ROWS * 4).astype(np.uint8))]), "a.png"
    palette = grey.convert("P")
    palette.info["transparency"] = palette.getpixel((40, 0))
    return palette, "a.png"


@pytest.mark.parametrize("kind", ["16 bits", "float", "grey and alpha", "colours and alpha", "palette and alpha"])
def test_the_bytes_of_a_file_give_the_same_photo_as_its_path(kind: str, tmp_path: Path):
    image, name = picture(kind)
    image.save(tmp_path / name)
    served, _ = image_of((tmp_path / name).read_bytes())
    there = read_photo(tmp_path / name)
    assert torch.equal(read_photo(served), there)
    assert there.std() > 0.05, "the picture is not all alike"


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_a_rotation_is_applied_in_any_mode(form: str):
    stored = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    mode = Image.new("RGB" if form == "JPEG" else "I;16", (80, 60))
    mode.save(stored, form, exif=exif)
    assert image_of(stored.getvalue())[0].size == (60, 80)


class Classes(nn.Module):
    """Five classes, told apart by colour."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1)
        colours = torch.tensor([[4, -2, -2], [-2, 4, -2], [-2, -2, 4], [2, 1, -3], [-3, 1, 2]])
        with torch.no_grad():
            self.conv.weight.copy_(2.0 * colours[..., None, None])
            self.conv.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with each session."""
    sessions: list[int] = []
    original = Session.__init__

    def counted(self: Session, *arguments: Any, **options: Any) -> None:
        sessions.append(1)
        original(self, *arguments, **options)

    monkeypatch.setattr(Session, "__init__", counted)
    return sessions


@pytest.mark.parametrize(
    "prompt",
    [Prompt(), Prompt((Click(55, 30), Click(5, 60, False))), Prompt((), Box(25, 8, 86, 53))],
    ids=["no prompt", "clicks", "box"],
)
def test_classes_of_a_photo_share_its_session(prompt: Prompt, photo: np.ndarray, opened: list[int]):
    net = interactify.wrap(Classes().eval(), class_names=tuple("abcde"), activation="none")
    image = Image.fromarray(photo)
    alone = [Served(net).segment(image, "photo", prompt, target) for target in range(5)]
    before, shared = len(opened), Served(net)
    for _ in range(2):
        for target in (*range(5), "c"):
            scored = shared.segment(image, "photo", prompt, target)
            assert np.array_equal(scored.mask, alone["abcde".index(target) if target == "c" else target].mask)
    assert len(opened) - before == 1
    with pytest.raises(OptionError):
        shared.segment(image, "photo", prompt, "no such class")


def test_a_services_network_answers_as_its_own_would(photo: np.ndarray, tmp_path: Path):
    pytest.importorskip("uvicorn", reason="needs uvicorn: install interactify[serve]")
    pytest.importorskip("httpx", reason="needs httpx: install interactify[client]")
    from interactify.client import connect
    from interactify.errors import ServiceError
    from interactify.tools.cvat import served_from
    from interactify.tools.label_studio_regions import ScoredMask
    from interactify.tools.prompted import AtService
    from tests.fixtures.service import serving

    net = interactify.wrap(Classes().eval(), class_names=tuple("abcde"), activation="none")
    image, here = Image.fromarray(photo), Served(net)
    with serving(net, tmp_path / "s.db", sessions=1) as (address, service):
        there = Served(AtService(connect(address, patience=0.5)), most_open=1)
        assert there.network.about == here.network.about
        asked = [
            (Prompt(), 2),
            (Prompt((Click(55, 30), Click(5, 60, False))), None),
            (Prompt((Click(9, 9),), Box(25, 8, 86, 53)), "c"),
        ]
        for prompt, target in asked:
            found, expected = (each.segment(image, "photo", prompt, target) for each in (there, here))
            assert isinstance(found, ScoredMask) and np.array_equal(found.mask, expected.mask)
            assert found.score == pytest.approx(expected.score)
        with pytest.raises(OptionError):
            there.segment(image, "photo", Prompt(), "no such class")
        assert len(service.memory) == 1, "the photo was sent once"
        with pytest.raises(ServiceError, match="busy or full"):
            there.segment(image, "another", Prompt())
        service.delete(service.store.records("anyone")[0])
        with pytest.raises(ServiceError):
            there.segment(image, "photo", Prompt())
        assert there.segment(image, "photo", Prompt(), 2).mask.any(), "it is opened again"
        (tmp_path / "network.json").write_text(f'{{"server": "{address}", "network": null}}')
        assert served_from(tmp_path / "network.json").network.about == here.network.about
        with pytest.raises(OptionError, match="one of the networks default"):
            AtService(connect(address), "none")
    with pytest.raises(ServiceError, match="Is the service running"):
        connect(address).about(patience=0.1)


def test_a_class_is_only_for_its_own_request(photo: np.ndarray):
    net = interactify.wrap(Classes().eval(), activation="none", target=3)
    served, image = Served(net), Image.fromarray(photo)
    for target in (None, 2, None, "clicked", None):
        mask = served.segment(image, "photo", Prompt((Click(55, 30),)), target).mask
        assert np.array_equal(mask, net.session(photo, target=target).click(55, 30).mask)
