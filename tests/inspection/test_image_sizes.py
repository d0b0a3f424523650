"""Networks of one size only: the size is found, and what can't be found is named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import interactify
from interactify.errors import ModelError, reason_of
from interactify.inspection.image_sizes import sizes_in_error, stated_sizes
from tests.fixtures import networks

PHOTO = networks.random_photo()


class Checks(networks.Plain):
    """Compares the sides of its input."""

    text, sides = "", (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        if self.sides[0] and tuple(x.shape[-2:]) != self.sides:
            raise ValueError(self.text)
        return super().forward(x)


class Positions(nn.Module):
    """Patches with a learned position each, as in a vision transformer; with a class token too."""

    def __init__(self, side: int = 120, patch: int = 8, token: bool = False) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, 12)) if token else None
        self.position = nn.Parameter(torch.randn(1, (side // patch) ** 2 + token, 12))
        self.head, self.up = nn.Conv2d(12, 1, 1), nn.Upsample(scale_factor=patch)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.patches(x)
        tokens = maps.flatten(2).transpose(1, 2)
        if self.token is not None:
            tokens = torch.cat([self.token, tokens], 1)
        tokens = tokens + self.position
        tokens = tokens[:, 1:] if self.token is not None else tokens
        return self.up(self.head(tokens.transpose(1, 2).reshape(maps.shape)))


class Flattened(nn.Module):
    """A linear layer over all pixels of its deepest map."""

    def __init__(self, side: int = 200) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 8, 1)
        self.mix = nn.Linear(4 * (side // 8) ** 2, (side // 8) ** 2)
        self.up = nn.Upsample(scale_factor=8)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.stem(x)
        return self.up(self.mix(deep.flatten(1)).view(-1, 1, *deep.shape[-2:]))


def checking(sides: tuple[int, int], text: str) -> nn.Module:
    model = networks.seeded(Checks)
    model.sides, model.text = sides, text
    return model


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (lambda: checking((272, 272), "Input height (128) doesn't match model (272)."), (272, 272)),
        (lambda: checking((208, 208), "expected size 208, got 160"), (208, 208)),
        (lambda: checking((96, 144), "Expected input of 96x144"), (96, 144)),
        (lambda: checking((300, 300), ""), (300, 300)),
        (lambda: networks.seeded(Positions), (120, 120)),
        (lambda: networks.seeded(lambda: Positions(token=True)), (120, 120)),
        (lambda: networks.seeded(Flattened), (200, 200)),
    ],
)
def test_the_only_size_is_found(build: object, size: tuple[int, int]) -> None:
    model = build()  # type: ignore[operator]
    net = interactify.wrap(model.eval(), mean=0.0, std=1.0)
    assert net.spec.probed == size
    session = net.session(PHOTO)
    assert session.initial_step.crop.image.shape[-2:] == size
    assert session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20])).evaluations >= 1


def test_a_size_in_an_attribute() -> None:
    model = checking((176, 176), "no")
    model.img_size = (176, 176)
    assert stated_sizes(model) == [(176, 176)]
    assert interactify.wrap(model, mean=0.0, std=1.0).spec.resolution == 176


def test_sizes_in_an_error() -> None:
    text = "The size of tensor a (320) must match the size of tensor b (225) at non-singleton dimension 1"
    assert (120, 120) not in sizes_in_error(text, (64, 64))
    assert (120, 120) in sizes_in_error(text.replace("320", "64"), (64, 64))
    assert sizes_in_error("no number at all", (64, 64)) == []


def test_what_is_not_found_names_the_option() -> None:
    with pytest.raises(ModelError, match="resolution=…") as raised:
        interactify.wrap(checking((1111, 1111), "wrong size"))
    assert "one image tensor" not in str(raised.value) and "ValueError: wrong size" in str(raised.value)
    assert interactify.wrap(checking((1111, 1111), "wrong size"), resolution=1111, divisor=1, mean=0.0, std=1.0)


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        (TypeError("forward() missing 1 required positional argument: 'boxes'"), "one image tensor"),
        (AttributeError("'Net' object has no attribute 'skips'"), "own code"),
        (RuntimeError("Sizes of tensors must match except in dimension 1"), "divisor=…"),
    ],
)
def test_the_advice_fits_the_cause(cause: Exception, advice: str) -> None:
    with pytest.raises(ModelError, match=advice) as raised:
        interactify.wrap(_failing(cause))
    others = {"one image tensor", "own code", "divisor=…"} - {advice}
    assert not any(other in str(raised.value) for other in others)


def _failing(cause: Exception) -> nn.Module:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            raise cause

    return Fails()


def test_no_colours_of_a_terminal_in_our_errors() -> None:
    coloured = RuntimeError("Weights only load failed. \x1b[1m(1)\x1b[0m In PyTorch 2.6\n\x1b[31;1mred\x1b[0m")
    assert reason_of(coloured) == "RuntimeError: Weights only load failed. (1) In PyTorch 2.6 red"
    with pytest.raises(ModelError) as raised:
        interactify.wrap(_failing(coloured))
    assert "\x1b" not in str(raised.value) and "red" in str(raised.value)
