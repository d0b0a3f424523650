"""Before any click, the wrapped network gives what the network itself gives: of many networks, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from interactify.network.layer_variables import AT_LAYER, MOST_CHANNELS
from interactify.network.variables import variables_named
from tests.fixtures import networks

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)


def smp(architecture: str, encoder: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import segmentation_models_pytorch

        return getattr(segmentation_models_pytorch, architecture)(encoder, encoder_weights=None, **options)

    return build


def torchvision(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision.models import segmentation

        return getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=5)

    return build


ARCHITECTURES, ENCODERS = ("Unet", "FPN", "DeepLabV3Plus"), ("resnet18", "efficientnet-b0", "tu-nf_regnet_b0")
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{f"{a} {e}": smp(a, e) for e in ENCODERS for a in ARCHITECTURES},
    "Unet weight-standardised": smp("Unet", "tu-resnetv2_50x1_bit", encoder_depth=3, decoder_channels=[64, 32, 16]),
    "Unet same-padded": smp("Unet", "tu-tf_efficientnet_lite0"),
    "Unet same-padded mobilenet": smp("Unet", "tu-tf_mobilenetv3_small_minimal_100"),
    "Unet parallel stems": smp("Unet", "tu-repvgg_a0"),
    "Unet space-to-depth": smp("Unet", "tu-tresnet_m", layers=[1, 1, 1, 1]),
    "Unet classes and activation": smp("Unet", "resnet18", classes=4, activation="softmax2d"),
    "Unet masks and labels": smp("Unet", "resnet18", aux_params={"classes": 3}),
    "Segformer": smp("Segformer", "mit_b0"),
    "fcn": networks.small_fcn,
    "lraspp": torchvision("lraspp_mobilenet_v3_large"),
    **{
        quirk.__name__: quirk
        for quirk in (
            networks.Plain,
            networks.Functional,
            networks.ParallelStems,
            networks.SameStem,
            networks.SpaceToDepth,
            networks.WeightStandardised,
            networks.ImageAgain,
            networks.NormalisingInside,
            networks.OwnFunctionFirst,
        )
    },
    "script first": networks.ScriptFirst,
}
NO_STEM = ("script first",)
SLOW = (
    *("FPN efficientnet-b0", "FPN tu-nf_regnet_b0", "DeepLabV3Plus efficientnet-b0", "DeepLabV3Plus tu-nf_regnet_b0"),
    "Unet same-padded mobilenet",
)
Case = tuple[str, nn.Module, interactify.Interactive, Tensor]


@pytest.fixture(scope="module", params=[pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in NETWORKS])
def case(request: pytest.FixtureRequest) -> Case:
    """Name, network, wrapped network, and the network's own map of the photo; once for all tests of it."""
    model = networks.seeded(NETWORKS[request.param])
    with torch.no_grad():
        net = interactify.wrap(model, mean=IMAGENET[0], std=IMAGENET[1], resolution=96)
        return request.param, model, net, main_map(model(IMAGE))


PHOTO = networks.random_photo()
IMAGE = ((torch.from_numpy(PHOTO).permute(2, 0, 1).float() / 255 - MEAN) / STD)[None]


def main_map(raw: Any) -> Tensor:
    """The map, by what is known of the networks above, not by the library's search."""
    if isinstance(raw, dict):
        return raw["out"]
    return raw[0] if isinstance(raw, tuple) else raw


def probability(own: Tensor, name: str, target: int) -> Tensor:
    if "activation" in name:
        return own[0, target]
    return torch.softmax(own, 1)[0, target] if own.shape[1] > 1 else torch.sigmoid(own)[0, 0]


def test_session_before_any_click(case: Case) -> None:
    name, model, net, own = case
    assert net.unwrap() is model
    assert bool(net.spec.stem) == (name not in NO_STEM)
    result = net.session(PHOTO).result
    assert result.clicks == () and result.evaluations == 0
    if own.shape[1] == 1:
        assert torch.equal(result.logits, own)
        assert np.array_equal(result.mask, (own[0, 0] > 0).numpy())
    else:
        plain = net.network.plain_logits(IMAGE)
        assert torch.allclose(plain.softmax(1), probability_map(own, name), atol=1e-5)
    for target in range(min(own.shape[1], 3)):
        result = net.session(PHOTO, target=target).result
        expected = probability(own, name, target)
        assert np.allclose(result.probability, expected.numpy(), atol=1e-5)
        clear = (expected - 0.5).abs() > 1e-4
        assert torch.equal(torch.from_numpy(result.mask.copy())[clear], expected[clear] > 0.5)


def probability_map(own: Tensor, name: str) -> Tensor:
    return own if "activation" in name else torch.softmax(own, 1)


