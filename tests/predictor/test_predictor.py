"""Segment Anything's interface: code written for SAM 2's image predictor runs, and every call is independent."""

from __future__ import annotations

import gc
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

import interactify
from interactify import Box, Click, Predictor
from interactify.errors import InteractifyError, InteractionError, ModelError, NoPhotoError, OptionError, PhotoError
from interactify.predictor.candidates import expected_iou
from interactify.predictor.prompts import read_prompts, stretched
from interactify.refinement.result import Result
from tests.fixtures import networks

SIZE = (64, 96)


def predictor_of(photo: Any = None, build: Any = networks.Plain, **options: Any) -> Predictor:
    """A predictor on a random photo (64, 96) by default."""
    predictor = Predictor(interactify.wrap(networks.seeded(build), **{"max_evaluations": 20, **options}))
    predictor.set_image(networks.random_photo() if photo is None else photo)
    return predictor


def same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# ---- as SAM 2's notebook on its image predictor goes -----------------------------------------------------------------


@pytest.mark.parametrize("quiet", [False, True], ids=["plain", "inference mode, autocast"])
def test_code_written_for_sam_2_runs(quiet: bool) -> None:
    """The steps of notebooks/image_predictor_example.ipynb, in its order; the constructor is the line that changed."""
    image, model = networks.random_photo(), networks.seeded(networks.Plain)
    with torch.inference_mode(quiet), torch.autocast("cpu", torch.bfloat16, enabled=quiet):
        predictor = interactify.Predictor(interactify.wrap(model))
        predictor.set_image(image)

        # a point, ambiguous: three masks, the best first
        input_point, input_label = np.array([[50, 37]]), np.array([1])
        masks, scores, logits = predictor.predict(
            point_coords=input_point, point_labels=input_label, multimask_output=True
        )
        order = np.argsort(scores)[::-1]
        masks, scores, logits = masks[order], scores[order], logits[order]
        assert masks.shape == (3, *SIZE) and scores.shape == (3,) and logits.shape == (3, 256, 256)
        assert masks.dtype == scores.dtype == logits.dtype == np.float32
        assert set(np.unique(masks)) <= {0.0, 1.0} and masks[0].astype(np.uint8).any()

        # more points, and the best mask of before to begin from
        for labels in ([1, 1], [1, 0]):
            input_point, input_label = np.array([[50, 37], [80, 9]]), np.array(labels)
            mask_input = logits[np.argmax(scores), :, :]
            masks_now, scores_now, _ = predictor.predict(
                point_coords=input_point,
                point_labels=input_label,
                mask_input=mask_input[None, :, :],
                multimask_output=False,
            )
            assert masks_now.shape == (1, *SIZE) and scores_now.shape == (1,)
            assert masks_now[0, 37, 50] == 1 and masks_now[0, 9, 80] == labels[1]

        # a box, with a point and without, as (4,) and as (1, 4)
        input_box = np.array([20, 10, 70, 55])
        masks, _, _ = predictor.predict(
            point_coords=None, point_labels=None, box=input_box[None], multimask_output=False
        )
        assert masks.shape == (1, *SIZE)
        masks, _, _ = predictor.predict(
            point_coords=np.array([[40, 30]]), point_labels=np.array([0]), box=input_box, multimask_output=False
        )
        assert masks.shape == (1, *SIZE) and masks[0, 30, 40] == 0

        # several boxes: a dimension more
        input_boxes = np.array([[5, 5, 40, 30], [30, 20, 90, 60], [60, 0, 95, 20], [0, 40, 95, 63]])
        masks, scores, _ = predictor.predict(
            point_coords=None, point_labels=None, box=input_boxes, multimask_output=False
        )
        assert masks.shape == (4, 1, *SIZE) and scores.shape == (4, 1)

        # many photos
        predictor.set_image_batch([image, networks.random_photo(50, 77, seed=1)])
        masks_batch, scores_batch, _ = predictor.predict_batch(
            None, None, box_batch=[input_boxes, np.array([[10, 10, 60, 40]])], multimask_output=False
        )
        assert [m.shape for m in masks_batch] == [(4, 1, *SIZE), (1, 50, 77)]
        points_batch = [np.array([[[50, 37]], [[20, 10]]]), np.array([[[30, 20]], [[60, 40]]])]
        labels_batch = [np.array([[1], [1]]), np.array([[1], [1]])]
        masks_batch, scores_batch, _ = predictor.predict_batch(
            points_batch, labels_batch, box_batch=None, multimask_output=True
        )
        best = [m[range(len(m)), np.argmax(s, axis=-1)] for m, s in zip(masks_batch, scores_batch, strict=True)]
        assert [b.shape for b in best] == [(2, *SIZE), (2, 50, 77)]
        for masks, points in zip(masks_batch, points_batch, strict=True):
            for each, ((x, y),) in zip(masks, points, strict=True):
                assert each[:, y, x].all()

        predictor.reset_predictor()
    with pytest.raises(RuntimeError, match="set_image"):
        predictor.predict(point_coords=input_point, point_labels=input_label)


