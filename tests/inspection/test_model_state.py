"""A model that changes after it was wrapped: what is noticed, and that a wrapped network is then what a new wrap is."""

import copy
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

import interactify
from interactify.inspection.model_state import ModelState, digest
from interactify.interactive import Interactive
from tests.fixtures import networks

PHOTO = networks.random_photo(32, 48)


class Normed(networks.Plain):
    """With batch norm, dropout, a plain attribute that scales, and a list of flags as adapters keep them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(8), nn.Dropout2d(0.5)
        self.shift = torch.zeros(8, 1, 1)  # neither a parameter nor a buffer
        self.active = ["first"]
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)

    def read(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(self.stem(x))) + self.shift + (0.5 if "second" in self.active else 0.0)


def build(seed: int = 0) -> Normed:
    return networks.seeded(Normed, seed=seed)


def fused(model: nn.Module) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.05, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()


def trained(model: nn.Module) -> None:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2)
    model.train()
    for seed in (1, 2):
        model(networks.random_tensor(2, 3, 16, 16, seed=seed)).square().mean().backward()
        optimiser.step()
    model.eval()


def with_new_statistics(model: nn.Module) -> None:
    images = [networks.random_tensor(2, 3, 16, 16, seed=seed) * 3 for seed in (1, 2)]
    torch.optim.swa_utils.update_bn(images, model)
    model.eval()


def averaged(model: nn.Module) -> None:
    for mean, new in zip(model.parameters(), build(3).parameters(), strict=True):
        mean.data.copy_(0.5 * mean.data + 0.5 * new.data)


def written_by_numpy(model: nn.Module) -> None:
    np.multiply(model.stem.weight.detach().numpy(), 1.5, out=model.stem.weight.detach().numpy())


def from_a_vector(model: nn.Module) -> None:
    vector = nn.utils.parameters_to_vector(build(4).parameters())
    nn.utils.vector_to_parameters(vector.detach(), model.parameters())


class Low(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.round(decimals=1)


CHANGES: dict[str, Callable[[Normed], object]] = {
    "load_state_dict": lambda m: m.load_state_dict(build(1).state_dict()),
    "load_state_dict(assign=True)": lambda m: m.load_state_dict(copy.deepcopy(build(1).state_dict()), assign=True),
    "training": trained,
    "fused optimiser": fused,
    "update_bn": with_new_statistics,
    "buffers alone": lambda m: m.norm.running_mean.add_(0.5),
    "moving average": averaged,
    "numpy": written_by_numpy,
    "one weight, through numpy": lambda m: m.down.weight.detach().numpy().reshape(-1).__setitem__(5, 9.0),
    "another sign": lambda m: m.head.weight.data.neg_(),
    ".data": lambda m: setattr(m.head.bias, "data", m.head.bias.data + 1),
    "vector_to_parameters": from_a_vector,
    "replaced parameter": lambda m: setattr(m.head, "bias", nn.Parameter(m.head.bias.detach() + 1)),
    "replaced module": lambda m: setattr(m, "act", nn.Tanh()),
    "another class": lambda m: setattr(m, "act", nn.GELU()),
    "hook": lambda m: m.stem.register_forward_hook(lambda module, args, out: out * 0.5),
    "pre-hook": lambda m: m.head.register_forward_pre_hook(lambda module, args: (args[0] * 0.5,)),
    "double": lambda m: m.double(),
    "half and back": lambda m: m.half().float(),
    "prune": lambda m: prune.l1_unstructured(m.deep, "weight", 0.7),
    "weight norm": lambda m: nn.utils.weight_norm(m.head).weight_g.data.mul_(2),
    "spectral norm": lambda m: nn.utils.spectral_norm(m.deep),
    "parametrisation": lambda m: parametrize.register_parametrization(m.stem, "weight", Low()),
    "number": lambda m: setattr(m, "gain", 0.5),
    "tensor attribute": lambda m: m.shift.add_(0.5),
    "list of flags": lambda m: m.active.append("second"),
    "forward": lambda m: setattr(m, "forward", lambda x: -type(m).forward(m, x)),
}


def wrapped(model: nn.Module) -> Interactive:
    return interactify.wrap(model, max_evaluations=3)


def clicks(net: Interactive) -> list[np.ndarray]:
    session = net.session(PHOTO)
    maps = [session.result.probability]
    for x, y in ((10, 10), (40, 20)):
        maps.append(session.click(x, y, positive=not bool(session.result.mask[y, x])).probability)
    return maps


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_changed_model_is_followed_as_a_new_wrap_would(name: str) -> None:
    model = build()
    net = wrapped(model)
    before = clicks(net)
    CHANGES[name](model)
    model.eval()
    found, expected = clicks(net), clicks(wrapped(model))
    assert all(map(np.array_equal, found, expected))
    assert not np.array_equal(before[0], found[0]), "the change changes something"
    assert all(map(np.array_equal, clicks(net), expected)), "a second time"


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "one weight, through numpy"])  # a session's start
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_open_session_refuses_and_keeps_its_results(name: str, tmp_path: Path) -> None:
    model = build()
    net = wrapped(model)
    session = net.session(PHOTO)
    mask = session.click(10, 10).mask
    CHANGES[name](model)
    with pytest.raises(interactify.ModelChangedError, match=r"has changed since: .*replay"):
        session.click(40, 20, positive=False)
    assert len(session.interactions) == 1 and np.array_equal(session.result.mask, mask)
    with pytest.raises(interactify.ModelChangedError):
        session.save(tmp_path / "session.npz")  # it would be a file of the new weights with masks of the old ones
    model.eval()
    again = interactify.replay(session.log(), net, PHOTO)
    alone = wrapped(model).session(PHOTO)
    assert np.array_equal(again.result.probability, alone.click(10, 10).probability)


def test_what_is_no_change() -> None:
    model = networks.seeded(networks.Stateful, evaluating=False)  # its forward pass writes a buffer and an attribute
    net = interactify.wrap(model)
    kept, session = net.network, net.session(PHOTO)
    session.click(10, 10)
    for use in (
        lambda: model(networks.random_tensor(1, 3, 16, 16)),
        lambda: model.eval(),
        lambda: model.requires_grad_(False),
        lambda: setattr(model.stem.weight, "grad", torch.ones_like(model.stem.weight)),
        lambda: model.compile(),
    ):
        with torch.no_grad():
            use()
        session.click(40, 20, positive=not bool(session.result.mask[20, 40]))
        net.session(PHOTO)
        assert net.network is kept


def test_an_attribute_that_each_pass_sets_anew_is_no_change() -> None:
    """Old-style spectral normalisation computes `weight` in a hook, at every pass."""
    model = build()
    nn.utils.spectral_norm(model.deep)
    net = interactify.wrap(model.eval())
    session, kept = net.session(PHOTO), net.network
    with torch.no_grad():
        model(networks.random_tensor(1, 3, 16, 16))
    session.click(10, 10)
    assert net.session(PHOTO).wrapped.network is kept


def test_what_is_described_is_the_network_of_now() -> None:
    model = networks.seeded(networks.Plain)
    net = interactify.wrap(model)
    model.head = nn.Conv2d(8, 5, 1)
    assert "classes     5" in net.describe() and net.spec.output.classes == 5
    assert len(net.insertion_points()) and net.refine(PHOTO, [[interactify.Click(3, 3)]])[0].satisfied


def test_a_model_that_can_no_longer_be_wrapped_is_refused() -> None:
    model = networks.seeded(networks.Plain)
    net = interactify.wrap(model)
    model.head = nn.Flatten()
    with pytest.raises(interactify.ModelError):
        net.session(PHOTO)


def test_the_predictor_follows() -> None:
    model = build()
    predictor = interactify.Predictor(interactify.wrap(model))
    predictor.set_image(PHOTO)
    trained(model)
    fresh = interactify.Predictor(interactify.wrap(model))
    fresh.set_image(PHOTO)
    arguments = np.array([[20, 10]]), np.array([1])
    assert all(map(np.array_equal, predictor.predict(*arguments), fresh.predict(*arguments)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.cfloat])
@pytest.mark.parametrize("layout", ["plain", "channels last", "every second", "expanded", "empty", "one"])
def test_every_value_counts(dtype: torch.dtype, layout: str) -> None:
    size = {"empty": (0, 3, 4, 5), "one": (1, 1, 1, 1)}.get(layout, (2, 3, 4, 10))
    tensor = (networks.random_tensor(*size) > 0).to(dtype)
    if layout == "channels last":
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    elif layout == "every second":
        tensor = tensor[..., ::2]
    elif layout == "expanded":
        tensor = tensor[:, :1].expand(-1, 3, -1, -1)
    before = digest(tensor)
    for index in np.ndindex(*tensor.shape):
        changed = tensor.clone(memory_format=torch.preserve_format)
        changed[index] = not changed[index] if dtype == torch.bool else changed[index] + 1
        assert digest(changed) != before, index
    assert digest(tensor.clone(memory_format=torch.preserve_format)) == before


def test_quantised_and_sparse_tensors_do_not_stop_it() -> None:
    model = nn.Module()
    model.register_buffer("sparse", torch.eye(3).to_sparse())
    model.register_buffer("meta", torch.empty(3, device="meta"))
    model.register_buffer("quantised", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))
    assert ModelState(model).change(every_value=True) == ""


@pytest.mark.slow
def test_a_click_spends_under_a_hundredth_on_looking() -> None:
    net = interactify.wrap(networks.seeded(lambda: smp.Unet("resnet34", encoder_weights=None)))
    session = net.session(networks.random_photo(256, 256))
    session.click(10, 10)
    seconds = {"click": [], "look": []}
    for k in range(5):
        started = time.perf_counter()
        session.click(200 - 20 * k, 200, positive=not bool(session.result.mask[200, 200 - 20 * k]))
        between = time.perf_counter()
        net.state.change()
        seconds["click"].append(between - started)
        seconds["look"].append(time.perf_counter() - between)
    assert np.median(seconds["look"]) < 0.01 * np.median(seconds["click"]), seconds
