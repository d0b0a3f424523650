"""TorchScript is read from its graph: stem, layers and the sigmoid at the end are those of the network."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from interactify.inspection.forms import in_layers
from interactify.inspection.replica import replica_of
from tests.fixtures import forms, networks

PHOTO = networks.random_photo()
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*")


@pytest.mark.parametrize("make", [forms.scripted, forms.traced])
def test_stem_sigmoid_and_layers_are_read(make: Callable[[], torch.jit.ScriptModule]) -> None:
    net, own = (interactify.wrap(each, resolution=64, **forms.OPTIONS) for each in (make(), forms.small()))
    assert [(c.module, c.weight) for c in net.spec.stem] == [(c.module, c.weight) for c in own.spec.stem]
    assert (net.spec.output.activation, net.spec.output.bypassed) == ("sigmoid", True)
    assert "read before it" in net.describe() and "undone numerically" not in net.describe()
    points = {letter: layer.name for letter, layer in own.spec.insertion_points().items()}
    assert {letter: layer.name for letter, layer in net.spec.insertion_points().items()} == points
    sessions = [each.session(PHOTO) for each in (net, own)]
    assert sessions[0].initial_step.crop.suffix.whole is None
    first = [session.result.probability for session in sessions]
    assert np.abs(first[0] - first[1]).max() < 1e-6
    after = [session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20])) for session in sessions]
    assert after[0].satisfied and np.abs(after[0].probability - after[1].probability).max() < 1e-4


@pytest.mark.parametrize("variables", ["maps", "kernels", "scale_bias@deep.0"])
def test_every_variable(variables: str) -> None:
    session = interactify.wrap(forms.scripted(), variables=variables, resolution=64, **forms.OPTIONS).session(PHOTO)
    assert session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20])).evaluations >= 1
    wider = interactify.reconfigure_stem(forms.scripted(), maps=1)
    image = torch.rand(1, 3, 32, 48)
    assert torch.equal(wider(torch.cat([image, torch.rand(1, 1, 32, 48)], 1)), forms.small()(image))


class Branches(nn.Module):
    """What scripts may contain: branches, loops, lists, dicts, sizes, optional inputs, another type in between."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.blocks = nn.ModuleList([nn.Conv2d(6, 6, 3, padding=1) for _ in range(3)])
        self.head = nn.Conv2d(6, 1, 1)

    def forward(self, x: Tensor, gain: float = 2.0, again: bool = False) -> dict[str, Tensor]:
        maps: list[Tensor] = []
        y = self.stem(x)
        for block in self.blocks:
            y = F.relu(block(y))
            maps.append(y)
        total = maps[0]
        for i in range(1, len(maps)):
            total = total + maps[i]
        if again or total.shape[-1] < 8:
            total = self.blocks[0](total)
        if float(total.mean()) > 1e6:
            raise RuntimeError(f"too large: {total.shape}")
        half = F.interpolate(total, size=[x.size(2) // 2, x.size(3) // 2], mode="bilinear", align_corners=False)
        full = F.interpolate(half.to(torch.float64).to(x.dtype), size=[x.size(2), x.size(3)])
        return {"out": self.head(full) * gain, "side": half}


def test_branches_loops_and_lists() -> None:
    model = networks.seeded(Branches).eval()
    script = forms.scripted(model)
    read, image = in_layers(replica_of(script)), torch.rand(1, 3, 40, 56)
    assert not any(isinstance(module, torch.jit.ScriptModule) for module in read.modules())
    for arguments in ((), (0.5,), (1.5, True)):
        expected, got = model(image, *arguments), read(image, *arguments)
        assert expected.keys() == got.keys()
        assert all(torch.equal(expected[key], got[key]) for key in expected)
    net = interactify.wrap(script, resolution=64, **forms.OPTIONS)
    assert [call.module for call in net.spec.stem] == ["stem"] and net.spec.output.name == "out"


def test_weights_are_shared_and_the_script_is_untouched() -> None:
    script = forms.scripted()
    replica = replica_of(script)
    own, shared = dict(script.named_parameters()), dict(replica.named_parameters())
    assert own.keys() == shared.keys()
    assert all(own[name].data_ptr() == shared[name].data_ptr() for name in own)
    assert all(tensor.requires_grad for tensor in own.values()) and not any(t.requires_grad for t in shared.values())
    buffers = dict(replica.named_buffers())
    assert all(tensor.data_ptr() != buffers[name].data_ptr() for name, tensor in script.named_buffers())


def test_a_scripted_part_of_a_network() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = forms.scripted()

        def forward(self, x: Tensor) -> Tensor:
            return self.part(x)

    net = interactify.wrap(Around().eval(), **forms.OPTIONS)
    assert [call.module for call in net.spec.stem] == ["part.encoder.0"] and net.spec.output.bypassed


def test_what_writes_to_itself_stays_as_it_is() -> None:
    script = forms.scripted(networks.Double())
    assert isinstance(replica_of(script), torch.jit.ScriptModule)


def test_a_frozen_script(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(forms.scripted())
        torch.jit.save(frozen, tmp_path / "net.pt")
    net = interactify.wrap(tmp_path / "net.pt", resolution=64, **forms.OPTIONS)
    assert len(net.spec.stem) == 1 and net.spec.output.bypassed
    session = net.session(PHOTO)
    assert session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20])).satisfied


@pytest.mark.parametrize("form", ["scripted", "exported"])
def test_weights_that_change_later_are_followed(form: str) -> None:
    model = forms.scripted() if form == "scripted" else forms.exported().module()
    options = {"resolution": 64} if form == "scripted" else {}
    net = interactify.wrap(model, **options, **forms.OPTIONS)
    before = net.session(PHOTO).result.probability
    with torch.no_grad():
        dict(model.named_parameters())["head.weight"].mul_(-1.5)
        dict(model.named_buffers())["encoder.1.running_mean"].add_(0.3)
    after = net.session(PHOTO).result.probability
    fresh = interactify.wrap(model, **options, **forms.OPTIONS).session(PHOTO).result.probability
    assert np.array_equal(after, fresh) and np.abs(after - before).max() > 0.01
