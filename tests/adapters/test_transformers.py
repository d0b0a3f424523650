"""What the adapter knows about transformers' networks, compared with networks and image processors themselves."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from benchmarks.transformers_architectures import CLASSES, transformers_architectures
from interactify import brs
from interactify.adapters import adapter_for, knowledge_of
from interactify.adapters.queries import Queries, log_scores
from interactify.errors import ModelError, OptionError
from interactify.interactive import Interactive
from interactify.network.targets import target_logit
from interactify.network.variables import target_logits
from tests.fixtures import networks

transformers = pytest.importorskip("transformers")

ARCHITECTURES = transformers_architectures()
QUERIES = [name for name in ARCHITECTURES if name.startswith(("mask", "one", "eomt")) or "detr" in name]
# The same head on other backbones; those of the others, ResNet, Swin, ConvNeXt and the one of one size, stay.
SLOW = (
    *("upernet-bit", "upernet-convnextv2", "upernet-focalnet", "upernet-pvt_v2", "upernet-swinv2"),
    *("mask2former", "maskformer", "oneformer"),
)
ONE_SIZE = {"upernet-hiera": 128, "dpt-hybrid": 128, "data2vec-vision": 96, "eomt": 128, "eomt_dinov3": 128}
TASK = [49406, 518, 10549, 533, 29119, 1550, 49407]  # "the task is semantic", by CLIP's tokenizer


def network(name: str = "segformer", build: Callable[[], nn.Module] | None = None) -> Any:
    """A network with random weights from a seed, and batch norms with a random picture's statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = (build or ARCHITECTURES[name])().eval()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = None
    if norms:
        own(model, networks.random_tensor(2, 3, *size_for(name)))
    return model.eval()


def size_for(name: str) -> tuple[int, int]:
    """The size of an image for an architecture: not square if possible."""
    side = ONE_SIZE.get(name, 64)
    return (side, side) if name in ONE_SIZE or name == "dpt" else (64, 96)


def config_of(name: str = "segformer", **options: Any) -> Any:
    model = ARCHITECTURES[name]()
    for option, value in options.items():
        setattr(model.config, option, value)
    return model.config


def own(model: Any, image: Tensor, **options: Any) -> Any:
    task = torch.tensor([TASK + [0] * 70] * len(image)) if model.config.model_type == "oneformer" else None
    with torch.no_grad():
        return model(pixel_values=image, **options, **({} if task is None else {"task_inputs": task}))


def wrapped(name: str, model: nn.Module) -> Interactive:
    return interactify.wrap(model, zoom=False, **({} if name in ONE_SIZE else {"resolution": 64}))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every attempt to reach another machine fails, and is recorded."""
    tried: list[str] = []

    def refuse(*args: Any, **_: Any) -> Any:
        tried.append(str(args[1:] or args))
        raise OSError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


# ---- every architecture ----------------------------------------------------------------------------------------------


def test_there_are_enough() -> None:
    assert len(ARCHITECTURES) >= 10 and len(QUERIES) >= 6


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in ARCHITECTURES]
)
def test_an_architecture(name: str) -> None:
    model, size = network(name), size_for(name)
    image = networks.random_tensor(1, 3, *size, seed=1)
    raw = own(model, image)  # which also lets transformers add the hooks that it keeps
    before = state(model)
    net = wrapped(name, model)
    logits = net.network.plain_logits(image)
    if name not in QUERIES:
        assert torch.equal(logits, raw.logits)
    assert logits.shape[1] == CLASSES and torch.isfinite(logits).all()
    assert net.spec.family.startswith("transformers, ") and net.spec.output.activation == "none"
    assert set(net.spec.insertion_points()) >= {"A", "C"}
    assert net.spec.stem, "the convolution that reads the image is found"

    points = torch.tensor([[9.0, 11.0], [size[1] * 0.6, size[0] * 0.55]]).floor()
    columns, rows = points.long().unbind(1)
    odds = F.interpolate(target_logit(logits, 2, "none"), size=size, mode="bilinear", align_corners=False)
    clicked = odds[0, 0, rows, columns]
    labels = clicked < 0  # each click asks for the other label

    def forward(values: Tensor) -> Tensor:
        return target_logits(net.network, net.variables, image, values, [], 2)

    start = torch.zeros_like(image).requires_grad_(True)
    (gradient,) = torch.autograd.grad(forward(start)[0, 0, rows, columns] @ torch.tensor([1.0, -0.7]), start)
    assert torch.isfinite(gradient).all() and gradient.any()
    ends = [brs.refine(forward, start.detach(), points, labels, max_evaluations=8) for _ in range(2)]
    assert ends[0].energy < float(net.energy.corrective(clicked[:, None], labels))
    assert torch.equal(ends[0].values, ends[1].values) and torch.equal(ends[0].logits, ends[1].logits)
    assert net.unwrap() is model and state(model) == before


def state(model: nn.Module) -> list[Any]:
    tensors = [(t._version, t.data_ptr(), t.requires_grad) for t in (*model.parameters(), *model.buffers())]
    modules = [
        (m.training, "forward" in vars(m), list(m._forward_hooks), list(m._forward_pre_hooks)) for m in model.modules()
    ]
    return [*tensors, *modules]


def test_the_replica_shares_the_weights() -> None:
    for name in ("segformer", "mask2former", "upernet-swin"):
        model = network(name)
        replica = wrapped(name, model).network.replica
        pairs = list(zip(model.parameters(), replica.parameters(), strict=True))
        assert all(mine.data_ptr() == theirs.data_ptr() for mine, theirs in pairs)


@pytest.mark.parametrize("name", ["upernet-convnext", "beit", "dpt", "maskformer", "mask2former", "oneformer", "detr"])
def test_every_point_moves_the_logits(name: str) -> None:
    """Auxiliary heads have maps too, which no logit depends on."""
    model = network(name)
    image = networks.random_tensor(1, 3, 64, 64)
    plain = own(model, image)
    for letter, point in knowledge_of(model).points.items():
        handle = model.get_submodule(point).register_forward_hook(lambda module, args, out: moved(out))
        after = own(model, image)
        handle.remove()
        key = next(key for key in ("masks_queries_logits", "pred_masks", "logits") if key in plain)
        assert not torch.equal(plain[key], after[key]), letter


def moved(out: Any) -> Any:
    """A layer's output with its last map changed, as by scale and bias."""
    from torch.utils._pytree import tree_flatten, tree_unflatten

    leaves, tree = tree_flatten(out)
    last = max(i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.ndim == 4)
    leaves[last] = leaves[last] * 1.5 + 1
    return tree_unflatten(leaves, tree)


