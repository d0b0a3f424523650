"""`--model timm/…`, `torchvision/…`, `transformers/…`: what they build, with which weights, and their errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torchvision.models import segmentation

from interactify.errors import CheckpointError, ModelError
from interactify.models.build import build_model

IMAGE = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)


def saved(model: nn.Module, path: Path) -> Path:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.rand(weight.shape, generator=generator) * 0.1)
    torch.save({"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, path)
    return path


@pytest.mark.parametrize("name", ["lcnet_035", "convnext_atto", "resnet10t"])
def test_timm_with_a_checkpoint_of_other_classes(name: str, tmp_path: Path) -> None:
    trained = timm.create_model(name, num_classes=7).eval()
    model = build_model(f"timm/{name}@{saved(trained, tmp_path / 'weights.pt')}")
    with torch.no_grad():
        assert torch.equal(model(IMAGE), trained(IMAGE)) and model(IMAGE).shape == (1, 7)


def test_timm_with_options() -> None:
    model = build_model("timm/lcnet_035,num_classes=3,in_chans=1")
    assert not model.training and model(IMAGE[:, :1]).shape == (1, 3)


def test_torchvision_with_a_checkpoint_that_has_an_auxiliary_head(tmp_path: Path) -> None:
    options = {"weights": None, "weights_backbone": None, "num_classes": 5}
    trained = segmentation.deeplabv3_mobilenet_v3_large(aux_loss=True, **options).eval()
    model = build_model(f"torchvision/deeplabv3_mobilenet_v3_large@{saved(trained, tmp_path / 'weights.pt')}")
    with torch.no_grad():
        assert torch.equal(model(IMAGE)["out"], trained(IMAGE)["out"])
    assert "aux" not in model(IMAGE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timm/resnet5O", "Did you mean resnet50"),
        ("timm/", "Expected timm/NAME"),
        ("timm/lcnet_035@", "file of weights after the @"),
        ("timm/lcnet_035,depth=x", "Expected options that build timm's lcnet_035"),
        ("torchvision/resnet50", "deeplabv3_resnet50"),
        ("torchvision/fcn_resnet50,num_clases=2", "Did you mean num_classes"),
        ("transformers/folder@weights.pt", "Try transformers/weights.pt"),
    ],
)
def test_what_cannot_be_built(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_model(text)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = saved(timm.create_model("lcnet_035", num_classes=7), tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="does not fit"):
        build_model(f"timm/lcnet_050@{path}")


def test_transformers_from_a_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 8, 8, 8], num_attention_heads=[1, 1, 1, 1], depths=[1] * 4, decoder_hidden_size=8, num_labels=4
    )
    trained = transformers.SegformerForSemanticSegmentation(config).eval()
    trained.save_pretrained(tmp_path / "net")
    model = build_model(f"transformers/{tmp_path / 'net'}")
    with torch.no_grad():
        assert torch.equal(model(IMAGE).logits, trained(IMAGE).logits)
    with pytest.raises(CheckpointError, match="which does not load"):
        build_model(f"transformers/{tmp_path / 'nowhere'}")
