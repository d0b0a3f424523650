"""What the adapter knows about smp's networks, compared with the networks themselves, run without the library."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import interactify
from benchmarks.smp_architectures import built, refusal, smp_pairs
from interactify.adapters import adapter_for, knowledge_of
from interactify.inspection.normalisation import IMAGENET
from interactify.network.feature_hooks import attach, changed_at
from tests.fixtures import networks

SIZE = (61, 87)
NAMES = [
    *("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "PAN", "DeepLabV3", "DeepLabV3Plus", "UPerNet"),
    *("Segformer", "DPT"),
]


_UP = (24, 16, 16, 8, 8)
SMALL: dict[str, dict[str, Any]] = {
    **{name: {"decoder_channels": _UP} for name in ("Unet", "UnetPlusPlus", "MAnet")},
    **{name: {"decoder_channels": 16} for name in ("DeepLabV3", "DeepLabV3Plus", "UPerNet", "PAN")},
    "FPN": {"decoder_pyramid_channels": 16, "decoder_segmentation_channels": 32},
    "PSPNet": {"psp_out_channels": 16},
    "Segformer": {"decoder_segmentation_channels": 16},
    "DPT": {"decoder_fusion_channels": 16, "dynamic_img_size": True, "embed_dim": 48},
}


def network(name: str = "Unet", encoder: str = "tu-resnet18", **options: Any) -> nn.Module:
    """One of smp's networks with a tiny encoder, and batch norms with a random picture's statistics."""
    options = {**SMALL.get(name, {}), **options}
    if name == "DPT":
        encoder = "tu-vit_tiny_patch16_224"
        options["decoder_intermediate_channels"] = (16, 24, 32, 48)[: options.get("encoder_depth", 4)]
    elif encoder == "tu-resnet18":
        options["channels"] = [16, 24, 32, 48]

    def build() -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: nn.Module = getattr(smp, name)(encoder, encoder_weights=None, **options)
        side = {"PAN": 256, "DPT": 224}.get(name, 96)
        networks.acquaint(model, side, options.get("in_channels", 3))
        return model

    return networks.seeded(build)


def picture(channels: int = 3) -> NDArray[np.uint8]:
    smooth = F.interpolate(torch.rand(1, channels, 7, 9), SIZE, mode="bicubic").clamp(0, 1)
    return (smooth[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)


INCEPTION = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def by_hand(model: nn.Module, photo: NDArray[np.uint8], padded: tuple[int, int], numbers: Any = IMAGENET) -> Tensor:
    """The network's own output for a photo: normalised, padded by repeating the border, run, and cropped."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in numbers)
    image = (torch.from_numpy(photo).permute(2, 0, 1) / 255 - mean) / std
    high, wide = photo.shape[:2]
    image = F.pad(image[None], (0, padded[1] - wide, 0, padded[0] - high), mode="replicate")
    with torch.no_grad():
        raw = model(image)
    return raw[..., :high, :wide]


# To what each pads 61×87 pixels, computed from its stride: 32, but PSPNet's encoder of three stages, the dilated
# ones, and PAN, whose deepest map must have eight cells each way.
PADDED = {"PSPNet": (64, 88), "DeepLabV3": (64, 88), "PAN": (128, 128)}


@pytest.mark.parametrize("name", NAMES)
def test_each_architecture(name: str):
    model = network(name)
    photo = picture()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    net = interactify.wrap(model, max_evaluations=3, zoom=False)
    assert net.spec.family.startswith("segmentation_models_pytorch, tu-")

    session = net.session(photo)
    padded = PADDED.get(name, (64, 96))
    own = by_hand(model, photo, padded, INCEPTION if name == "DPT" else IMAGENET)  # as timm states
    image = session.initial_step.crop.image
    assert tuple(image.shape[-2:]) == padded
    torch.testing.assert_close(net.network.plain_logits(image)[..., : SIZE[0], : SIZE[1]], own, rtol=0, atol=1e-5)

    points = {letter: layer.name for letter, layer in net.spec.insertion_points().items()}
    assert points["A"] == "encoder" and points["C"] == "decoder"
    assert points["B"].startswith("decoder.") and points["B"] == net.spec.points["B"]
    gradients = gradients_at(net, image, points)
    assert all(bool(torch.isfinite(value).all()) and bool(value.any()) for value in gradients.values()), name

    clicked = wrongly_labelled(own[0, 0])
    starts = [energy(own[0, 0], clicked)]
    results = []
    for _ in range(2):
        session = net.session(photo)
        for x, y, positive in clicked:
            result = session.click(x=x, y=y, positive=positive)
        results.append(result.probability)
    assert np.array_equal(*results)
    assert energy(torch.from_numpy(results[0].copy()).double().logit(eps=1e-9), clicked) < starts[0]
    assert not model.training and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert net.unwrap() is model and not any(module._forward_hooks for module in model.modules())


