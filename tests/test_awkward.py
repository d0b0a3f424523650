"""Networks with the quirks of real ones: the same invariants for each, then what is particular to some."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import awkward
import networks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_twin import same, snapshot
from torch import Tensor, nn

import interactify
from interactify.variables import variables_named
from interactify.view import sample

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PLAIN = (0.0,) * 3, (1.0,) * 3
BYTES = (0.0,) * 3, (1 / 255,) * 3
PHOTO = networks.random_photo(97, 131)
CLICKS = ((100, 40), (30, 80))


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
    pixels = F.pad(pixels[None], (0, 160 - 131, 0, 128 - 97), mode="replicate")
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
    assert session.result.mask.shape == (97, 131)
    assert float(own.float().std()) > 1e-3, "the test's own network says nothing"
    expected = own if case.activation != "none" else torch.sigmoid(own.float())
    expected = F.interpolate(expected.float(), (128, 160), mode="bilinear") if case.activation != "none" else expected
    if case.exact and case.activation == "none":
        assert torch.equal(session.result.logits, own if case.dtype == torch.float64 else own.float())
    elif own.shape[-1] != 160:
        larger = F.interpolate(own, (128, 160), mode="bilinear", align_corners=False)
        assert torch.allclose(session.result.logits, larger, atol=1e-5)
    else:
        assert torch.allclose(probability, expected[0, 0, :97, :131], atol=1e-6)

    # The gradient of a clicked logit, at the input and at the default insertion points.
    image = session.first.frame.image
    for kind in ("input", *(f"scale_bias@{letter}" for letter in net.spec.insertion_points())):
        variables = variables_named(kind, net.network)
        values = variables.start(net.network, image).requires_grad_(True)
        logits = net.network.logits(image, variables, values, [], net.target if case.activation != "softmax" else 1)
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