def test_names_and_defaults_are_sam_2s() -> None:
    prompts = ["point_coords", "point_labels", "box", "mask_input"]
    switches = {"multimask_output": True, "return_logits": False, "normalize_coords": True}
    for method, names in (
        (Predictor.predict, prompts),
        (Predictor.predict_batch, [f"{name}_batch" for name in prompts]),
    ):
        found = {p.name: p.default for p in inspect.signature(method).parameters.values() if p.name != "self"}
        assert list(found.items()) == [*((name, None) for name in names), *switches.items()]
    predictor = predictor_of()
    assert predictor.device == torch.device("cpu") and predictor.mask_threshold == 0.0
    assert isinstance(predictor.model, interactify.Interactive)
    with pytest.raises(ModelError, match="no image embedding"):
        predictor.get_image_embedding()


# ---- each call is independent ----------------------------------------------------------------------------------------


def test_a_call_depends_on_its_arguments_alone() -> None:
    calls: list[dict[str, Any]] = [
        {"point_coords": [[50, 37]], "point_labels": [1]},
        {"point_coords": [[50, 37], [10, 10]], "point_labels": [0, 1]},
        {"box": [20, 10, 70, 55]},
        {"box": [20, 10, 70, 55], "point_coords": [[30, 30]], "point_labels": [1]},
        {},
    ]
    once = [predictor_of().predict(**call) for call in calls]
    predictor = predictor_of()
    for _ in range(2):
        for call, before in zip(reversed(calls), reversed(once), strict=True):
            assert same(predictor.predict(**call), before), call
    mask = once[0][2][:1]
    with_mask = predictor.predict(mask_input=mask)
    assert same(predictor_of().predict(mask_input=mask), with_mask), "a mask counts by its values, not by its source"


def test_points_and_boxes_give_the_sessions_own_result() -> None:
    net = interactify.wrap(networks.seeded(networks.Plain))
    predictor = Predictor(net)
    predictor.set_image(networks.random_photo())
    clicks = [Click(50, 37), Click(80, 9, positive=False)]
    result = net.session(networks.random_photo()).add(clicks)
    arguments = {"point_coords": [[50, 37], [80, 9]], "point_labels": [1, 0], "multimask_output": False}
    masks, scores, low = predictor.predict(**arguments)
    assert np.array_equal(masks[0] > 0, result.mask) and result.satisfied
    logits, again, low_again = predictor.predict(**arguments, return_logits=True)
    assert np.allclose(1 / (1 + np.exp(-logits[0])), result.probability, atol=1e-6)
    assert np.array_equal(logits > 0, masks > 0) and same((again, low_again), (scores, low))
    boxed, _, _ = predictor.predict(**arguments, box=[20, 5, 90, 55])
    result = net.session(networks.random_photo()).add([Box(20, 5, 90, 55), *clicks])
    assert np.array_equal(boxed[0] > 0, result.mask) and result.satisfied
    plain, _, _ = predictor.predict(multimask_output=False)
    assert np.array_equal(plain[0] > 0, net.session(networks.random_photo()).result.mask), "no prompt, no refinement"


def test_shares_of_the_sides_paddings_and_other_containers() -> None:
    predictor = predictor_of()
    expected = predictor.predict(np.array([[48, 16], [0, 63]]), np.array([1, 0]), box=[24, 8, 72, 48])
    shares = predictor.predict(
        np.array([[0.5, 0.25], [0, 63 / 64]]),
        np.array([1, 0]),
        box=np.array([0.25, 0.125, 0.75, 0.75]),
        normalize_coords=False,
    )
    padded = predictor.predict(
        torch.tensor([[48.2, 15.9], [-5, -5], [0, 63]]), torch.tensor([1, -1, 0]), box=((24, 8, 72, 48),)
    )
    assert same(shares, expected) and same(padded, expected)
    corner = predictor.predict([[1.0, 1.0]], [1], normalize_coords=False, multimask_output=False)
    assert corner[0][0, 63, 95] == 1, "the photo's far corner is its last pixel"