def gradients_at(net: interactify.Interactive, image: Tensor, points: dict[str, str]) -> dict[str, Tensor]:
    """The gradient of one pixel's logit with respect to the image and to what is added at each point."""
    replica = net.network.replica
    found = {"input": torch.zeros_like(image, requires_grad=True)}
    for letter, layer in points.items():
        attach(replica, layer)
        channels = next(known.shape[0] for known in net.spec.layers if known.name == layer)
        added = torch.zeros(1, channels, 1, 1, requires_grad=True)
        with changed_at(replica, layer, lambda x, added=added: x + added):
            logit = replica(image + (0 if letter != "A" else found["input"]))[0, 0, 30, 40]
        wanted = [added, *([found["input"]] if letter == "A" else [])]
        gradients = torch.autograd.grad(logit, wanted)
        found[letter] = gradients[0]
        if letter == "A":
            given = gradients[1]
    return {**found, "input": given}


def wrongly_labelled(logits: Tensor) -> list[tuple[int, int, bool]]:
    """Two clicks, each asking for the other label than the pixel has."""
    return [(x, y, not bool(logits[y, x] > 0)) for x, y in ((20, 15), (70, 45))]


def energy(logits: Tensor, clicks: list[tuple[int, int, bool]]) -> float:
    """How far the clicked pixels are from a margin of 3 on their side: the default energy, written out."""
    return sum(float((3 - (1 if positive else -1) * logits[y, x]).clamp_min(0) ** 2) for x, y, positive in clicks)


@pytest.mark.filterwarnings("ignore:Implicit dimension")
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(
    "activation", ["identity", "sigmoid", "softmax", "softmax2d", "logsoftmax", "tanh", "argmax", "argmax2d", "clamp"]
)
def test_logits_are_read_before_every_activation(activation: str, classes: int):
    if classes == 1 and "softmax" in activation:
        pytest.skip("of one class, a softmax makes 1 of whatever it reads")
    model = network(activation=activation, classes=classes, encoder_depth=3, decoder_channels=[16, 12, 8])
    plain = network(classes=classes, encoder_depth=3, decoder_channels=[16, 12, 8])
    plain.load_state_dict(model.state_dict())
    photo = picture()
    net = interactify.wrap(model, target=classes - 1, max_evaluations=3)
    session = net.session(photo)
    image = session.initial_step.crop.image
    own = by_hand(plain, photo, (64, 96))
    read = net.network.plain_logits(image)[..., : SIZE[0], : SIZE[1]]
    if activation == "clamp":  # probabilities: values inside the clamp and the side of 1/2 stay the same
        own = own.clamp(0.02, 0.98).logit()
        assert torch.equal(read > 0, own > 0)
        inside = (own.abs() < 3.8).nonzero(as_tuple=True)
        torch.testing.assert_close(read[inside], own[inside], rtol=1e-4, atol=1e-4)
    elif activation == "logsoftmax":
        torch.testing.assert_close(read, own.log_softmax(1), rtol=0, atol=1e-5)
    else:
        torch.testing.assert_close(read, own, rtol=0, atol=1e-5)
    assert (net.spec.output.activation == "sigmoid") == (activation == "sigmoid")
    x, y, positive = wrongly_labelled(net.network.plain_logits(image)[0, -1])[0]
    before = session.result.probability
    assert abs(session.click(x=x, y=y, positive=positive).probability - before).max() > 1e-3
    assert not any(module._forward_hooks for module in model.modules())


def test_a_users_own_activation_is_left_alone():
    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    net = interactify.wrap(network(activation=Doubled))
    assert net.spec.output.activation == "none"
    known = knowledge_of(network(activation=nn.Hardsigmoid))
    assert known.forward is None


def test_a_network_with_labels_gives_its_masks():
    model = network(aux_params={"classes": 3}, classes=2)
    photo = picture()
    net = interactify.wrap(model)
    assert net.spec.output.path == (0,) and net.spec.output.classes == 2
    session = net.session(photo)
    with torch.no_grad():
        masks, labels = model(session.initial_step.crop.image)
    assert torch.equal(net.network.plain_logits(session.initial_step.crop.image), masks)
    assert tuple(labels.shape) == (1, 3)


