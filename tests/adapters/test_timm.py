"""timm's classifiers as class maps: one network of each of its CNN modules, and what the adapter knows about it."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from benchmarks.architectures import CNN_MODULES, timm_cnns, timm_others
from benchmarks.invariants import QuickInitialisation
from interactify.adapters import adapter_for, dense, knowledge_of
from interactify.errors import ModelError, OptionError
from interactify.network.variables import target_logits
from tests.fixtures import networks

# The smallest of each module that builds quickly.
SMALLEST = {
    "byobnet": "test_byobnet",
    "convnext": "test_convnext",
    "cspnet": "cs3darknet_focus_s",
    "cspnext": "cspnext_tiny",
    "densenet": "densenet121",
    "dla": "dla46x_c",
    "dpn": "dpn48b",
    "efficientnet": "test_efficientnet",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b",
    "hgnet": "hgnetv2_b0",
    "hrnet": "hrnet_w18_small",
    "inception_next": "inception_next_atto",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small",
    "lowformer": "lowformer_e1",
    "mambaout": "test_mambaout",
    "metaformer": "poolformerv2_s12",
    "mobilenetv3": "mobilenetv3_small_050",
    "nasnet": "nasnetalarge",
    "nfnet": "test_nfnet",
    "pnasnet": "pnasnet5large",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m1",
    "res2net": "res2next50",
    "resnest": "resnest14d",
    "resnet": "test_resnet",
    "resnetv2": "resnetv2_18",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42",
    "senet": "legacy_seresnet18",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "tresnet": "tresnet_m",
    "vgg": "vgg11",
    "vovnet": "ese_vovnet19b_slim_dw",
    "xception": "legacy_xception",
    "xception_aligned": "xception41p",
}
# As few blocks as they can be built with: all kinds of blocks, each once or twice.
SHALLOW: dict[str, dict[str, Any]] = {
    "densenet": {"block_config": (2, 2, 2, 2)},
    "dla": {"levels": [1, 1, 1, 1, 1, 1]},
    "dpn": {"k_sec": (1, 1, 1, 1)},
    "fasternet": {"depths": (1, 1, 1, 1)},
    "fastvit": {"layers": (1, 1, 1, 1)},
    "inception_next": {"depths": (1, 1, 1, 1)},
    "lcnetv2": {"depths": (1, 1, 1, 1)},
    "lowformer": {"depth_list": [0, 1, 1, 1, 1]},
    "rdnet": {"num_blocks_list": [1] * 7},
    "repvit": {"depth": (2, 2, 2, 2)},
    "res2net": {"layers": [1, 1, 1, 1]},
    "resnetv2": {"layers": [1, 1, 1, 1]},
    "senet": {"layers": [1, 1, 1, 1]},
    "sknet": {"layers": [1, 1, 1, 1]},
    "tresnet": {"layers": [1, 1, 1, 1]},
    "xception_aligned": {
        "block_cfg": [
            {"in_chs": 64, "out_chs": 128, "stride": 2},
            {"in_chs": 128, "out_chs": 128, "stride": 1},
            {"in_chs": 128, "out_chs": (256, 256, 256), "stride": 2},
            {"in_chs": 256, "out_chs": (256, 256, 256), "no_skip": True, "stride": 1},
        ]
    },
}
# Large in any form, and convolutions, pooling and joined branches like the others'; or of the class of another one here
# (ResNet, EfficientNet), with other blocks.
SLOW = (
    *("hardcorenas", "inception_resnet_v2", "inception_v3", "inception_v4", "nasnet", "pnasnet", "repghost", "res2net"),
    *("resnest", "rexnet", "selecsls", "sknet", "tresnet", "xception"),
)
CLASSES, TARGET = 5, 2
RESOLUTION = {
    "inception_resnet_v2": 160,
    "inception_v3": 160,
    "inception_v4": 160,
}  # smaller: one position is left
EVALUATIONS = {"vgg": 6}  # without any norm, the first steps are too long


def build(name: str, **options: Any) -> Any:
    if not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    if name.startswith("vgg"):
        options["mlp_ratio"] = 1 / 64  # the head as it is, but of 3 million weights instead of 119
    elif name == "nasnetalarge":
        options["num_features"] = 384  # a tenth of the channels

    def created() -> nn.Module:
        with QuickInitialisation():
            return timm.create_model(name, **options)

    return networks.seeded(created)


@torch.no_grad()
def with_statistics(model: Any, side: int) -> Any:
    """With batch statistics of random pictures: with the initial ones, a deep random network's signal can vanish."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    if norms:
        model(networks.random_tensor(2, 3, side, side))
    return model.eval()


