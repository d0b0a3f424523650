"""Networks of volumes: what is found of them, the identity before a click, and every kind of variables."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import interactify
from interactify import brs
from interactify.errors import InteractifyWarning, InteractionError, ModelError, OptionError
from interactify.interactions.click_maps import interaction_maps
from interactify.interactions.in_space import VoxelClick
from interactify.network.variables import class_logits, target_logits
from interactify.pictures.resize_pad import sample
from interactify.runtime.suffix import Suffix
from tests.fixtures import networks, volumes

AT_A_LAYER = ["scale_bias@A", "bias_field@A", "conv1x1@down", "rows_columns@A"]
KINDS = ["input", "smooth_input", "maps", "kernels", *AT_A_LAYER]
CLICKS = (VoxelClick(5, 3, z=4), VoxelClick(19, 15, False, z=11))
IMAGE = torch.from_numpy(volumes.random_volume())[None, None]


def wrapped(variables: str = "input", model: nn.Module | None = None, **options: object) -> interactify.Interactive:
    return interactify.wrap(model or volumes.plain(), variables=variables, mean=0, std=1, **options)


def test_a_click_waits_for_the_whole_margin_by_default() -> None:
    assert wrapped().energy == brs.Margin() and wrapped(energy="settling").energy == brs.Settling()


def test_what_is_found() -> None:
    spec = wrapped().spec
    assert (spec.sides, spec.channels, spec.output.classes, spec.output.activation) == (3, 1, 1, "none")
    assert [(call.module, call.weight) for call in spec.stem] == [("stem.0", (4, 1, 3, 3, 3))]
    assert spec.divisor == 2  # tried: odd sides fail at the skip connection
    deepest = spec.insertion_points()["A"]
    assert deepest.name.startswith("down") and deepest.shape[1:] == tuple(side // 2 for side in spec.probed)


def test_softmax_of_a_smaller_map() -> None:
    net = interactify.wrap(networks.seeded(volumes.Quarter3d), mean=0, std=1)
    output = net.spec.output
    assert (output.name, output.classes, output.activation, output.scale, output.bypassed) == (
        "out", 3, "softmax", 0.5, True,
    )  # fmt: skip
    assert net.spec.divisor == 1 and net.spec.channels == 2


def test_describe_speaks_of_voxels() -> None:
    text = wrapped().describe()
    assert "million voxels" in text and "up to 96 voxels a side" in text and "photo" not in text


def test_voxels_are_taken_as_they_are_with_a_warning() -> None:
    with pytest.warns(InteractifyWarning, match="voxels as they are"):
        interactify.wrap(volumes.plain())


def test_a_network_of_both_is_one_of_images_where_it_runs_on_one() -> None:
    class Both(networks.Plain):
        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Conv3d(1, 1, 1)

    assert interactify.wrap(networks.seeded(Both), mean=0, std=1).spec.sides == 2


def test_photos_are_refused_where_a_volume_is_meant() -> None:
    net = wrapped()
    with pytest.raises(ModelError, match="one of volumes"):
        net.picture(np.zeros((8, 8), np.uint8))
    with pytest.raises(OptionError, match="network of photos"):
        net.check_normalisation([np.zeros((8, 8), np.uint8)])
    with pytest.raises(OptionError, match="propagation='none' or 'edges'"):
        wrapped(propagation="colour")
    with pytest.raises(ModelError, match="click network"):
        wrapped(model=volumes.plain(channels=3), click_maps=interactify.ClickMaps())


@pytest.mark.parametrize("variables", KINDS)
def test_start_is_the_identity_and_the_suffix_is_exact(variables: str) -> None:
    model = volumes.plain()
    before = copy.deepcopy(model.state_dict())
    net = wrapped(variables, model)
    start = net.variables.start(net.network, IMAGE)
    with torch.no_grad():
        own = model(IMAGE)
    assert torch.equal(class_logits(net.network, net.variables, IMAGE, start, CLICKS).detach(), own)
    suffix = Suffix(net.runtime, net.variables, IMAGE, start)
    assert torch.equal(suffix.plain(), own)
    moved = 0.1 * networks.random_tensor(*start.shape)
    values = [moved.clone().requires_grad_(True) for _ in range(2)]
    whole = class_logits(net.network, net.variables, IMAGE, values[0], CLICKS)
    part = suffix(values[1], CLICKS)
    assert suffix.whole is None and torch.allclose(part, whole, atol=1e-4)
    assert not torch.allclose(whole, own, atol=1e-4)
    gradients = [
        torch.autograd.grad(each.square().sum(), at)[0] for each, at in zip((whole, part), values, strict=True)
    ]
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-3 * float(gradients[0].abs().max()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("variables", KINDS)
def test_gradient_against_finite_differences(variables: str) -> None:
    net = wrapped(variables, volumes.plain().double())
    image = IMAGE.double()
    at = 0.05 * networks.random_tensor(*net.variables.start(net.network, image).shape, dtype=torch.float64)
    direction = networks.random_tensor(*at.shape, dtype=torch.float64, seed=1)

    def total(values: Tensor) -> Tensor:
        return torch.tanh(target_logits(net.network, net.variables, image, values, CLICKS, None)).sum()

    values = at.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(total(values), values)
    step = 1e-6
    slope = (total(at + step * direction) - total(at - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope.detach()), rel=1e-3)


def test_reading_between_voxels_is_trilinear() -> None:
    z, y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in (3, 4, 5)), indexing="ij")
    maps = (100 * z + 10 * y + x)[None, None]
    points = torch.tensor([[0.0, 0.0, 0.0], [4.0, 3.0, 2.0], [1.25, 0.5, 1.75]], dtype=torch.float64)
    assert sample(maps, points)[0, 0].tolist() == pytest.approx([0.0, 234.0, 181.25])


def test_interaction_maps_of_a_volume() -> None:
    maps = interaction_maps([VoxelClick(1, 2, z=3)], (5, 4, 3), "distance", radius=10.0)
    assert maps.shape == (2, 5, 4, 3) and not maps[1].any()
    assert float(maps[0, 3, 2, 1]) == 1 and float(maps[0, 0, 2, 1]) == pytest.approx(0.7)
    with pytest.raises(InteractionError, match="VoxelClick"):
        interaction_maps([interactify.Click(1, 2)], (5, 4, 3))
    with pytest.raises(InteractionError, match="Expected a Click for maps of 2 sides"):
        interaction_maps([VoxelClick(1, 2, z=3)], (5, 4))


@pytest.mark.parametrize("energy", ["margin", "brs", "fbrs"])
@pytest.mark.parametrize("solver", ["lbfgs", "scipy"])
def test_the_core_in_three_dimensions(energy: str, solver: str) -> None:
    volume = torch.zeros(1, 1, 4, 5, 6)
    points, labels = torch.tensor([[5.0, 0.0, 3.0], [0.0, 4.0, 0.0]]), torch.tensor([True, False])
    found = brs.refine(
        lambda values: volume + values - 1, volume, points, labels, energy=energy, solver=solver, max_evaluations=80
    )
    assert found.reached and bool(found.logits[0, 0, 3, 0, 5] > 0) and bool(found.logits[0, 0, 0, 4, 0] < 0)
    with pytest.raises(InteractionError, match="inside the logits"):
        brs.refine(lambda values: volume + values, volume, torch.tensor([[5.6, 0.0, 0.0]]), torch.tensor([True]))
