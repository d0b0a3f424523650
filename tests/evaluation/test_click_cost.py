"""What a click costs: real clicks beside plain passes, in the time there is; and `interactify inspect --speed`."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import interactify
from interactify import cli
from interactify.errors import OptionError
from interactify.evaluation import click_cost as module
from interactify.evaluation.click_cost import ClickCost, click_cost, middle_ellipse
from interactify.network.precision import VARIABLE
from interactify.runtime import pass_cache
from interactify.runtime.steering import Steering
from interactify.runtime.suffix import Suffix
from tests.fixtures import networks


def net_of(**options: Any) -> interactify.Interactive:
    return interactify.wrap(networks.seeded(networks.Plain), resolution=64, **options)


def test_clicks_are_measured_beside_plain_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that counts calls of the network: what is divided by what, and that a round repeats the clicks."""
    monkeypatch.setattr(module, "_ROUNDS", 2)
    monkeypatch.setenv(VARIABLE, "bfloat16")
    reduced = [9.0, 90.0, 4.0, 2.0, 4.0, 2.0, 5.0, 1.0]  # float32 and bfloat16 in turn; the first two don't count
    took = iter(
        [9.0, 1.0, 1.0, 1.0, 50.0, 60.0, *reduced, *[4.0, 2.0, 2.0, 2.0, 10.0, 12.0], *[4.0, 4.0, 4.0, 4.0, 10.0, 12.0]]
    )

    class Clock:
        def __init__(self, device: str) -> None:
            self.device = device

        def __call__(self, action: Any) -> tuple[float, Any]:
            return next(took), action()

    monkeypatch.setattr(module, "Clock", Clock)
    photo = networks.random_photo(64, 96)
    cost = click_cost(net_of(), photo, clicks=2, seconds=1e6)
    assert next(took, None) is None, "opening, three passes and two clicks, three times; four passes in each precision"
    assert cost.steering == 0.5 and cost.unsteered == ""
    assert (cost.clicks, cost.rounds, cost.warm) == (2, 2, True), "the round that warms up does not count"
    assert cost.passes == {"median": pytest.approx(4.0), "q1": pytest.approx(2.875), "q3": pytest.approx(5.25)}
    assert cost.seconds["median"] == 11.0 and cost.plain["median"] == 3.0 and cost.opening["median"] == 4.0
    assert (cost.size, cost.seen, cost.device, cost.dtype) == ((64, 96), (64, 64), "cpu", "float32")
    assert cost.evaluations["q1"] >= 1 and cost.threads == torch.get_num_threads()
    assert cost.peak is not None and cost.kept is not None and min(cost.peak, cost.kept) > 64 * 64 * 4


def test_the_clicks_ask_for_something() -> None:
    """Each is on a pixel that the mask has wrong: also where the network finds the very ellipse."""
    photo = networks.random_photo(64, 64)

    class Finds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 1)
            self.register_buffer("truth", torch.from_numpy(middle_ellipse((64, 64)) * 20.0 - 10.0).float())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.truth + 1e-3 * self.conv(x) if x.shape[-2:] == (64, 64) else self.conv(x)

    net = interactify.wrap(networks.seeded(Finds), resolution=64, propagation="none", max_evaluations=2, zoom=False)
    assert np.array_equal(net.session(photo).result.mask, middle_ellipse((64, 64)) == 1)
    assert click_cost(net, photo, clicks=1, seconds=1e-9).clicks == 1


def test_slow_networks_get_fewer_clicks_and_still_an_answer() -> None:
    cost = click_cost(net_of(), networks.random_photo(64, 64), clicks=5, seconds=1e-9)
    assert (cost.clicks, cost.rounds, cost.warm, cost.peak) == (1, 1, False, None)
    assert "1 click in one round" in str(cost) and "first clicks" in str(cost) and "not measured" in str(cost)


def test_the_plain_pass_is_in_the_networks_own_precision() -> None:
    seen: list[torch.dtype] = []

    class Typed(networks.Plain):
        def read(self, x: torch.Tensor) -> torch.Tensor:
            out = super().read(x)
            if not torch.is_grad_enabled():
                seen.append(out.dtype)
            return out

    net = interactify.wrap(networks.seeded(Typed), resolution=64, precision="bfloat16")
    seen.clear()
    cost = click_cost(net, networks.random_photo(64, 64), clicks=1, seconds=1e-9)
    assert seen.count(torch.float32) == module._PASSES and cost.dtype == "float32"
    assert cost.steering is None and "'bfloat16'" in cost.unsteered, "it is what the network computes in"


