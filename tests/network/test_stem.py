"""Two conversions of the first convolution: exact before any interaction, and what they should be after one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from interactify.errors import ModelError, OptionError
from interactify.stem import ReconfiguredStem
from tests.fixtures import networks

QUIRKS = [
    networks.Plain,
    networks.Functional,
    networks.ParallelStems,
    networks.SameStem,
    networks.SpaceToDepth,
    networks.WeightStandardised,
    networks.ImageAgain,
    networks.NormalisingInside,
    networks.OwnFunctionFirst,
]
IMAGE = networks.random_tensor(2, 3, 64, 96, seed=5)


def with_random_kernels(wider: ReconfiguredStem, scale: float = 0.3) -> list[Tensor]:
    for index, kernel in enumerate(wider.kernels):
        kernel.data = networks.random_tensor(*kernel.shape, seed=40 + index) * scale
    return [kernel.data for kernel in wider.kernels]


@pytest.mark.parametrize("build", QUIRKS)
@pytest.mark.parametrize("maps", [1, 2, 6])
def test_zero_kernels_change_nothing_for_any_maps(build: Any, maps: int) -> None:
    model = networks.seeded(build)
    wider = interactify.reconfigure_stem(model, maps=maps, kernels="zero")
    clicks = networks.random_tensor(2, maps, 64, 96, seed=6) * 100
    assert torch.equal(wider(torch.cat([IMAGE, clicks], 1)), model(IMAGE))
    assert all(bool((kernel == 0).all()) for kernel in wider.kernels)


@pytest.mark.parametrize("build", QUIRKS)
def test_image_kernels_change_nothing_for_zero_maps(build: Any) -> None:
    model = networks.seeded(build)
    wider = interactify.reconfigure_stem(model, kernels="image")
    assert wider.maps == 3 and not len(wider.kernels)
    assert torch.equal(wider(torch.cat([IMAGE, torch.zeros_like(IMAGE)], 1)), model(IMAGE))


@pytest.mark.parametrize("build", [quirk for quirk in QUIRKS if quirk is not networks.ImageAgain])
def test_image_kernels_read_the_maps_as_they_read_the_image(build: Any) -> None:
    """Where the stem alone reads the image, converting it is adding to the image."""
    model = networks.seeded(build)
    wider = interactify.reconfigure_stem(model, kernels="image")
    maps = networks.random_tensor(2, 3, 64, 96, seed=7)
    expected = model(IMAGE + maps)
    assert not torch.allclose(expected, model(IMAGE), atol=0.1)
    assert torch.allclose(wider(torch.cat([IMAGE, maps], 1)), expected, atol=1e-5)


def test_image_used_again_stays_the_image() -> None:
    model = networks.seeded(networks.ImageAgain)
    wider = interactify.reconfigure_stem(model, kernels="image")
    maps = networks.random_tensor(2, 3, 64, 96, seed=7)
    assert torch.allclose(wider(torch.cat([IMAGE, maps], 1)), model(IMAGE + maps, again=IMAGE), atol=1e-5)
    assert not torch.allclose(model(IMAGE + maps, again=IMAGE), model(IMAGE + maps), atol=0.1)


# ---- kernels that are no longer zero, against convolutions built by hand with appended input channels ----------------


def appended(stem: nn.Conv2d, kernel: Tensor) -> nn.Conv2d:
    """The convolution with more input channels: its own kernels, then those of the maps."""
    wide = nn.Conv2d(
        stem.in_channels + kernel.shape[1],
        stem.out_channels,
        stem.kernel_size,  # type: ignore[arg-type]
        stem.stride,  # type: ignore[arg-type]
        stem.padding,  # type: ignore[arg-type]
        stem.dilation,  # type: ignore[arg-type]
        bias=stem.bias is not None,
    )
    wide.weight.data = torch.cat([stem.weight.data, kernel], 1)
    if stem.bias is not None:
        wide.bias.data = stem.bias.data.clone()
    return wide


def hand_built(model: Any, kernels: list[Tensor], image: Tensor, maps: Tensor) -> Tensor:
    both = torch.cat([image, maps], 1)
    if isinstance(model, networks.ParallelStems):
        # The order the stems run in: `stem`, then `point`.
        return model.rest(appended(model.stem, kernels[0])(both) + appended(model.point, kernels[1])(both))
    (kernel,) = kernels
    if isinstance(model, networks.SameStem):
        return model.rest(F.interpolate(appended(model.stem, kernel)(F.pad(both, (0, 1, 0, 1))), scale_factor=2))
    if isinstance(model, networks.SpaceToDepth):
        folded = torch.cat([F.pixel_unshuffle(image, 2), F.pixel_unshuffle(maps, 2)], 1)
        return model.rest(F.interpolate(appended(model.stem, kernel)(folded), scale_factor=2))
    if isinstance(model, networks.NormalisingInside):
        both = torch.cat([(image - model.mean) / model.deviation, maps], 1)
        return model.rest(appended(model.stem, kernel)(both))
    if isinstance(model, networks.Functional):
        return model.rest(F.conv2d(both, torch.cat([model.kernel, kernel], 1), model.offset, padding=1))
    if isinstance(model, networks.WeightStandardised):
        return model.rest(F.conv2d(both, torch.cat([model.standard(), kernel], 1), model.stem.bias, padding=1))
    return model.rest(appended(model.stem, kernel)(both))


@pytest.mark.parametrize(
    "build", [quirk for quirk in QUIRKS if quirk not in (networks.ImageAgain, networks.OwnFunctionFirst)]
)
def test_other_kernels_equal_appended_input_channels(build: Any) -> None:
    model = networks.seeded(build)
    wider = interactify.reconfigure_stem(model, maps=2, kernels="zero")
    kernels = with_random_kernels(wider)
    maps = networks.random_tensor(2, 2, 64, 96, seed=8)
    expected = hand_built(model, kernels, IMAGE, maps)
    assert not torch.allclose(expected, model(IMAGE), atol=0.1)
    assert torch.allclose(wider(torch.cat([IMAGE, maps], 1)), expected, atol=1e-4)


@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet-b0"])
def test_other_kernels_on_smp_networks(encoder: str) -> None:
    import segmentation_models_pytorch as smp

    model = networks.seeded(lambda: smp.Unet(encoder, encoder_weights=None))
    wider = interactify.reconfigure_stem(model, maps=2)
    kernels = with_random_kernels(wider)
    assert len(kernels) == 1
    other = copy.deepcopy(model)
    name = "conv1" if encoder == "resnet18" else "_conv_stem"
    stem = getattr(other.encoder, name)
    stem.weight = nn.Parameter(torch.cat([stem.weight.data, kernels[0]], 1))  # keeps the stem's own way of padding
    stem.in_channels = 5
    maps = networks.random_tensor(2, 2, 64, 96, seed=8)
    both = torch.cat([IMAGE, maps], 1)
    with torch.no_grad():
        expected = other.segmentation_head(other.decoder([both, *other.encoder(both)[1:]]))
        assert not torch.allclose(expected, model(IMAGE), atol=1e-4)
        assert torch.allclose(wider(both), expected, atol=1e-4, rtol=1e-4)


def test_training_moves_the_zero_kernels() -> None:
    """Zero kernels are no dead end: the maps' gradient is zero, the kernels' is not."""
    wider = interactify.reconfigure_stem(networks.seeded(networks.Plain))
    maps = networks.random_tensor(2, 2, 64, 96, seed=9).requires_grad_(True)
    wider(torch.cat([IMAGE, maps], 1)).sum().backward()
    assert float(wider.kernels[0].grad.abs().max()) > 0
    assert float(maps.grad.abs().max()) == 0
    assert "kernels.0" in wider.state_dict()


def test_reconfigured_network_can_be_saved_and_copied(tmp_path: Any) -> None:
    wider = interactify.reconfigure_stem(networks.seeded(networks.SameStem))
    with_random_kernels(wider)
    both = torch.cat([IMAGE, networks.random_tensor(2, 2, 64, 96, seed=9)], 1)
    assert torch.equal(copy.deepcopy(wider)(both), wider(both))
    torch.save(wider.state_dict(), tmp_path / "wider.pt")
    again = interactify.reconfigure_stem(networks.seeded(networks.SameStem, seed=9))
    again.model.gain = wider.model.gain  # no part of a state dict
    again.load_state_dict(torch.load(tmp_path / "wider.pt", weights_only=True))
    assert torch.equal(again(both), wider(both))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype) -> None:
    model = networks.seeded(networks.WeightStandardised).to(dtype)
    image, clicks = IMAGE.to(dtype), networks.random_tensor(2, 2, 64, 96).to(dtype)
    wider = interactify.reconfigure_stem(model)
    assert wider.kernels[0].dtype == dtype
    assert torch.equal(wider(torch.cat([image, clicks], 1)), model(image))


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_channels(channels: int) -> None:
    model = networks.seeded(lambda: networks.Plain(channels=channels))
    image = networks.random_tensor(1, channels, 64, 64)
    for kernels, maps in (("zero", 2), ("image", channels)):
        wider = interactify.reconfigure_stem(model, kernels=kernels)
        assert (wider.channels, wider.maps) == (channels, maps)
        clicks = networks.random_tensor(1, maps, 64, 64) * (kernels == "zero")
        assert torch.equal(wider(torch.cat([image, clicks], 1)), model(image))


# ---- a stem the user names -------------------------------------------------------------------------------------------


def test_a_stem_that_cannot_be_followed_is_an_error_that_names_the_way_out() -> None:
    model = networks.seeded(networks.ScriptFirst)
    with pytest.raises(ModelError, match="stem="):
        interactify.reconfigure_stem(model)
    for variables in ("maps", "kernels"):
        with pytest.raises(ModelError, match="stem="):
            interactify.wrap(model, variables=variables)
    assert "stem=" in interactify.wrap(model).describe()


def test_zero_kernels_at_a_named_stem() -> None:
    model = networks.seeded(networks.ScriptFirst)
    wider = interactify.reconfigure_stem(model, stem="stem")
    maps = networks.random_tensor(2, 2, 64, 96, seed=8)
    both = torch.cat([IMAGE, maps], 1)
    assert torch.equal(wider(both), model(IMAGE))
    (kernel,) = with_random_kernels(wider)
    expected = model.rest(appended(model.stem, kernel)(torch.cat([IMAGE * 2, maps], 1)))
    assert torch.allclose(wider(both), expected, atol=1e-4)


def test_image_kernels_at_a_named_stem() -> None:
    """The stem reads the first part's output and the maps, through its own kernels."""
    model = networks.seeded(networks.ScriptFirst)
    wider = interactify.reconfigure_stem(model, kernels="image", stem="stem")
    maps = networks.random_tensor(2, 3, 64, 96, seed=8)
    assert torch.equal(wider(torch.cat([IMAGE, 0 * maps], 1)), model(IMAGE))
    assert torch.allclose(wider(torch.cat([IMAGE, maps], 1)), model.rest(model.stem(IMAGE * 2 + maps)), atol=1e-5)


