"""What the adapter knows about torchvision's segmentation networks, compared with the networks themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18, segmentation
from torchvision.models._utils import IntermediateLayerGetter

import interactify
from interactify.adapters import adapter_for, knowledge_of
from interactify.inspection.normalisation import IMAGENET
from interactify.network.feature_hooks import attach, changed_at
from tests.fixtures import networks

NETWORKS = {
    "small_fcn": ("classifier.0", "classifier.3"),
    "fcn_resnet50": ("classifier.0", "classifier.3"),
    "fcn_resnet101": ("classifier.0", "classifier.3"),
    "deeplabv3_resnet50": ("classifier.0", "classifier.3"),
    "deeplabv3_resnet101": ("classifier.0", "classifier.3"),
    "deeplabv3_mobilenet_v3_large": ("classifier.0", "classifier.3"),
    "lraspp_mobilenet_v3_large": ("classifier.cbr.0", "classifier.cbr"),
}
SLOW = ("fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101")
SIZE = (61, 87)
PHOTO = networks.random_photo(*SIZE)


def built(name: str, **options: Any) -> nn.Module:
    def build() -> nn.Module:
        if name == "small_fcn":
            model = networks.small_fcn(21)
        else:
            build_one: Callable[..., nn.Module] = getattr(segmentation, name)
            model = build_one(weights=None, weights_backbone=None, **options)
        networks.acquaint(model, 64)
        return model

    model: nn.Module = networks.seeded(build)
    return model


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NETWORKS]
)
def test_each_network(name: str):
    model = built(name, **({} if name.startswith("lraspp") else {"aux_loss": True}))
    net = interactify.wrap(model, resolution=64, target="cat", max_evaluations=2, zoom=False)
    assert net.spec.class_names[:2] == ("__background__", "aeroplane") and net.target == 8
    points = {letter: layer.name for letter, layer in net.spec.insertion_points().items()}
    assert points == dict(zip("ABC", ("backbone", *NETWORKS[name]), strict=True))

    # By hand: the longest side is 64 pixels; normalised, and padded only to the least allowed size, 64 each way.
    session = net.session(PHOTO)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in IMAGENET)
    pixels = torch.from_numpy(PHOTO.copy()).permute(2, 0, 1)[None].float() / 255
    small = F.interpolate(pixels, (45, 64), mode="bilinear", antialias=True)
    image = F.pad((small - mean) / std, (0, 0, 0, 19), mode="replicate")
    with torch.no_grad():
        own = model(image)["out"]
    logits = net.network.plain_logits(session.initial_step.crop.image)
    torch.testing.assert_close(logits, own, rtol=1e-4, atol=1e-4 * float(own.abs().max()))

    delta = torch.zeros_like(image, requires_grad=True)
    added = {}
    for letter, layer in points.items():
        attach(net.network.replica, layer)
        channels = next(known.shape[0] for known in net.spec.layers if known.name == layer)
        added[letter] = torch.zeros(1, channels, 1, 1, requires_grad=True)
    with (
        changed_at(net.network.replica, points["A"], lambda x: x + added["A"]),
        changed_at(net.network.replica, points["B"], lambda x: x + added["B"]),
        changed_at(net.network.replica, points["C"], lambda x: x + added["C"]),
    ):
        logit = net.network.replica(image + delta)["out"][0, 8, 30, 40]
    for gradient in torch.autograd.grad(logit, [delta, *added.values()]):
        assert bool(torch.isfinite(gradient).all()) and bool(gradient.any())

    probabilities = []
    for _ in range(2):
        session = net.session(PHOTO)
        before = session.result.probability
        session.click(x=20, y=20)
        probabilities.append(session.click(x=70, y=45).probability)
    assert np.array_equal(*probabilities)
    before, after = (np.log(p / (1 - p)) for p in (before, probabilities[0]))
    clicked = (20, 45), (20, 70)
    assert ((3 - after[clicked]) ** 2).sum() < ((3 - before[clicked]) ** 2).sum()  # a margin of 3: the default energy
    assert net.unwrap() is model and not any(module._forward_hooks for module in model.modules())


def test_size_and_normalisation_are_those_of_its_weights():
    spec = interactify.wrap(built("lraspp_mobilenet_v3_large")).spec
    weights = segmentation.LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1
    preset = weights.transforms()
    assert (spec.resolution, list(spec.mean), list(spec.std)) == (preset.resize_size[0], preset.mean, preset.std)
    assert list(spec.class_names) == weights.meta["categories"]
    assert "torchvision" in spec.normalisation and spec.divisor == 1


def test_names_apply_to_as_many_classes_only():
    net = interactify.wrap(built("lraspp_mobilenet_v3_large", num_classes=5), resolution=64)
    assert net.spec.class_names == ()
    with pytest.raises(interactify.OptionError, match="has no class names"):
        net.session(PHOTO, target="cat")
    assert interactify.wrap(built("lraspp_mobilenet_v3_large"), resolution=64, target="Cat").target == 8


def test_a_network_of_its_parts_and_one_around_it():
    class Masks(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Tensor) -> Tensor:
            out: Tensor = self.network(image)["out"]
            return out

    backbone = IntermediateLayerGetter(resnet18(weights=None), {"layer4": "out"})
    head = segmentation.fcn.FCNHead(512, 21)
    own = networks.seeded(lambda: segmentation.FCN(backbone, head))
    assert adapter_for(own).name == "torchvision"
    net = interactify.wrap(own, resolution=64)
    assert net.spec.points == {"A": "backbone", "B": "classifier.0", "C": "classifier.3"}
    assert adapter_for(head).name != "torchvision"

    around = Masks(own).eval()
    assert adapter_for(around).name == "generic"
    net = interactify.wrap(around, target="dog")
    assert net.spec.points["C"] == "network.classifier.3" and net.spec.output.path == ()
    assert net.spec.resolution is None, "the module around it may resize"


def test_a_classifier_is_no_segmentation_network():
    model = networks.seeded(lambda: resnet18(weights=None))
    assert adapter_for(model).name == "generic" and knowledge_of(model).family == ""
    with pytest.raises(interactify.ModelError, match="per-pixel map"):
        interactify.wrap(model)