# ---- queries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUERIES)
def test_the_argmax_is_the_image_processors(name: str) -> None:
    model = spread(network(name))
    side = ONE_SIZE.get(name, 384)  # Mask2Former's processor supports only 384
    size = (side, side) if name.startswith(("eomt", "mask2")) else (64, 96)
    image = networks.random_tensor(1, 3, *size)
    options = {"size": {"shortest_edge": side, "longest_edge": side}} if name.startswith("eomt") else {}
    raw = own(model, image)
    if name == "eomt_dinov3":  # whose output does not quite fit its processor, EoMT's
        raw.patch_offsets = None
    (expected,) = processor_class(model).post_process_semantic_segmentation(None, raw, target_sizes=[size], **options)
    logits = interactify.wrap(model).network.plain_logits(image)
    assert len(expected.unique()) > 2, "a test with one class would prove little"
    assert (logits[0].argmax(0) == expected).float().mean() > 0.9999


def spread(model: Any) -> Any:
    """Random queries all find the same class everywhere; this subclass makes the queries differ."""

    class Spread(type(model)):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            raw = super().forward(*args, **kwargs)
            for key in ("class_queries_logits", "masks_queries_logits", "logits", "pred_masks"):
                if key in raw:
                    raw[key] = raw[key] + 3 * networks.random_tensor(*raw[key].shape, seed=len(key))
            return raw

    model.__class__ = Spread
    return model


def processor_class(model: Any) -> Any:
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

    kinds = IMAGE_PROCESSOR_MAPPING[type(model.config)]
    return kinds["torchvision"] if isinstance(kinds, dict) else kinds[-1] or kinds[0]


def test_scores_by_hand() -> None:
    classes = torch.tensor([[[0.0, 0.0, 0.0], [2.0, 0.0, -1.0]]], dtype=torch.float64)
    masks = torch.tensor([[[[1.0]], [[-2.0]]]], dtype=torch.float64)
    p, m = classes.softmax(-1)[0], masks.sigmoid()[0, :, 0, 0]
    by_hand = torch.stack([p[0, k] * m[0] + p[1, k] * m[1] for k in range(2)])
    for queries in (Queries(), Queries(masks_first=True)):
        logits = log_scores(classes, masks, (1, 1), queries)
        assert torch.allclose(logits[0, :, 0, 0], by_hand.log())
        share = torch.sigmoid(target_logit(logits, 0, "none"))
        assert torch.allclose(share[0, 0, 0, 0], by_hand[0] / by_hand.sum())
    assert log_scores(classes, masks, (1, 1), Queries(null=False)).shape[1] == 3