@pytest.mark.parametrize(
    ("build", "variables"),
    [
        (networks.Plain, "maps"),
        (networks.ScriptFirst, "maps"),
        (networks.OwnFunctionFirst, "maps"),
        (networks.Plain, "kernels"),
        (networks.ScriptFirst, "kernels"),
        (networks.OwnFunctionFirst, "kernels"),
    ],
)
def test_clicks_through_a_named_stem(build: Any, variables: str) -> None:
    net = interactify.wrap(networks.seeded(build), variables=variables, stem="stem")
    session = net.session(networks.random_photo())
    before = float(session.result.logits[0, 0, 20, 30])
    result = session.click(x=30, y=20, positive=before <= 0)
    moved = (float(result.logits[0, 0, 20, 30]) - before) * (1 if before <= 0 else -1)
    assert moved > 0.1, "a random network need not give in, but it has to hear"


def test_no_gradient_through_an_autograd_function_is_an_error() -> None:
    """The maps enter before it and get no gradient; behind it, at the named stem, they do (see above)."""
    session = interactify.wrap(networks.seeded(networks.OwnFunctionFirst), variables="maps").session(
        networks.random_photo()
    )
    with pytest.raises(ModelError, match="stem="):
        session.click(x=30, y=20, positive=not bool(session.result.mask[20, 30]))


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_errors() -> None:
    model = networks.seeded(networks.Plain)
    for options in ({"kernels": "ones"}, {"maps": 0}, {"maps": -1}, {"maps": True}, {"maps": 2.0}, {"maps": "2"}):
        with pytest.raises(OptionError):
            interactify.reconfigure_stem(model, **options)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="one map per image channel"):
        interactify.reconfigure_stem(model, maps=2, kernels="image")
    with pytest.raises(ModelError, match="nowhere"):
        interactify.reconfigure_stem(model, stem="nowhere")
    wider = interactify.reconfigure_stem(model)
    for wrong in (torch.rand(1, 3, 64, 64), torch.rand(5, 64, 64), torch.rand(1, 6, 64, 64)):
        with pytest.raises(ModelError, match="interaction maps"):
            wider(wrong)
