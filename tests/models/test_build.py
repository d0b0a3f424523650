"""`--model`: each form builds the network it names, and reports what does not fit."""

from __future__ import annotations

import json
import sys

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file
from torch import nn

from interactify.checkpoints import class_count
from interactify.errors import CheckpointError, ModelError
from interactify.models.build import build_model

IMAGE = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A network with weights that no fresh one has, running statistics included."""
    model = smp.Unet("resnet18", encoder_weights=None, classes=3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (0.1 if tensor.ndim > 1 else 1) + 0.01)
            assert "num_batches" in name or tensor.is_floating_point()
    return model.eval()


def _same(model: nn.Module, other: nn.Module) -> bool:
    with torch.no_grad():
        return torch.equal(model(IMAGE), other(IMAGE))


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
def test_a_checkpoint_is_read_however_it_was_saved(tmp_path, trained, nest, prefix):
    state = {prefix + key: value for key, value in trained.state_dict().items()}
    torch.save(state if nest is None else {nest: state, "epoch": 3}, tmp_path / "w.pt")
    built = build_model(f"unet/resnet18@{tmp_path / 'w.pt'}")
    assert not built.training
    assert _same(built, trained)  # with its 3 classes, read from the checkpoint


def test_safetensors_and_half_precision(tmp_path, trained):
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in trained.state_dict().items()},
        tmp_path / "w.safetensors",
    )
    built = build_model(f"Unet/resnet18@{tmp_path / 'w.safetensors'}")
    assert next(built.parameters()).dtype == torch.float32
    for key, value in built.state_dict().items():
        assert torch.equal(value, trained.state_dict()[key].half().to(value.dtype)), key


@pytest.mark.parametrize("name", ["unet/resnet18@", "@"])
def test_a_folder_gives_what_smp_itself_loads_from_it(tmp_path, trained, name, capsys):
    trained.save_pretrained(tmp_path)
    built = build_model(f"{name}{tmp_path}")
    assert capsys.readouterr().out == ""
    assert _same(built, smp.from_pretrained(tmp_path).eval())


def test_a_folder_never_requests_pretrained_encoders(tmp_path, trained):
    trained.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"encoder_weights": "no-such-weights"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert _same(build_model(f"@{tmp_path}"), trained)


def test_options_reach_the_architecture():
    built = build_model("unet/resnet18,classes=4,encoder_depth=3,decoder_channels=(64,32,16),activation=sigmoid")
    with torch.no_grad():
        out = built(IMAGE)
    assert out.shape == (1, 4, 32, 32)
    assert out.min() >= 0 and out.max() <= 1
    assert len(built.decoder.blocks) == 3


@pytest.mark.parametrize("architecture", ["unet", "linknet", "pspnet", "dpt"])
def test_classes_are_read_from_any_head(architecture):
    encoder = "tu-vit_tiny_patch16_224" if architecture == "dpt" else "resnet18"
    model = smp.create_model(architecture, encoder, encoder_weights=None, classes=7)
    assert class_count(model.state_dict()) == 7


def test_a_checkpoint_of_another_encoder_does_not_fit(tmp_path, trained):
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    with pytest.raises(CheckpointError) as raised:
        build_model(f"unet/resnet34@{tmp_path / 'w.pt'}")
    message = str(raised.value)
    assert "missing" in message and "encoder.layer1.2.conv1.weight" in message and " more" in message
    assert "unknown to the network" not in message  # resnet34 has all of resnet18's names


def test_given_classes_that_the_checkpoint_lacks(tmp_path, trained):
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"segmentation_head.0.weight is \(3, 16, 3, 3\), not \(5, 16, 3, 3\)"):
        build_model(f"unet/resnet18,classes=5@{tmp_path / 'w.pt'}")


def test_names_left_over_are_listed(tmp_path, trained):
    torch.save(trained.state_dict() | {"extra.weight": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"1 are unknown to the network: extra.weight"):
        build_model(f"unet/resnet18@{tmp_path / 'w.pt'}")


class _Unsafe:
    def __reduce__(self):
        return print, ("code from a checkpoint was run",)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_corrupt_weights(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x02these are no weights")
    with pytest.raises(CheckpointError, match="Expected readable weights"):
        build_model(f"unet/resnet18@{tmp_path / name}")


def test_truncated_weights(tmp_path, trained):
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    (tmp_path / "w.pt").write_bytes((tmp_path / "w.pt").read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="Expected readable weights"):
        build_model(f"unet/resnet18@{tmp_path / 'w.pt'}")


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    torch.save({"state_dict": _Unsafe()}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="state_dict"):
        build_model(f"unet/resnet18@{tmp_path / 'w.pt'}")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("held", [{}, [1, 2], {"epoch": 3}, {"a": torch.zeros(1), "b": "text"}])
def test_a_file_without_named_tensors(tmp_path, held):
    torch.save(held, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="named tensors"):
        build_model(f"unet/resnet18@{tmp_path / 'w.pt'}")


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(CheckpointError, match=r"Expected a file of weights at .*nope\.pt"):
        build_model(f"unet/resnet18@{tmp_path / 'nope.pt'}")
    with pytest.raises(CheckpointError, match="Expected a folder"):
        build_model(f"@{tmp_path / 'nope'}")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        build_model(f"@{tmp_path}")


def test_damaged_folders(tmp_path, trained):
    trained.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"Expected FPN with resnet18 in .*, got Unet with resnet18"):
        build_model(f"fpn/resnet18@{tmp_path}")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"Expected model\.safetensors"):
        build_model(f"@{tmp_path}")
    (tmp_path / "config.json").write_text('{"_model_class": "ResNet"}')
    with pytest.raises(CheckpointError, match="'ResNet'"):
        build_model(f"@{tmp_path}")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        build_model(f"@{tmp_path}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unett/resnet18", "Did you mean unet"),
        ("unet/resnet118", "Did you mean resnet18"),
        ("unet/tu-resnet1888", "Did you mean tu-resnet18"),
        ("unet/tu-resnet18.no_such_tag", "no_such_tag"),
        ("unet/", "ARCH/ENCODER"),
        ("unet", "ARCH/ENCODER"),
        ("zooo", "Did you mean zoo"),
        ("", "ARCH/ENCODER"),
        ("unet/resnet18@", "after the @"),
        ("unet/resnet18,class=3", "Did you mean classes"),
        ("unet/resnet18,classes", "name=value"),
        ("unet/resnet18,activation=loud", "loud"),
        ("linknet/mit_b0", "not supported"),
        ("no_such_package.net:build", "Expected a module 'no_such_package'"),
        ("json.no_such_module:build", "Expected a module 'json.no_such_module'"),
        ("json:lods", "Did you mean loads or load"),
        ("json:loads", "without arguments"),
        ("json:__name__", "a function that builds a network"),
        ("torch:get_default_dtype", "got dtype"),
    ],
)
def test_what_can_not_be_built_is_reported(text, message):
    with pytest.raises(ModelError, match=message):
        build_model(text)


def test_files_and_folders_in_place_of_a_model_get_a_hint(tmp_path):
    (tmp_path / "w.pt").touch()
    with pytest.raises(ModelError, match="unet/resnet34@"):
        build_model(str(tmp_path / "w.pt"))
    with pytest.raises(ModelError, match="unet/resnet34@"):
        build_model(f"@{tmp_path / 'w.pt'}")
    with pytest.raises(ModelError, match="Try '@"):
        build_model(str(tmp_path))


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A user's module in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_network_beside.py").write_text(
        "from torch import nn\n"
        "def build(width=8):\n    return nn.Conv2d(3, width, 1)\n"
        "def numbers():\n    return [1]\n"
        "def broken():\n    raise KeyError('their own mistake')\n"
        "class Small(nn.Conv2d):\n    def __init__(self):\n        super().__init__(3, 1, 1)\n"
        "ready = Small()\n"
    )
    (tmp_path / "needs_another.py").write_text("import a_module_that_is_not_there\n")
    yield "own_network_beside"
    for name in ("own_network_beside", "needs_another"):
        sys.modules.pop(name, None)


def test_functions_classes_and_networks_of_the_current_folder(own_module):
    path = list(sys.path)
    assert build_model(f"{own_module}:build").out_channels == 8
    assert not build_model(f"{own_module}:Small").training
    assert build_model(f"{own_module}:ready").out_channels == 1
    assert sys.path == path


def test_what_a_function_returns_is_checked(own_module):
    with pytest.raises(ModelError, match=r"torch\.nn\.Module, got list"):
        build_model(f"{own_module}:numbers")


def test_errors_in_the_users_code_pass_through(own_module):
    with pytest.raises(KeyError, match="their own mistake"):
        build_model(f"{own_module}:broken")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        build_model("needs_another:build")