def test_a_single_class_is_present_or_not() -> None:
    """The probability that at least one query of class 0 claims the pixel."""
    classes = torch.tensor([[[0.3, 0.0], [-1.0, 1.0]]], dtype=torch.float64)
    masks = torch.tensor([[[[1.0]], [[-2.0]]]], dtype=torch.float64)
    p, m = classes.softmax(-1)[0, :, 0], masks.sigmoid()[0, :, 0, 0]
    expected = 1 - (1 - p[0] * m[0]) * (1 - p[1] * m[1])
    logits = log_scores(classes, masks, (1, 1), Queries())
    assert torch.allclose(logits.sigmoid().squeeze(), expected)


@pytest.mark.parametrize("classes", [1, 5])
@pytest.mark.parametrize("loud", [30.0, 200.0])
def test_saturated_queries_stay_finite(classes: int, loud: float) -> None:
    """Also in half precision, in which the sigmoid of -20 is 0."""
    given = networks.random_tensor(1, 6, classes + 1).mul(loud).half().requires_grad_(True)
    masks = networks.random_tensor(1, 6, 4, 4, seed=1).mul(loud).half().requires_grad_(True)
    logits = log_scores(given, masks, (8, 8), Queries())
    assert logits.dtype == torch.float32 and torch.isfinite(logits).all()
    gradients = torch.autograd.grad(target_logit(logits, 0, "none").sum() * 100, (given, masks))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert loud > 30 or all(gradient.any() for gradient in gradients)


def test_a_query_with_a_very_low_score_keeps_a_gradient() -> None:
    classes = torch.tensor([[[12.0, -12.0, -12.0], [-12.0, 12.0, -12.0]]])
    masks = torch.tensor([[[[15.0]], [[-30.0]]]]).requires_grad_(True)
    logit = target_logit(log_scores(classes, masks, (1, 1), Queries()), 1, "none")
    (gradient,) = torch.autograd.grad(logit.sum(), masks)
    assert float(logit.detach()) < -20 and gradient[0, 1, 0, 0] > 0


# ---- the configuration -----------------------------------------------------------------------------------------------


def test_classes_by_name() -> None:
    from transformers import SegformerForSemanticSegmentation

    names = dict(enumerate(["wall", "sky", "tree", "road, route", "car", "person", "sea"]))
    model = network(build=lambda: SegformerForSemanticSegmentation(config_of(id2label=names)))
    net = interactify.wrap(model, resolution=64, target="Route")
    assert net.target == 3 and net.spec.class_names == tuple(names.values())
    assert "road" in net.describe()
    with pytest.raises(OptionError, match="Expected a class name"):
        interactify.wrap(model, resolution=64, target="LABEL_3")


def test_numbered_labels_are_no_names() -> None:
    with pytest.raises(OptionError, match="has no class names"):
        interactify.wrap(network(), resolution=64, target="LABEL_3")


def test_users_own_classes() -> None:
    from transformers import MaskFormerForInstanceSegmentation, SegformerForSemanticSegmentation

    class Mine(SegformerForSemanticSegmentation):
        pass

    class MyQueries(MaskFormerForInstanceSegmentation):
        pass

    mine = network(build=lambda: Mine(config_of()))
    assert adapter_for(mine).name == "transformers" and knowledge_of(mine).points["C"] == "decode_head.dropout"
    queries = network(build=lambda: MyQueries(config_of("maskformer-resnet")))
    assert interactify.wrap(queries, resolution=64).spec.output.classes == CLASSES
    assert adapter_for(nn.Conv2d(3, 1, 1)).name == "generic"


@pytest.mark.parametrize("name", ["segformer", "upernet-resnet", "maskformer-resnet"])
def test_half_precision(name: str) -> None:
    model = network(name).to(torch.bfloat16)
    session = interactify.wrap(model, resolution=64, max_evaluations=3).session(networks.random_photo(48, 64))
    assert session.initial_step.crop.image.dtype == torch.bfloat16
    result = session.click(x=20, y=20, positive=not bool(session.result.mask[20, 20]))
    assert np.isfinite(result.probability).all()


def test_networks_that_need_more_than_an_image() -> None:
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPSegConfig(
        text_config={**small, "vocab_size": 50},
        vision_config={**small, "image_size": 64, "patch_size": 16},
        extract_layers=[0, 1],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        projection_dim=16,
    )
    with pytest.raises(ModelError):
        interactify.wrap(CLIPSegForImageSegmentation(config).eval())


# ---- image processors ------------------------------------------------------------------------------------------------

_AS_IT_IS = {"do_resize": False, "do_center_crop": False, "do_pad": False}


@pytest.mark.parametrize(
    "name",
    [
        *("segformer", "upernet-resnet", "beit", "data2vec-vision", "dpt", "mobilevit", "mobilevitv2", "mobilenet_v2"),
        *("maskformer-resnet", "mask2former-resnet", "eomt", "detr", "conditional_detr"),
    ],
)
def test_images_are_those_of_the_familys_processor(name: str, no_network: list[str]) -> None:
    model = network(name)
    photo = networks.random_photo(32, 48)
    net = wrapped(name, model)
    processor = processor_class(model)()
    options = {option: value for option, value in _AS_IT_IS.items() if hasattr(processor, option)}
    expected = processor(images=photo, return_tensors="pt", **options)["pixel_values"]
    assert torch.allclose(image_of(net, photo), expected, atol=1e-5)
    assert type(processor).__name__.removesuffix("Fast") in net.spec.normalisation and not no_network