def test_a_photo_in_other_forms() -> None:
    photo = networks.random_photo()
    expected = predictor_of().predict([[50, 37]], [1])
    assert same(predictor_of(Image.fromarray(photo)).predict([[50, 37]], [1]), expected)


def test_batches_give_what_single_photos_give() -> None:
    photos = [networks.random_photo(), networks.random_photo(50, 77, seed=1)]
    predictor = predictor_of()
    predictor.set_image_batch(photos)
    boxes = [[10, 10, 60, 40], [5, 5, 30, 30]]
    masks, scores, low = predictor.predict_batch([[[50, 37]], None], [[1], None], [None, boxes])
    assert same((masks[0], scores[0], low[0]), predictor_of().predict([[50, 37]], [1]))
    for row, box in enumerate(boxes):
        assert same((masks[1][row], scores[1][row], low[1][row]), predictor_of(photos[1]).predict(box=box))


# ---- three masks -----------------------------------------------------------------------------------------------------


def test_three_masks_are_the_alternatives_of_one_refinement() -> None:
    net = interactify.wrap(networks.seeded(networks.Counted), max_evaluations=40)
    predictor, counter = Predictor(net), net.unwrap().counter
    predictor.set_image(networks.random_photo())
    rng = np.random.default_rng(0)
    for count in (1, 2, 4):
        points = np.stack([rng.choice(96, count, False), rng.choice(64, count, False)], axis=1)
        labels = rng.integers(0, 2, count)
        labels[0] = 1
        before = counter.runs
        single, score, _ = predictor.predict(points, labels, multimask_output=False)
        runs = counter.runs - before
        masks, scores, _ = predictor.predict(points, labels)
        assert counter.runs - before <= 2 * runs, "no run more than for one mask"
        assert np.array_equal(masks[1], single[0]) and scores[1] == score[0]
        assert ((scores >= 0) & (scores <= 1)).all()
        for (x, y), label in zip(points, labels, strict=True):
            assert (masks[:, y, x] == label).all()
        pieces, _ = ndimage.label(masks[0])
        clicked = {pieces[y, x] for (x, y), label in zip(points, labels, strict=True) if label}
        assert clicked == set(np.unique(pieces)) - {0}, "each piece of the narrow mask has a positive point"
        session = net.session(networks.random_photo())
        wide = session.add([Click(int(x), int(y), bool(yes)) for (x, y), yes in zip(points, labels, strict=True)])
        assert np.array_equal(masks[2] > 0, wide.alternatives.wide.mask) and not np.array_equal(masks[0], masks[2])


def test_what_three_masks_hold_is_freed_at_once() -> None:
    """Not when Python looks for cycles: on a GPU, memory may be over before."""
    predictor = predictor_of()
    predictor.predict([[50, 37]], [1])
    gc.collect(), gc.disable()
    try:
        before = sum(type(each) is Result for each in gc.get_objects())
        for _ in range(2):
            predictor.predict([[50, 37]], [1])
        assert sum(type(each) is Result for each in gc.get_objects()) == before
    finally:
        gc.enable()


def test_three_masks_of_a_box() -> None:
    masks, _, _ = predictor_of().predict(box=[20, 10, 70, 55])
    assert (masks[0] <= masks[1]).all() and (masks[1] <= masks[2]).all() and masks[0].sum() < masks[2].sum()


def test_scores_of_an_empty_and_a_full_mask() -> None:
    assert expected_iou(np.full((4, 5), -16, np.float32), np.zeros((4, 5), bool)) == 1
    assert expected_iou(np.full((4, 5), 16, np.float32), np.zeros((4, 5), bool)) == 0


def test_another_threshold() -> None:
    net = interactify.wrap(networks.seeded(networks.Plain))
    predictor = Predictor(net, mask_threshold=1.0)
    predictor.set_image(networks.random_photo())
    masks, _, _ = predictor.predict([[50, 37]], [1])
    logits, _, _ = predictor.predict([[50, 37]], [1], return_logits=True)
    assert np.array_equal(masks, logits > 1)