@pytest.mark.parametrize(
    ("name", "options", "divisor", "smallest"),
    [
        ("FPN", {}, 32, 1),
        ("FPN", {"encoder_depth": 4, "upsampling": 2}, 16, 1),
        ("PSPNet", {"encoder_depth": 4, "upsampling": 16}, 16, 1),
        ("DeepLabV3", {"encoder_output_stride": 16}, 16, 1),
        ("DeepLabV3Plus", {"encoder_output_stride": 8}, 8, 1),
        ("PAN", {"encoder_output_stride": 32}, 32, 256),
        ("DPT", {"encoder_depth": 3}, 16, 1),
        ("DPT", {}, 32, 1),
    ],
)
def test_sizes_are_what_the_network_takes(name: str, options: dict[str, Any], divisor: int, smallest: int):
    model = network(name, **options)
    net = interactify.wrap(model)
    assert (net.spec.divisor, net.spec.smallest) == (divisor, smallest)
    side = max(2 * divisor, smallest)
    with torch.no_grad():
        assert model(torch.rand(1, 3, side, side + divisor)).shape[-2:] == (side, side + divisor)
        with pytest.raises(RuntimeError):
            model(torch.rand(1, 3, side + divisor // 2, side))
    assert f"multiples of {divisor}" in net.describe()


def test_an_encoder_without_padding_gets_a_large_enough_image():
    model = networks.seeded(lambda: smp.Unet("tu-inception_v3", encoder_weights=None))
    with torch.no_grad(), pytest.raises(RuntimeError):
        model(torch.rand(1, 3, 64, 96))
    net = interactify.wrap(model)
    assert net.session(picture()).initial_step.crop.image.shape[-2:] == (96, 96)


def test_a_transformer_that_takes_one_size_gets_it():
    net = interactify.wrap(network("DPT", dynamic_img_size=False))
    assert (net.spec.resolution, net.spec.smallest) == (224, 224)
    assert net.session(picture()).initial_step.crop.image.shape[-2:] == (224, 224)


def normalisation(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    spec = interactify.wrap(model).spec
    return spec.mean, spec.std, spec.normalisation


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        ("resnet18", IMAGENET),
        ("xception", INCEPTION),
        ("timm-tf_efficientnet_lite0", INCEPTION),
        ("dpn68", ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)),
        ("tu-resnet18", IMAGENET),
        ("tu-mobilenetv3_large_100", IMAGENET),
        ("tu-tf_efficientnet_lite0", INCEPTION),
    ],
)
def test_normalisation_is_the_encoders(encoder: str, expected: tuple[Any, Any]):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = smp.FPN(encoder, encoder_weights=None)
    known = knowledge_of(model)
    assert known.mean == pytest.approx(expected[0]) and known.std == pytest.approx(expected[1])
    assert known.normalisation == f"assumed: the {encoder} encoder's usual"
    assert encoder in known.family


def test_named_weights_state_more(monkeypatch: pytest.MonkeyPatch):
    model = smp.Unet("efficientnet-b0", encoder_weights=None)
    model._hub_mixin_config["encoder_weights"] = "advprop"
    known = knowledge_of(model)
    assert known.mean == INCEPTION[0]
    assert known.normalisation == "the efficientnet-b0 encoder's, advprop weights"

    settings = {"input_space": "BGR", "input_range": [0, 255], "mean": [104, 117, 123], "std": [1, 2, 4]}
    entry = {**smp.encoders.encoders["resnet18"], "pretrained_settings": {"caffe": settings}}
    monkeypatch.setitem(smp.encoders.encoders, "caffe18", entry)
    net = interactify.wrap(smp.Unet("caffe18", encoder_weights=None))
    assert net.spec.bgr
    assert net.spec.mean == pytest.approx((104 / 255, 117 / 255, 123 / 255))
    assert net.spec.std == pytest.approx((1 / 255, 2 / 255, 4 / 255))
    photo = picture()
    theirs = (photo[..., ::-1].astype(np.float32) - settings["mean"]) / settings["std"]  # as smp's preprocess_input
    image = net.session(photo).initial_step.crop.image[0, :, : SIZE[0], : SIZE[1]]
    np.testing.assert_allclose(image.permute(1, 2, 0).numpy(), theirs, atol=1e-3)


def test_the_networks_own_configuration_goes_first():
    model = network()
    model.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "input_size": (3, 96, 96)}
    assert normalisation(model) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "the network's own pretrained_cfg")
    assert interactify.wrap(model).spec.resolution == 96
    assert interactify.wrap(model, mean=0.5, std=0.5).spec.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("channels", [1, 4, 8])