def test_every_kind_of_variable_starts_at_the_identity(case: Case) -> None:
    name, _, net, own = case
    kinds = ["input"] if name in NO_STEM else ["input", "maps", "kernels"]
    kinds += [f"{kind}@{letter}" for letter in list(net.spec.insertion_points())[:1] for kind in AT_LAYER]
    for kind in kinds:
        wide = kind.startswith("conv1x1") and net.spec.insertion_points()[kind[-1]].shape[0] > MOST_CHANNELS
        if wide:
            with pytest.raises(interactify.OptionError, match="at most 512 channels"):
                variables_named(kind, net.network)
            continue
        variables = variables_named(kind, net.network)
        values = variables.start(net.network, IMAGE)
        with torch.no_grad():
            raw = variables.run(net.network, IMAGE, values, [interactify.Click(10, 10)])
            assert torch.equal(main_map(raw), own), kind
            assert torch.equal(main_map(net.network.replica(IMAGE)), own), kind


def test_reconfigured_stem_before_any_interaction(case: Case) -> None:
    name, model, net, own = case
    if name in NO_STEM:
        with pytest.raises(interactify.ModelError, match="stem="):
            interactify.reconfigure_stem(model)
        return
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        wider = interactify.reconfigure_stem(model, kernels="zero")
        maps = torch.randn(1, 2, *IMAGE.shape[2:], generator=generator) * 100
        assert torch.equal(main_map(wider(torch.cat([IMAGE, maps], 1))), own)
        wider = interactify.reconfigure_stem(model, kernels="image")
        maps = torch.zeros_like(IMAGE)
        assert torch.equal(main_map(wider(torch.cat([IMAGE, maps], 1))), own)
        maps = torch.randn(IMAGE.shape, generator=generator)
        moved = main_map(wider(torch.cat([IMAGE, maps], 1)))
        assert not torch.equal(moved, own)
        # Where the stem alone reads the image: what the network itself answers to image + maps.
        assert bool(net.spec.used_again) == (name == "ImageAgain")
        if name != "ImageAgain":
            assert torch.allclose(moved, main_map(model(IMAGE + maps)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions(dtype: torch.dtype) -> None:
    model = networks.seeded(networks.Plain).to(dtype)
    net = interactify.wrap(model)
    with torch.no_grad():
        own = model(IMAGE.to(dtype))
    result = net.session(PHOTO).result
    assert torch.equal(result.logits, own if dtype == torch.float64 else own.float())
    clicked = net.session(PHOTO).click(x=70, y=20, positive=not bool(result.mask[20, 70]))
    assert clicked.satisfied and clicked.probability.dtype == np.float32


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_channels(channels: int) -> None:
    model = networks.seeded(lambda: networks.Plain(channels=channels))
    photo = np.concatenate([PHOTO, PHOTO[..., :1]], -1)[..., :channels]
    with torch.no_grad():
        own = model(torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255)
    net = interactify.wrap(model)
    session = net.session(photo)
    assert torch.equal(session.result.logits, own)
    assert session.photo.shape == (64, 96, 3)
    assert session.click(x=70, y=20, positive=not bool(session.result.mask[20, 70])).evaluations >= 1
    if channels == 1:  # a colour photo becomes its luminance
        assert net.session(PHOTO).result.mask.shape == (64, 96)


def test_a_network_that_writes_over_its_input() -> None:
    model = networks.seeded(networks.NormalisingInPlace)
    with torch.no_grad():
        own = model(IMAGE.clone())
    for variables in ("input", "maps", "kernels"):
        session = interactify.wrap(model, variables=variables, mean=IMAGENET[0], std=IMAGENET[1]).session(PHOTO)
        assert torch.equal(session.result.logits, own)
        first = session.click(x=70, y=20, positive=not bool(session.result.mask[20, 70])).logits
        session.reset()
        again = session.click(x=70, y=20, positive=not bool(session.result.mask[20, 70])).logits
        assert torch.equal(first, again), "the image of a session is not written to"


def test_padding_and_resizing_come_before_the_network_only() -> None:
    """No multiple of 32: the network sees the photo padded by its border, and the mask has the photo's size."""
    model = networks.seeded(networks.Plain)
    photo = networks.random_photo(70, 101)
    image = (torch.from_numpy(photo).permute(2, 0, 1).float() / 255 - MEAN) / STD
    with torch.no_grad():
        own = model(F.pad(image[None], (0, 27, 0, 26), mode="replicate"))[0, 0, :70, :101]
    result = interactify.wrap(model).session(photo).result
    assert torch.allclose(torch.from_numpy(result.probability.copy()), torch.sigmoid(own), atol=1e-6)
