"""Clicks on a network of several classes: each names its class, and the class map agrees with all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

import interactify
from interactify import Click
from interactify.errors import OptionError
from interactify.interactions.gestures import Box, Mask, Paint, Scribble
from interactify.network.variables import class_logits
from interactify.session.session import Session
from tests.fixtures import networks

NAMES = ["sky", "road", "tree, big tree", "car", "cat"]
PHOTO = networks.random_photo(64, 96)


def net_of(**options: Any) -> interactify.Interactive:
    model = networks.seeded(lambda: networks.Plain(classes=5))
    return interactify.wrap(model, **{"max_evaluations": 40, "class_names": NAMES, **options})


NET = net_of()


def own_classes(net: interactify.Interactive, photo: np.ndarray) -> np.ndarray:
    """The network's own most likely class of each pixel, (H, W): the network, run by hand."""
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (net.spec.mean, net.spec.std))
    with torch.no_grad():
        return net.unwrap()((image - mean) / std)[0].argmax(0).numpy()


def agreed(session: Session) -> np.ndarray:
    """The class map, after comparing it with the mask and every satisfied click."""
    classes, result = session.class_map(), session.result
    own = session.steps[-1].targets[0]
    assert (classes[result.mask] == own).all(), "the object has its class"
    unsatisfied = {each.interaction for each in result.unsatisfied}
    for click in result.clicks:
        if click not in unsatisfied:
            label = own if click.label is None else click.label
            if click.positive:
                assert classes[click.y, click.x] == label
            if label == own or click.positive:
                assert bool(result.mask[click.y, click.x]) == (label == own and click.positive)
    return classes


def test_before_any_click_it_is_the_networks_own() -> None:
    assert np.array_equal(NET.session(PHOTO).class_map(), own_classes(NET, PHOTO))
    for target in (0, 3, "clicked"):
        assert np.array_equal(NET.session(PHOTO, target=target).class_map(), own_classes(NET, PHOTO))


@pytest.mark.parametrize("propagation", ["none", "edges", "colour"])
def test_clicks_by_index_and_name(propagation: str) -> None:
    net = net_of(propagation=propagation)
    by_index, by_name = net.session(PHOTO), net.session(PHOTO)
    for x, y, label, name in ((10, 10, 1, "road"), (80, 50, 3, "car"), (40, 30, 2, "big tree"), (60, 20, 0, "SKY")):
        result = by_index.click(x, y, label=label)
        assert result.satisfied and agreed(by_index)[y, x] == label
        assert torch.equal(by_name.click(x, y, label=name).logits, result.logits)
    assert by_name.interactions == by_index.interactions
    assert by_index.steps[-1].targets == (1, 0, 2, 3), "the first click's class is the object's"
    assert agreed(by_index)[10, 10] == 1 and agreed(by_index)[50, 80] == 3 and agreed(by_index)[30, 40] == 2


def test_a_label_that_is_the_objects_own_is_about_the_object() -> None:
    one, two = NET.session(PHOTO, target=3), NET.session(PHOTO, target=3)
    assert torch.equal(one.click(20, 20).logits, two.click(20, 20, label="car").logits)
    over = two.click(20, 20, positive=False)
    assert over.overruled == (Click(20, 20, True, 3),) and over.satisfied and not over.mask[20, 20]
    other = one.click(20, 20, label="sky")
    assert other.overruled == (Click(20, 20),) and other.satisfied and agreed(one)[20, 20] == 0


def test_a_negative_label() -> None:
    session = NET.session(PHOTO, target=1)
    y, x = np.argwhere(own_classes(NET, PHOTO) == 3)[0].tolist()
    result = session.click(x, y, positive=False, label=3)
    assert result.satisfied and result.class_probabilities[0] > 0.5


@pytest.mark.parametrize("label", ["dog", 5, -1, "clicked", ""])
def test_invalid_classes(label: Any) -> None:
    session = NET.session(PHOTO)
    with pytest.raises(OptionError):
        session.click(3, 3, label=label)
    with pytest.raises(OptionError):
        session.add([Scribble(((1, 1), (9, 9)), label=label)])
    with pytest.raises(OptionError):
        NET.refine(PHOTO, [[Click(3, 3, True, label)]])
    assert session.interactions == ()
    assert NET.refine(PHOTO, [[Click(3, 3, True, "car")]])[0].satisfied


