"""A label map of several classes begins a session: it is the class map, and clicks correct pieces of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

import interactify
from interactify import Box, Click, Labels, Mask, Paint
from interactify.brs import Margin
from interactify.errors import CheckpointError, InteractionError
from interactify.refinement.classes import displayed_logits, most_likely
from interactify.session.session import Session
from tests.fixtures import networks
from tests.session.test_class_clicks import NAMES, NET, PHOTO, net_of, own_classes

OWN = own_classes(NET, PHOTO)
LEFT = np.where(np.arange(96) < 48, 1, OWN).astype(np.uint8)  # one class on the left, the network's own on the right


def session_with(labels: np.ndarray, **options: Any) -> Session:
    session = NET.session(PHOTO, **options)
    session.add([Labels(labels)])
    return session


def network_classes(session: Session) -> np.ndarray:
    """The most likely classes of the last step, without the label map."""
    step = session.steps[-1]
    return most_likely(step.crop.view, displayed_logits(session.net, step, session.initial_step))[0]


def wrong_pixel(labels: np.ndarray, label: int) -> tuple[int, int]:
    """The deepest pixel, x and y, that the map gives another class than `label`."""
    depth = ndimage.distance_transform_edt(np.pad(labels != label, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


@pytest.mark.parametrize("target", [None, 2])
@pytest.mark.parametrize("labels", [OWN, LEFT, LEFT[::-1]], ids=["own", "left", "upside down"])
def test_the_class_map_is_the_label_map(labels: np.ndarray, target: int | None) -> None:
    session = session_with(labels, target=target)
    assert np.array_equal(session.class_map(), labels)
    assert session.result.satisfied and session.interactions == (Labels(labels).within((64, 96)),)
    if target is not None:
        assert np.array_equal(session.result.mask, labels == target)


def test_the_networks_own_map_takes_no_evaluation() -> None:
    """Nothing has to be pulled, and a click does what it would have done without the map."""
    session = session_with(OWN)
    assert session.result.evaluations == 0 and session.steps[-1].result.constraints.points.shape == (0, 2)
    x, y = wrong_pixel(OWN, 3)
    alone = net_of(energy=Margin(hold=0)).session(PHOTO)  # a session that begins with a map holds nothing
    assert torch.equal(session.click(x, y, label=3).logits, alone.click(x, y, label=3).logits)


def test_it_is_pulled_where_the_network_predicts_otherwise() -> None:
    session = session_with(LEFT)
    pulled, plain = network_classes(session), OWN
    assert session.result.evaluations > 0
    assert (pulled == LEFT).mean() > (plain == LEFT).mean()


@pytest.mark.parametrize("propagation", ["none", "edges", "colour"])
def test_clicks_that_name_classes_correct_pieces_of_it(propagation: str) -> None:
    net = net_of(propagation=propagation)
    session = net.session(PHOTO)
    session.add([Labels(LEFT)])
    before = session.class_map()
    for label in (3, 0, 4):
        x, y = wrong_pixel(before, label)
        result = session.click(x, y, label=label)
        after = session.class_map()
        assert result.satisfied and after[y, x] == label
        network = network_classes(session)
        pieces, _ = ndimage.label((network == label) & (before != label))
        assert np.array_equal(after, np.where(pieces == pieces[y, x], label, before)), "one piece, and nothing else"
        before = after
    assert session.steps[-1].targets[0] == 3, "the first click decides the object's class"
    assert np.array_equal(session.result.mask, before == 3)


def test_a_negative_click_takes_a_piece_away() -> None:
    session = session_with(LEFT, target=1)
    result = session.click(20, 30, positive=False)
    classes = session.class_map()
    assert result.satisfied and not result.mask[30, 20] and classes[30, 20] != 1
    changed = classes != LEFT
    assert (LEFT[changed] == 1).all() and np.array_equal(result.mask, classes == 1)


def test_the_class_under_a_first_click_without_one_is_the_maps() -> None:
    y, x = np.argwhere((LEFT == 1) & (OWN != 1))[0].tolist()
    session = session_with(LEFT)
    result = session.click(x, y)
    assert session.steps[-1].targets[0] == 1 and result.satisfied
    assert np.array_equal(session.class_map(), LEFT) and np.array_equal(result.mask, LEFT == 1)


def test_pixels_of_no_known_class_are_the_networks() -> None:
    labels = LEFT.copy()
    labels[:, 30:60] = 255
    session = session_with(labels)
    known = labels != 255
    assert np.array_equal(session.class_map()[known], labels[known])
    assert np.array_equal(session.class_map()[~known], network_classes(session)[~known])
    x, y = 45, 20
    label = int((session.class_map()[y, x] + 1) % 5)
    assert session.click(x, y, label=label).satisfied
    classes = session.class_map()
    assert classes[y, x] == label and np.array_equal(classes[known], labels[known])

    masked = np.ma.masked_array(LEFT, labels == 255)
    assert Labels(masked).within((64, 96)) == Labels(labels).within((64, 96))
    other = np.where(labels == 255, 77, labels)
    assert Labels(other, ignore=77).within((64, 96)) == Labels(labels).within((64, 96))


def test_later_interactions_and_earlier_ones() -> None:
    session = NET.session(PHOTO)
    session.click(20, 30, label=4)  # the map has class 1 there
    session.click(60, 30, label=int(LEFT[30, 60]))
    result = session.add([Labels(LEFT)])
    assert result.overruled == (Click(20, 30, True, 4),), "the later one wins"
    assert np.array_equal(session.class_map(), LEFT)

    session = session_with(LEFT, target=1)
    session.add([Paint(((70, 10), (75, 10)), 5, True), Paint(((10, 40),), 9)])
    classes = session.class_map()
    assert (classes[8:13, 70:75] == 1).all() and not (classes[37:44, 7:14] == 1).any()
    outside = np.ones((64, 96), bool)
    outside[20:46, 5:41] = False
    session.add([Box(5, 20, 40, 45)])
    classes = session.class_map()
    assert not (classes[outside] == 1).any() and classes[30, 30] == 1
    other = outside & (LEFT != 1)
    other[8:13, 68:78] = False  # under the stroke
    assert np.array_equal(classes[other], LEFT[other])

    again = session.add([Labels(OWN)])
    assert np.array_equal(session.class_map(), OWN) and len(again.overruled) == 4
    mask = session.add([Mask(LEFT == 1)])
    assert np.array_equal(mask.mask, LEFT == 1)


def test_of_two_classes_it_is_the_mask() -> None:
    net = interactify.wrap(networks.seeded(lambda: networks.Plain(classes=2)), max_evaluations=40)
    labels = (np.hypot(*(np.mgrid[:64, :96] - np.array([32, 40])[:, None, None])) < 20).astype(int)
    session = net.session(PHOTO)
    result = session.add([Labels(labels)])
    assert np.array_equal(result.mask, labels == 1) and np.array_equal(session.class_map(), labels)
    result = session.click(40, 32, positive=False)
    assert result.satisfied and not result.mask[32, 40] and np.array_equal(session.class_map() == 1, result.mask)
    assert (
        np.array_equal(session.click(5, 5, label=1).mask, session.class_map() == 1) and session.class_map()[5, 5] == 1
    )


def test_undo_remove_save_and_replay(tmp_path) -> None:
    session = session_with(LEFT)
    x, y = wrong_pixel(LEFT, 3)
    session.click(x, y, label=3)
    session.click(20, 50, label=0)
    classes, mask = session.class_map(), session.result.mask
    loaded = interactify.load_session(session.save(tmp_path / "labels.npz"), NET, PHOTO)
    replayed = interactify.replay(session.log(), NET, PHOTO)
    for again in (loaded, replayed):
        assert np.array_equal(again.class_map(), classes) and np.array_equal(again.result.mask, mask)
        assert again.interactions == session.interactions and again.log() == session.log()
    more = [each.click(70, 50, label=2).logits for each in (session, loaded)]
    assert torch.equal(*more)
    for each in (session, loaded):
        each.undo(), each.undo(), each.undo()
        assert np.array_equal(each.class_map(), LEFT)
        each.undo()
        assert np.array_equal(each.class_map(), OWN)
        each.redo()
        assert np.array_equal(each.class_map(), LEFT)
        each.redo()
        each.remove(0)
        alone = NET.session(PHOTO)
        alone.click(x, y, label=3)
        assert np.array_equal(each.class_map(), alone.class_map())


def test_in_batches_and_tiles() -> None:
    (result,) = NET.refine(PHOTO, [[Labels(LEFT), Click(60, 30, True, 1)]], target=1)
    session = NET.session(PHOTO, target=1)
    assert np.array_equal(session.add([Labels(LEFT), Click(60, 30, True, 1)]).mask, result.mask)
    tiled = net_of(resolution=64).session(networks.random_photo(300, 400), target=2, tile=128)
    labels = np.zeros((300, 400), np.int64)
    labels[100:200, 50:300] = 2
    tiled.add([Labels(labels)])
    assert np.array_equal(tiled.class_map(), labels)
    tiled.click(350, 30, label=4)
    assert tiled.class_map()[30, 350] == 4 and (tiled.class_map()[labels == 2] == 2).mean() > 0.9


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Labels(LEFT[:, :90]), r"the photo's size, \(64, 96\), got one of shape \(64, 90\)"),
        (Labels(np.where(LEFT == 1, 7, 9)), "classes, 0 to 4, got 7, 9"),
        (Labels(np.full((64, 96), 255)), "at least one pixel"),
        (Labels(np.where(LEFT == 1, -3, 0)), "got -3. Try ignore=-3"),
        (Labels(LEFT.astype(float)), "whole numbers, got float64"),
        (Labels(LEFT == 1), r"Try Mask\(mask\)"),
        (Labels(LEFT, ignore="void"), "ignore"),  # type: ignore[arg-type]
        (Labels("road"), r"\(64, 96\)"),  # type: ignore[arg-type]
        (Labels(LEFT, ignore=None).within((64, 96)), None),
    ],
)
def test_label_maps_that_do_not_fit(wrong: Labels, message: str | None) -> None:
    session = NET.session(PHOTO)
    if message is None:
        session.add([wrong])
        return
    with pytest.raises(InteractionError, match=message):
        session.add([wrong])
    assert session.interactions == ()


def test_networks_that_no_label_map_fits() -> None:
    with pytest.raises(InteractionError, match=r"Mask\(labels == 1\)"):
        interactify.wrap(networks.seeded(networks.Plain)).session(PHOTO).add([Labels(LEFT)])
    sigmoid = networks.seeded(lambda: networks.WithOutput(lambda z: z.sigmoid(), classes=4))
    with pytest.raises(InteractionError, match="a sigmoid for each"):
        interactify.wrap(sigmoid).session(PHOTO).add([Labels(LEFT)])


def test_as_json() -> None:
    labels = LEFT.copy()
    labels[:5] = 255
    entry = Labels(labels).to_json()
    assert entry["kind"] == "labels" and set(entry["classes"]) == {str(k) for k in np.unique(labels) if k != 255}
    again = interactify.interaction_from_json(entry)
    assert again == Labels(labels).within((64, 96)) == again.within((64, 96))
    one = entry["classes"]["1"]
    for classes in ({"1": one, "2": one}, {"1": {}}, {"cat": one}, {"-1": one}, {"99999": one}, {}, [one], None):
        with pytest.raises(InteractionError, match="label map"):
            interactify.interaction_from_json({"kind": "labels", "classes": classes})
    with pytest.raises(InteractionError):
        Labels(labels[0]).to_json()


def test_the_file_of_a_network_that_was_trained_again_names_replay(tmp_path) -> None:
    session = NET.session(PHOTO)
    result = session.click(20, 30, label=4)
    path, log = session.save(tmp_path / "old.npz"), session.log()
    again = interactify.wrap(networks.seeded(lambda: networks.Plain(classes=5), seed=1), class_names=NAMES)
    with pytest.raises(CheckpointError, match=r"interactify\.replay"):
        interactify.load_session(path, again, PHOTO)
    assert interactify.replay(log, again, PHOTO).interactions == result.interactions
