"""Several objects in one photo: added, named, switched, deleted and saved, and a label map of them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import interactify
from interactify import Click
from interactify.errors import InteractionError, OptionError
from interactify.interactions.gestures import Box, Lasso, Mask, Paint, Scribble
from interactify.pictures.window import whole
from interactify.session.session import Session
from tests.fixtures import networks

PHOTO = networks.random_photo(48, 64)
NET = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=6, resolution=64)


def of_two(net: interactify.Interactive = NET) -> Session:
    """A session with two objects, the second of which is active."""
    session = net.session(PHOTO)
    session.click(10, 10)
    session.add_object("cat")
    session.click(50, 30)
    return session


def test_objects_by_name() -> None:
    session = NET.session(PHOTO)
    assert session.objects == ("object 1",) and session.active == "object 1"
    first = session.click(10, 10)
    assert session.add_object() == "object 2" and session.interactions == () and session.result.status == "plain"
    second = session.click(50, 30)
    assert session.add_object("cat") == "cat" and session.objects == ("object 1", "object 2", "cat")
    assert session.switch("object 1") is first is session.result and session.interactions == (Click(10, 10),)
    assert session.result_of("object 2") is second and session.interactions_of("cat") == ()
    session.rename("object 1", "tree")
    assert session.objects == ("tree", "object 2", "cat") and session.active == "tree"
    session.rename("tree", "tree")
    assert session.delete("object 2") is first and session.objects == ("tree", "cat")
    assert session.add_object() == "object 3", "a name that is free"
    assert session.delete("object 3") is session.result_of("cat") and session.active == "cat"


def test_an_object_is_independent_of_the_others() -> None:
    session = of_two()
    session.switch("object 1")
    session.click(20, 40, positive=False)
    session.switch("cat")
    session.click(55, 5)
    for name, clicks in (("object 1", [(10, 10, True), (20, 40, False)]), ("cat", [(50, 30, True), (55, 5, True)])):
        alone = NET.session(PHOTO)
        for click in clicks:
            alone.click(*click)
        assert torch.equal(alone.result.logits, session.result_of(name).logits)


def test_undo_over_objects() -> None:
    session = of_two()
    snapshots = [session.history.now]
    for change in (
        lambda: session.rename("cat", "dog"),
        lambda: session.delete("object 1"),
        lambda: session.click(3, 3),
        lambda: session.reset(),
        lambda: session.delete("dog"),
        lambda: session.add_object("last"),
    ):
        change()
        snapshots.append(session.history.now)
    assert session.objects == ("object 1", "last")
    for snapshot in reversed(snapshots[:-1]):
        session.undo()
        assert session.history.now is snapshot
    for snapshot in snapshots[1:]:
        session.redo()
        assert session.history.now is snapshot
    for _ in range(7):
        session.undo()
    assert session.objects == ("object 1", "cat") and session.interactions == ()
    session.switch("object 1")
    assert session.can_redo, "to switch the object is no change"
    assert session.redo() is session.result_of("cat") and session.active == "cat"
    session.undo(), session.undo(), session.undo()
    assert session.objects == ("object 1",) and not session.can_undo and session.result.status == "plain"


def test_the_last_object_deleted() -> None:
    session = NET.session(PHOTO)
    session.rename("object 1", "only")
    session.click(10, 10)
    assert session.delete("only").status == "plain" and session.objects == ("object 1",)
    assert session.undo().clicks == (Click(10, 10),) and session.objects == ("only",)


def test_the_label_map_by_hand() -> None:
    session = NET.session(PHOTO)
    assert not session.label_map().any() and session.label_map().dtype == np.int32
    session.click(10, 10)
    one = session.result
    assert np.array_equal(session.label_map(), one.mask.astype(int)), "one object is its mask"
    session.add_object("cat")
    assert np.array_equal(session.label_map(), one.mask.astype(int)), "the other has no interactions"
    two = session.click(50, 30)
    labels = session.label_map()
    assert set(np.unique(labels)) <= {0, 1, 2}
    assert np.array_equal(labels == 0, ~one.mask & ~two.mask)
    assert (labels[one.mask & ~two.mask] == 1).all() and (labels[two.mask & ~one.mask] == 2).all()
    both = one.mask & two.mask
    rows, columns = np.mgrid[:48, :64]
    for x, y in ((10, 10), (50, 30)):  # a hundredth of the longer side is less than a pixel here
        both &= np.hypot(columns - x, rows - y) > 1
    assert both.any(), "an overlap to be resolved"
    assert np.array_equal(
        labels[both] == 2, (two.logits_in(whole(two.size)) > one.logits_in(whole(one.size))).numpy()[both]
    )
    session.delete("object 1")
    assert np.array_equal(session.label_map(), two.mask.astype(int))


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("apart", [1, 2, 5, 40])
def test_clicked_pixels_belong_to_their_object(order: list[int], apart: int) -> None:
    """However close the clicks are, in a photo of which a hundredth is many pixels."""
    net = interactify.wrap(networks.seeded(networks.Plain), resolution=64, zoom=False)
    session = net.session(networks.random_photo(300, 400))
    spots = [(200, 150), (200 + apart, 150)]
    for k in order:
        session.add_object(f"own {k}")
        assert session.click(*spots[k]).satisfied
    labels = session.label_map()
    for k, (x, y) in enumerate(spots):
        assert session.objects[labels[y, x] - 1] == f"own {k}"
    if apart == 40:
        assert (labels[148:153, 198:203][session.result_of("own 0").mask[148:153, 198:203]] == labels[150, 200]).all()


def test_painted_pixels_belong_to_their_object() -> None:
    session = NET.session(PHOTO)
    session.add([Click(10, 10), Paint(((40, 20), (40, 30)), 5, True)])
    session.add_object("cat")
    session.add([Box(35, 15, 60, 40), Click(45, 25)])
    labels = session.label_map()
    assert session.result.mask[25, 45] and labels[25, 45] == 2
    assert (labels[22:28, 39:42] == 1).all()
    session.add([Paint(((45, 25),), 3)])
    assert labels[25, 45] == 2 and session.label_map()[25, 45] != 2, "erased"


@pytest.mark.parametrize("name", ["", "  ", None, 3, "a\nb", "x" * 201, "cat"], ids=repr)
def test_invalid_names(name: Any) -> None:
    session = of_two()
    before = session.history
    if name is not None:
        with pytest.raises(InteractionError):
            session.add_object(name)
    with pytest.raises(InteractionError):
        session.rename("object 1", name)
    assert session.history is before


@pytest.mark.parametrize("name", ["dog", "", None, 0, ["cat"], np.array(["cat"])], ids=repr)
def test_unknown_objects(name: Any) -> None:
    session = of_two()
    before = session.history
    for call in (session.switch, session.delete, session.result_of, session.interactions_of):
        with pytest.raises(InteractionError, match="one of 'object 1', 'cat'; got"):
            call(name)
    with pytest.raises(InteractionError, match="Expected the name of an object"):
        session.rename(name, "new")
    with pytest.raises(OptionError):
        session.add_object("new", target=7)
    with pytest.raises(OptionError, match="one class only"):
        session.class_map()
    assert session.history is before


SHAPE = np.zeros((48, 64), bool)
SHAPE[10:30, 20:50] = True


@pytest.mark.parametrize("classes", [1, 4])
def test_saved_with_all_interactions(classes: int, tmp_path: Path) -> None:
    """Masks, paint, boxes, lassos, scribbles and objects of other classes: the next mask is the identical one."""
    net = interactify.wrap(
        networks.seeded(lambda: networks.Plain(classes=classes)), max_evaluations=6, resolution=64, zoom=True
    )
    session = net.session(PHOTO)
    session.add([Mask(SHAPE), Click(25, 15, False)])
    session.click(40, 20)
    session.add_object("boxed", target=classes - 1)
    session.add([Box(5, 5, 30, 25)])
    session.add([Scribble(((8, 8), (20, 20)), width=5, weight=2), Paint(((10, 20), (15, 20)), 3)])
    session.add_object("lassoed", target="clicked")
    session.add([Lasso(((30, 10), (60, 10), (45, 40))), Click(45, 20)])
    if classes > 1:
        session.click(3, 40, label=2)
    session.undo()
    session.rename("boxed", "box")
    session.add_object("empty")
    again = interactify.load_session(session.save(tmp_path / "s.npz"), net, PHOTO)
    assert again.objects == session.objects and again.active == "empty" and again.log() == session.log()
    assert np.array_equal(again.label_map(), session.label_map())
    for name in session.objects:
        one, two = session.switch(name), again.switch(name)
        for _ in range(2):
            assert torch.equal(one.logits, two.logits) and torch.equal(
                one.displayed.read(whole(one.size)), two.displayed.read(whole(two.size))
            )
            assert np.array_equal(one.mask, two.mask) and np.array_equal(one.changed, two.changed)
            assert (one.overruled, one.unsatisfied, one.status) == (two.overruled, two.unsatisfied, two.status)
            one, two = (each.add([Click(22, 12), Scribble(((5, 40), (60, 40)), False)]) for each in (session, again))
    while session.can_undo:
        assert np.array_equal(session.undo().mask, again.undo().mask) and session.objects == again.objects
    assert not again.can_undo


def test_a_session_for_the_clicked_class_on_a_network_wrapped_for_one(tmp_path: Path) -> None:
    net = interactify.wrap(networks.seeded(lambda: networks.Plain(classes=4)), max_evaluations=3, target=2)
    session = net.session(PHOTO, target="clicked")
    session.click(10, 10)
    again = interactify.load_session(session.save(tmp_path / "s.npz"), net, PHOTO)
    assert torch.equal(again.click(40, 20).logits, session.click(40, 20).logits)
