"""Networks with the quirks of real ones: the same invariants for each, then what is particular to some."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from interactify.errors import ModelError
from interactify.network.variables import target_logits, variables_named
from interactify.pictures.resize_pad import sample
from tests.fixtures import awkward, networks
from tests.inspection.test_replica import same, snapshot

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PLAIN = (0.0,) * 3, (1.0,) * 3
BYTES = (0.0,) * 3, (1 / 255,) * 3
PHOTO = networks.random_photo(45, 75)
CLICKS = ((57, 19), (17, 37))


@dataclass(frozen=True)
class Case:
    """How to build a network, what pixels it reads, where its map is, and what it has been through."""

    build: Callable[[], nn.Module]
    reads: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    main: Callable[[Any], Tensor] = lambda raw: raw
    activation: str = "none"
    dtype: torch.dtype = torch.float32
    training: bool = False
    exact: bool = True


def preparing(prepare: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: awkward.Preparing(prepare)


def by_torchvision(x: Tensor) -> Tensor:
    from torchvision.transforms.functional import normalize

    return normalize(x, list(IMAGENET[0]), list(IMAGENET[1]))


def shaped(shape: Callable[[Tensor], Any], classes: int = 1) -> Callable[[], nn.Module]:
    return lambda: networks.WithOutput(shape, classes)


def group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(4, channels)


def joined(z: Tensor) -> Tensor:
    p = torch.sigmoid(z)
    return torch.cat([1 - p, p], 1)


def enlarged(z: Tensor) -> Tensor:
    return F.interpolate(torch.sigmoid(F.avg_pool2d(z, 4)), scale_factor=4.0, mode="bilinear")


CASES: dict[str, Case] = {
    "submodule called again": Case(awkward.CalledAgain),
    "other output while training": Case(awkward.TwoModes, training=True),
    "in-place activations and additions": Case(awkward.InPlace),
    "lists with None": Case(awkward.ListsWithNone),
    "overrides modules": Case(awkward.OverridesModules),
    "decides by data": Case(awkward.DecidesByData),
    "quarter size": Case(shaped(networks.as_quarter), exact=False),
    "stem on 48 channels": Case(awkward.Folded, exact=False),
    "two branches read the image": Case(awkward.TwoBranches),
    "no norm at all": Case(networks.Plain),
    "GroupNorm": Case(lambda: awkward.Normed(group_norm)),
    "EvoNorm": Case(lambda: awkward.Normed(awkward.EvoNorm)),
    "dropout and stochastic depth": Case(awkward.Dropping, training=True),
    "float64": Case(awkward.InPlace, dtype=torch.float64),
    "bfloat16": Case(awkward.InPlace, dtype=torch.bfloat16),
    "float16": Case(awkward.CalledAgain, dtype=torch.float16),
    "normalises plain pixels": Case(networks.NormalisingInside, PLAIN),
    "normalises bytes": Case(preparing(lambda x: (x - 123.7) / 58.4), BYTES),
    "divides bytes first": Case(preparing(lambda x: (x / 255 - 0.45) / 0.22), BYTES),
    "multiplies bytes first": Case(preparing(lambda x: (x * (1 / 255) - 0.45) / 0.22), BYTES),
    "makes bytes of plain pixels": Case(preparing(lambda x: (255 * x - 123.7) / 58.4), PLAIN),
    "normalises in place": Case(preparing(lambda x: x.sub_(0.45).div_(0.22)), PLAIN),
    "normalises bytes in place": Case(preparing(lambda x: x.sub_(123.7).div_(58.4)), BYTES),
    "normalises by torchvision": Case(preparing(by_torchvision), PLAIN),
    "x * 2 - 1": Case(preparing(lambda x: x * 2 - 1), PLAIN),
    "U2-Net, fused first": Case(awkward.U2, main=lambda raw: raw[0], activation="sigmoid"),
    "deep supervision without fusion": Case(awkward.DeeplySupervised, main=lambda raw: raw[3]),
    "HED": Case(awkward.Hed, main=lambda raw: raw[3], activation="sigmoid"),
    "cat of 1 - p and p": Case(shaped(joined), main=lambda raw: raw[:, 1:], activation="sigmoid"),
    "softmax of two": Case(shaped(lambda z: F.softmax(z, 1), 2), main=lambda raw: raw[:, 1:], activation="softmax"),
    "the second of a softmax": Case(shaped(lambda z: F.softmax(z, 1)[:, 1:], 2), activation="sigmoid"),
    "the second of three, unbatched": Case(
        shaped(lambda z: torch.softmax(z, 1)[:, 1], 3), main=lambda raw: raw[:, None], activation="sigmoid"
    ),
    "sigmoid in place": Case(shaped(lambda z: z.sigmoid_()), activation="sigmoid"),
    "sigmoid, then resized": Case(shaped(enlarged), activation="sigmoid"),
    "(N, H, W)": Case(shaped(lambda z: z[:, 0].sigmoid()), main=lambda raw: raw[:, None], activation="sigmoid"),
    "(H, W)": Case(shaped(lambda z: z.sigmoid().squeeze()), main=lambda raw: raw[None, None], activation="sigmoid"),
    **{
        name: Case(shaped(shape), main=lambda raw, path=path: by_path(raw, path))
        for name, (shape, path) in awkward.CONTAINERS.items()
    },
}


def by_path(raw: Any, path: str) -> Tensor:
    for step in path.split("."):
        raw = raw[step] if isinstance(raw, dict) else raw[int(step)] if step.isdigit() else getattr(raw, step)
    return raw


def padded(reads: tuple[tuple[float, ...], tuple[float, ...]], dtype: torch.dtype) -> Tensor:
    """The photo as the network reads it, by hand: its border repeated up to multiples of 32, then normalised."""
    pixels = torch.from_numpy(PHOTO).permute(2, 0, 1).float() / 255
    pixels = F.pad(pixels[None], (0, 96 - 75, 0, 64 - 45), mode="replicate")
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in reads)
    return ((pixels - mean) / std).to(dtype)


def own_answer(case: Case, model: nn.Module) -> Tensor:
    """What the network itself returns, (1, 1, h, w), asked apart from the library."""
    apart = copy.deepcopy(model)
    nn.Module.eval(apart)
    with torch.no_grad():
        return case.main(apart(padded(case.reads, case.dtype)))


@pytest.mark.parametrize("name", CASES)
def test_awkward(name: str) -> None:
    case = CASES[name]
    model = networks.seeded(case.build, evaluating=not case.training).to(case.dtype)
    before, own = snapshot(model), own_answer(case, model)
    net = interactify.wrap(model, energy="brs", zoom=False, max_evaluations=12)

    # Before a click: the network's own answer.
    assert np.allclose(net.spec.mean, case.reads[0]) and np.allclose(net.spec.std, case.reads[1])
    assert net.spec.output.activation == case.activation
    session = net.session(PHOTO)
    probability = torch.from_numpy(session.result.probability.copy())
    assert session.result.mask.shape == (45, 75)
    assert float(own.float().std()) > 1e-3, "the test's own network says nothing"
    expected = own if case.activation != "none" else torch.sigmoid(own.float())
    expected = F.interpolate(expected.float(), (64, 96), mode="bilinear") if case.activation != "none" else expected
    if case.exact and case.activation == "none":
        assert torch.equal(session.result.logits, own if case.dtype == torch.float64 else own.float())
    elif own.shape[-1] != 96:
        larger = F.interpolate(own, (64, 96), mode="bilinear", align_corners=False)
        assert torch.allclose(session.result.logits, larger, atol=1e-5)
    else:
        assert torch.allclose(probability, expected[0, 0, :45, :75], atol=1e-6)

    # The gradient of a clicked logit, at the input and at the default insertion points.
    image = session.initial_step.crop.image
    for kind in ("input", *(f"scale_bias@{letter}" for letter in net.spec.insertion_points())):
        variables = variables_named(kind, net.network)
        values = variables.start(net.network, image).requires_grad_(True)
        logits = target_logits(
            net.network, variables, image, values, [], net.target if case.activation != "softmax" else 1
        )
        (gradient,) = torch.autograd.grad(sample(logits, torch.tensor([CLICKS[0]]).double()).sum(), values)
        assert bool(torch.isfinite(gradient).all()) and bool((gradient != 0).any()), kind

    # Two clicks against what the mask says.
    def two_clicks() -> interactify.Session:
        fresh = net.session(PHOTO)
        for x, y in CLICKS:
            fresh.click(x=x, y=y, positive=not bool(session.result.mask[y, x]))
        return fresh

    clicked = two_clicks()
    values = clicked.steps[-1].values
    corrective = [
        sum(
            (float(click.positive) - float(result.probability[click.y, click.x])) ** 2 for click in clicked.interactions
        )
        for result in (session.result, clicked.result)
    ]
    assert clicked.result.satisfied or corrective[1] + 1e-3 * float(values.square().sum()) < corrective[0]
    assert torch.equal(two_clicks().result.logits, clicked.result.logits), "two runs, one result"

    net.describe()
    assert net.unwrap() is model
    assert same(before, snapshot(model))


# ---- side outputs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "path"),
    [
        (lambda fused, sides: [*sides, fused], (6,)),
        (lambda fused, sides: (*sides[:3], fused, *sides[3:]), (3,)),
        (lambda fused, sides: {"d1": sides[0], "d0": fused, "rest": sides[1:]}, ("d0",)),
        (lambda fused, sides: (sides, fused), (1,)),
        (lambda fused, sides: (sides[0], torch.stack(sides).mean(0)), (1,)),
    ],
    ids=["last", "in the middle", "in a dict", "beside a list", "a mean"],
)
def test_the_fused_map_is_found_wherever_it_stands(order: Any, path: tuple[Any, ...]) -> None:
    model = networks.seeded(lambda: awkward.U2(order))
    net = interactify.wrap(model, resolution=64)
    assert net.spec.output.path == path and net.spec.output.activation == "sigmoid"
    session = net.session(networks.random_photo(64, 64))
    with torch.no_grad():
        raw = model(session.initial_step.crop.image)
    for step in path:
        raw = raw[step]
    assert torch.allclose(torch.sigmoid(session.result.logits), raw, atol=1e-6)


def test_describe_says_which_map_and_how_sure() -> None:
    text = interactify.wrap(networks.seeded(awkward.U2)).describe()
    assert "at '0': probabilities (sigmoid), read before it; seen while it ran; input size" in text
    others = ", ".join(f"{k}: 1×128×160" for k in range(1, 7))
    assert f"also {others} (other maps it returns; output=… takes one)" in " ".join(text.split())
    assert "guess" not in text
    given = interactify.wrap(networks.seeded(awkward.U2), output=2, activation="none").describe()
    assert "at '2': logits; as given" in given
    judged = interactify.wrap(networks.seeded(shaped(lambda z: (torch.tanh(z) + 1) / 2))).describe()
    assert "probabilities (sigmoid), undone numerically; judged by its values, which are all in [0, 1]" in judged
    plain = interactify.wrap(networks.seeded(lambda: awkward.DeeplySupervised())).describe()
    assert "at '3': logits; " in plain


SATURATING: dict[str, tuple[Callable[[Tensor], Tensor], int, bool]] = {
    "sigmoid": (torch.sigmoid, 1, True),
    "sigmoid in place": (lambda z: z.sigmoid_(), 1, True),
    "softmax": (lambda z: F.softmax(z, 1), 2, True),
    "the second of a softmax": (lambda z: F.softmax(z, 1)[:, 1:], 2, True),
    "cat of 1 - p and p": (joined, 1, True),
    "resized": (lambda z: F.interpolate(torch.sigmoid(z), scale_factor=2.0), 1, True),
    "(H, W)": (lambda z: torch.sigmoid(z).squeeze(), 1, True),
    "numerically": (lambda z: torch.sigmoid(z) * 1.0, 1, False),
}


@pytest.mark.parametrize("name", SATURATING)
def test_saturated_probabilities_still_follow_clicks(name: str) -> None:
    """Probabilities of exactly 0 and 1 have lost their logits; what was read before them has not."""
    activate, classes, kept = SATURATING[name]
    model = networks.seeded(shaped(lambda z: activate(z * 60), classes))
    photo = networks.random_photo(64, 64)
    net = interactify.wrap(model, mean=0.0, std=1.0)
    session = net.session(photo)
    with torch.no_grad():
        own = model(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)
    object_ = own.reshape(-1, *own.shape[-2:])[-1]
    object_ = object_[:: object_.shape[0] // 64, :: object_.shape[1] // 64]
    assert torch.allclose(torch.from_numpy(session.result.probability.copy()), object_, atol=1e-5)
    image = session.initial_step.crop.image
    for extreme in (0.0, 1.0):
        y, x = (object_ == extreme).nonzero()[0].tolist()
        values = torch.zeros_like(image).requires_grad_(True)
        target = classes - 1 if classes > 1 else net.spec.output.classes - 1
        logits = target_logits(net.network, net.variables, image, values, [], target)
        (gradient,) = torch.autograd.grad(logits[0, 0, y, x], values)
        assert bool(torch.isfinite(gradient).all())
        assert bool((gradient != 0).any()) == kept, "read before it; else the reason why that is done has gone"
        if kept:
            assert float(logits[0, 0, y, x].detach().abs()) > 16
            fresh = net.session(photo)
            assert fresh.click(x=x, y=y, positive=extreme == 0.0).satisfied


def test_the_activation_can_be_given() -> None:
    """Logits that all lie in [0, 1], and probabilities that don't look like it."""

    def flat(z: Tensor) -> Tensor:
        return torch.sigmoid(z) * 0.5 + 0.25

    photo = networks.random_photo()
    model = networks.seeded(shaped(flat))
    assert interactify.wrap(model).spec.output.activation == "sigmoid"
    net = interactify.wrap(model, activation="none", mean=0.0, std=1.0)
    with torch.no_grad():
        own = model(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)
    assert torch.allclose(net.session(photo).result.logits, own, atol=1e-6)
    sigmoid = interactify.wrap(model, activation="sigmoid", mean=0.0, std=1.0).session(photo).result.probability
    assert np.allclose(sigmoid, own[0, 0], atol=1e-6)
    logits = networks.seeded(shaped(torch.sigmoid))
    assert interactify.wrap(logits, activation="sigmoid").spec.output.sure == "as given"


