"""What is no segmentation is refused by name and shape: boxes, prototypes, decisions, depths, volumes."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from interactify.errors import InteractifyWarning, ModelError
from interactify.inspection.outputs import locate_output
from tests.fixtures import networks

SIZE = (128, 160)
MAP = networks.random_tensor(1, 32, 32, 40)


def test_mask_r_cnn_is_refused_at_once() -> None:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).eval()
    started = time.perf_counter()
    with pytest.raises(ModelError, match=r"MaskRCNN, which finds objects: boxes, scores and labels.*session\.add"):
        interactify.wrap(model)
    assert time.perf_counter() - started < 2


class Ultralytics(nn.Module):
    """As `ultralytics.nn.tasks.SegmentationModel`: a head that inherits from one called Detect."""

    def __init__(self) -> None:
        super().__init__()
        detect = type("Detect", (nn.Conv2d,), {"__module__": "ultralytics.nn.modules.head"})
        self.model = nn.Sequential(type("Segment", (detect,), {"__module__": "ultralytics.nn.modules.head"})(3, 1, 1))


def test_networks_known_by_their_head_are_refused() -> None:
    with pytest.raises(ModelError, match="Ultralytics, which finds objects"):
        interactify.wrap(Ultralytics())


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (
            [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0), "scores": torch.zeros(0), "masks": MAP[:, :1]}],
            ["0.boxes (0, 4)", "0.labels (0,)", "0.scores (0,)", "output='0.masks'"],
        ),
        ({"logits": torch.zeros(1, 100, 92), "pred_boxes": torch.zeros(1, 100, 4)}, ["pred_boxes (1, 100, 4)"]),
        # YOLO's: boxes, scores and coefficients for each cell of grids of strides 8, 16, 32; and prototypes of masks.
        ((torch.zeros(1, 116, 420), MAP), ["0 (1, 116, 420)", "1 (1, 32, 32, 40), which may be prototypes"]),
        ((torch.zeros(1, 1260, 117), MAP), ["0 (1, 1260, 117)", "prototypes"]),
        (
            (torch.zeros(1, 116, 420), ([torch.zeros(1, 144, 16, 20)], torch.zeros(1, 32, 420), MAP)),
            ["0 (1, 116, 420)", "1.2 (1, 32, 32, 40), which may be prototypes"],
        ),
        ((torch.zeros(1, 84, 420),), ["0 (1, 84, 420)"]),
    ],
    ids=["torchvision", "DETR", "YOLO-seg", "with anchors", "YOLO-seg, nested", "YOLO"],
)
def test_objects_are_named(raw: Any, found: list[str]) -> None:
    with pytest.raises(ModelError, match="finds objects") as caught:
        locate_output(raw, SIZE)
    assert all(each in str(caught.value) for each in found) and "Try" in str(caught.value)


def test_a_segmentation_beside_boxes_can_be_named() -> None:
    raw = {"boxes": torch.zeros(3, 4), "scores": torch.zeros(3), "lanes": networks.random_tensor(1, 2, *SIZE)}
    with pytest.raises(ModelError, match=r"name it: output='lanes'"):
        locate_output(raw, SIZE)
    assert locate_output(raw, SIZE, "lanes").classes == 2


def test_tokens_and_vectors_are_no_objects() -> None:
    z = networks.random_tensor(1, 3, *SIZE)
    for beside in (torch.zeros(1, 80, 256), torch.zeros(1, 321, 64), torch.zeros(1, 10), torch.zeros(1, 4)):
        assert locate_output((z, beside), SIZE).path == (0,)


# ---- decisions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "decide",
    [
        lambda z: z.argmax(1),
        lambda z: z.argmax(1, keepdim=True).int(),
        lambda z: z[:, 0] > 0,
        lambda z: {"out": z.argmax(1)},
        lambda z: z.argmax(1).float(),
        lambda z: (z.sigmoid() > 0.5).float(),
    ],
    ids=["argmax", "int32", "threshold", "dict", "float", "threshold, float"],
)
def test_decisions_are_called_whole_numbers(decide: Any) -> None:
    model = networks.seeded(lambda: networks.WithOutput(decide, 3))
    with pytest.raises(ModelError, match=r"whole numbers.*decisions, as of argmax.*without its last step"):
        interactify.wrap(model)


def test_decisions_named_by_the_user_and_beside_logits() -> None:
    z = networks.random_tensor(1, 3, *SIZE)
    assert locate_output({"classes": z.argmax(1), "z": z}, SIZE).path == ("z",)
    for output in ("classes", lambda raw: raw["classes"]):
        with pytest.raises(ModelError, match="whole numbers"):
            locate_output({"classes": z.argmax(1), "z": z}, SIZE, output)


# ---- values of one sign ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (lambda z: F.softplus(z), "never negative .*Softplus"),
        (lambda z: torch.exp(z), "never negative .*Exp"),
        (lambda z: F.relu(z * 3), "never negative .*Relu"),
        (lambda z: z.abs() * 5, "never negative"),
        (lambda z: F.logsigmoid(z), "never positive .*LogSigmoid"),
    ],
    ids=["softplus", "exp", "relu", "depth", "logsigmoid"],
)
def test_maps_of_one_sign_are_a_guess(last: Any, text: str) -> None:
    model = networks.seeded(lambda: networks.WithOutput(last))
    with pytest.warns(InteractifyWarning, match=f"{text}.*activation='none' if that is right") as caught:
        net = interactify.wrap(model, mean=0.0, std=1.0)
    assert [each.filename for each in caught] == [__file__]
    assert net.spec.output.activation == "none" and "never" in net.describe()


@pytest.mark.filterwarnings("error")
def test_what_is_no_guess_does_not_warn() -> None:
    for last in (
        lambda z: z,
        torch.tanh,
        torch.sigmoid,
        lambda z: F.softmax(z, 1),
        lambda z: F.log_softmax(z, 1),
        lambda z: F.softmax(z, 1).log(),
        lambda z: torch.sigmoid(z) * 1.0,
    ):
        interactify.wrap(networks.seeded(lambda last=last: networks.WithOutput(last, 2)), mean=0.0, std=1.0)
    softplus = networks.seeded(lambda: networks.WithOutput(F.softplus))
    interactify.wrap(softplus, activation="none", mean=0.0, std=1.0)

    class Bright(networks.Plain):
        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(super().forward(x).exp(), torch.ones(1, 1, 1, 1))

    interactify.wrap(networks.seeded(Bright), mean=0.0, std=1.0)  # positive everywhere, but a convolution's


# ---- volumes ---------------------------------------------------------------------------------------------------------


def test_what_runs_on_neither_an_image_nor_a_volume_is_refused() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv3d(2, 4, 1)), nn.Flatten(1, 2), nn.Conv2d(99, 1, 1))
    with pytest.raises(ModelError, match="Expected Sequential to run on"):
        interactify.wrap(model)
