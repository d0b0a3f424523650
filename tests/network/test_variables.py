"""Every kind of variable: the identity at its start, its gradient against finite differences, "maps" like "input"."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from interactify import brs, optim
from interactify.brs.energy import ENERGIES
from interactify.errors import InteractifyError, ModelError, OptionError
from interactify.interactions.click import Click
from interactify.network.layer_variables import AT_LAYER
from interactify.network.variables import target_logits
from interactify.optim import Evaluation, RowsObjective, Solution
from interactify.pictures.resize_pad import View
from tests.fixtures import networks
from tests.fixtures.user_variables import Brightness

AT_A_LAYER = ["scale_bias@A", "scale_bias@B", "scale_bias@C", "scale_bias@down"]
AT_A_LAYER += ["bias_field@A", "bias_field@fine", "conv1x1@A", "conv1x1@down", "rows_columns@A", "rows_columns@fine"]
KINDS = ["input", "smooth_input", "maps", "kernels", *AT_A_LAYER]
CLICKS = (Click(10.0, 5.0), Click(0.0, 63.0, False), Click(63.0, 20.0), Click(31.25, 40.5, False))


class Smooth(nn.Module):
    """Differentiable everywhere, float64, an encoder and decoder with three sizes of maps and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.down = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.Tanh())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.GELU())
        self.middle = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(8, 8, 3, padding=1), nn.Softplus()
        )
        self.fine = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(8, 6, 3, padding=1), nn.Softplus()
        )
        self.head = nn.Conv2d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = torch.tanh(self.stem(x))
        down = self.down(first)
        return self.head(self.fine(self.middle(self.deep(down)) + down) + first) * 3


def smooth() -> nn.Module:
    return networks.seeded(Smooth).double()


IMAGE = networks.random_tensor(1, 3, 64, 64, dtype=torch.float64, seed=3)


def forward_of(net: Any, image: Tensor, clicks: tuple[Click, ...] = CLICKS) -> Callable[[Tensor], Tensor]:
    return lambda values: target_logits(net.network, net.variables, image, values, clicks, None)


def objective_of(
    net: Any, image: Tensor, energy: Any, monkeypatch: pytest.MonkeyPatch, clicks: tuple[Click, ...] = CLICKS
) -> Callable[[Tensor], Evaluation]:
    """The very function that `brs.refine` gives its solver, by way of a solver that only keeps it."""
    kept: list[Callable[[Tensor], Evaluation]] = []

    def solver(objective: RowsObjective, x0: Tensor, **options: Any) -> list[Solution]:
        def alone(x: Tensor) -> Evaluation:
            rows = objective(x[None], [0])
            gradient = None if rows.gradient is None else rows.gradient[0]
            return Evaluation(rows.value[0], gradient, rows.done[0], rows.payloads[0])

        kept.append(alone)
        return [Solution(x0[0], 0.0, torch.zeros(1, 1, 64, 64), False, 0, 0, "budget")]

    monkeypatch.setitem(optim.ROW_SOLVERS, "keep", solver)
    points = torch.tensor([[c.x, c.y] for c in clicks], dtype=torch.float64)
    labels = torch.tensor([c.positive for c in clicks])
    start = net.variables.start(net.network, image)
    brs.refine(
        forward_of(net, image, clicks), start, points, labels,
        energy=energy, inertia=net.variables.inertia, solver="keep",
    )  # fmt: skip
    return kept[0]


# ---- the identity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variables", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_start_is_the_identity(variables: str, dtype: torch.dtype) -> None:
    model = networks.seeded(Smooth).to(dtype)
    net = interactify.wrap(model, variables=variables)
    image = IMAGE.to(dtype)
    start = net.variables.start(net.network, image)
    assert not start.any() and start.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    with torch.no_grad():
        expected = model(image)
    assert torch.equal(
        forward_of(net, image)(start).detach(), expected.float() if dtype == torch.bfloat16 else expected
    )


