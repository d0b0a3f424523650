"""PP-OCRv4's text detection: a probability map of text, as ONNX that Paddle's exporter wrote."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from benchmarks.real_networks.package import RealNetwork
from interactify.models import read_network


def load(folder: Path) -> nn.Module:
    return read_network(folder / "rapidocr_onnxruntime" / "models" / "ch_PP-OCRv4_det_infer.onnx")


NETWORK = RealNetwork(
    name="text",
    package="pypi rapidocr-onnxruntime==1.4.4",
    licence="Apache-2.0",
    task="text",
    load=load,
    options={"mean": 0.5, "std": 0.5, "bgr": True, "divisor": 32},
    source="rapidocr_onnxruntime/config.yaml; pictures are read by OpenCV, blue first",
)