# ---- boxes and masks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zoom", [True, False])
def test_the_object_lies_in_its_box(zoom: bool) -> None:
    predictor = predictor_of(zoom=zoom)
    outside = np.ones(SIZE, bool)
    outside[10:56, 20:71] = False
    masks, _, low = predictor.predict(box=[20, 10, 70, 55])
    assert not masks[:, outside].any() and masks.any()
    assert low[:, :30].max() < 0, "and in the low-resolution mask too"
    masks, _, _ = predictor.predict([[75, 30], [30, 30], [2, 2]], [1, 0, 0], box=[20, 10, 70, 55])
    assert masks[:, 30, 75].all() and not masks[:, 30, 30].any() and not masks[:, 2, 2].any(), "stretched for the point"
    whole = predictor.predict(box=[-20, -20, 500, 500], multimask_output=False)
    assert whole[0].shape == (1, *SIZE), "a box is cut off at the photo's borders"
    pixel = predictor.predict(box=[40, 30, 40, 30], multimask_output=False)
    assert pixel[0].sum() <= 1


def test_a_mask_to_start_from() -> None:
    predictor = predictor_of(max_evaluations=40)
    first = predictor.predict([[50, 37]], [1], multimask_output=False)
    masks, _, low = predictor.predict([[50, 37], [10, 50]], [1, 0], mask_input=first[2], multimask_output=False)
    assert masks[0, 37, 50] == 1 and masks[0, 50, 10] == 0 and low.shape == (1, 256, 256)
    foreign = np.full((1, 256, 256), -10, np.float32)
    foreign[:, 60:200, 60:200] = 10
    drawn = np.zeros(SIZE, bool)
    drawn[15:50, 22:75] = True
    begun = predictor.predict(mask_input=foreign, multimask_output=False)[0][0] > 0
    assert (begun & drawn).sum() > 0.95 * (begun | drawn).sum(), "another mask comes back unchanged without points"
    x, y = 30, 20
    corrected = predictor.predict([[x, y]], [0], mask_input=foreign, multimask_output=False)[0][0] > 0
    pieces, _ = ndimage.label(corrected != begun)
    assert not corrected[y, x] and begun[y, x] and pieces.max() == 1, "and away from the click, with one too"


@pytest.mark.parametrize("classes", [2, 4])
def test_of_several_classes_a_box_means_what_is_in_its_middle(classes: int) -> None:
    predictor = predictor_of(build=lambda: networks.Plain(classes=classes), max_evaluations=40)
    masks, _, _ = predictor.predict(box=[20, 10, 70, 55], multimask_output=False)
    assert masks[0].any() and (classes == 2 or masks[0, 32, 45] == 1)
    masks, _, _ = predictor.predict([[5, 5], [50, 37]], [0, 1], multimask_output=False)
    assert masks[0, 37, 50] == 1 and masks[0, 5, 5] == 0


@pytest.mark.data
def test_boxes_help_on_real_photos(data_root: Path) -> None:
    predictor = Predictor(interactify.wrap(networks.slim_saliency()))
    without, within = [], []
    for path in sorted((data_root / "GrabCut50" / "images").iterdir())[::7]:
        truth = np.array(Image.open(data_root / "GrabCut50" / "masks" / f"{path.stem}.png").convert("L"))
        known, rows, columns = truth != 128, *np.nonzero(truth == 255)
        box = [columns.min(), rows.min(), columns.max(), rows.max()]
        predictor.set_image(Image.open(path).convert("RGB"))
        for found, argument in ((without, None), (within, box)):
            mask = predictor.predict(box=argument, multimask_output=False)[0][0] > 0
            found.append((mask & (truth == 255)).sum() / ((mask & known) | (truth == 255)).sum())
    print(f"\nIoU without a box {np.mean(without):.3f}, with it {np.mean(within):.3f}")
    assert np.mean(within) > np.mean(without) + 0.05


# ---- errors ----------------------------------------------------------------------------------------------------------

