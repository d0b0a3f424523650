"""Real networks before and after clicks: plays them on the gallery's pictures, and draws a sheet for each."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import interactify
from benchmarks.real_networks.package import RealNetwork
from benchmarks.real_networks.pictures import Scene
from benchmarks.speed_measure import machine
from interactify import draw
from interactify.evaluation import Centre, iou
from interactify.interactions import Click
from interactify.refinement.result import Result

CLICKS = 3
SHOWN = (0, 1, 3)  # after how many clicks
LARGEST = 60_000  # bytes of a sheet
WIDTH = 900  # pixels of a sheet
IMPORTS = "from typing import Any\n\nfrom torch import Tensor"  # what functions among the options are annotated with
Entry = dict[str, Any]


def play(
    network: RealNetwork, model: torch.nn.Module, scene: Scene, images: Path, step: Callable[[], object] = bool
) -> Entry:
    """Wrap a network, click on its picture, and write the sheet NAME.webp into `images`.

    Args:
        network: what is known of it.
        model: as its `load` returns it.
        scene: the picture and its truth.
        images: the folder of the sheets.
        step: called when the network's own mask is there, and after each click.

    Returns:
        The network's entry in the results: where it comes from, IoU after 0, 1, … clicks, and what each click took.
    """
    options = {**network.options, **scene.options}
    net = interactify.wrap(model, **options)
    photo, masks, clicks, results, seconds = _clicked(net, scene, step)
    instead = _clicked(interactify.wrap(model, **options, **scene.instead), scene)[1] if scene.instead else []
    truth = scene.sample.truth
    entry = {
        "name": network.name,
        "package": network.package,
        "licence": network.licence,
        "task": network.task,
        "source": network.source,
        "parameters": sum(each.numel() for each in model.state_dict().values() if each.is_floating_point()),
        "stem": ", ".join(each.module for each in net.spec.stem),
        "code": code(options, scene.sample.target),
        "picture": scene.picture,
        "truth": scene.truth,
        "note": scene.note,
        "size": [truth.shape[1], truth.shape[0]],
        "iou": [round(iou(truth, mask), 4) for mask in masks],
        "clicks": [[int(click.x), int(click.y), click.positive] for click in clicks],
        "satisfied": [bool(result.satisfied) for result in results],
        "evaluations": [result.evaluations for result in results],
        "seconds": seconds,
        "instead": {
            "options": ", ".join(f"{name}={_written(value)}" for name, value in scene.instead.items()),
            "iou": [round(iou(truth, mask), 4) for mask in instead],
        },
        "machine": machine(),
    }
    images.mkdir(parents=True, exist_ok=True)
    write_sheet(images / f"{network.name}.webp", sheet(photo, truth == 1, masks, clicks, entry))
    return entry


def _clicked(
    net: interactify.Interactive, scene: Scene, step: Callable[[], object] = bool
) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]], list[Click], list[Result], list[float]]:
    """The photo for drawing, the masks before and after each click, the clicks, their results and their seconds."""
    photo = scene.sample.photo
    assert not isinstance(photo, interactify.Volume)
    session = net.session(photo, target=scene.sample.target)
    masks = [session.result.mask]
    step()
    clicks: list[Click] = []
    results, seconds = [], []
    clicked = np.zeros(scene.sample.truth.shape, bool)
    for left in range(CLICKS, 0, -1):
        turn = Centre().turn(scene.sample, masks[-1], clicked, left)
        if not turn:
            break
        ((click,),) = turn
        clicked[int(click.y), int(click.x)] = True
        started = time.perf_counter()
        result = session.click(click.x, click.y, click.positive)
        masks.append(result.mask)
        seconds.append(round(time.perf_counter() - started, 2))
        clicks.append(click)
        results.append(result)
        step()
    return session.photo, masks, clicks, results, seconds


def sheet(
    photo: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    masks: list[NDArray[np.bool_]],
    clicks: list[Click],
    entry: Entry,
) -> NDArray[np.uint8]:
    """The picture with its truth as an outline, the network's own mask, and the masks after clicks: (H, W, 3)."""
    panels = [("The picture\nwith the truth as an outline", draw.overlay(photo, truth, opacity=0))]
    for number in SHOWN:
        if number >= len(masks):
            continue
        title = "The network alone" if number == 0 else f"{number} click{'s' * (number > 1)}"
        panels.append(
            (f"{title}\nIoU {entry['iou'][number]:.3f}", draw.overlay(photo, masks[number], clicks=clicks[:number]))
        )
    return draw.contact_sheet(panels, columns=2, width=WIDTH)


def write_sheet(path: Path, picture: NDArray[np.uint8], largest: int = LARGEST) -> None:
    """Write WebP, as good as fits into `largest` bytes."""
    for quality in range(85, 10, -5):
        Image.fromarray(picture).save(path, quality=quality, method=6)
        if path.stat().st_size <= largest:
            return
    raise ValueError(f"{path.name} has more than {largest} bytes at the lowest quality")


def code(options: Mapping[str, Any], target: int | str | None = None) -> str:
    """The lines that wrap a network, as one writes them; functions among the options come first."""
    functions = [inspect.getsource(value) for value in options.values() if inspect.isfunction(value)]
    arguments = [f"{name}={_written(value)}" for name, value in options.items()]
    call = f"net = interactify.wrap({', '.join(['model', *arguments])})"
    if len(call) > 110:
        call = "net = interactify.wrap(\n" + "".join(f"    {each},\n" for each in ("model", *arguments)) + ")"
    session = (
        "session = net.session(photo)" if target is None else f"session = net.session(photo, target={_written(target)})"
    )
    before = [IMPORTS, *(function.rstrip() for function in functions)] if functions else []
    return "\n\n\n".join([*before, f"{call}\n{session}"])


def _written(value: Any) -> str:
    if inspect.isfunction(value):
        return value.__name__
    if isinstance(value, tuple):
        return f"({', '.join(map(_written, value))}{',' * (len(value) == 1)})"
    if isinstance(value, float) and len(repr(value)) > 8 and math.isclose(value * 255, round(value * 255)):
        return f"{round(value * 255)} / 255"
    return f'"{value}"' if isinstance(value, str) else repr(value)
