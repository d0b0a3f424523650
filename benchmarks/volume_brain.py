"""Clicks on a brain: `python -m benchmarks.volume_brain DIR`, with deepbet's network and nilearn's template in DIR.

    python -m pip install --no-deps --target DIR deepbet nilearn nibabel

The network is the one of deepbet 1.0.2 that finds the brain's box (a LinkNet as TorchScript; its other network expects
that box at 256³). The volume is nilearn's MNI152 T1 template at 96³ voxels, normalised as deepbet does; the truth is
nilearn's own brain mask of it (values above 0.2). The input is damaged by a bias field and noise, more and more, and
by a part whose signal is lost, as beside metal. benchmarks/results/volume-brain.json keeps what came out.
"""

from __future__ import annotations

import argparse
import gzip
import json
import warnings
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

import interactify
from benchmarks.drawn_volumes import bias_field
from benchmarks.speed_measure import machine
from benchmarks.volume_pictures import beside, curves, three_planes
from benchmarks.volumes import figures, middle_of
from interactify.evaluation import Centre, Evaluation, Sample, iou
from interactify.evaluation.run import click_through

RESULTS: Final = Path(__file__).parent / "results" / "volume-brain.json"
TEMPLATE: Final = "nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
SIDE: Final = 96
VARIABLES: Final = ("input", "smooth_input", "kernels")
DAMAGE: Final[dict[str, tuple[float, float, float]]] = {  # bias field, noise, radius of the lost part in voxels
    "bias field and noise": (0.95, 0.7, 0.0),
    "lost signal": (0.5, 0.1, 30.0),
}


def template(folder: Path) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """The template at 96³ in [0, 1], and its spacing in mm."""
    content = gzip.decompress((folder / TEMPLATE).read_bytes())
    header = np.frombuffer(content[:348], np.uint8).tobytes()  # NIfTI-1: 348 bytes, then the voxels, x fastest
    sides = np.frombuffer(header[42:48], "<i2").tolist()
    first = int(np.frombuffer(header[108:112], "<f4")[0])
    kinds = {2: np.uint8, 4: np.int16, 16: np.float32}
    kind = kinds[int(np.frombuffer(header[70:72], "<i2")[0])]
    own = np.frombuffer(content, kind, int(np.prod(sides)), first).reshape(sides, order="F").astype(np.float32)
    small = F.interpolate(torch.from_numpy(own / own.max())[None, None], (SIDE,) * 3, mode="nearest-exact")[0, 0]
    x, y, z = (side / SIDE for side in sides)  # its voxels are 1 mm
    return small.numpy(), (x, y, z)


def damaged(volume: NDArray[np.float32], field: float, noise: float, lost: float) -> NDArray[np.float32]:
    """The volume with a bias field, noise, and a ball whose signal fades to nothing; normalised as deepbet does."""
    random = np.random.default_rng(0)
    own = volume * bias_field(random, volume.shape, field) if field else volume.copy()
    if lost:
        away = np.linalg.norm(np.indices(own.shape) - np.array((60, 30, 52)).reshape(3, 1, 1, 1), axis=0)
        own = own * np.clip((away - lost * 0.7) / (lost * 0.3), 0, 1)
    own = own + random.normal(0, noise, own.shape)
    low, high = np.quantile(own, (0.005, 0.995))
    own = np.clip((own - low) / (high - low), 0, 1)
    return (0.226 * (own - own.mean()) / own.std() + 0.449).astype(np.float32)


def main() -> None:
    """Measure, keep the results, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clicks", type=int, default=3)
    parser.add_argument("--variables", nargs="+", default=list(VARIABLES))
    parser.add_argument("--out", type=Path, help="a folder for the pictures")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    network = torch.jit.load(given.folder / "data/models/bbox_model.pt", map_location="cpu").eval()
    clean, spacing = template(given.folder)
    truth = (clean > 0.2).astype(np.int8)
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else []
    rows: list[dict[str, Any]] = [row for row in stored if row["variables"] not in given.variables]
    packages = {each.name: each.version for each in distributions(path=[str(given.folder)])}
    undamaged = round(iou(truth, own_mask(network, damaged(clean, 0, 0, 0))), 4)
    for name, levels in DAMAGE.items():
        volume = interactify.Volume(damaged(clean, *levels), spacing)
        before = own_mask(network, volume.array)
        sample = Sample(name, volume, truth)
        masks, lines = {}, {}
        for variables in given.variables:
            net = interactify.wrap(network, variables=variables, mean=0, std=1, resolution=SIDE)
            record, masks[variables] = click_through(net, sample, given.clicks, Centre())
            run = figures(Evaluation((record,), given.clicks))
            lines[variables] = run["iou"]
            rows.append({"damage": name, "variables": variables, "alone": round(iou(truth, before), 4), **run})
            print(rows[-1], flush=True)
            found = {"machine": machine(), "packages": packages, "spacing": spacing, "undamaged": undamaged}
            text = json.dumps({**found, "clicks": given.clicks, "rows": rows}, separators=(",", ":"))
            RESULTS.write_text(text.replace('{"damage"', '\n{"damage"') + "\n", encoding="utf-8")
        if given.out is not None:
            best = max(lines, key=lambda each, lines=lines: lines[each][-1])  # type: ignore[misc]
            planes = three_planes(volume.array, truth, [before, masks[best]], middle_of(sample))
            beside(planes, curves(lines)).save(given.out / f"brain-{name.replace(' ', '-')}.png")


def own_mask(network: torch.nn.Module, volume: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The network's own mask, run without the library."""
    with torch.no_grad():
        own: NDArray[np.bool_] = network(torch.from_numpy(volume)[None, None])[0, 1].numpy() > 0.5
    return own


if __name__ == "__main__":
    main()