@torch.no_grad()
def position_by_position(model: Any, image: Tensor) -> Tensor:
    """The class map (1, K, h, w) from public methods of timm alone, with one call of the head for each position."""
    features = model.forward_features(image)
    last = getattr(model, "output_fmt", "NCHW") == "NHWC"
    features = features.permute(0, 3, 1, 2) if last else features
    reach = 3 if type(model).__name__ == "VGG" else 0  # its head begins with a convolution over 7 × 7
    h, w = features.shape[-2:]
    rows = []
    for y in range(h):
        for x in range(w):
            around_y = [min(max(y + step, 0), h - 1) for step in range(-reach, reach + 1)]
            around_x = [min(max(x + step, 0), w - 1) for step in range(-reach, reach + 1)]
            one = features[:, :, around_y][:, :, :, around_x]
            rows.append(model.forward_head(one.permute(0, 2, 3, 1) if last else one).flatten(1))
    return torch.stack(rows, -1).unflatten(-1, (h, w))


def log_odds(logits: Tensor, k: int) -> Tensor:
    of_it, others = logits.double()[:, k], logits.double()[:, [j for j in range(logits.shape[1]) if j != k]]
    largest = others.amax(1)
    return (of_it - largest - torch.log(sum(torch.exp(one - largest) for one in others.unbind(1))))[:, None]


def state(model: nn.Module) -> list[Any]:
    tensors = [(t._version, t.requires_grad, t.data_ptr()) for t in (*model.parameters(), *model.buffers())]
    return [*tensors, *((m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules())]


def test_the_list_of_modules() -> None:
    assert set(SMALLEST) == set(CNN_MODULES)
    assert not set(timm_cnns()) & set(timm_others())
    if timm.__version__ == "1.0.31":
        assert (len(CNN_MODULES), len(timm_cnns()), len(timm_others())) == (45, 652, 719)


@pytest.mark.parametrize(
    "module", [pytest.param(each, marks=pytest.mark.slow if each in SLOW else ()) for each in CNN_MODULES]
)
def test_one_of_each_module(module: str) -> None:
    side, evaluations = RESOLUTION.get(module, 96), EVALUATIONS.get(module, 3)
    model = with_statistics(build(SMALLEST[module], num_classes=CLASSES, **SHALLOW.get(module, {})), side)
    before = state(model)
    net = interactify.wrap(model, resolution=side, target=TARGET, max_evaluations=evaluations, zoom=False)
    photo = networks.random_photo(61, 87)
    session = net.session(photo)
    crop, mine = session.initial_step.crop, session.result.logits

    # Before a click: the output of the unwrapped network, resized.
    own = position_by_position(model, crop.image)
    assert own.shape[1] == net.spec.output.classes == CLASSES and min(own.shape[2:]) > 1
    expected = F.interpolate(log_odds(own, TARGET), size=mine.shape[-2:], mode="bilinear", align_corners=False)
    assert torch.allclose(mine.double(), expected, rtol=1e-3, atol=1e-4 * float(own.abs().max()))

    # The clicked logit has a gradient at the input.
    values = crop.start.clone().requires_grad_(True)
    logits = target_logits(net.network, net.variables, crop.image, values, [], TARGET)
    (gradient,) = torch.autograd.grad(logits[0, 0, 20, 30], values)
    assert bool(torch.isfinite(gradient).all()) and bool(gradient.any())

    # Two clicks, each for the other label than the pixel has, lower the energy: in a few evaluations, which is quick,
    # or else in the default number.
    points = [(10, 8), (70, 50)]
    labels = [not bool(session.result.mask[y, x]) for x, y in points]

    def energy() -> float:
        view = session.initial_step.crop.view
        at = view.to_photo(session.result.logits)[0, 0]
        here = torch.stack([at[y, x] for x, y in points]).double()
        return float(net.energy.corrective(here[:, None], torch.tensor(labels)))

    at_first = energy()
    for budget in (evaluations, 40):
        options = {"resolution": side, "target": TARGET, "max_evaluations": budget, "zoom": False}
        session = interactify.wrap(model, **options).session(photo)
        for (x, y), label in zip(points, labels, strict=True):
            session.click(x, y, positive=label)
        if energy() < at_first:
            break
    assert energy() < at_first
    assert net.unwrap() is model and state(model) == before


HEADS = [
    ("test_resnet", {}),  # pooled, linear
    ("test_byobnet", {}),
    ("dla46x_c", {}),  # a convolution as classifier
    ("mobilenetv3_small_050", {}),  # pooled, convolution, linear
    ("test_convnext", {}),  # pooled, norm, linear
    ("test_mambaout", {}),  # channels last
    ("vgg11", {}),  # a convolution over 7 × 7 first
    ("test_vit", {"global_pool": "avg", "dynamic_img_size": True}),
]


@pytest.mark.parametrize(("name", "options"), HEADS, ids=[name for name, _ in HEADS])
def test_constant_features_get_the_classifiers_own_output(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(name, num_classes=CLASSES, **options)
    image = networks.random_tensor(2, 3, 96, 128)
    with torch.no_grad():
        features = model.forward_features(image)
        everywhere = (0,) if features.ndim == 4 and features.shape[1] != model.num_features else ()
        middle = tuple(range(1, features.ndim - 1)) if everywhere or features.ndim == 3 else (2, 3)
        constant = features.mean(middle, keepdim=True).expand_as(features).contiguous()
        expected = model.forward_head(constant)
        monkeypatch.setattr(model, "forward_features", lambda x: constant)
        found = dense.class_map(model, image)
    assert found.shape[:2] == expected.shape == (2, CLASSES) and min(found.shape[2:]) > 1
    assert found.shape[2] * 4 == found.shape[3] * 3
    assert torch.allclose(found, expected[..., None, None].expand_as(found), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "densenet121", "dla46x_c", "test_efficientnet", "resnetv2_18"])
def test_the_mean_of_a_linear_heads_map_is_the_classifiers_output(name: str) -> None:
    model = build(name, num_classes=CLASSES)
    image = networks.random_tensor(2, 3, 96, 160)
    with torch.no_grad():
        found, expected = dense.class_map(model, image), model(image)
    assert min(found.shape[2:]) > 1
    assert torch.allclose(found.mean((2, 3)), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "side"),
    [("test_resnet", 32), ("test_convnext", 32), ("vgg11", 32), ("test_mambaout", 32), ("resnet50_clip", 32)],
)
def test_with_a_single_position_it_is_the_classifier(name: str, side: int) -> None:
    model = build(name, num_classes=CLASSES)
    image = networks.random_tensor(1, 3, side, side)
    with torch.no_grad():
        found, expected = dense.class_map(model, image), model(image)
    assert found.shape == (1, CLASSES, 1, 1)
    assert torch.allclose(found[..., 0, 0], expected, rtol=1e-4, atol=1e-6)


