"""Networks as files and in the forms of other tools: exported programs, TorchScript, ONNX.

Whatever can be differentiated becomes a module; the rest is refused with the way to something that can.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from interactify.errors import CheckpointError, ModelError, reason_of, text_of
from interactify.models.onnx import module_from_onnx

ModelLike = nn.Module | torch.export.ExportedProgram | str | os.PathLike[str]
"""A module, an exported program, or the path of a file: `.pt2`, TorchScript, `.onnx`. Also an `onnx.ModelProto`."""

_NETWORKS: Final = (".pt2", ".onnx")  # files of these names hold a whole network
_HOW = "a torch.nn.Module, an exported program, an onnx.ModelProto, or the path of a .pt2, TorchScript or .onnx file"


def as_module(model: Any) -> nn.Module:
    """The network as a module.

    Args:
        model: an `nn.Module`, which is returned as it is; a `torch.export.ExportedProgram`; an `onnx.ModelProto`; or
            the path of a file: `.pt2` (`torch.export.save`), TorchScript (`torch.jit.save`) or `.onnx`. ONNX needs
            the extra `onnx`.

    Raises:
        ModelError: something else, a network that can't be differentiated, or a missing package.
        CheckpointError: a file that is missing, damaged, or holds weights alone.

    >>> as_module(nn.Identity())
    Identity()
    """
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, torch.export.ExportedProgram):
        return model.module()
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        if not path.suffix and not path.expanduser().exists():
            raise ModelError(
                f"Expected {_HOW}, got {text_of(os.fspath(model))}, and there is no such file. Try building the "
                "network first: interactify.models.build_model reads what --model takes."
            )
        return read_network(path)
    package = type(model).__module__.partition(".")[0]
    if package == "onnx":
        return module_from_onnx(model, type(model).__name__)
    if package == "onnxruntime":
        # A session keeps the path where it was given one, and its graph can't be got back otherwise.
        opened = getattr(model, "_model_path", None)
        found = f" {os.fspath(opened)!r}" if isinstance(opened, (str, os.PathLike)) else ""
        raise ModelError(
            f"Expected {_HOW}, got onnxruntime's {type(model).__name__}, which computes no gradients. Try "
            f"wrap({found.strip() or 'path'}), with the .onnx file that it was opened from."
        )
    if package in ("tensorrt", "openvino", "coremltools", "tensorflow", "keras", "tflite", "ncnn", "jax", "paddle"):
        raise ModelError(
            f"Expected {_HOW}, got {type(model).__name__} of {package}, which torch can't differentiate. Try the "
            "PyTorch network that it was made from, or export it to ONNX."
        )
    raise ModelError(f"Expected {_HOW}, got {type(model).__name__}. Try building the network first, then wrapping it.")


def holds_network(text: str) -> bool:
    """Whether a text is the path of a file that holds a whole network, and not weights alone.

    >>> holds_network("unet.onnx"), holds_network("unet/resnet34@weights.pt")
    (True, False)
    """
    path = Path(text).expanduser()
    return path.suffix in _NETWORKS or (path.is_file() and _is_torchscript(path))


def read_network(path: Path) -> nn.Module:
    """Read a network from a file: `.pt2`, TorchScript or `.onnx`, told apart by what is in them.

    Raises:
        ModelError: the network can't be differentiated, or a package is missing.
        CheckpointError: the file is missing, damaged, or holds weights alone.
    """
    path = path.expanduser()
    if path.is_dir():
        raise CheckpointError(
            f"Expected the file of a network, got the folder {path}. Try --model @{path} or build it."
        )
    if not path.is_file():
        raise CheckpointError(f"Expected the file of a network at {path}, got none. Try another path.")
    if path.suffix == ".onnx":
        return module_from_onnx(path, path.name)
    if path.suffix == ".pt2":
        return _exported(path)
    if path.suffix in (".tflite", ".engine", ".plan", ".mlmodel", ".mlpackage", ".xml", ".pb", ".h5", ".keras"):
        raise CheckpointError(
            f"Expected .pt2, TorchScript or .onnx, which torch can differentiate, got {path}. Try the PyTorch network "
            "that it was made from, or an export of it to ONNX."
        )
    if _is_torchscript(path):
        return _scripted(path)
    raise CheckpointError(
        f"Expected a file that holds a whole network (.pt2, TorchScript, .onnx), got {path}, which holds weights "
        "alone or something else. Try building the network and loading them: model.load_state_dict(torch.load(path)); "
        f"on the command line ARCH/ENCODER@{path}."
    )


def _is_torchscript(path: Path) -> bool:
    """Whether a file is an archive with code in it, as `torch.jit.save` writes."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return any(name.partition("/")[2] == "constants.pkl" for name in names) and any("/code/" in name for name in names)


def _exported(path: Path) -> nn.Module:
    try:
        program = torch.export.load(path)
    except Exception as cause:  # of torch.export, zip and json; a compiled package has no graph
        raise CheckpointError(
            f"Expected a program that torch.export.save wrote in {path}, got {reason_of(cause)}. Try exporting it "
            "again; a package compiled by AOTInductor can't be differentiated."
        ) from cause
    return program.module()


def _scripted(path: Path) -> nn.Module:
    try:
        with warnings.catch_warnings():  # torch announces the end of TorchScript; files of it will be around
            warnings.simplefilter("ignore")
            script: nn.Module = torch.jit.load(path, map_location="cpu")
    except Exception as cause:  # of TorchScript's own reader
        raise CheckpointError(
            f"Expected readable TorchScript in {path}, got {reason_of(cause)}. Try saving it again, with this version "
            "of torch."
        ) from cause
    return script.eval()
