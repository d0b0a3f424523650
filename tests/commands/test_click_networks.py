"""Click networks on the command line: `--model module:function` needs no option for their maps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interactify.cli import main
from tests.fixtures.click_networks import disk

BUILDERS = """
import torch
from torch import nn

from interactify import ClickMaps, reconfigure_stem
from tests.fixtures.click_networks import ByHand

def reconfigured():
    inside = nn.Conv2d(3, 1, 1)
    nn.init.zeros_(inside.weight)
    nn.init.constant_(inside.bias, -3)
    wider = reconfigure_stem(inside, click_maps=ClickMaps("disk", radius=6, previous_mask=True))
    wider.kernels[0].data[0, :, 0, 0] = torch.tensor([8.0, -8.0, 4.0])
    return wider

def somebody_elses():
    model = ByHand(None)
    model.click_maps = ClickMaps("disk", radius=6)
    return model
"""


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Runs `interactify segment` on a black photo with one of the networks."""
    (folder / "click_networks_for_cli.py").write_text(BUILDERS)
    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(folder / "black.png")
    options = ["--mean", "0", "--std", "1", "--max-evaluations", "0"]

    def segment(name: str, *words: str) -> int:
        return main(["segment", "black.png", "--model", f"click_networks_for_cli:{name}", *options, *words])

    yield segment
    monkeypatch.delitem(sys.modules, "click_networks_for_cli", raising=False)


@pytest.mark.parametrize("name", ["reconfigured", "somebody_elses"])
def test_a_network_with_maps_that_a_function_returns(name: str, run: Callable[..., int], folder: Path) -> None:
    """Its own maps are drawn: disks of radius 6, not the distances that are taken where nothing is stated."""
    assert run(name, "--click", "30,20", "--click", "-50,20") == 0
    assert np.array_equal(np.asarray(Image.open(folder / "black-mask.png")) > 0, disk(30, 20))


def test_without_a_click_the_mask_is_said_to_be_a_guess(
    run: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("reconfigured") == 0
    assert "trained for clicks and got none" in capsys.readouterr().err
    assert not np.asarray(Image.open(folder / "black-mask.png")).any()
    assert run("reconfigured", "--click", "30,20") == 0
    assert "got none" not in capsys.readouterr().err
    assert main(["segment", "photo.png", "--model", "network_for_cli:build"]) == 0
    assert "got none" not in capsys.readouterr().err, "a network never trained for clicks shows its own prediction"
