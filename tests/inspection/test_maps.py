"""Which of several outputs is the segmentation, the order of its channels, and the warning where that is a guess."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from interactify.errors import InteractifyWarning, ModelError
from interactify.inspection.outputs import locate_output, to_logits
from tests.fixtures import networks

SIZE = (128, 160)


class Craft(nn.Module):
    """As the text detector CRAFT: scores (N, h, w, 2), and the features (N, 8, h, w) they were computed from."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.scores = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = F.relu(self.base(x))
        return self.scores(features).permute(0, 2, 3, 1), features


class Beside(nn.Module):
    """Scores with channels last, and features that neither depend on each other."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.q = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 32, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.p(x)[:, :2].permute(0, 2, 3, 1), self.q(x)


@pytest.mark.parametrize(("build", "features"), [(Craft, "1 8×64×80"), (Beside, "1 32×128×160")])
def test_scores_with_channels_last_beside_features(build: Any, features: str) -> None:
    model = networks.seeded(build)
    with pytest.warns(InteractifyWarning, match=r"Write output=0 if that is right, else output=1\.") as caught:
        net = interactify.wrap(model, mean=0.0, std=1.0)
    assert [each.filename for each in caught] == [__file__] and features in str(caught[0].message)
    output = net.spec.output
    assert (output.path, output.classes, output.channels_last, output.others) == ((0,), 2, True, (features,))
    text = " ".join(net.describe().split())
    assert features in text and "channels last" in text and "Write output=0" in text
    photo = networks.random_photo()
    session = net.session(photo)
    with torch.no_grad():
        scores, _ = model(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)
    odds = F.interpolate((scores[..., 1] - scores[..., 0])[:, None], size=(64, 96), mode="bilinear")
    assert torch.allclose(session.result.logits, odds, atol=1e-4)
    assert session.click(x=60, y=30, positive=not bool(session.result.mask[30, 60])).satisfied
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert interactify.wrap(model, output=0, mean=0.0, std=1.0).spec.output.classes == 2
        other = interactify.wrap(model, output=1, activation="none", mean=0.0, std=1.0)
        assert other.spec.output.classes == int(features.split()[1].split("×")[0])


@pytest.mark.parametrize(
    "form", [lambda z: z, torch.sigmoid, lambda z: F.softmax(z, -1)], ids=["logits", "p", "softmax"]
)
def test_channels_last_are_what_channels_first_are(form: Any) -> None:
    """Probabilities too: their logits are read before the activation."""
    first = networks.seeded(lambda: networks.Plain(classes=3))
    last = networks.seeded(lambda: networks.WithOutput(lambda z: form(z.permute(0, 2, 3, 1)), 3))
    net = interactify.wrap(last)
    plain = interactify.wrap(first, activation="sigmoid-logits" if form is torch.sigmoid else None)
    assert net.spec.output.channels_last and net.spec.output.classes == 3
    assert net.spec.output.bypassed == (net.spec.output.activation != "none")
    photo = networks.random_photo()
    results = [each.session(photo, target=1).click(x=60, y=30) for each in (net, plain)]
    assert torch.allclose(results[0].logits, results[1].logits, atol=1e-4)


def conv(z: Tensor, *shape: int) -> Tensor:
    """A map of that shape with a convolution before it, with values of either sign."""
    kernel = networks.random_tensor(shape[0], z.shape[1], 1, 1)
    return F.interpolate(F.conv2d(z, kernel), size=shape[1:])


Z = networks.random_tensor(1, 3, *SIZE).requires_grad_(True)


@pytest.mark.parametrize(
    ("shape", "channels_last", "classes", "ambiguous"),
    [
        ((1, 4, 128, 160), False, 4, False),
        ((1, 128, 160, 4), True, 4, False),
        ((1, 64, 80, 96), True, 96, True),  # 64 channels of 80 × 96 would be no exact part of 128 × 160
        ((1, 24, 32, 40), False, 24, False),  # exactly a quarter; 40 channels of 24 × 32 fit only nearly
        ((1, 16, 4, 5), False, 16, False),
        ((64, 80, 2), True, 2, False),  # without a batch dimension
        ((2, 64, 80), False, 2, False),
        ((1, 64, 80), False, 1, False),
    ],
    ids=str,
)
def test_the_order_of_channels(shape: tuple[int, ...], channels_last: bool, classes: int, ambiguous: bool) -> None:
    raw = networks.random_tensor(*shape)
    spec = locate_output(raw, SIZE)
    assert (spec.channels_last, spec.classes, bool(spec.doubts)) == (channels_last, classes, ambiguous)
    logits = to_logits(spec, raw)
    assert logits.shape[:2] == (1, classes) and logits.shape[3] == round(spec.scale * SIZE[1])


def test_an_ambiguous_order_names_what_to_write() -> None:
    raw = {"maps": networks.random_tensor(1, 64, 80, 96)}
    (doubt,) = locate_output(raw, SIZE).doubts
    right, wrong = (part.split(" if ")[0].rstrip(".") for part in doubt.split("output=")[1:])
    assert right == 'lambda raw: raw["maps"].permute(0, 3, 1, 2)' and wrong == 'lambda raw: raw["maps"]'
    for stated, classes in ((right, 96), (wrong, 64)):
        spec = locate_output(raw, SIZE, eval(stated))
        assert (spec.classes, spec.doubts, spec.channels_last) == (classes, (), False)
    square = locate_output(networks.random_tensor(1, 64, 64, 64), (256, 256))
    assert not square.channels_last and "permute" in square.doubts[0]


SIDE = conv(Z, 3, *SIZE)


@pytest.mark.parametrize(
    ("raw", "path", "guess"),
    [
        ({"out": SIDE, "features": SIDE.repeat(1, 9, 1, 1)}, ("out",), False),
        ((conv(SIDE, 3, *SIZE), SIDE), (0,), False),  # the deeper of two of the same classes
        ((SIDE, F.avg_pool2d(SIDE, 2)), (0,), False),  # the larger
        ((SIDE, -SIDE), (0,), True),
        ({"edges": SIDE[:, :1], "parts": F.avg_pool2d(SIDE, 4)}, ("edges",), True),
        ((SIDE.repeat(1, 9, 1, 1), F.avg_pool2d(conv(SIDE, 2, *SIZE), 2)), (1,), True),  # features come before it
        ((conv(SIDE, 32, *SIZE), SIDE), (0,), True),
    ],
    ids=["named", "deeper", "larger", "equal", "other classes", "features", "deeper with more classes"],
)
def test_choosing_between_maps(raw: Any, path: tuple[Any, ...], guess: bool) -> None:
    spec = locate_output(raw, SIZE)
    assert (spec.path, bool(spec.doubts)) == (path, guess)
    assert len(spec.others) == 1


def test_every_other_map_is_named() -> None:
    raw = {f"side{k}": conv(Z, 3, 128 >> k, 160 >> k) for k in range(5)} | {"labels": networks.random_tensor(1, 9)}
    assert locate_output(raw, SIZE).others == tuple(f"side{k} 3×{128 >> k}×{160 >> k}" for k in range(1, 5))
    model = networks.seeded(lambda: networks.WithOutput(lambda z: [F.avg_pool2d(z, 2 + k) for k in range(12)]))
    text = " ".join(interactify.wrap(model, output=0).describe().split())
    assert "other maps" not in text
    text = " ".join(interactify.wrap(model).describe().split())
    assert "1: 1×42×53, 2: 1×32×40" in text and "11: 1×9×12 (other maps" in text
    named = [line for line in interactify.wrap(model).describe().splitlines() if "1×9×12" in line or "1×42×53" in line]
    assert len(named) == 2 and max(map(len, named)) <= 120, "wrapped"


def test_a_batch_of_maps_from_one_image_is_no_map() -> None:
    with pytest.raises(ModelError, match="per-pixel map"):
        locate_output(networks.random_tensor(7, 1, *SIZE), SIZE)
