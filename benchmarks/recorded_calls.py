"""What is recorded beside sessions: batches, the predictor, evaluations, exported files, and the core by itself.

Only public names are used: where the modules lie may change.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib.metadata import entry_points
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import interactify
from benchmarks.recorded_photos import CLICKS, FEW, NAMES, Photo, case, drawn, photo, small, tiny, zoo
from interactify import Box, Click, Scribble, evaluation

if TYPE_CHECKING:
    from benchmarks.recorded_sessions import Recording


# ---- batches ---------------------------------------------------------------------------------------------------------

OBJECTS: Sequence[Sequence[Any]] = (
    [CLICKS[0]], [CLICKS[1]], [CLICKS[2], CLICKS[3]], [], [Click(159, 0), Click(0, 119, False), Click(60, 60)],
)  # fmt: skip


def _batch(options: dict[str, Any], threads: int, kept: Recording) -> None:
    torch.set_num_threads(threads)
    for result in zoo(**options).refine(photo(), OBJECTS):
        kept.result("object", result)
    torch.set_num_threads(1)


for _name in ("input", "maps", "kernels", "scale_bias@B"):
    case(f"batch of objects, {_name}")(partial(_batch, {"variables": _name}, 1))
case("batch of objects on 2 threads")(partial(_batch, {}, 2))
case("batch of objects on 2 threads, kernels, fbrs")(partial(_batch, {"variables": "kernels", "energy": "fbrs"}, 2))


@case("batch of photos")
def _(kept: Recording) -> None:
    photos = [photo(), photo("cat"), photo("astronaut", 128, 144), photo()]
    photos.append(photos[1])
    objects = [*OBJECTS[:4], [Box(20, 10, 140, 110), Click(80, 60), Scribble([(5, 5), (60, 5)], False)]]
    for result in zoo().refine(photos, objects):
        kept.result("photo", result)


@case("batch of classes")
def _(kept: Recording) -> None:
    for target, objects in (("cup", [[FEW[0]], [Click(5, 5, label=1), FEW[2]]]), (None, [[FEW[0]], [FEW[2]]])):
        for result in tiny(5, class_names=NAMES).refine(drawn(), objects, target=target):
            kept.result("object", result)


# ---- the predictor ---------------------------------------------------------------------------------------------------


def _kept_answer(kept: Recording, step: str, answer: tuple[Any, Any, Any]) -> None:
    for name, part in zip(("masks", "scores", "logits"), answer, strict=True):
        kept.keep(
            step, **({name: part} if not isinstance(part, list) else {f"{name} {k}": p for k, p in enumerate(part)})
        )


@case("predictor points")
def _(kept: Recording) -> None:
    predictor = interactify.Predictor(zoo())
    predictor.set_image(photo())
    _kept_answer(kept, "nothing", predictor.predict())
    _kept_answer(kept, "one", predictor.predict(np.array([[80, 60]]), np.array([1])))
    points, labels = [[80, 60], [10, 10], [0, 0]], [1, 0, -1]
    first = predictor.predict(points, labels, multimask_output=False)
    _kept_answer(kept, "two", first)
    _kept_answer(kept, "two, logits", predictor.predict(points, labels, return_logits=True))
    more = predictor.predict([*points[:2], [120, 90]], [1, 0, 0], mask_input=first[2], multimask_output=False)
    _kept_answer(kept, "mask and points", more)
    _kept_answer(kept, "mask", predictor.predict(mask_input=first[2]))
    _kept_answer(kept, "shares", predictor.predict([[0.5, 0.5]], [1], normalize_coords=False))


@case("predictor boxes")
def _(kept: Recording) -> None:
    predictor = interactify.Predictor(zoo(), mask_threshold=0.5)
    predictor.set_image(photo("cat"))
    _kept_answer(kept, "box", predictor.predict(box=[20, 10, 130, 110]))
    _kept_answer(kept, "box and points", predictor.predict([[80, 60], [30, 20]], [1, 0], box=[20, 10, 130, 110]))
    _kept_answer(
        kept, "two boxes", predictor.predict(box=[[20, 10, 80, 60], [60, 30, 150, 115]], multimask_output=False)
    )
    several = predictor.predict([[[30, 30], [9, 9]], [[90, 80], [0, 0]]], [[1, 0], [1, -1]])
    _kept_answer(kept, "objects of points", several)
    first = predictor.predict([[80, 60]], [1], multimask_output=False)
    _kept_answer(kept, "box and mask", predictor.predict(box=[20, 10, 130, 110], mask_input=first[2]))


@case("predictor batch of photos")
def _(kept: Recording) -> None:
    predictor = interactify.Predictor(zoo())
    predictor.set_image_batch([photo(), photo("cat", 96, 128)])
    points = predictor.predict_batch([[[80, 60]], [[60, 40], [5, 5]]], [[1], [1, 0]])
    _kept_answer(kept, "points", points)
    boxes = predictor.predict_batch(box_batch=[[20, 10, 130, 110], None], multimask_output=False, return_logits=True)
    _kept_answer(kept, "boxes", boxes)


@case("predictor classes")
def _(kept: Recording) -> None:
    for options in ({}, {"target": 2}, {"zoom": False, "variables": "scale_bias@B"}):
        predictor = interactify.Predictor(tiny(5, **options))
        predictor.set_image(drawn())
        _kept_answer(kept, "point", predictor.predict([[40, 30]], [1]))
        _kept_answer(kept, "box", predictor.predict(box=[10, 10, 80, 55], multimask_output=False))


# ---- evaluation ------------------------------------------------------------------------------------------------------


def _truth(photo_: Photo, seed: int) -> NDArray[np.int8]:
    height, width = photo_.shape[:2]
    ys, xs = np.mgrid[:height, :width]
    away = ((xs / width - 0.4 - 0.05 * seed) / 0.25) ** 2 + ((ys / height - 0.5) / 0.3) ** 2
    return np.where(away < 1, 1, np.where(away < 1.15, -1, 0)).astype(np.int8)


def _samples() -> list[evaluation.Sample]:
    photos = {"coffee": photo(), "cat": photo("cat", 96, 128), "astronaut": photo("astronaut", 96, 128)}
    return [evaluation.Sample(name, each, _truth(each, k)) for k, (name, each) in enumerate(photos.items())]


def _kept_run(kept: Recording, step: str, run: evaluation.Evaluation) -> None:
    for each in run.records:
        stored = {name: value for name, value in each.to_json().items() if name != "seconds"}
        kept.keep(f"{step} {each.name}", **stored)
    kept.keep(
        step,
        noc=[run.noc(quality) for quality in (0.5, 0.8, 0.9)],
        failures=[run.failures(quality) for quality in (0.5, 0.8, 0.9)],
        iou=[run.iou_after(k) for k in range(run.clicks + 1)],
        boundary=[run.boundary_iou_after(k) for k in range(run.clicks + 1)],
        others=[run.area_under_curve, run.satisfied, run.collateral, run.evaluations_per_click],
        percentiles=[run.evaluations_at(50), run.evaluations_at(95)],
    )


def _evaluated(user: Any, kept: Recording) -> None:
    _kept_run(kept, "run", interactify.evaluate(zoo(), _samples(), clicks=4, user=user, progress=False))


for _user in ("centre", "jitter", "pairs"):
    case(f"evaluation {_user}")(partial(_evaluated, _user))


@case("evaluation of a folder, with strokes")
def _(kept: Recording) -> None:
    for name in ("images", "masks", "strokes"):
        (kept.folder / name).mkdir()
    for sample in _samples()[:2]:
        assert isinstance(sample.photo, np.ndarray)
        Image.fromarray(sample.photo).save(kept.folder / "images" / f"{sample.name}.png")
        labels = np.where(sample.truth < 0, 128, 255 * (sample.truth > 0)).astype(np.uint8)
        Image.fromarray(labels).save(kept.folder / "masks" / f"{sample.name}.png")
        lines = np.zeros(sample.truth.shape, np.uint8)
        lines[50, 40:75], lines[5, 10:100] = 1, 2
        Image.fromarray(lines).save(kept.folder / "strokes" / f"{sample.name}.png")
    data = evaluation.folder(kept.folder)
    kept.keep("samples", **{sample.name: sample.truth for sample in data})
    user = evaluation.Strokes(kept.folder / "strokes", then=evaluation.Jitter(spread=1.0, seed=7))
    _kept_run(kept, "run", evaluation.evaluate(zoo(), data, clicks=4, user=user, progress=False))


@case("evaluation metrics")
def _(kept: Recording) -> None:
    truth, other = _truth(photo(), 0), _truth(photo(), 3) > 0
    clicked, mask = np.zeros(truth.shape, bool), other.copy()
    kept.keep("figures", iou=evaluation.iou(truth, other), boundary=evaluation.boundary_iou(truth, other))
    for _ in range(4):
        click = evaluation.next_click(truth, mask, clicked)
        assert click is not None
        kept.keep("click", json=click.to_json())
        clicked[int(click.y), int(click.x)] = True
    curves = [[0.2, 0.5, 0.86, 0.9], [0.1, 0.1, 0.95]]
    kept.keep(
        "curves",
        noc=evaluation.number_of_clicks(curves, 0.85, 3),
        failures=evaluation.failures(curves, 0.92, 3),
        area=[evaluation.area_under_curve(curve, 3) for curve in curves],
        collateral=evaluation.collateral_change(truth, ~mask, mask, [Click(64, 60)]),
    )


# ---- exports ---------------------------------------------------------------------------------------------------------


def _masks() -> list[NDArray[np.bool_]]:
    session = zoo().session(photo())
    first = session.add(list(CLICKS[:2])).mask
    ys, xs = np.mgrid[:120, :160]
    ring = (np.hypot(xs - 80, ys - 60) < 50) & (np.hypot(xs - 80, ys - 60) > 20) | (np.hypot(xs - 85, ys - 62) < 5)
    return [first, ring, (xs // 3 + ys // 4) % 5 == 0, np.zeros((120, 160), bool)]


@case("export images")
def _(kept: Recording) -> None:
    from interactify import draw, export

    masks, folder = _masks(), export.prepare_folder(kept.folder / "out")
    result = zoo().session(photo("cat")).add(list(CLICKS))
    labels = export.label_map(masks)
    kept.keep("labels", map=labels, palette=export.voc_palette())
    kept.file("mask", export.write_mask(folder / "mask.png", masks[0]))
    kept.file("labels", export.write_labels(folder / "labels.png", labels))
    kept.file("many labels", export.write_labels(folder / "labels16.png", labels.astype(np.uint16) * 300))
    kept.file("probability", export.write_probability_png(folder / "probability.png", result.probability))
    kept.file("probability", export.write_probability_npy(folder / "probability.npy", result.probability))
    picture = draw.overlay(photo("cat"), result.mask, clicks=result.clicks)
    kept.file("picture", export.write_picture(folder / "picture.png", picture))


@case("export outlines and annotations")
def _(kept: Recording) -> None:
    from interactify import export

    masks, folder = _masks(), kept.folder
    for mask, tolerance in product(masks, (0.0, 1.5)):
        found = export.polygons(mask, tolerance)
        for each in found[:6]:
            kept.keep(
                "polygon", outer=each.outer, ring=export.single_ring(each), holes=[h.tolist() for h in each.holes]
            )
        kept.keep("filled", count=len(found), mask=export.filled(found, mask.shape))
    for mask, compressed in product(masks, (True, False)):
        rle = export.run_lengths(mask, compressed=compressed)
        kept.keep("run lengths", rle=rle, mask=export.mask_of_rle(rle))
    kept.keep("annotation", json=export.coco_annotation(masks[1], id=7, image_id=3, category_id=2, outline="rle"))
    photos = [export.CocoPhoto("a.jpg", masks, [2, 1, 2, 1]), export.CocoPhoto("b.jpg", [], size=(10, 20))]
    for outline, tolerance in (("polygons", 0.0), ("polygons", 1.0), ("rle", 0.0)):
        options: dict[str, Any] = {"outline": outline, "tolerance": tolerance}
        kept.keep("coco", json=export.coco_dataset(photos, ["table", "cup"], **options))
        kept.file("coco", export.write_coco(folder / "coco.json", photos, ["table", "cup"], **options))
    properties = [{"name": str(k)} for k in range(len(masks))]
    geometries: list[dict[str, Any]] = [{}, {"tolerance": 1.0}, {"transform": (0.5, 0, 440_720, 0, -0.5, 3_751_320)}]
    for options in geometries:
        kept.keep("geojson", json=export.geojson(masks, properties, **options))
        kept.file("geojson", export.write_geojson(folder / "shapes.geojson", masks, properties, **options))
    kept.keep("yolo", lines=export.yolo_lines(masks, classes=[4, 6, 1, 0]))
    kept.file("yolo", export.write_yolo(folder / "yolo.txt", masks, classes=[4, 6, 1, 0], tolerance=1.0))
    kept.file("run lengths", export.write_rle(folder / "rle.json", masks[0]))


@case("export by the command line")
def _(kept: Recording) -> None:
    (command,) = entry_points(group="console_scripts", name="interactify")
    path, out, again = kept.folder / "photo.png", kept.folder / "out", kept.folder / "again"
    Image.fromarray(photo()).save(path)
    formats = "--format=png,labels,npy,prob16,coco,rle,geojson,yolo"
    clicks = ["--click", "80,60", "--click", "-10,10", "--click", "120,90"]
    calls = [["segment", str(path), *clicks, formats, "--out", str(out), "--log", "--tolerance", "0.5"]]
    calls.append(["replay", str(out / "photo-log.jsonl"), str(path), "--out", str(again), "--energy", "brs"])
    for call in calls:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            kept.keep(call[0], status=command.load()(call))
    for file in sorted(Path(each) for folder in (out, again) for each in folder.iterdir()):
        kept.file("written", file)


# ---- the core --------------------------------------------------------------------------------------------------------


def _kept_refinement(kept: Recording, step: str, found: Any) -> None:
    numbers = {"energy": found.energy, "reached": found.reached, "evaluations": found.evaluations}
    status = str(getattr(found.status, "value", found.status))
    kept.keep(step, values=found.values, logits=found.logits, status=status, **numbers)


@case("core refine")
def _(kept: Recording) -> None:
    generator = torch.Generator().manual_seed(3)
    kernel, image = (torch.randn(*shape, generator=generator) for shape in ((1, 1, 5, 5), (1, 1, 24, 32)))
    points, labels = torch.tensor([[4.0, 5.0], [20.25, 10.5], [30.0, 22.0]]), torch.tensor([True, False, True])

    def forward(values: Tensor) -> Tensor:
        return torch.tanh(F.conv2d(image + values, kernel, padding=2)) * 3 - 0.5

    start = torch.zeros_like(image)
    weights, required = torch.tensor([1.0, 3.0, 0.5]), torch.tensor([True, False, True])
    extras: list[dict[str, Any]] = [{}, {"weights": weights, "required": required}]
    for energy, solver, more in product(("margin", "brs", "fbrs"), ("lbfgs", "scipy"), extras):
        found = interactify.brs.refine(forward, start, points, labels, energy=energy, solver=solver, **more)
        _kept_refinement(kept, f"{energy} {solver}", found)
    own = interactify.brs.energy.Margin(margin=1.0, aim=1.5)
    found = interactify.brs.refine(
        forward, start, points, labels, energy=own, inertia=lambda values: values.abs().sum(), max_evaluations=7
    )
    _kept_refinement(kept, "own", found)
    two = interactify.brs.refine(
        lambda v: torch.cat([forward(v), -forward(v.flip(-1))], 1), start, points, labels, maps=torch.tensor([0, 1, 1])
    )
    _kept_refinement(kept, "two maps", two)
    double = interactify.brs.refine(
        lambda v: forward(v.float()).double(), start.double(), points, labels, stop=interactify.brs.stopping(0.0)
    )
    _kept_refinement(kept, "double, stopped", double)


@case("core refine_rows")
def _(kept: Recording) -> None:
    generator = torch.Generator().manual_seed(4)
    kernel, image = (torch.randn(*shape, generator=generator) for shape in ((1, 1, 5, 5), (1, 1, 24, 32)))
    points = [torch.tensor([[4.0, 5.0]]), torch.tensor([[20.25, 10.5], [3.0, 3.0]]), torch.tensor([[30.0, 22.0]])]
    labels = [torch.tensor([False]), torch.tensor([True, False]), torch.tensor([True])]
    for energy, at_once in product(("margin", "brs", "fbrs"), (1, 2, 3)):
        rows = interactify.brs.refine_rows(
            lambda values, _rows: F.conv2d(image + values, kernel, padding=2), torch.zeros(3, 1, 24, 32), points,
            labels, energy=energy, at_once=at_once,
        )  # fmt: skip
        for found in rows:
            _kept_refinement(kept, f"{energy}, {at_once} at once", found)


@case("core stem and maps")
def _(kept: Recording) -> None:
    for kind in ("distance", "disk", "gaussian", "tanh"):
        kept.keep(kind, maps=interactify.interaction_maps(FEW, (64, 96), kind))
        kept.keep(kind, maps=interactify.interaction_maps(FEW, (33, 47), kind, radius=7.5))
    generator = torch.Generator().manual_seed(5)
    image, maps = torch.rand(1, 3, 64, 96, generator=generator), torch.rand(1, 3, 64, 96, generator=generator)
    for model in (small(2), interactify.zoo.load()):
        zero = interactify.reconfigure_stem(model, maps=2, kernels="zero")
        kept.keep("zero", same=zero(torch.cat([image, maps[:, :2]], 1)), kernels=[list(k.shape) for k in zero.kernels])
        with torch.no_grad():
            for kernel in zero.kernels:
                kernel.copy_(torch.randn(kernel.shape, generator=generator) * 0.1)
        kept.keep("zero, moved", out=zero(torch.cat([image, maps[:, :2]], 1)))
        kept.keep("image", out=interactify.reconfigure_stem(model, kernels="image")(torch.cat([image, maps], 1)))