def test_tokens_are_laid_out_like_the_patches() -> None:
    model = build("test_vit", num_classes=CLASSES, dynamic_img_size=True)
    image = networks.random_tensor(1, 3, 96, 160)
    with torch.no_grad():
        features, found = model.forward_features(image), dense.class_map(model, image)
        assert found.shape == (1, CLASSES, 6, 10)
        token = features[:, 1 + 4 * 10 + 7]
        expected = model.forward_head(torch.stack([token, token], 1))
    assert torch.allclose(found[:, :, 4, 7], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["test_resnet", "vgg11"])
def test_in_strips_as_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(name, num_classes=CLASSES)
    image = networks.random_tensor(1, 3, 160, 96)
    with torch.no_grad():
        once = dense.class_map(model, image)
        monkeypatch.setattr(dense, "_AT_ONCE", 1)
        assert torch.allclose(dense.class_map(model, image), once, rtol=1e-4, atol=1e-6)


def test_features_that_are_no_map() -> None:
    class Vector(nn.Module):
        num_features = 4

        def forward_features(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    with pytest.raises(ModelError, match="not a map"):
        dense.class_map(Vector(), torch.zeros(1, 4, 8, 8))
    with pytest.raises(ModelError, match="no grid"):
        dense._grid(17, (64, 64), (0,))


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("test_resnet", "conv1.0"),
        ("test_convnext", "stem_0"),
        ("densenet121", "features_conv0"),
        ("test_nfnet", "stem_conv1"),
        ("vgg11", "features_0"),
        ("cspnext_tiny", "model.stem.0.conv"),
        ("legacy_xception", "body.conv1"),
    ],
)
def test_encoders_keep_their_own_maps_and_their_stem_is_found(name: str, stem: str) -> None:
    model = build(name, features_only=True)
    net = interactify.wrap(model, resolution=64)
    assert [call.module for call in net.spec.stem] == [stem]
    assert isinstance(model.get_submodule(stem), nn.Conv2d)
    with torch.no_grad():
        maps = model(networks.random_tensor(1, 3, *net.spec.probed))
    largest = max(maps, key=lambda m: m.shape[-1])
    assert net.spec.output.classes == largest.shape[1]
    assert net.spec.mean == tuple(model.pretrained_cfg["mean"])


