"""The benchmark of classes: an object's truth, the choice of objects, and the figures of the other classes."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from PIL import Image

import interactify
from benchmarks import camvid_network, classes
from benchmarks.camvid_frames import CLASSES, Frames, class_ious, confusion, frame_names, read_split, training_batch
from benchmarks.camvid_objects import class_objects, objects_of, spread
from benchmarks.class_maps import compared, label_maps
from interactify.evaluation import iou, next_click
from interactify.interactive import Interactive
from interactify.pictures.window import Window
from interactify.refinement.classes import displayed_logits
from interactify.refinement.refiner import Refiner

ROAD, CAR, SKY, UNLABELLED = CLASSES.index("road"), CLASSES.index("car"), CLASSES.index("sky"), 11


def street() -> NDArray[np.uint8]:
    """Sky over road, two cars and a speck of a third, and an unlabelled strip at the bottom; (48, 64)."""
    labels = np.full((48, 64), SKY, np.uint8)
    labels[20:] = ROAD
    labels[26:36, 5:20] = CAR
    labels[28:38, 40:60] = CAR
    labels[22:24, 30:32] = CAR  # 4 pixels of 3072: under half a percent
    labels[44:] = UNLABELLED
    return labels


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """CamVid in small: four frames, each a bit darker than the one before."""
    for kind in ("images", "masks"):
        (tmp_path / "CamVid" / kind).mkdir(parents=True)
    for n in range(4):
        labels = street()
        photo = (np.stack([labels * 20, 200 - labels * 10, labels * 5 + 40], -1) - n).astype(np.uint8)
        Image.fromarray(photo).save(tmp_path / f"CamVid/images/f{n}.jpg", quality=95)
        Image.fromarray(labels).save(tmp_path / f"CamVid/masks/f{n}.png")
    return tmp_path


def test_a_truth_is_unknown_in_the_rest_of_its_class() -> None:
    labels = street()
    found = list(objects_of(labels))
    assert [k for k, _ in found] == [SKY, ROAD, CAR, CAR]  # no object of the speck
    truth = found[2][1]
    assert truth.dtype == np.int8
    assert (truth[26:36, 5:20] == 1).all() and (truth == 1).sum() == 150
    assert (truth[28:38, 40:60] == -1).all()  # the other car
    assert (truth[22:24, 30:32] == -1).all()  # the speck
    assert (truth[44:] == -1).all()  # unlabelled
    assert (truth == -1).sum() == 200 + 4 + 4 * 64
    assert (truth[(labels == SKY) | (labels == ROAD)] == 0).all()


def test_a_network_that_marks_all_cars_is_right_about_each() -> None:
    labels = street()
    for k, truth in objects_of(labels):
        mask = labels == k
        assert iou(truth, mask) == 1
        assert next_click(truth, mask, np.zeros_like(mask)) is None


def test_objects_are_of_the_validation_frames_and_always_the_same(tree: Path) -> None:
    assert frame_names(tree, "train", trained=1) == ["f0"]
    samples = class_objects(tree, trained=1)
    assert [s.name for s in samples][:3] == ["f1#sky", "f2#sky", "f3#sky"]
    assert [(s.name, s.target) for s in samples if "car" in s.name][:2] == [("f1#car", CAR), ("f1#car2", CAR)]
    assert len(samples) == 3 * 4 and len({s.name for s in samples}) == 12
    assert [s.name for s in class_objects(tree, every=2, most=1, trained=1)] == ["f1#sky", "f1#road", "f1#car"]
    assert spread(samples, 3) == [samples[0], samples[4], samples[8]]
    assert spread(samples, None) == samples


def test_batches_move_labels_with_their_pixels(tree: Path) -> None:
    """Every labelled pixel of a frame has the colour of its class, wherever flip, scale and turn have put it."""
    frames = read_split(tree, "train")
    levels = np.arange(12, dtype=np.uint8) * 20
    plain = [np.repeat(levels[labels][..., None], 3, -1) for labels in frames.labels]
    frames = Frames(frames.names, plain, frames.labels)
    generator = torch.Generator().manual_seed(1)
    image, labels = training_batch(frames, 12, (48, 64), generator)
    assert image.shape == (12, 3, 48, 64) and labels.shape == (12, 48, 64)
    assert set(labels.unique().tolist()) == {-1, SKY, ROAD, CAR}
    for frame, truth in zip(image.mean(1), labels, strict=True):
        # Colours change with the frame, their order does not: sky is darker than road, road than cars.
        means = [float(frame[truth == k].median()) for k in (SKY, ROAD, CAR) if (truth == k).sum() > 20]
        assert means == sorted(means) and len(set(means)) == len(means) > 0
    again, _ = training_batch(frames, 12, (48, 64), torch.Generator().manual_seed(1))
    assert torch.equal(image, again)


def test_rare_classes_weigh_more(tree: Path) -> None:
    weights = read_split(tree, "train").weights
    assert weights[CAR] > weights[ROAD] > 0 and weights[SKY] < 1.1


def test_the_loss_leaves_unlabelled_pixels_out() -> None:
    labels = torch.from_numpy(street().astype(np.int64))[None]
    labels[labels == UNLABELLED] = -1
    logits = 20.0 * torch.nn.functional.one_hot(labels.clamp(min=0), 11).permute(0, 3, 1, 2).float()
    assert float(camvid_network.loss_of(logits, labels, torch.ones(11))) < 1e-3  # where it is unlabelled, it says sky
    wrong = logits.roll(1, 1)
    assert float(camvid_network.loss_of(wrong, labels, torch.ones(11))) > 10


def test_an_interrupted_training_is_taken_up(tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frames, out = read_split(tree, "train"), tmp_path / "w.pt"
    recipe = camvid_network.Recipe(minutes=60, batch=2, side=64, last_share=0, save_every=1)
    average, calls = camvid_network.average, 0

    def interrupted(*given) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        average(*given)

    monkeypatch.setattr(camvid_network, "average", interrupted)
    with pytest.raises(KeyboardInterrupt):
        camvid_network.train(frames, out, recipe)
    held = torch.load(tmp_path / "w.partial", weights_only=True)
    assert held["step"] == 3 and not out.exists()
    # So little time that the earlier steps have used it up: the saved state is written.
    assert camvid_network.train(frames, out, replace(recipe, minutes=1e-6)) == 3
    assert [path.name for path in tmp_path.glob("w.*")] == ["w.pt"]
    for key, tensor in camvid_network.load(out).state_dict().items():
        assert torch.equal(tensor, held["averaged"][key])


def test_iou_of_each_class_leaves_the_unlabelled_out() -> None:
    truth = np.array([[0, 0, 1, 1, 11]])
    each = class_ious(confusion(truth, np.array([[0, 1, 1, 1, 5]])))
    assert each[:2] == pytest.approx([1 / 2, 2 / 3])
    assert np.isnan(each[2:]).all()


def test_other_classes_are_counted_apart() -> None:
    truth = np.array([[0, 0, 1, 1, 2, 2, 11]])
    better = compared(truth, np.array([[0, 0, 1, 1, 2, 0, 0]]), target=0)
    assert better.all_classes == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert better.other_classes == pytest.approx((1 + 1 / 2) / 2)
    assert better.kept == pytest.approx(3 / 4)


@pytest.fixture
def small_net() -> Interactive:
    torch.manual_seed(0)
    model = smp.FPN(
        "tu-resnet18",
        encoder_weights=None,
        channels=[8, 12, 16, 24],
        decoder_pyramid_channels=32,
        decoder_segmentation_channels=32,
        classes=11,
    ).eval()
    return interactify.wrap(model, resolution=64)


@pytest.mark.parametrize("variables", ["input", "kernels"])
def test_the_label_map_is_of_the_same_variables_as_the_mask(small_net, photo, variables) -> None:
    net = interactify.wrap(small_net.unwrap(), resolution=64, variables=variables, propagation="none")
    session = net.session(photo, target=CAR)
    for x, y, positive in ((55, 30, True), (5, 5, False), (50, 33, True)):
        session.click(x, y, positive)
    for step in (session.initial_step, *session.steps):
        odds = net.network.log_odds(displayed_logits(session.net, step, session.initial_step), CAR, step.crop.image)
        torch.testing.assert_close(odds, step.result.logits, rtol=1e-3, atol=1e-3)


def test_label_maps_follow_the_clicks_and_keep_what_lies_outside_a_window(small_net, photo) -> None:
    session = small_net.session(photo, target=CAR)
    spoken = [(55, 30, True), (5, 5, False), (95, 66, False), (50, 33, True), (40, 25, True)]
    for x, y, positive in spoken:
        session.click(x, y, positive)
    maps = label_maps(session)
    assert len(maps) == 6 and all(m.shape == photo.shape[:2] for m in maps)
    image = session.initial_step.crop.image
    own = session.initial_step.crop.view.to_photo(session.net.network.plain_logits(image).float())[0].argmax(0).numpy()
    assert (maps[0] == own).mean() > 0.999
    for k, step in enumerate(session.steps, 1):
        # In the mask the class is more likely than all others together, so it is the most likely.
        assert (maps[k][step.result.mask] == CAR).mean() > 0.999
        for x, y, positive in spoken[:k]:
            assert (maps[k][y, x] == CAR) or not positive
    assert any((a != b).any() for a, b in pairwise(maps))


def test_outside_a_window_the_label_map_is_that_of_before(small_net, photo, monkeypatch) -> None:
    """A window opened at the second click, left at the fourth, and another one at the fifth."""
    whole, corner, other = Window(0, 0, 72, 100), Window(20, 40, 30, 40), Window(10, 10, 40, 50)
    coming = iter([whole, corner, corner, whole, other])
    monkeypatch.setattr(Refiner, "_window_around", lambda *_: next(coming))
    monkeypatch.setattr(Refiner, "_is_right", lambda *_: False)
    session = small_net.session(photo, target=CAR)
    for x, y in ((55, 30), (60, 35), (50, 33), (65, 28), (40, 25)):
        session.click(x, y, y != 35)
    maps = label_maps(session)
    assert [step.crop.window for step in session.steps] == [whole, corner, corner, whole, other]
    for k, window, opened_on in ((2, corner, 1), (3, corner, 1), (5, other, 4)):
        outside = np.ones(maps[0].shape, bool)
        outside[window.slices] = False
        assert (maps[k][outside] == maps[opened_on][outside]).all()
        assert (maps[k] != maps[opened_on]).any()
    assert (maps[4][outside] != maps[3][outside]).any()  # the whole photo is computed again


def test_the_benchmark_writes_its_figures(tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights, out, sheets = tmp_path / "w.pt", tmp_path / "results" / "classes.json", tmp_path / "sheets"
    torch.save(camvid_network.build().state_dict(), weights)
    monkeypatch.setattr(classes, "class_objects", lambda *given: class_objects(*given, trained=3))
    monkeypatch.setattr(classes, "SIZE", (48, 64))
    words = f"x --data {tree} --weights {weights} --objects 1 --clicks 2 --out {out} --sheets {sheets}".split()
    words += ["--threads", str(torch.get_num_threads())]  # unchanged, since a test changes no setting
    monkeypatch.setattr("sys.argv", words)
    classes.main()
    ((key, rows),) = json.loads(out.read_text()).items()
    assert "2 clicks" in key and list(rows) == ["default"]
    counted = rows["default"]["summary"]
    assert counted["objects"] == 3 and set(counted["iou_after"]) == {"0", "1", "2"}
    assert set(counted["other_classes_iou_after"]) == {"0", "1"}
    assert {"noc_80", "satisfied", "evaluations_per_click", "collateral_change"} <= set(counted)
    assert set(rows["default"]["by_class"]) == {"sky", "road", "car"}
    assert str(tree) not in out.read_text()
    assert [path.name for path in sheets.iterdir()] == ["default.jpg"]