@pytest.mark.parametrize("variables", KINDS)
def test_inertia_is_zero_at_the_identity_and_nowhere_else(variables: str) -> None:
    net = interactify.wrap(smooth(), variables=variables)
    start = net.variables.start(net.network, IMAGE)
    assert float(net.variables.inertia(start)) == 0
    moved = networks.random_tensor(*start.shape, dtype=torch.float64)
    squares = moved.square()
    expected = squares.sum()
    if variables.startswith("scale"):
        expected = squares[0].sum() + 10 * squares[1].sum()
    elif variables.startswith("conv"):
        expected = squares[:, :-1].sum() + 10 * squares[:, -1].sum()
    assert float(net.variables.inertia(moved)) == pytest.approx(float(expected), rel=1e-12)


# ---- gradients -------------------------------------------------------------------------------------------------------


def by_hand(logits: Tensor, energy: str, inertia: float) -> float:
    """The whole energy, from the formulas of the papers, pixel by pixel."""
    z = logits[0, 0].tolist()
    height, width = len(z), len(z[0])

    def at(x: float, y: float) -> float:
        x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
        left, top = math.floor(x), math.floor(y)
        right, bottom, a, b = min(left + 1, width - 1), min(top + 1, height - 1), x - left, y - top
        above, below = z[top][left] * (1 - a) + z[top][right] * a, z[bottom][left] * (1 - a) + z[bottom][right] * a
        return above * (1 - b) + below * b

    def error(z: float, positive: bool) -> float:
        return abs(positive - 1 / (1 + math.exp(-z)))

    total = 0.0
    for click in CLICKS:
        alike = sum(other.positive == click.positive for other in CLICKS)
        if energy == "brs":
            total += error(at(click.x, click.y), click.positive) ** 2
        elif energy == "fbrs":
            square = [(click.x + i, click.y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
            total += sum(error(at(x, y), click.positive) ** 2 for x, y in square) / 9 / alike
        else:
            signed = at(click.x, click.y) * (1 if click.positive else -1)
            total += max(0.0, 4.0 - signed) ** 2
    return total + 1e-3 * inertia


@pytest.mark.parametrize("energy", list(ENERGIES))
@pytest.mark.parametrize("variables", KINDS)
def test_gradient_against_finite_differences(variables: str, energy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = interactify.wrap(smooth(), variables=variables)
    objective = objective_of(net, IMAGE, energy, monkeypatch)
    shape = net.variables.start(net.network, IMAGE).shape
    at = (networks.random_tensor(*shape, dtype=torch.float64, seed=1) * 0.1).flatten()

    value, gradient, done = (objective(at).value, objective(at).gradient, objective(at).done)
    assert not done and gradient is not None and float(gradient.abs().max()) > 1e-6
    logits = forward_of(net, IMAGE)(at.view(shape)).detach()
    inertia = float(net.variables.inertia(at.view(shape)))
    assert float(value) == pytest.approx(by_hand(logits, energy, inertia), rel=1e-6)

    generator = torch.Generator().manual_seed(2)
    strongest = gradient.abs().topk(min(4, len(at))).indices
    anywhere = torch.randint(len(at), (3,), generator=generator)
    directions = [F.one_hot(i, len(at)).double() for i in torch.cat([strongest, anywhere])]
    directions += [torch.randn(len(at), generator=generator, dtype=torch.float64) for _ in range(2)]
    for direction in directions:
        step = 1e-5 / float(direction.norm())
        ahead, behind = objective(at + step * direction).value, objective(at - step * direction).value
        slope = float(ahead - behind) / (2 * step)
        assert float(gradient @ direction) == pytest.approx(slope, rel=1e-5, abs=1e-7 * float(direction.norm()))


@pytest.mark.parametrize("variables", ["input", "maps", "kernels", "scale_bias@deep", "bias_field@deep"])
def test_gradient_through_checkpointed_layers(variables: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that recompute activations in the backward pass run layers again when the forward pass is over."""
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(Smooth):
        def forward(self, x: Tensor) -> Tensor:
            first = torch.tanh(checkpoint(self.stem, x, use_reentrant=False))
            deep = checkpoint(nn.Sequential(self.down, self.deep), first, use_reentrant=False)
            return self.head(self.fine(self.middle(deep)) + first) * 3

    net = interactify.wrap(networks.seeded(Checkpointed).double(), variables=variables)
    session = net.session(networks.random_photo())
    plain = session.result.mask
    for x, y in ((30, 20), (60, 40)):
        session.click(x=x, y=y, positive=not bool(plain[y, x]))
    if variables != "input":  # run as a whole, what is recomputed runs without them
        return
    objective = objective_of(net, IMAGE, "margin", monkeypatch)
    start = net.variables.start(net.network, IMAGE)
    at = (networks.random_tensor(*start.shape, dtype=torch.float64, seed=1) * 0.1).flatten()
    direction = networks.random_tensor(len(at), dtype=torch.float64, seed=4)
    gradient = objective(at).gradient
    step = 1e-5 / float(direction.norm())
    slope = float(objective(at + step * direction).value - objective(at - step * direction).value) / (2 * step)
    assert gradient is not None and float(gradient @ direction) == pytest.approx(slope, rel=1e-5)


# ---- what each kind is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build", [Smooth, networks.Functional, networks.SameStem, networks.WeightStandardised, networks.ParallelStems]
)
def test_maps_and_input_are_the_same_where_the_stem_alone_reads_the_image(build: Any) -> None:
    model = networks.seeded(build).double()
    values = networks.random_tensor(1, 3, 64, 64, dtype=torch.float64, seed=8) * 0.3
    logits, gradients = [], []
    for variables in ("input", "maps"):
        net = interactify.wrap(model, variables=variables)
        leaf = values.clone().requires_grad_(True)
        out = forward_of(net, IMAGE)(leaf)
        logits.append(out.detach())
        gradients.append(torch.autograd.grad(out.square().sum(), leaf)[0])
    assert torch.allclose(logits[0], logits[1], atol=1e-12)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-10)
    with torch.no_grad():
        assert torch.allclose(logits[0], model(IMAGE + values), atol=1e-12)
        assert not torch.allclose(logits[0], model(IMAGE), atol=1e-2)


def test_maps_leave_the_image_to_its_other_readers() -> None:
    model = networks.seeded(networks.ImageAgain).double()
    values = networks.random_tensor(1, 3, 64, 64, dtype=torch.float64, seed=8)
    net = interactify.wrap(model, variables="maps")
    with torch.no_grad():
        assert torch.allclose(forward_of(net, IMAGE)(values), model(IMAGE + values, again=IMAGE), atol=1e-12)


def test_scale_and_bias_by_hand() -> None:
    model = smooth()
    net = interactify.wrap(model, variables="scale_bias@deep")
    values = networks.random_tensor(2, 8, dtype=torch.float64)
    scale, bias = values[:, None, :, None, None]
    with torch.no_grad():
        first = torch.tanh(model.stem(IMAGE))
        down = model.down(first)
        deep = model.deep(down) * (1 + scale) + bias
        expected = model.head(model.fine(model.middle(deep) + down) + first) * 3
        assert torch.allclose(forward_of(net, IMAGE)(values), expected, atol=1e-12)
        assert torch.equal(net.network.replica(IMAGE), model(IMAGE)), "outside a run, nothing is changed"


def test_kernels_by_hand() -> None:
    """Each click map is exp(−d²/2σ²), σ = 4, 16 and 64, one for either polarity, convolved beside the image."""
    model = smooth()
    net = interactify.wrap(model, variables="kernels")
    values = networks.random_tensor(6 * 6 * 9, dtype=torch.float64) * 0.2
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    maps = []
    for sigma in (4.0, 16.0, 64.0):
        for polarity in (True, False):
            each = [
                torch.exp(-((columns - c.x) ** 2 + (rows - c.y) ** 2) / (2 * sigma**2))
                for c in CLICKS
                if c.positive == polarity
            ]
            maps.append(torch.stack(each).amax(0))
    beside = F.conv2d(torch.stack(maps)[None].double(), values.view(6, 6, 3, 3), padding=1)
    with torch.no_grad():
        first = torch.tanh(model.stem(IMAGE) + beside)
        down = model.down(first)
        expected = model.head(model.fine(model.middle(model.deep(down)) + down) + first) * 3
        assert torch.allclose(forward_of(net, IMAGE)(values), expected, atol=1e-5)


def test_a_layer_that_returns_several_maps_is_changed_at_its_last() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)

        def forward(self, x: Tensor) -> list[Tensor]:
            one = torch.tanh(self.one(x))
            return [x, one, self.two(one)]

    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.head = Encoder(), nn.Conv2d(9, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.cat(self.encoder(x)[1:], 1))

    model = networks.seeded(Listed).double()
    net = interactify.wrap(model, variables="scale_bias@encoder")
    values = networks.random_tensor(2, 5, dtype=torch.float64)
    with torch.no_grad():
        one, two = model.encoder(IMAGE)[1:]
        two = two * (1 + values[0].view(-1, 1, 1)) + values[1].view(-1, 1, 1)
        assert torch.allclose(forward_of(net, IMAGE)(values), model.head(torch.cat([one, two], 1)), atol=1e-12)


def test_variables_under_an_in_place_activation() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.act, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.act(self.one(x)))

    at_layer = (f"{kind}@{layer}" for kind in AT_LAYER for layer in ("one", "act"))
    for variables in (*at_layer, "kernels", "maps"):
        net = interactify.wrap(networks.seeded(InPlace), variables=variables)
        session = net.session(networks.random_photo())
        assert session.click(x=20, y=20, positive=not bool(session.result.mask[20, 20])).evaluations >= 1


def test_two_variables_on_one_layer_do_not_add_up() -> None:
    """Two wraps of one model have two replicas; a change at one is not seen by the other."""
    model = smooth()
    first, second = (interactify.wrap(model, variables="scale_bias@deep") for _ in range(2))
    values = networks.random_tensor(2, 8, dtype=torch.float64)
    with torch.no_grad():
        one = forward_of(first, IMAGE)(values)
        assert torch.equal(forward_of(second, IMAGE)(values), one)
        assert torch.equal(forward_of(second, IMAGE)(0 * values), model(IMAGE))


def test_a_shared_module_that_sees_different_shapes() -> None:
    """One ReLU for maps of 8 and of 12 channels: either it works or an error comes before the first click."""
    model = networks.seeded(networks.Plain)
    try:
        net = interactify.wrap(model, variables="scale_bias@act")
    except InteractifyError:
        return
    session = net.session(networks.random_photo())
    assert session.click(x=20, y=20, positive=not bool(session.result.mask[20, 20])).evaluations >= 1


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    ["inputs", "", "scale_bias", "scale_bias@", "scale_bias@ ", "bias@deep", "input@deep", "Input", 3, object()],
)
def test_unknown_variables(wrong: Any) -> None:
    with pytest.raises((OptionError, ModelError)):
        interactify.wrap(smooth(), variables=wrong)


def test_unknown_layers() -> None:
    with pytest.raises(ModelError, match="deep"):
        interactify.wrap(smooth(), variables="scale_bias@deeper")
    with pytest.raises(ModelError, match=r"insertion points .none., got A"):
        interactify.wrap(nn.Conv2d(3, 1, 1), variables="scale_bias@A")

    class Pooled(networks.Plain):
        def __init__(self) -> None:
            super().__init__()
            self.flat = nn.Flatten()

        def read(self, x: Tensor) -> Tensor:
            return self.stem(x) + 0 * self.flat(x).mean()

    with pytest.raises(ModelError, match="a layer with a map"):
        interactify.wrap(networks.seeded(Pooled), variables="scale_bias@flat")


def test_a_class_is_no_kind_of_variables() -> None:
    from interactify.network.variables import Input

    with pytest.raises(OptionError):
        interactify.wrap(smooth(), variables=Input)  # type: ignore[arg-type]


def test_own_variables_can_be_given() -> None:
    """What the protocol promises: a class with four members is a kind of variable."""
    net = interactify.wrap(networks.seeded(networks.Plain), variables=Brightness())
    session = net.session(networks.random_photo())
    before = session.result.logits
    result = session.click(x=20, y=20, positive=not bool(session.result.mask[20, 20]))
    assert not torch.equal(before, result.logits)
    assert "brightness" in net.describe()
    assert View.fit((64, 96)).network_size == (64, 96)