def test_passes_that_steer_are_measured_beside_others_with_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "bfloat16")
    ran: list[tuple[str, bool]] = []
    for kind in (Suffix, Steering):

        def noted(self: Any, values: torch.Tensor, clicks: Any, kind: Any = kind, run: Any = kind.__call__) -> Any:
            logits = run(self, values, clicks)
            ran.append((kind.__name__, logits.requires_grad))
            return logits

        monkeypatch.setattr(kind, "__call__", noted)
    net = net_of()
    picture = net.picture(networks.random_photo(64, 64))
    ran.clear()
    ratio, why_not = module._steering(net, picture, module.Clock("cpu"), until=1e12)
    assert ratio is not None and ratio > 0 and why_not == ""
    passes = [("Suffix", True), ("Steering", True)] * (1 + module._PASSES)
    assert ran[-len(passes) :] == passes
    assert module._steering(net, picture, module.Clock("cpu"), until=0) == (None, ""), "the time is over"
    assert module._steering(net_of(precision="float32"), picture, module.Clock("cpu"), until=1e12)[1]


def test_a_photo_that_fails_in_bfloat16_is_measured_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "bfloat16")
    monkeypatch.setattr(pass_cache, "ROOM", 0)  # as for a large photo, whose first pass is not run in advance

    class Portrait(networks.Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            return torch.fft.irfft2(torch.fft.rfft2(y), s=y.shape[-2:]) if y.shape[-1] < y.shape[-2] else y

    net = interactify.wrap(networks.seeded(Portrait), resolution=96)
    ratio, why_not = module._steering(net, net.picture(networks.random_photo(96, 64)), module.Clock("cpu"), until=1e12)
    assert ratio is None and "fails in bfloat16" in why_not


def test_nothing_of_the_callers_changes() -> None:
    net = net_of()
    before = [tensor.clone() for tensor in net.unwrap().state_dict().values()]
    gc.collect()  # sessions that other tests left behind
    cached = interactify.cached_bytes("cpu")
    click_cost(net, networks.random_photo(64, 64), clicks=1, seconds=1e-9)
    assert all(torch.equal(a, b) for a, b in zip(before, net.unwrap().state_dict().values(), strict=True))
    assert interactify.cached_bytes("cpu") == cached, "its sessions are closed"


@pytest.mark.parametrize(
    "wrong", [{"clicks": 0}, {"clicks": True}, {"clicks": 2.5}, {"seconds": 0}, {"seconds": 1e999}]
)
def test_no_clicks_and_no_time(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))[:5]):
        click_cost(net_of(), networks.random_photo(64, 64), **wrong)


def test_click_networks_are_measured_too() -> None:
    net = interactify.wrap(
        networks.seeded(lambda: networks.Plain(5)), click_maps=interactify.ClickMaps(), resolution=64
    )
    assert click_cost(net, networks.random_photo(64, 64), clicks=1, seconds=1e-9).evaluations["median"] >= 1


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(networks.random_photo(48, 64)).save(photo)
    monkeypatch.setattr(module, "_ROUNDS", 1)
    assert cli.main(["inspect", "--speed", str(photo), "--resolution", "64"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^  passes a click  [\d.]+ \([\d.]+–[\d.]+\): .* in float32$", out, re.MULTILINE)
    assert re.search(
        r"^  medians \(quartiles\) of \d clicks? in one round; 64×48 pixels, seen as 64×64; ", out, re.MULTILINE
    )
    built: list[str] = []
    monkeypatch.setattr("interactify.models.build.build_model", built.append)
    for wrong in ("absent.png", "text.png"):
        (tmp_path / "text.png").write_text("no picture")
        assert cli.main(["inspect", "--speed", str(tmp_path / wrong)]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("interactify: error: Expected") and captured.err.count("\n") == 1
    assert built == [], "before any work"


def test_a_cost_as_text() -> None:
    three = {"median": 0.4123, "q1": 0.4, "q3": 1.25}
    cost = ClickCost(
        (480, 640), (192, 256), "cpu", 1, "float32", 5, 4, True, {"median": 3.91, "q1": 3.5, "q3": 4.25}, three, three,
        three, {"median": 3.0, "q1": 2.0, "q3": 4.0}, 0.52, "", 38_200_000, 21_000_000,
    )  # fmt: skip
    assert str(cost).splitlines() == [
        "  passes a click  3.91 (3.5–4.25): a click's time ÷ one forward pass of the network in float32",
        "  a click         412 (400–1250) ms",
        "  one pass        412 (400–1250) ms",
        "  evaluations     3 (2–4)",
        "  opening         412 (400–1250) ms",
        "  in bfloat16     what only steers a click: a pass with its gradient takes 0.52 times as long",
        "  memory          38.2 MB while it runs; 21 MB stay with the open photo",
        "  medians (quartiles) of 5 clicks in 4 rounds; 640×480 pixels, seen as 256×192; 1 thread",
    ]