def test_the_activation_is_found_through_a_function_that_picks_the_map() -> None:
    model = networks.seeded(shaped(lambda z: {"p": torch.softmax(z * 60, 1)}, 2))
    net = interactify.wrap(model, output=lambda raw: raw["p"][:, 1])
    assert net.spec.output.bypassed and net.spec.output.classes == 1
    session = net.session(networks.random_photo())
    x, y = 60, 30
    assert session.click(x=x, y=y, positive=not bool(session.result.mask[y, x])).satisfied


class HeadBeside(networks.Plain):
    """A head for something else runs last."""

    def __init__(self) -> None:
        super().__init__()
        self.beside = nn.Sequential(awkward.conv(8, 8), nn.ReLU(inplace=True), nn.Conv2d(8, 5, 1))

    def forward(self, x: Tensor) -> Any:
        first = self.read(x)
        return {"out": self.rest(first), "edges": self.beside(first)}


def test_insertion_points_lead_to_the_map_that_is_meant() -> None:
    net = interactify.wrap(networks.seeded(HeadBeside))
    reaching = {layer.name: layer.reaches for layer in net.spec.layers}
    assert not any(reaching[name] for name in ("beside", "beside.0", "beside.1", "beside.2"))
    assert all(reaching[name] for name in ("stem", "down", "deep", "up", "act", "head"))
    assert [layer.name for layer in net.spec.insertion_points().values()] == ["deep", "up", "up"]
    edges = interactify.wrap(networks.seeded(HeadBeside), output="edges").spec
    assert [layer.name for layer in edges.layers if layer.reaches and layer.name] == [
        *("stem", "beside.0", "beside.1", "beside.2", "beside")
    ]