LOW = np.zeros((1, 256, 256), np.float32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"point_coords": [[1, 2]]}, "without point_labels"),
        ({"point_labels": [1]}, "without point_coords"),
        ({"point_coords": [1, 2], "point_labels": [1]}, r"shape \(2,\)"),
        ({"point_coords": [[1, 2, 3]], "point_labels": [1]}, "x then y"),
        ({"point_coords": [[1, 2]], "point_labels": [1, 0]}, "one for each point"),
        ({"point_coords": [[1, 2]], "point_labels": [2]}, "box="),
        ({"point_coords": [[96.5, 2]], "point_labels": [1]}, "outside the photo"),
        ({"point_coords": [[1, 80]], "point_labels": [1]}, "outside the photo"),
        ({"point_coords": [[np.nan, 2]], "point_labels": [1]}, "finite"),
        ({"point_coords": [["a", "b"]], "point_labels": [1]}, "array of numbers"),
        ({"point_coords": [[1, 2], [3]], "point_labels": [1, 0]}, "array of numbers"),
        ({"point_coords": np.zeros((0, 1, 2)), "point_labels": np.zeros((0, 1))}, "x then y"),
        ({"point_coords": [[50, 30]], "point_labels": [1], "normalize_coords": False}, "outside the photo"),
        ({"box": [1, 2, 3]}, "left, top, right, bottom"),
        ({"box": np.zeros((0, 4))}, "left, top, right, bottom"),
        ({"box": [30, 10, 20, 40]}, "x \\+ width"),
        ({"box": [200, 10, 300, 40]}, "outside the photo"),
        ({"box": [1, 2, np.inf, 4]}, "finite"),
        ({"mask_input": np.zeros((64, 96))}, "low-resolution"),
        ({"mask_input": np.zeros((3, 256, 256))}, "low-resolution"),
        ({"mask_input": LOW + np.nan}, "finite"),
        ({"box": [[1, 2, 30, 40]] * 2, "point_coords": [[1, 2]], "point_labels": [1]}, "same number of objects"),
        ({"box": [[1, 2, 30, 40]] * 2, "mask_input": LOW}, "same number of objects"),
        ({"point_coords": [[1, 2]], "point_labels": [1], "multimask_output": 3}, "multimask_output"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_invalid_arguments_are_refused_before_any_work(arguments: dict[str, Any], words: str) -> None:
    predictor = predictor_of(build=networks.Counted)
    counter = predictor.model.unwrap().counter
    before, runs = predictor.predict([[50, 37]], [1]), counter.runs
    with pytest.raises((InteractionError, OptionError), match=words):
        predictor.predict(**arguments)
    assert counter.runs == runs
    assert same(predictor.predict([[50, 37]], [1]), before), "and nothing has changed"


def test_no_photo_or_an_unreadable_one() -> None:
    net = interactify.wrap(networks.seeded(networks.Plain))
    predictor = Predictor(net)
    for ask in (predictor.predict, predictor.predict_batch):
        with pytest.raises(NoPhotoError, match="set_image") as caught:
            ask()
        assert isinstance(caught.value, RuntimeError) and isinstance(caught.value, InteractifyError)
    for images in ([], networks.random_photo(), "photo.jpg"):
        with pytest.raises(PhotoError, match="list of photos"):
            predictor.set_image_batch(images)
    predictor.set_image(networks.random_photo())
    before = predictor.predict([[50, 37]], [1])
    with pytest.raises(PhotoError):
        predictor.set_image(np.zeros((0, 5, 3), np.uint8))
    with pytest.raises(PhotoError):
        predictor.set_image_batch([networks.random_photo(), "there is no such file"])
    with pytest.raises(NoPhotoError, match="Photos were set for predict"):
        predictor.predict_batch()
    assert same(predictor.predict([[50, 37]], [1]), before)
    predictor.set_image_batch([networks.random_photo()])
    with pytest.raises(NoPhotoError, match="predict_batch"):
        predictor.predict()
    for batch in ([None, None], 5):
        with pytest.raises(InteractionError, match="one a photo"):
            predictor.predict_batch(box_batch=batch)


def test_an_invalid_network_or_threshold() -> None:
    with pytest.raises(OptionError, match="wrap"):
        Predictor(networks.seeded(networks.Plain))  # type: ignore[arg-type]
    net = interactify.wrap(networks.seeded(networks.Plain))
    for threshold in (np.nan, "0", True):
        with pytest.raises(OptionError, match="mask_threshold"):
            Predictor(net, mask_threshold=threshold)  # type: ignore[arg-type]


def test_boxes_at_their_pixels() -> None:
    (prompt,) = read_prompts(None, None, [10.4, 5.6, 300, 20], None, SIZE)
    assert prompt.box == Box(10, 6, 95, 20) and prompt.clicks == () and prompt.mask is None
    assert stretched(prompt.box, [Click(3, 40), Click(0, 0, positive=False)]) == Box(3, 6, 95, 40)