def test_names_of_imagenets_classes() -> None:
    model = build("test_resnet")
    net = interactify.wrap(model, target="tabby")
    assert net.target == 281 and net.spec.class_names[281] == "tabby, tabby cat"
    assert net.spec.class_names[:2] == ("tench, Tinca tinca", "goldfish, Carassius auratus")
    with pytest.raises(OptionError, match="the name of 2"):
        interactify.wrap(model, target="crane")  # a bird and a machine
    model.num_classes, model.pretrained_cfg["num_classes"] = 21842, 21842
    names = knowledge_of(model).class_names
    assert len(names) == 21842 and names[281] == "tabby, tabby cat"


def test_names_that_come_with_the_weights_go_first() -> None:
    model = build("test_resnet", num_classes=3)
    assert knowledge_of(model).class_names == ()
    model.pretrained_cfg["label_names"] = ["n1", "n2", "n3"]
    model.pretrained_cfg["label_descriptions"] = {"n2": "heron, grey heron"}
    assert interactify.wrap(model, target="grey heron").target == 1
    model.pretrained_cfg["label_names"] = ["only", "two"]
    assert knowledge_of(model).class_names == ()


def test_a_head_of_the_users_own_has_no_imagenet_names() -> None:
    model = build("test_resnet", num_classes=CLASSES)
    model.pretrained_cfg["num_classes"] = 1000
    model.reset_classifier(11821)
    assert knowledge_of(model).class_names == ()


def test_what_the_configuration_states() -> None:
    net = interactify.wrap(build("test_convnext", num_classes=CLASSES))
    config = timm.get_pretrained_cfg("test_convnext")
    size = config.test_input_size or config.input_size
    assert (net.spec.mean, net.spec.std, net.spec.resolution) == (config.mean, config.std, size[-1])
    assert net.spec.output.activation == "none"
    text = net.describe()
    assert "timm test_convnext, its head applied at every position" in text and "pretrained_cfg" in text
    assert net.spec.insertion_points()["A"].name == "stages.3"


def test_sizes() -> None:
    assert interactify.wrap(build("selecsls42", num_classes=CLASSES)).spec.divisor == 64
    # Its stride is 64, but it takes 224 × 224 alone.
    assert knowledge_of(build("levit_128s")).divisor is None
    unpadded = interactify.wrap(build("inception_v3", num_classes=CLASSES), resolution=64)
    assert unpadded.session(networks.random_photo(20, 64)).result.mask.shape == (20, 64)


def test_without_a_classifier_its_features_are_the_map() -> None:
    model = build("test_resnet", num_classes=0)
    net = interactify.wrap(model)
    assert net.spec.output.classes == model.num_features and net.spec.class_names == ()
    assert "no classifier" in net.describe()
    with torch.no_grad():
        image = networks.random_tensor(1, 3, 64, 96)
        assert torch.equal(dense.class_map(model, image), model.forward_features(image))


def test_subclasses() -> None:
    from timm.models.resnet import BasicBlock, ResNet

    class Mine(ResNet):
        pass

    class Segmenting(ResNet):
        """With a forward of its own."""

        def forward(self, x: Tensor) -> Tensor:
            return F.interpolate(self.conv1(x)[:, :2], size=x.shape[-2:])

    options = {"block": BasicBlock, "layers": (1, 1, 1, 1), "channels": (8, 8, 8, 8), "num_classes": 3}
    mine, segmenting = (networks.seeded(lambda kind=kind: kind(**options)) for kind in (Mine, Segmenting))
    assert adapter_for(mine).name == adapter_for(segmenting).name == "timm"
    assert interactify.wrap(mine).spec.output.classes == 3
    assert interactify.wrap(segmenting).spec.output.classes == 2
    mine.forward = lambda x: mine.conv1(x)[:, :2]  # replaced on the instance
    assert knowledge_of(mine).forward is None


def test_a_users_architecture_that_follows_timms_conventions() -> None:
    class Own(nn.Module):
        num_features, num_classes, pretrained_cfg = 4, 2, {"mean": (0.5,) * 3, "std": (0.5,) * 3}

        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 4, 8, stride=8), nn.Linear(4, 2)

        def forward_features(self, x: Tensor) -> Tensor:
            return self.stem(x)

        def forward_head(self, x: Tensor) -> Tensor:
            return self.head(x.mean((2, 3)))

        def forward(self, x: Tensor) -> Tensor:
            return self.forward_head(self.forward_features(x))

    model = networks.seeded(Own)
    assert adapter_for(model).name == "timm"
    assert interactify.wrap(model).spec.output.classes == 2