def test_the_first_target_stays() -> None:
    """Also where the click that decided it is overruled."""
    own = own_classes(NET, PHOTO)
    y, x = np.argwhere(own == own[10, 10])[0].tolist()
    other_y, other_x = np.argwhere(own != own[y, x])[-1].tolist()
    session = NET.session(PHOTO)
    session.click(x, y)
    session.click(other_x, other_y, positive=False)
    session.add([Paint(((x, y),), 3)])
    assert session.result.overruled == (Click(x, y),) and session.steps[-1].targets[0] == own[y, x]


def test_the_target_of_a_mask_is_the_class_that_most_of_it_has() -> None:
    own = own_classes(NET, PHOTO)
    for label in np.unique(own):
        mask = own == label
        if mask.mean() > 0.05:
            session = NET.session(PHOTO)
            assert np.array_equal(session.add([Mask(mask)]).mask, mask)
            assert session.steps[-1].targets[0] == label


def test_strokes_boxes_and_masks_are_in_the_class_map() -> None:
    session = NET.session(PHOTO, target=2)
    session.click(40, 30)
    session.add([Paint(((40, 30), (45, 30)), 5, True), Paint(((70, 50),), 7, True), Paint(((10, 40),), 9)])
    classes = agreed(session)
    assert (classes[48:53, 68:73] == 2).all() and not (classes[37:44, 7:14] == 2).any()
    session.add([Box(20, 20, 60, 45)])
    classes = agreed(session)
    outside = np.ones((64, 96), bool)
    outside[20:46, 20:61] = False
    assert not (classes[outside] == 2).any() and classes[30, 40] == 2
    before = classes.copy()
    session.undo(), session.redo()
    assert np.array_equal(session.class_map(), before)


@settings(max_examples=12, deadline=None)
@given(
    clicks=st.lists(
        st.builds(Click, st.integers(0, 95), st.integers(0, 63), st.booleans(), st.sampled_from([None, 0, 1, 2, 3, 4])),
        min_size=1, max_size=5,
    ),
    target=st.sampled_from([None, 1]),
)  # fmt: skip
def test_mask_and_class_map_agree(clicks: list[Click], target: int | None) -> None:
    session = NET.session(PHOTO, target=target)
    for click in clicks:
        session.add([click])
        agreed(session)


def test_a_click_on_another_class_keeps_its_state_outside_a_window() -> None:
    photo = networks.random_photo(200, 300)
    session = net_of(resolution=64, zoom=True).session(photo, target=1)
    session.click(250, 180, label=3)
    state = session.result.class_probabilities[0], session.class_map()[180, 250]
    assert state[0] > 0.5 and state[1] == 3
    result = session.add([Box(20, 20, 70, 60)])
    assert not result.window.contains(np.array([[250, 180]])).any(), "the window is elsewhere"
    assert result.satisfied and (result.class_probabilities[0], session.class_map()[180, 250]) == state
    result = session.add([Click(30, 30), Click(60, 50, False)])
    assert (result.class_probabilities[0], session.class_map()[180, 250]) == state
    result = session.click(280, 10, label=4)
    assert result.window.contains(np.array([[280, 10]])).all() and result.class_probabilities[-1] > 0.5, (
        "the window moves to a click elsewhere"
    )
    assert session.class_map()[10, 280] == 4


