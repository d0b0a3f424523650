"""Networks from files and in the forms of other tools, and the way out where they can't be differentiated."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

import interactify
from interactify.cli import main
from interactify.errors import CheckpointError, InteractifyError, ModelError
from interactify.models import as_module, build_model
from tests.fixtures import forms, networks

PHOTO = networks.random_photo()
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    made = {name: folder / name for name in ("net.pt2", "net.pt", "weights.pt", "weights.bin")}
    torch.export.save(forms.exported(), made["net.pt2"])
    torch.jit.save(forms.scripted(), made["net.pt"])
    torch.save(forms.small().state_dict(), made["weights.pt"])
    made["weights.bin"].write_bytes(b"no network")
    return made


def expected() -> np.ndarray:
    return interactify.wrap(forms.small(), resolution=64, **forms.OPTIONS).session(PHOTO).result.probability


@pytest.mark.parametrize("name", ["net.pt2", "net.pt"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_wrapped(files: dict[str, Path], name: str, kind: type) -> None:
    options = {"resolution": 64} if name == "net.pt" else {}
    session = interactify.wrap(kind(files[name]), **options, **forms.OPTIONS).session(PHOTO)
    assert np.abs(session.result.probability - expected()).max() < 1e-5
    assert session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20])).satisfied


def test_an_exported_program_is_wrapped() -> None:
    net = interactify.wrap(forms.exported(), **forms.OPTIONS)
    assert np.abs(net.session(PHOTO).result.probability - expected()).max() < 1e-5


@pytest.mark.parametrize("name", ["net.pt2", "net.pt"])
def test_the_command_line_takes_a_file(files: dict[str, Path], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(build_model(str(files[name])), nn.Module)
    assert main(["inspect", "--model", str(files[name]), "--mean", "0", "--std", "1"]) in (0, None)
    out, err = capsys.readouterr()
    assert "encoder.0: 8×3×3×3" in out and "random" not in err


@pytest.mark.parametrize(
    ("name", "says"),
    [("weights.pt", "load_state_dict"), ("weights.bin", "weights alone"), ("missing.pt2", "got none"), ("", "folder")],
)
def test_a_file_without_a_network_says_what_to_do(files: dict[str, Path], name: str, says: str) -> None:
    folder = files["net.pt"].parent
    with pytest.raises(CheckpointError, match=says):
        interactify.wrap(folder / name)


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_a_damaged_file(tmp_path: Path, suffix: str) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnx2torch")
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"\x08\x07\xff damaged")
    with pytest.raises(CheckpointError, match="Expected a"):
        interactify.wrap(path)


@pytest.mark.parametrize("name", ["net.engine", "net.tflite", "net.mlmodel"])
def test_formats_that_have_no_gradient(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match="differentiate"):
        interactify.wrap(tmp_path / name)


def test_objects_of_other_tools_are_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for package, says in (("onnxruntime", "no gradients"), ("tensorrt", "ONNX")):
        kind = type("Session", (), {"__module__": f"{package}.capi"})
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
        with pytest.raises(ModelError, match=says):
            as_module(kind())
    for wrong in (None, 3, {"weight": torch.zeros(1)}, lambda x: x):
        with pytest.raises(InteractifyError, match="Expected"):
            interactify.wrap(wrong)  # type: ignore[arg-type]


def test_without_the_packages_of_onnx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=r"\.\[onnx\]"):
        interactify.wrap(tmp_path / "net.onnx")


def test_quantised_networks_are_refused_for_the_right_reason() -> None:
    quantisation = pytest.importorskip("torch.ao.quantization")
    if not torch.backends.quantized.supported_engines:
        pytest.skip("no engine for int8 on this machine")
    parts = [quantisation.QuantStub(), nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 1, 1), quantisation.DeQuantStub()]
    model = nn.Sequential(*parts).eval()
    model.qconfig = quantisation.default_qconfig
    prepared = quantisation.prepare(model)
    prepared(torch.rand(1, 3, 32, 32))
    quantised = quantisation.convert(prepared)
    for form in (quantised, forms.traced(quantised)):
        with pytest.raises(ModelError, match=r"quantised to int8 .* no gradient") as raised:
            interactify.wrap(form)
        assert "2-D convolution" not in str(raised.value) and "float network" in str(raised.value)
