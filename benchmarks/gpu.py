"""Everything that has to be seen on a GPU, within nine minutes: `python -m benchmarks.gpu [--out FILE] [--minutes 9]`.

In the order of worth: whether it is right (the tests marked gpu, CUDA graphs, precisions), a click against the
published way, 32 objects at once, memory, families of networks, frames of a video. Each part is in the file as soon as
it is done, and a second run on the same machine goes on with what is missing or failed. No part is started that the
time left does not allow; the end says which were left out. The parts are in gpu_checks.py and gpu_speed.py.

    python -m benchmarks.gpu --only graphs "input 512"    only parts whose names contain one of these texts
    python -m benchmarks.gpu --tiny --device cpu          the same code on small networks, to see whether it runs
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_checks, gpu_speed
from benchmarks.speed import default_path
from benchmarks.speed_cases import Clicks, Effort
from benchmarks.speed_cuts import BUILDERS
from benchmarks.speed_measure import machine, stored_run
from benchmarks.speed_more import Objects
from benchmarks.timed_parts import DONE, FAILED, Clock, Found, Part, Worker, run_parts

UNET, DEEPLAB, EMBEDDED = BUILDERS
EFFORT = Effort(least=3, most=15, seconds=6.0)
LONG_EFFORT = Effort(least=2, most=15, seconds=6.0)  # where SciPy takes seconds for a click
TINY_EFFORT = Effort(least=1, most=1)
FAMILIES = (
    *(("smp", "DeepLabV3Plus/resnet50"), ("smp", "UnetPlusPlus/efficientnet-b0"), ("smp", "FPN/mobilenet_v2")),
    *(("smp", "Segformer/mit_b0"), ("tu", "unet/tu-convnext_atto"), ("timm", "resnet18"), ("timm", "efficientnet_b0")),
    *(("timm", "convnext_atto"), ("timm", "densenet121"), ("torchvision", "deeplabv3_mobilenet_v3_large")),
)


def parts(device: str) -> list[Part]:
    """All parts, the most important first; their seconds are guesses, on the safe side for one recent card."""
    graphs = [(EMBEDDED, "input", 256), (UNET, "input", 512), (DEEPLAB, "B", 512), (DEEPLAB, "input", 512)]
    graphs += [(EMBEDDED, "B", 256), ("FPN/efficientnet-b0", "input", 256), ("Segformer/mit_b0", "input", 256)]
    precisions = [(EMBEDDED, "input", 256, ("cat", "coffee", "astronaut")), (UNET, "input", 512, ("cat",))]
    precisions += [(DEEPLAB, "B", 512, ("cat",))]
    cases = [Clicks(name, point, size) for size in (512, 1024) for name in (UNET, DEEPLAB) for point in ("input", "B")]
    many = [Objects(DEEPLAB, "B", 512, 32), Objects(UNET, "input", 512, 32), Objects(EMBEDDED, "input", 256, 32)]
    found = [
        Part("tests marked gpu", 90, partial(gpu_checks.tests_marked_gpu, 200.0)),
        *(
            Part(f"graphs {name} {point} {size}", 10, partial(gpu_checks.graphs, name, point, size, device))
            for name, point, size in graphs
        ),
        *(
            Part(
                f"precision {name} {point} {size}",
                20,
                partial(gpu_checks.precision, name, point, size, device, photos=photos),
            )
            for name, point, size, photos in precisions
        ),
        *(
            Part(
                f"clicks {case.name}",
                25 if case.size > 512 else 12,
                partial(gpu_speed.clicks, case, device, LONG_EFFORT if case.size > 512 else EFFORT),
            )
            for case in cases
        ),
        *(Part(case.name, 20, partial(gpu_speed.objects, case, device, LONG_EFFORT)) for case in many),
        *(
            Part(f"memory {case.name}", 6, partial(gpu_speed.memory, case.network, case.point, case.size, device))
            for case in cases
        ),
        *(Part(f"family {kind} {name}", 5, partial(gpu_checks.family, kind, name, device)) for kind, name in FAMILIES),
        *(
            Part(f"video {name}", 15, partial(gpu_speed.video, name, 60, (1280, 720), resolution, device))
            for name, resolution in ((EMBEDDED, 256), (UNET, 512))
        ),
    ]
    return [part for part in found if on(device, part.name)]


def tiny_parts(device: str) -> list[Part]:
    """One of each kind, in seconds on a processor: they show that the code runs, and nothing else."""
    unet, few = "unet/tu-test_efficientnet", ["tests/pictures/test_resize_pad.py"]
    found: dict[str, Callable[[], Found]] = {
        "tests marked gpu": partial(gpu_checks.tests_marked_gpu, 60.0, few),
        "graphs embedded B 64": partial(gpu_checks.graphs, EMBEDDED, "B", 64, device, clicks=3, times=2),
        "precision embedded C 64": partial(gpu_checks.precision, EMBEDDED, "C", 64, device, clicks=1),
        "clicks embedded C 64": partial(gpu_speed.clicks, Clicks(EMBEDDED, "C", 64), device, TINY_EFFORT, sides=(256,)),
        "objects embedded C 64, 2": partial(gpu_speed.objects, Objects(EMBEDDED, "C", 64, 2), device, TINY_EFFORT),
        "memory embedded C 64": partial(gpu_speed.memory, EMBEDDED, "C", 64, device, count=1),
        f"family tu {unet}": partial(gpu_checks.family, "tu", unet, device),
        "video embedded": partial(gpu_speed.video, EMBEDDED, 2, (128, 72), 64, device),
    }
    return [Part(name, 10, measure) for name, measure in found.items() if on(device, name)]


def on(device: str, name: str) -> bool:
    """Whether a part has something to measure on the device: without a GPU there is neither a graph nor its tests."""
    return device.startswith("cuda") or not name.startswith(("tests", "graphs"))


def earlier(path: Path, device: str, tiny: bool) -> dict[str, Any]:
    """What an earlier run on this machine left in the file; only this machine's description where there was none.

    Raises ValueError if the file is from another machine or other versions.
    """
    here: dict[str, Any] = {"machine": machine(device), "tiny": tiny}
    return stored_run(path, here, "tiny") if path.exists() else here


def main(arguments: list[str] | None = None) -> int:
    """0 if all that ran holds, 1 if a part failed or does not hold, 2 if nothing can run."""
    start = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON; by default in benchmarks/results, named by machine and day")
    parser.add_argument("--minutes", type=float, default=9.0, help="all is over by then (9)")
    parser.add_argument("--device", default="cuda", help='"cuda", "cuda:1", …; "cpu" to try it')
    parser.add_argument("--tiny", action="store_true", help="one small part of each kind, to see whether it runs")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="only parts that contain one of these")
    parser.add_argument("--list", action="store_true", help="only name the parts, with their seconds")
    given = parser.parse_args(arguments)
    chosen = tiny_parts(given.device) if given.tiny else parts(given.device)
    chosen = [part for part in chosen if not given.only or any(text in part.name for text in given.only)]
    if given.list:
        print("\n".join(f"{part.seconds:4.0f} s  {part.name}" for part in chosen))
        return 0
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(
            f"Expected a GPU for --device {given.device}, got none that torch {torch.__version__} can use. Try a "
            "machine with an NVIDIA card and a torch built for CUDA, or --device cpu --tiny to see whether it runs."
        )
    path = given.out or default_path(given.device, "gpu-tiny" if given.tiny else "gpu")
    try:
        results = earlier(path, given.device, given.tiny)
    except ValueError as cause:
        parser.error(str(cause))
    clock = Clock(60 * given.minutes - (time.monotonic() - start))
    run_parts(chosen, results, path, clock, Worker(), lambda line: print(line, flush=True))
    return conclude(results, path, time.monotonic() - start)


def conclude(results: dict[str, Any], path: Path, seconds: float) -> int:
    """Say how it went; the exit code."""
    known = results["parts"]
    done = [name for name, part in known.items() if part["outcome"] == DONE]
    wrong = [name for name in done if not known[name]["found"].get("holds", True)]
    failed = [name for name, part in known.items() if part["outcome"] == FAILED]
    print(f"\n{len(done)} parts in {path}; this run took {seconds:.0f} s.")
    for said, names in (("Left out", results["left_out"]), ("Failed", failed), ("Does not hold", wrong)):
        if names:
            print(f"{said}: {'; '.join(names)}.")
    if results["left_out"] or failed:
        print("The same command again goes on with these.")
    if not results.get("tiny"):
        print("`python -m benchmarks.speed --page` shows what was found in docs/speed.md.")
    return 1 if failed or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