def test_a_click_on_another_class_outside_of_a_box_in_tiles() -> None:
    session = net_of(resolution=64).session(networks.random_photo(500, 700), target=1, tile=128)
    first = session.class_map()
    assert first.shape == (500, 700)
    for tile in session.refiner.tiling.tiles[::7]:  # type: ignore[attr-defined]
        own = net_of(resolution=64).session(networks.random_photo(500, 700)[tile.window.slices].copy(), target=1)
        assert np.array_equal(own.class_map()[tile.core.relative_to(tile.window).slices], first[tile.core.slices])
    session.add([Box(20, 20, 70, 60)])
    result = session.click(600, 400, label=4)
    assert (
        result.window.contains(np.array([[600, 400]])).all()
        and result.class_probabilities[-1] > 0.5
        and result.satisfied
    )
    classes = agreed(session)
    window = np.zeros((500, 700), bool)
    for step in session.steps:
        window[step.crop.window.slices] = True
    assert classes[400, 600] == 4 and np.array_equal(classes[~window & (first != 1)], first[~window & (first != 1)])
    assert session.click(30, 30).class_probabilities[-2] == result.class_probabilities[-1], (
        "back in the box it is as it was"
    )


def test_classes_that_do_not_exclude_each_other() -> None:
    """Behind a sigmoid for each class, a pixel may be of two; the class map shows the likelier, as it is shown."""
    model = networks.seeded(lambda: networks.WithOutput(lambda z: z.sigmoid(), classes=4))
    net = interactify.wrap(model, max_evaluations=40)
    assert net.spec.output.activation == "sigmoid"
    session = net.session(PHOTO, target=1)
    session.click(40, 30)
    result = session.click(40, 30, label=2)
    assert result.overruled == () and result.satisfied

    fresh = net.session(PHOTO, target=1)
    fresh.click(5, 5)
    step = fresh.steps[-1]
    with torch.no_grad():
        logits = class_logits(net.network, net.variables, step.crop.image, step.values, ())
        expected = logits.clone()
        expected[:, 1:2] = step.log_odds
    differs = fresh.class_map() != expected[0].argmax(0).numpy()
    assert differs.mean() < 1e-3, "to rounding"


def next_correction(truth: np.ndarray, found: np.ndarray, clicked: np.ndarray) -> tuple[int, int, int]:
    """The pixel deepest inside the largest error of any class, (x, y), and its true class."""
    depths = np.stack([distance_transform_edt((truth == k) & (found != k)) for k in range(len(NAMES))]) * ~clicked
    label, y, x = np.unravel_index(int(depths.argmax()), depths.shape)
    return int(x), int(y), int(label)


@pytest.mark.parametrize("options", [{"zoom": False}, {"resolution": 48}, {"resolution": 64, "tile": 32}])
def test_a_user_corrects_a_whole_class_map(options: dict[str, Any], tmp_path: Path) -> None:
    """Eight clicks, each in the largest error of any class; then all of them are undone, and a second object added."""
    tile = options.get("tile")
    net = net_of(max_evaluations=12, **{key: value for key, value in options.items() if key != "tile"})
    truth = own_classes(NET, networks.random_photo(64, 96, seed=7))
    session, clicked = net.session(PHOTO, tile=tile), np.zeros(PHOTO.shape[:2], bool)
    maps, right = [session.class_map()], []
    for _ in range(8):
        x, y, label = next_correction(truth, maps[-1], clicked)
        clicked[y, x] = True
        result = session.click(x, y, label=NAMES[label].partition(",")[0])
        maps.append(agreed(session))
        right.append((maps[-1] == truth)[clicked].mean())
        assert result.interactions[-1] == Click(x, y, True, label) and maps[-1].shape == truth.shape
    assert len({each.label for each in session.result.clicks}) >= 3, "clicks of several classes"
    assert np.mean(right) > 0.9, "of the clicked pixels"
    loaded = interactify.load_session(session.save(tmp_path / "classes.npz"), net, PHOTO)
    for each in (session, loaded):
        for before in reversed(maps[:-1]):
            each.undo()
            assert np.array_equal(each.class_map(), before)
        assert not each.can_undo
        for after in maps[1:]:
            each.redo()
            assert np.array_equal(each.class_map(), after)
    session.add_object("the car", target="car")
    assert np.array_equal(session.class_map(), maps[0]), "an object's class map is its own"
    session.click(x, y)
    session.switch("object 1")
    assert np.array_equal(session.class_map(), maps[-1])
    session.remove(3)
    assert len(session.interactions) == 7 and session.class_map()[y, x] in range(len(NAMES))
    session.undo()
    assert np.array_equal(session.class_map(), maps[-1])
