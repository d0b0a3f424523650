"""What is found of a network by running it once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from interactify.errors import ModelError, OptionError
from interactify.inspection.normalisation import IMAGENET
from interactify.inspection.probe import ready, submodule
from interactify.inspection.replica import replica_of
from interactify.inspection.spec import Knowledge
from tests.fixtures import networks


def test_channels_are_found() -> None:
    for channels in (1, 3, 4, 6):
        assert networks.probed(networks.seeded(lambda c=channels: networks.Plain(channels=c))).channels == channels
    for build in (networks.Functional, networks.SpaceToDepth, networks.ScriptFirst):
        assert networks.probed(networks.seeded(build)).channels == 3


def test_unusual_sizes_come_after_all_numbers_of_channels() -> None:
    """Where pixels are folded into channels, the first weights read more channels than the image has."""

    class Folding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.counter = networks.Counter()
            self.body = nn.Conv2d(48, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            self.counter.runs += 1
            return self.body(F.pixel_unshuffle(x, 4))

    model = networks.seeded(Folding)
    assert networks.probed(model).channels == 3
    assert model.counter.runs < 10, "of the 48 channels, only the first sizes are tried"


@pytest.mark.parametrize("side", [224, 512, 192])
def test_networks_that_insist_on_a_size(side: int) -> None:
    class Fixed(networks.Plain):
        insists = False

        def forward(self, x: Tensor) -> Tensor:
            if self.insists and x.shape[-1] != side:
                raise RuntimeError(f"expected {side}")
            return super().forward(x)

    model = networks.seeded(Fixed)
    model.insists = True
    assert networks.probed(model).output.classes == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_precision_of_the_weights(dtype: torch.dtype) -> None:
    assert networks.probed(networks.seeded(networks.Plain).to(dtype)).dtype == dtype


def test_a_network_without_a_convolution() -> None:
    class Threshold(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x.mean(1, keepdim=True) - 0.5) * 10

    with pytest.raises(ModelError, match="convolution"):
        networks.probed(Threshold())


def test_layers_and_insertion_points() -> None:
    spec = networks.probed(networks.seeded(networks.Plain))
    shapes = {layer.name: layer.shape for layer in spec.layers}
    assert shapes["stem"][0] == 8 and shapes["down"][0] == 12
    assert shapes["stem"][1:] == tuple(2 * side for side in shapes["down"][1:])
    assert list(shapes)[-1] == "" and shapes["head"][0] == 1
    points = spec.insertion_points()
    # `act` follows each of them and runs last where it runs; A is the coarsest map, C the finest before the head.
    assert points["A"].name == "deep" and points["C"].shape[1:] == shapes["stem"][1:]


def test_insertion_points_of_known_networks() -> None:
    import segmentation_models_pytorch as smp

    unet = networks.probed(networks.seeded(lambda: smp.Unet("resnet18", encoder_weights=None))).insertion_points()
    assert list(unet) == ["A", "B", "C"]
    sizes = [unet[letter].shape[1] * unet[letter].shape[2] for letter in "ABC"]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3
    assert unet["A"].name.startswith(("encoder", "decoder.center")) and unet["C"].name.startswith("decoder")


def test_insertion_points_of_a_dilated_network() -> None:
    """As torchvision's FCN: one stride from the backbone's end to the logits, then a resize."""

    class Dilated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1)
            )
            self.classifier = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 1))

        def forward(self, x: Tensor) -> Tensor:
            return F.interpolate(self.classifier(self.backbone(x)), size=x.shape[-2:])

    points = networks.probed(Dilated()).insertion_points()
    assert points and all(layer.shape[0] > 5 for layer in points.values())


def test_normalisation() -> None:
    model = networks.seeded(networks.Plain)
    assert (networks.probed(model).mean, networks.probed(model).std) == IMAGENET
    one = networks.probed(networks.seeded(lambda: networks.Plain(channels=1)))
    assert (one.mean, one.std) == ((0.0,), (1.0,))
    given = networks.probed(model, Knowledge(mean=0.5, std=(0.1, 0.2, 0.3)))
    assert (given.mean, given.std) == ((0.5,) * 3, (0.1, 0.2, 0.3))
    assert given.normalisation == "given"
    model.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "input_size": (3, 224, 320)}
    own = networks.probed(model)
    assert (own.mean, own.std, own.resolution) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 320)
    assert "pretrained_cfg" in own.normalisation
    assert networks.probed(model, Knowledge(resolution=128)).resolution == 128
    # One of the two given: the other as it would be without.
    half = networks.probed(model, Knowledge(mean=0.5))
    assert (half.mean, half.std) == ((0.5,) * 3, (0.4, 0.5, 0.6))


@pytest.mark.parametrize(
    "broken",
    [
        "text",
        None,
        {},
        {"mean": (0.1,), "std": (0.2,)},
        {"input_size": None},
        {"mean": None},
    ],
)
def test_a_pretrained_cfg_of_another_kind_is_passed_over(broken: Any) -> None:
    model = networks.seeded(networks.Plain)
    model.pretrained_cfg = broken
    assert (networks.probed(model).mean, networks.probed(model).std) == IMAGENET


@pytest.mark.parametrize(
    "options",
    [
        {"mean": (0.0, 0.0)},
        {"mean": "grey"},
        {"mean": float("nan")},
        {"mean": (0.0, 0.0, float("inf"))},
        {"std": 0.0},
        {"std": (1.0, 1.0, 0.0)},
        {"std": []},
        {"std": float("nan")},
        {"resolution": 0},
        {"resolution": -5},
        {"resolution": 224.0},
        {"resolution": True},
        {"resolution": "224"},
        {"divisor": 0},
        {"divisor": 1.5},
    ],
    ids=str,
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        networks.probed(networks.seeded(networks.Plain), Knowledge(**options))


def test_a_network_that_never_runs() -> None:
    with pytest.raises(ModelError, match="takes no images") as caught:
        networks.probed(networks.NeverRuns())
    assert isinstance(caught.value.__cause__, KeyError)


def test_the_network_is_run_on_one_small_image_only() -> None:
    model = networks.seeded(networks.Counted)
    before = model.counter.runs
    networks.probed(model)
    assert model.counter.runs == before + 1


def test_submodules_by_name() -> None:
    model = networks.seeded(networks.Plain)
    assert submodule(model, "down") is model.down
    with pytest.raises(ModelError, match=r"Try one of: .*down"):
        submodule(model, "downs")
    for wrong in (None, 3, ("down",), ""):
        if wrong != "":
            with pytest.raises(ModelError):
                submodule(model, wrong)  # type: ignore[arg-type]


def test_describe_says_what_was_found() -> None:
    text = interactify.wrap(networks.seeded(lambda: networks.Plain(classes=4)), variables="scale_bias@deep").describe()
    for expected in (
        "Plain",
        "stem",
        "8×3×3×3",
        "output",
        "logits",
        "classes",
        "4",
        "deep",
        "scale_bias@deep",
        "settling",
        "lbfgs",
    ):
        assert expected in text, expected
    assert len(text.splitlines()) < 20
    parallel = interactify.wrap(networks.seeded(networks.ParallelStems)).describe()
    assert "8×3×3×3" in parallel and "point: 8×3×1×1" in parallel
    again = interactify.wrap(networks.seeded(networks.ImageAgain)).describe()
    assert "also used by" in again and "cat" in again
    probabilities = networks.seeded(lambda: networks.WithOutput(lambda z: {"mask": torch.sigmoid(z)}))
    text = interactify.wrap(probabilities).describe()
    assert "sigmoid" in text and "'mask'" in text
    quarter = networks.seeded(lambda: networks.WithOutput(networks.as_quarter))
    assert "1/4 of the input size" in interactify.wrap(quarter).describe()


def test_half_of_an_odd_size_is_a_map() -> None:
    """Maps need not divide the input exactly."""

    class Valid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 7, stride=3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)

    session = interactify.wrap(Valid()).session(networks.random_photo(61, 97))
    assert session.result.mask.shape == (61, 97)


def test_gradients_may_be_off_around_it() -> None:
    """Users probe and click inside `no_grad` and `inference_mode` blocks, by habit."""
    model = networks.seeded(lambda: networks.WithOutput(torch.sigmoid))
    for block in (torch.no_grad, torch.inference_mode):
        with block():
            spec = networks.probed(model)
            assert spec.output.activation == "sigmoid", block.__name__


def test_stem_of_a_padded_and_folded_image() -> None:
    class Both(networks.SpaceToDepth):
        def read(self, x: Tensor) -> Tensor:
            return self.stem(F.pixel_unshuffle(F.pad(x, (0, 2, 0, 2)), 2))

    (call,) = networks.probed(networks.seeded(Both)).stem
    assert call.inputs == (12, 65, 81)


# ---- a forward of the user's own -------------------------------------------------------------------------------------


class TakesTwo(networks.Plain):
    """Takes an image and a temperature."""

    def forward(self, x: Tensor, temperature: float, *, sign: int = 1) -> Tensor:  # type: ignore[override]
        return sign * super().forward(x) / temperature


@pytest.mark.parametrize(
    "forward",
    [
        lambda model, x: model(x, 2.0, sign=-1),
        lambda model, x: model.forward(x, 2.0, sign=-1),
        lambda model, x: type(model).forward(model, x, 2.0, sign=-1),
        lambda model, x: {"out": (model(x, 1.0, sign=-1) + model(x, 1.0, sign=-1)) / 4},
    ],
    ids=["call", "forward", "class", "twice"],
)
def test_a_forward_that_calls_the_model(forward: Any) -> None:
    class Mine:
        name = "mine"

        def recognises(self, model: nn.Module) -> bool:
            return True

        def knows(self, model: nn.Module) -> Knowledge:
            return Knowledge(forward=forward)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TakesTwo().eval()
    photo = networks.random_photo()
    net = interactify.wrap(model, adapter=Mine(), mean=0.0, std=1.0)
    session = net.session(photo)
    with torch.no_grad():
        own = model(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255, -2.0)
    assert torch.allclose(session.result.logits, own, atol=1e-5)
    assert session.click(x=60, y=30, positive=not bool(session.result.mask[30, 60])).satisfied
    assert "forward" not in vars(model)


def test_a_forward_that_fails_leaves_the_next_one_whole() -> None:
    failing = [True]

    def forward(model: nn.Module, x: Tensor) -> Any:
        if failing[0]:
            raise ValueError("not yet")
        return model(x)

    model = networks.seeded(networks.Plain)
    replica = ready(replica_of(model), Knowledge(forward=forward))
    with pytest.raises(ValueError, match="not yet"):
        replica(torch.rand(1, 3, 64, 64))
    failing[0] = False
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(replica(image), model(image))


# ---- each image by its own deviation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [lambda z: z, lambda z: torch.sigmoid(z) * 1.0], ids=["logits", "judged by values"])
def test_a_network_that_divides_by_the_deviation_of_its_image(end: Any) -> None:
    """Without an epsilon, it gives NaN for a constant image; a photo is none."""

    class Standardising(networks.Plain):
        def forward(self, x: Tensor) -> Tensor:
            x = (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)
            return end(super().forward(x))

    net = interactify.wrap(networks.seeded(Standardising))
    assert net.spec.output.activation == ("none" if end(torch.tensor(9.0)) > 1 else "sigmoid")
    assert "only what depends on the variables" in net.describe()
    assert len(net.insertion_points()) > 3
    session = net.session(networks.random_photo())
    assert session.click(x=60, y=30, positive=not bool(session.result.mask[30, 60])).satisfied
    with pytest.raises(interactify.NonFiniteError, match="this photo"):
        net.session(np.full((64, 96, 3), 128, np.uint8))
