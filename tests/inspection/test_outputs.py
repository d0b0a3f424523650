"""Whatever a network returns becomes logits of the input's size; probabilities are recognised and undone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import interactify
from interactify.errors import ModelError, OptionError
from interactify.inspection.outputs import locate_output, resized, to_logits
from interactify.network.targets import class_index, target_logit
from tests.fixtures import networks

SIZE = (12, 20)


def leaf(*shape: int, seed: int = 0) -> Tensor:
    return networks.random_tensor(*shape, seed=seed).requires_grad_(True)


# ---- finding the map -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "raw", "path", "classes"),
    [
        ("the map", lambda z: z, (), 3),
        ("one channel left out", lambda z: z[:, 0], (), 1),
        ("torchvision", lambda z: {"aux": z * 2, "out": z}, ("out",), 3),
        ("aux first in size", lambda z: {"aux": F.interpolate(z, scale_factor=2.0), "logits": z}, ("logits",), 3),
        ("masks and labels", lambda z: (z, z.mean((2, 3))), (0,), 3),
        ("labels and masks", lambda z: [z.mean((2, 3)), z], (1,), 3),
        ("dataclass", lambda z: networks.Prediction(None, z), ("logits",), 3),
        ("side outputs", lambda z: [z, z * 2, F.avg_pool2d(z, 2)], (0,), 3),
        ("side outputs, coarse first", lambda z: [F.avg_pool2d(z, 4), F.avg_pool2d(z, 2), z], (2,), 3),
        ("nested", lambda z: {"x": [None, (z,)], "n": 3, "s": "text"}, ("x", 1, 0), 3),
        ("features and logits", lambda z: (F.avg_pool2d(z, 4), z), (1,), 3),
    ],
)
def test_finding_the_map(name: str, raw: Any, path: Any, classes: int) -> None:
    z = leaf(1, 3, *SIZE)
    spec = locate_output(raw(z), SIZE)
    assert (spec.path, spec.classes) == (path, classes)
    expected = z[:, :1] if classes == 1 else z
    assert torch.equal(to_logits(spec, raw(z)), expected)


@pytest.mark.parametrize(
    "raw",
    [
        torch.rand(1, 10),
        torch.rand(1),
        {"loss": torch.rand(())},
        [],
        None,
        "text",
        torch.rand(1, 512, 1, 1),
        (torch.rand(1, 10), torch.rand(1, 10, 4)),
    ],
    ids=lambda raw: type(raw).__name__,
)
def test_no_map(raw: Any) -> None:
    with pytest.raises(ModelError, match="per-pixel map"):
        locate_output(raw, SIZE)


@pytest.mark.parametrize(
    ("output", "raw"),
    [
        ("a", lambda z: {"a": z, "out": -z}),
        (1, lambda z: (-z, z)),
        (-1, lambda z: [-z, -z, z]),
        ("1", lambda z: [-z, z]),
        ("x.1.y", lambda z: {"x": [-z, {"y": z}]}),
        ("logits", lambda z: networks.Prediction(-z, z)),
        ("0", lambda z: {"0": z, "out": -z}),
        ("decode.head", lambda z: {"decode.head": z, "out": -z}),
        (lambda raw: raw["a"][:, 1:], lambda z: {"a": torch.cat([-z, z], 1)}),
    ],
    ids=lambda each: "function" if callable(each) else str(each),
)
def test_naming_the_map(output: Any, raw: Any) -> None:
    z = leaf(1, 1, *SIZE)
    spec = locate_output(raw(z), SIZE, output)
    assert torch.equal(to_logits(spec, raw(z)), z)


@pytest.mark.parametrize("output", ["nowhere", "a.b", 7, "a.0.0.0.0.0", 2.5, ["a"]])
def test_naming_what_is_not_there(output: Any) -> None:
    z = leaf(1, 1, *SIZE)
    with pytest.raises((ModelError, OptionError)):
        locate_output({"a": z}, SIZE, output)


def test_naming_what_is_no_map() -> None:
    with pytest.raises(ModelError, match="to lead to a map"):
        locate_output((torch.rand(1, 1, *SIZE), torch.rand(1, 4)), SIZE, 1)
    with pytest.raises(ModelError, match="output="):
        locate_output(torch.rand(1, 1, *SIZE), SIZE, lambda raw: "text")


def test_a_callable_that_fails_is_the_projects_own_error() -> None:
    with pytest.raises((ModelError, OptionError)):
        locate_output({"a": torch.rand(1, 1, *SIZE)}, SIZE, lambda raw: raw["nowhere"])


# ---- probabilities ---------------------------------------------------------------------------------------------------


ACTIVATIONS: list[tuple[str, Any, str]] = [
    ("none", lambda z: z, "none"),
    ("sigmoid", torch.sigmoid, "sigmoid"),
    ("softmax", lambda z: torch.softmax(z, 1), "softmax"),
    ("log-softmax is logits", lambda z: F.log_softmax(z, 1), "none"),
    ("resized", lambda z: F.interpolate(torch.sigmoid(z), scale_factor=2.0, mode="bilinear"), "sigmoid"),
    ("squeezed", lambda z: torch.sigmoid(z)[:, 0], "sigmoid"),
    ("sliced", lambda z: torch.softmax(z, 1)[..., 2:], "softmax"),
    ("clamped", lambda z: torch.sigmoid(z).clamp(1e-4, 1 - 1e-4), "sigmoid"),
    ("contiguous", lambda z: torch.softmax(z, 1).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), "softmax"),
    ("ReLU at the end", F.relu, "none"),
    ("tanh at the end", torch.tanh, "none"),
]


@pytest.mark.parametrize(
    ("activate", "expected"),
    [pytest.param(*a[1:], id=a[0]) for a in ACTIVATIONS],
)
def test_recognising_the_activation(activate: Any, expected: str) -> None:
    assert locate_output(activate(leaf(1, 3, *SIZE)), SIZE).activation == expected


def test_two_class_probabilities_put_together_by_hand() -> None:
    p = torch.sigmoid(leaf(1, 1, *SIZE))
    assert locate_output(torch.cat([1 - p, p], 1), SIZE).activation == "softmax"


def test_without_a_graph_the_range_decides() -> None:
    z = networks.random_tensor(1, 3, *SIZE)
    assert locate_output(torch.sigmoid(z), SIZE).activation == "sigmoid"
    assert locate_output(torch.softmax(z, 1), SIZE).activation == "softmax"
    assert locate_output(z, SIZE).activation == "none"
    assert locate_output(torch.zeros(1, 1, *SIZE), SIZE).activation == "none"


def test_probabilities_are_undone() -> None:
    z = networks.random_tensor(1, 4, *SIZE, dtype=torch.float64).requires_grad_(True)
    for activate in (torch.sigmoid, lambda v: torch.softmax(v, 1)):
        raw = activate(z)
        spec = locate_output(raw, SIZE)
        logits = to_logits(spec, raw)
        for k in range(4):
            back = torch.sigmoid(target_logit(logits, k, spec.activation))
            assert torch.allclose(back, raw[:, k : k + 1], atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_saturated_probabilities_are_finite_logits(dtype: torch.dtype) -> None:
    raw = torch.tensor([0.0, 1.0, 0.5, 0.25]).view(1, 1, 2, 2).to(dtype).expand(1, 1, 2, 2)
    spec = locate_output(raw, (2, 2))
    logits = to_logits(spec, raw)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()
    assert (logits[0, 0, 0, 0] < -8) and (logits[0, 0, 0, 1] > 8 or dtype != torch.float32)
    assert torch.equal(logits.flatten() > 0, raw.flatten() > 0.5)


def test_small_probabilities_keep_a_gradient() -> None:
    """A sigmoid tells 1e-12 from 0: a click that deep on the wrong side can still be answered."""
    z = torch.full((1, 1, *SIZE), -25.0, requires_grad=True)
    raw = torch.sigmoid(z)
    spec = locate_output(torch.sigmoid(leaf(1, 1, *SIZE)), SIZE)
    logits = to_logits(spec, raw)
    (gradient,) = torch.autograd.grad(logits.sum(), z)
    assert torch.allclose(gradient, torch.ones_like(gradient), rtol=1e-3)
    assert torch.allclose(logits, z, rtol=1e-3)


# ---- sizes and classes -----------------------------------------------------------------------------------------------


def test_smaller_maps_are_resized_bilinearly() -> None:
    z = networks.random_tensor(2, 3, 3, 5)
    logits = resized(to_logits(locate_output(z[:1], SIZE), z), SIZE)
    assert logits.shape == (2, 3, *SIZE)
    # Pixel centres: output pixel 7 of 20 lies at (7 + 0.5)·5/20 − 0.5 = 1.375 of the small map; row 5 of 12 at 0.875.
    top, bottom = (torch.lerp(z[:, :, row, 1], z[:, :, row, 2], 0.375) for row in (0, 1))
    assert torch.allclose(logits[:, :, 5, 7], torch.lerp(top, bottom, 0.875), atol=1e-6)


def test_log_odds_of_a_class() -> None:
    z = networks.random_tensor(1, 5, *SIZE, dtype=torch.float64)
    p = torch.softmax(z, 1)
    for k in range(5):
        assert torch.allclose(torch.sigmoid(target_logit(z, k, "none")), p[:, k : k + 1], atol=1e-12)
    assert torch.allclose(torch.sigmoid(target_logit(z, None, "none")), 1 - p[:, :1], atol=1e-12)
    assert torch.equal(target_logit(z, 3, "sigmoid"), z[:, 3:4])
    assert torch.equal(target_logit(z[:, :1], None, "none"), z[:, :1])


@pytest.mark.parametrize("wrong", [-1, 3, 1.0, "1", True, (1,)])
def test_targets_that_are_none_of_the_classes(wrong: Any) -> None:
    with pytest.raises(OptionError, match="from 0 to 2"):
        class_index(wrong, 3)


def test_targets_by_name() -> None:
    names = ["background", "tiger cat", "tabby, tabby cat", "Tabby", "house; home"]
    assert class_index("Tiger Cat", 5, names) == 1
    assert class_index("tabby cat", 5, names) == 2
    assert class_index("tabby", 5, names) == 3, "a whole name goes before a synonym"
    assert class_index("clicked", 5, names) is None
    with pytest.raises(OptionError, match="tiger cat, tabby, tabby cat"):
        class_index("cat", 5, names)
    with pytest.raises(OptionError, match=r"the name of 2\. Try an index: 0, 1"):
        class_index("cat", 2, ["cat, kitten", "cat, lion"])


# ---- through wrap ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [
        networks.as_dict,
        networks.as_masks_and_labels,
        networks.as_dataclass,
        networks.as_side_outputs,
        lambda z: z[:, 0],
    ],
)
def test_every_form_gives_the_same_session(shape: Any) -> None:
    plain = networks.seeded(networks.Plain)
    shaped = networks.seeded(lambda: networks.WithOutput(shape))
    results = []
    for model in (plain, shaped):
        session = interactify.wrap(model).session(networks.random_photo())
        session.click(x=60, y=30, positive=not bool(session.result.mask[30, 60]))
        results.append(session.result)
    assert torch.equal(results[0].logits, results[1].logits)
    assert (results[0].mask == results[1].mask).all()


@pytest.mark.parametrize(
    ("activate", "classes"),
    [(torch.sigmoid, 1), (lambda z: torch.softmax(z, 1), 2), (lambda z: torch.softmax(z, 1), 4), (torch.sigmoid, 3)],
)
def test_wrapped_probabilities_are_the_networks_own(activate: Any, classes: int) -> None:
    model = networks.seeded(lambda: networks.WithOutput(activate, classes))
    photo = networks.random_photo()
    net = interactify.wrap(model, mean=0.0, std=1.0)
    with torch.no_grad():
        own = model(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)
    for target in range(classes):
        got = net.session(photo, target=target).result.probability
        assert torch.allclose(torch.from_numpy(got.copy()), own[0, target], atol=1e-5)


def test_quarter_size_output() -> None:
    model = networks.seeded(lambda: networks.WithOutput(networks.as_quarter))
    photo = networks.random_photo()
    net = interactify.wrap(model, mean=0.0, std=1.0)
    assert net.spec.output.scale == 0.25
    session = net.session(photo)
    with torch.no_grad():
        own = F.interpolate(
            model(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255), scale_factor=4.0, mode="bilinear"
        )
    assert torch.allclose(session.result.logits, own, atol=1e-4)
    result = session.click(x=95, y=63, positive=not bool(session.result.mask[63, 95]))
    assert result.satisfied and result.mask.shape == (64, 96)


def test_a_deeply_saturated_network_still_follows_clicks() -> None:
    model = networks.seeded(lambda: networks.WithOutput(lambda z: torch.sigmoid(z - 40)))
    session = interactify.wrap(model).session(networks.random_photo())
    assert not session.result.mask.any()
    assert session.click(x=60, y=30).evaluations > 1, "a click without gradient moves nothing"
