"""Exported programs are wrapped as the networks that they were exported from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import interactify
from interactify.errors import ModelError, OptionError
from interactify.inspection.exported_graph import Sizes, is_exported, sizes_of
from tests.fixtures import forms, networks

PHOTO = networks.random_photo()


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    return forms.exported()


def dynamic(step: int = 1, least: int = 32, most: int = 512) -> nn.Module:
    sides = [step * torch.export.Dim(name, min=least // step, max=most // step) for name in ("h", "w")]
    if step == 1:
        sides = [torch.export.Dim(name, min=least, max=most) for name in ("h", "w")]
    shapes = {"x": {2: sides[0], 3: sides[1]}}
    return torch.export.export(forms.small(), (torch.rand(1, 3, 64, 96),), dynamic_shapes=shapes).module()


def probability(net: interactify.Interactive) -> np.ndarray:
    return net.session(PHOTO).result.probability


def test_it_gives_the_network_s_own_map_and_follows_clicks(program: torch.export.ExportedProgram) -> None:
    net = interactify.wrap(program.module(), **forms.OPTIONS)
    expected = probability(interactify.wrap(forms.small(), resolution=64, **forms.OPTIONS))
    session = net.session(PHOTO)
    assert session.initial_step.crop.suffix.whole is None  # a click runs only what depends on the variables
    assert np.abs(session.result.probability - expected).max() < 1e-5
    assert session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20])).satisfied


def test_stem_activation_and_layers_are_those_of_the_network(program: torch.export.ExportedProgram) -> None:
    own, spec = (interactify.wrap(each, **forms.OPTIONS).spec for each in (forms.small(), program.module()))
    assert [(call.module, call.weight) for call in spec.stem] == [(call.module, call.weight) for call in own.stem]
    assert (spec.output.activation, spec.output.bypassed) == ("sigmoid", True)
    points = {letter: layer.name for letter, layer in own.insertion_points().items()}
    assert {letter: layer.name for letter, layer in spec.insertion_points().items()} == points
    kinds = {layer.name: layer.kind for layer in own.layers}
    assert {layer.name: layer.kind for layer in spec.layers if layer.name} == {n: k for n, k in kinds.items() if n}


@pytest.mark.parametrize(
    "options",
    [
        {"variables": "maps"},
        {"variables": "kernels"},
        {"variables": "maps", "stem": "encoder.0"},
        {"variables": "kernels", "stem": "encoder.0"},
        {"variables": "scale_bias@deep.0"},
        {"variables": "scale_bias@B"},
        {"variables": "bias_field@B"},
        {"solver": "scipy"},
    ],
)
def test_every_variable_answers_as_on_the_network(program: torch.export.ExportedProgram, options: dict) -> None:
    results = []
    for model in (forms.small(), program.module()):
        sizes = {"resolution": 64} if isinstance(model, forms.Small) else {}
        session = interactify.wrap(model, **sizes, **options, **forms.OPTIONS).session(PHOTO)
        results.append(session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20])))
    assert results[0].satisfied == results[1].satisfied
    assert np.abs(results[0].probability - results[1].probability).max() < 1e-3


def test_the_only_size_is_found_and_another_one_is_refused(program: torch.export.ExportedProgram) -> None:
    net = interactify.wrap(program.module(), **forms.OPTIONS)
    assert net.spec.exact == (64, 64) and "64×64, always" in net.describe()
    with pytest.raises(OptionError, match="64×64 only"):
        interactify.wrap(program.module(), resolution=96, **forms.OPTIONS)


def test_a_size_that_is_no_square() -> None:
    net = interactify.wrap(forms.exported(64, 96), **forms.OPTIONS)
    assert net.spec.exact == (64, 96)
    for height, width in ((50, 40), (40, 100), (300, 20)):  # upright photos too
        photo = networks.random_photo(height, width)
        session = net.session(photo)
        assert session.initial_step.crop.image.shape[-2:] == (64, 96)
        assert session.click(x=3, y=4, positive=not bool(session.result.mask[4, 3])).satisfied
        assert session.result.mask.shape == (height, width)


@pytest.mark.parametrize("step", [1, 32])
def test_limits_of_dynamic_sizes(step: int) -> None:
    model = dynamic(step)
    sizes = sizes_of(model)
    assert is_exported(model) and sizes.smallest in ((32,) if step == 1 else (32, 64))  # torch may leave 1 step out
    assert replace(sizes, smallest=None) == Sizes(None, None if step == 1 else step, None, 512)
    net = interactify.wrap(model, **forms.OPTIONS)
    assert (net.spec.exact, net.spec.resolution, net.spec.divisor) == (None, 512, 32)
    expected = probability(interactify.wrap(forms.small(), resolution=512, divisor=net.spec.divisor, **forms.OPTIONS))
    assert np.abs(probability(net) - expected).max() < 1e-5


def test_a_largest_size_below_those_that_are_tried_first_is_no_only_size() -> None:
    net = interactify.wrap(dynamic(16, least=32, most=128), **forms.OPTIONS)
    assert (net.spec.smallest, net.spec.resolution, net.spec.divisor, net.spec.exact) == (32, 128, 16, None)
    assert net.network.view((64, 96)).network_size == (96, 128), "and not 128 × 128"
    assert "always" not in net.describe()


def test_several_images_or_inputs_are_refused_with_the_way_out() -> None:
    batch = torch.export.export(forms.small(), (torch.rand(2, 3, 64, 64),)).module()
    with pytest.raises(ModelError, match="one image"):
        interactify.wrap(batch)

    class Two(forms.Small):
        def forward(self, x: Tensor, gain: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(x) * gain

    with pytest.raises(ModelError, match="2 inputs"):
        interactify.wrap(torch.export.export(networks.seeded(Two).eval(), (torch.rand(1, 3, 64, 64), torch.ones(1))))


def test_what_decompositions_leave() -> None:
    """The core operators, such as `convolution` and `_softmax`, are the same layers."""
    net = interactify.wrap(forms.exported().run_decompositions(), **forms.OPTIONS)
    assert [call.module for call in net.spec.stem] == ["encoder.0"] and net.spec.output.bypassed
    session = net.session(PHOTO)
    assert session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20])).satisfied


def test_a_layer_that_runs_twice_and_several_outputs() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.same, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 1, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = self.same(torch.tanh(self.same(self.stem(x))))
            return {"out": self.head(y), "side": y}

    model = networks.seeded(Twice).eval()
    net = interactify.wrap(forms.exported(model=model), **forms.OPTIONS)
    assert net.spec.output.name == "out"
    expected = probability(interactify.wrap(model, resolution=64, **forms.OPTIONS))
    assert np.abs(probability(net) - expected).max() < 1e-5


def test_the_exported_module_is_untouched(program: torch.export.ExportedProgram) -> None:
    module = program.module()
    code, weights = module.code, {name: tensor.clone() for name, tensor in module.state_dict().items()}
    net = interactify.wrap(module, **forms.OPTIONS)
    net.session(PHOTO).click(x=5, y=5)
    assert net.unwrap() is module and module.code == code
    assert all(torch.equal(tensor, weights[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_zero_kernels_of_a_reconfigured_stem(program: torch.export.ExportedProgram) -> None:
    wider = interactify.reconfigure_stem(program.module(), maps=2)
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(wider(torch.cat([image, torch.rand(1, 2, 64, 64)], 1)), forms.small()(image))