def test_nothing_is_assumed_for_other_numbers_of_channels(channels: int, tmp_path: Path):
    network(in_channels=channels).save_pretrained(tmp_path)
    model = smp.from_pretrained(tmp_path).eval()
    net = interactify.wrap(model, max_evaluations=3)
    assert (net.spec.mean, net.spec.std) == ((0.0,) * channels, (1.0,) * channels)
    assert "images in [0, 1], assumed" in net.describe()
    photo = picture(channels)
    with torch.no_grad():
        image = F.pad(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255, (0, 9, 0, 3), mode="replicate")
        own = model(image)[..., : SIZE[0], : SIZE[1]]
    session = net.session(photo)
    np.testing.assert_allclose(session.result.probability, own[0, 0].sigmoid().numpy(), atol=1e-5)
    x, y, positive = wrongly_labelled(own[0, 0])[0]
    after = session.click(x=x, y=y, positive=positive)
    assert (after.probability[y, x] - session.result.probability[y, x]) == 0
    assert (after.probability[y, x] > float(own[0, 0, y, x].sigmoid())) == positive


def test_saved_and_pickled_networks_are_known_as_they_were(tmp_path: Path):
    model = network(classes=2)
    model.save_pretrained(tmp_path)
    pickled = io.BytesIO()
    torch.save(model, pickled)
    pickled.seek(0)
    old = torch.load(pickled, weights_only=False)
    vars(old).pop("_hub_mixin_config")  # as in a model pickled by an older smp
    known = knowledge_of(model)
    for again in (smp.from_pretrained(tmp_path).eval(), old):
        assert adapter_for(again).name == "smp"
        assert knowledge_of(again) == known
        photo = picture()
        assert np.array_equal(
            interactify.wrap(again, target=1).session(photo).result.probability,
            interactify.wrap(model, target=1).session(photo).result.probability,
        )


class Mine(smp.Unet):
    """A subclass as users write them: its own parameters, its own forward."""

    def __init__(self, depth: int = 3) -> None:
        super().__init__("resnet18", encoder_depth=depth, encoder_weights=None, decoder_channels=(16, 12, 8))

    def forward(self, x: Tensor) -> Tensor:
        return 3 * super().forward(x) - 1


def test_a_subclass_keeps_its_own_forward():
    model = networks.seeded(Mine)
    known = knowledge_of(model)
    assert known.family == "segmentation_models_pytorch, resnet18 encoder" and known.forward is None
    net = interactify.wrap(model)
    image = net.session(picture()).initial_step.crop.image
    with torch.no_grad():
        assert torch.equal(net.network.plain_logits(image), model(image))


def test_a_network_of_smps_parts_is_recognised_by_them():
    class Own(smp.base.SegmentationModel):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = smp.encoders.get_encoder("resnet18", weights=None, depth=3)
            self.decoder = smp.decoders.unet.decoder.UnetDecoder(self.encoder.out_channels, (16, 12, 8), n_blocks=3)
            self.segmentation_head = smp.base.SegmentationHead(8, 1, activation="argmax2d")
            self.classification_head = None

    net = interactify.wrap(networks.seeded(Own))
    assert net.spec.points == {"A": "encoder", "B": "decoder.blocks.1", "C": "decoder"}
    assert net.spec.family == "segmentation_models_pytorch" and "ImageNet's, assumed" in net.spec.normalisation


def test_a_frozen_encoder_is_run_in_evaluation_mode():
    """smp's own train() and eval() skip a frozen encoder, so the replica's encoder has to be switched separately."""
    model = network("FPN")
    photo = picture()
    expected = by_hand(model, photo, (64, 96))
    if not hasattr(model, "freeze_encoder"):
        pytest.skip("this version of smp freezes no encoder")
    model.train()
    model.freeze_encoder()
    model.encoder.train()
    model.eval()
    assert model.encoder.training and not model.decoder.training
    net = interactify.wrap(model)
    read = net.network.plain_logits(net.session(photo).initial_step.crop.image)[..., : SIZE[0], : SIZE[1]]
    torch.testing.assert_close(read, expected, rtol=0, atol=1e-5)
    assert model.encoder.training


@pytest.mark.parametrize(
    ("name", "encoder"),
    [("PAN", "vgg11"), ("DeepLabV3", "densenet121"), ("Linknet", "mit_b0"), ("DPT", "resnet18"), ("Unet", "vgg11")],
)
def test_pairs_that_the_support_table_leaves_out_cannot_be_built(name: str, encoder: str):
    assert len(smp_pairs()) == 779
    if (name, encoder) in smp_pairs():
        assert refusal(name, encoder) is None and built(name, encoder)
        return
    assert refusal(name, encoder)
    with pytest.raises(ValueError):
        built(name, encoder)