# ---- wrappers, precision, and what can't be helped -------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrapping",
    [torch.compile, nn.DataParallel, lambda model: torch.compile(nn.DataParallel(model))],
    ids=["compiled", "data parallel", "both"],
)
def test_wrappers_of_torch(wrapping: Callable[[nn.Module], nn.Module]) -> None:
    inner = networks.seeded(networks.Plain)
    model = wrapping(inner)
    before = snapshot(inner)
    net = interactify.wrap(model, variables="scale_bias@deep")
    photo = networks.random_photo()
    plain = interactify.wrap(inner, variables="scale_bias@deep")
    assert net.unwrap() is model and type(net.network.replica) is networks.Plain
    assert net.describe().splitlines()[0] == "Plain"
    assert torch.equal(net.session(photo).result.logits, plain.session(photo).result.logits)
    positive = not bool(plain.session(photo).result.mask[30, 60])
    clicked = [each.session(photo).click(x=60, y=30, positive=positive).logits for each in (net, plain)]
    assert torch.equal(*clicked)
    wider = interactify.reconfigure_stem(model)
    image = networks.random_tensor(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(wider(torch.cat([image, torch.zeros(1, 2, 64, 96)], 1)), inner(image))
    assert same(before, snapshot(inner))
    with pytest.raises(ModelError, match="Try one of: deep"):
        interactify.wrap(model, variables="scale_bias@module.deep")


def test_a_model_compiled_in_place() -> None:
    model = networks.seeded(networks.Plain)
    expected = interactify.wrap(model).session(PHOTO).result.logits
    model.compile()
    net = interactify.wrap(model)
    assert torch.equal(net.session(PHOTO).result.logits, expected)
    assert net.unwrap() is model and model._compiled_call_impl is not None


class NoHalfHere(networks.Plain):
    """Uses an operation that has no kernel in half precision on a CPU."""

    def read(self, x: Tensor) -> Tensor:
        return self.stem(x @ torch.linalg.inv(torch.eye(x.shape[-1], dtype=x.dtype) * 2) * 2)


def test_half_precision_without_kernels_says_so() -> None:
    interactify.wrap(networks.seeded(NoHalfHere))
    with pytest.raises(ModelError, match=r"Half|float16"):
        interactify.wrap(networks.seeded(NoHalfHere).half())


class WritesOverItsGradient(networks.Plain):
    """Runs, but can't be trained: what the gradient needs is written over."""

    def rest(self, first: Tensor) -> Tensor:
        warm = torch.sigmoid(first)
        out = super().rest(warm)
        return out + warm.add_(1).mean()


def test_a_network_that_runs_but_has_no_gradient_says_so() -> None:
    session = interactify.wrap(networks.seeded(WritesOverItsGradient)).session(PHOTO)
    with pytest.raises(ModelError, match=r"no gradient: .*inplace=False"):
        session.click(x=60, y=30, positive=not bool(session.result.mask[30, 60]))
    assert session.interactions == ()


def test_clicks_at_a_layer_right_before_writing_in_place() -> None:
    """The hook's own result is what is written over then, at a module that returns a list, too."""
    for build, layer in ((awkward.InPlace, "up"), (awkward.InPlace, "deep"), (awkward.ListsWithNone, "levels")):
        model = networks.seeded(build)
        before = snapshot(model)
        net = interactify.wrap(model, variables=f"scale_bias@{layer}", zoom=False)
        session = net.session(PHOTO)
        first = session.result.logits
        result = session.click(x=60, y=30, positive=not bool(session.result.mask[30, 60]))
        assert result.satisfied and not torch.equal(result.logits, first)
        assert same(before, snapshot(model))