def image_of(net: Interactive, photo: np.ndarray) -> Tensor:
    """The photo as the network reads it, without resizing or padding."""
    from interactify.pictures.resize_pad import View

    size = photo.shape[:2]
    return net.network.image(torch.from_numpy(photo).permute(2, 0, 1) / 255, View(size, size, size))


UNUSUAL: list[dict[str, Any]] = [
    {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.7], "do_normalize": True},
    {"image_mean": [100.0, 110.0, 120.0], "image_std": [50.0, 60.0, 70.0], "do_rescale": False},
    {"image_mean": [0.5, 0.5, 0.6], "image_std": [1.0, 1.1, 1.2], "rescale_factor": 1 / 127.5},
    {"do_normalize": False},
    {"do_normalize": False, "do_rescale": False},
]


@pytest.mark.parametrize("stored", UNUSUAL, ids=str)
def test_a_checkpoints_own_file(stored: dict[str, Any], tmp_path: Path, no_network: list[str]) -> None:
    from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

    network().save_pretrained(tmp_path)
    processor = SegformerImageProcessor(**stored, size={"height": 96, "width": 64})
    processor.save_pretrained(tmp_path)
    net = interactify.wrap(SegformerForSemanticSegmentation.from_pretrained(tmp_path))
    photo = networks.random_photo(32, 48)
    expected = processor(images=photo, return_tensors="pt", do_resize=False)["pixel_values"].float()
    assert torch.allclose(image_of(net, photo), expected, rtol=1e-4, atol=1e-4)
    assert net.spec.resolution == 96
    assert "preprocessor_config.json" in net.spec.normalisation and not no_network


@pytest.mark.parametrize(
    ("stored", "resolution"),
    [
        ({"size": 80}, 80),
        ({"size": {"shortest_edge": 48}}, 64),
        ({"size": {"shortest_edge": 48, "longest_edge": 56}}, 56),
        ({"size": {"shortest_edge": 48}, "crop_size": {"height": 40, "width": 32}, "do_center_crop": True}, 40),
        ({"size": {"height": 48, "width": 32}, "crop_size": 24, "do_center_crop": False}, 48),
        ({"size": {"height": 48, "width": 32}, "do_resize": False}, 512),  # states no size: the family's
        ({"size": "large"}, 512),
        (["a list"], 512),
        ("no JSON", 512),
    ],
    ids=str,
)
def test_sizes_of_files(stored: Any, resolution: int, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(stored if isinstance(stored, str) else json.dumps(stored))
    model = network()
    model.config._name_or_path = str(tmp_path)
    assert knowledge_of(model).resolution == resolution


def test_a_file_in_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[str]) -> None:
    """A file that was downloaded earlier is read; a missing one is not requested."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "models--somebody--segformer"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True)
    file = folder / "snapshots" / commit / "preprocessor_config.json"
    file.write_text(json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5], "do_normalize": True}))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = network()
    for name, expected in (
        ("somebody/segformer", (0.1, 0.2, 0.3)),
        ("somebody/else", (0.485, 0.456, 0.406)),
        ("/nowhere/at/all", (0.485, 0.456, 0.406)),
        ("", (0.485, 0.456, 0.406)),
    ):
        model.config._name_or_path = name
        known = knowledge_of(model)
        assert known.mean == pytest.approx(expected), name
    assert not no_network


def test_a_processors_file_of_several_parts(tmp_path: Path) -> None:
    """If the network reads text too, the image processor is part of another file."""
    part = {"image_mean": [0.2, 0.2, 0.2], "image_std": [0.5, 0.5, 0.5], "do_normalize": True}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": part, "processor_class": "X"}))
    model = network("oneformer-convnext")
    model.config._name_or_path = str(tmp_path)
    assert knowledge_of(model).mean == pytest.approx((0.2, 0.2, 0.2))


def test_networks_of_one_size() -> None:
    for name, side in ONE_SIZE.items():
        model = network(name)
        net = interactify.wrap(model)
        assert net.spec.resolution == side == net.spec.smallest, name
        with pytest.raises(OptionError, match="only, which is all that"):
            interactify.wrap(model, resolution=72)


def test_given_values_go_first() -> None:
    net = interactify.wrap(network("mobilevit"), resolution=64, mean=0.3, std=0.4)
    assert net.spec.mean == (0.3,) * 3 and net.spec.normalisation == "given" and net.spec.bgr
