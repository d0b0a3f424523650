"""The recorded sessions that go through a history: undo and objects, saved files and logs, tiles.

Only public names are used: where the modules lie may change.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import interactify
from benchmarks.recorded_photos import CLICKS, FEW, NAMES, add, case, drawn, photo, played, tiny, zoo
from interactify import Box, Click, Interactive, Lasso, Mask, Paint, Scribble, Session, Window

if TYPE_CHECKING:
    from benchmarks.recorded_sessions import Recording


# ---- history, objects, files -----------------------------------------------------------------------------------------


def _kept_state(kept: Recording, session: Session) -> None:
    kept.keep(
        "state",
        objects=session.objects,
        active=session.active,
        interactions=[[each.to_json() for each in session.interactions_of(name)] for name in session.objects],
        can_undo=session.can_undo,
        can_redo=session.can_redo,
        labels=session.label_map(),
    )


@case("history undo, redo, reset, restart")
def _(kept: Recording) -> None:
    session = played(kept, zoo(), photo(), *CLICKS[:3])
    for name in ("undo", "undo", "redo", "undo", "undo", "undo", "redo", "reset", "undo", "redo", "undo", "restart"):
        kept.result(name, getattr(session, name)())
        _kept_state(kept, session)
    add(kept, session, CLICKS[1])
    kept.result("preview", session.preview())


@case("history remove and move")
def _(kept: Recording) -> None:
    session = played(kept, zoo(), photo("cat"), *CLICKS, Paint([(20, 20)], width=15))
    kept.result("remove", session.remove(1))
    kept.result("move", session.move(1, 110, 70))
    kept.result("remove the last", session.remove(-1))
    kept.result("undo", session.undo())
    kept.result("move", session.move(0, 85, 65))
    kept.keep("log", text=session.log())


@case("history refused interactions")
def _(kept: Recording) -> None:
    session = played(kept, tiny(3), drawn(), FEW[0], target=1)
    wrong = [Click(96, 5), Click(float("nan"), 2), Scribble([]), Box(50, 10, 20, 30), Lasso([(1, 1), (5, 5)])]
    wrong += [Mask(np.zeros((3, 3), bool)), Click(4, 4, label=7), Click(4, 4, label="cup"), Paint([(1, 1)], width=0)]
    attempts: list[Callable[[], object]] = [partial(session.add, [each]) for each in wrong]
    attempts += [partial(session.remove, 9), partial(session.switch, "none"), partial(session.add_object, "object 1")]
    for attempt in attempts:
        try:
            attempt()
        except interactify.InteractifyError as error:
            kept.keep("refused", kind=type(error).__name__)
    _kept_state(kept, session)
    kept.result("after", session.result)


def _several_objects(session: Session) -> None:
    session.add([Click(45, 60), Click(5, 5, False)])
    session.rename("object 1", "cup")
    session.add_object("spoon")
    session.add([Box(70, 20, 150, 110), Click(110, 60)])
    session.add_object()
    session.click(20, 110)
    session.add([Paint([(20, 90), (60, 90)], width=9, positive=True)])


@case("objects added, renamed, switched, deleted")
def _(kept: Recording) -> None:
    session = zoo().session(photo())
    _several_objects(session)
    _kept_state(kept, session)
    kept.result("switch", session.switch("cup"))
    add(kept, session, Click(60, 70))
    kept.keep("log", text=session.log())
    kept.result("delete", session.delete("spoon"))
    _kept_state(kept, session)
    kept.result("undo", session.undo())
    _kept_state(kept, session)
    kept.result("of another", session.result_of("spoon"))
    kept.result("reset", session.reset())
    for name in session.objects:
        kept.result("delete", session.delete(name))
    _kept_state(kept, session)


@case("objects of classes")
def _(kept: Recording) -> None:
    session = tiny(5, class_names=NAMES).session(drawn())
    for name, target, click in (
        ("my cup", "cup", FEW[0]),
        ("your spoon", "spoon", FEW[2]),
        ("any", None, Click(5, 50)),
    ):
        session.add_object(name, target)
        add(kept, session, click)
    _kept_state(kept, session)
    kept.keep("log", text=session.log())


def _saved(kept: Recording, net: Interactive, picture: Any, *more: Any, **options: Any) -> None:
    session = net.session(picture, **options)
    _several_objects(session)
    add(kept, session, *more)
    session.undo()
    path = session.save(kept.folder / "session.npz")
    kept.saved("saved", path)
    again = interactify.load_session(path, net, picture)
    _kept_state(kept, again)
    kept.result("loaded", again.result)
    for each in (session, again):
        kept.result("redo", each.redo())
        kept.result("click", each.click(30, 30))
    kept.saved("saved again", again.save(kept.folder / "again.npz"))


@case("saved and loaded, zoo")
def _(kept: Recording) -> None:
    mask = np.zeros((120, 160), bool)
    mask[20:90, 30:99] = True
    _saved(kept, zoo(), photo(), Click(100, 100), Mask(mask), Click(44, 88, False))


@case("saved and loaded, scale_bias@B")
def _(kept: Recording) -> None:
    _saved(kept, zoo(variables="scale_bias@B", energy="fbrs", zoom=False), photo("cat"), Click(100, 100))


@case("saved and loaded, classes")
def _(kept: Recording) -> None:
    _saved(kept, tiny(5, class_names=NAMES), photo(), Click(100, 100, label="wall"), Click(9, 9, label=2), target="cup")


@case("log and replay")
def _(kept: Recording) -> None:
    net, scene = zoo(), photo()
    session = net.session(scene)
    _several_objects(session)
    kept.keep("log", text=session.log())
    (kept.folder / "log.jsonl").write_text(session.log())
    for log, other in ((session.log(), net), (kept.folder / "log.jsonl", tiny())):
        again = interactify.replay(log, other, scene)
        _kept_state(kept, again)
        for name in again.objects:
            kept.result("replayed", again.switch(name))
        kept.keep("log", text=again.log())


@case("interactions as JSON")
def _(kept: Recording) -> None:
    mask = np.zeros((64, 96), bool)
    mask[10:40, 20:60] = True
    every = [
        *FEW,
        Click(3, 4, False, "cup"),
        Scribble([(1, 2), (30, 4)], False, 3, 2, label=1),
        Paint([(5, 5)], 4, True),
    ]
    every += [Box(3, 4, 60, 50), Lasso([(5, 5), (60, 9), (30, 60)]), Mask(mask)]
    again = [interactify.interaction_from_json(each.to_json()) for each in every]
    kept.keep("written", json=[each.to_json() for each in every], equal=again == every)
    add(kept, tiny(3).session(drawn(), target=0), again[0], again[4], again[6], again[8], again[5])


# ---- tiles -----------------------------------------------------------------------------------------------------------


@case("tiles, zoo")
def _(kept: Recording) -> None:
    scene = np.concatenate([photo(), photo("cat")], 1)
    session = zoo(resolution=96).session(scene, tile=96)
    kept.keep("window", mask=session.result.mask_in(Window(10, 70, 50, 90)))
    kept.result("before", session.result)
    add(kept, session, Click(60, 60), Click(8, 8, False), Click(250, 60), Box(150, 5, 310, 110), Click(240, 90))
    kept.keep("window", probability=session.result.probability_in(Window(3, 5, 100, 200), 4))
    kept.saved("saved", session.save(kept.folder / "tiles.npz"))
    again = interactify.load_session(kept.folder / "tiles.npz", session.net, scene)
    kept.result("loaded, click", again.click(100, 30, False))
    kept.keep("log", text=again.log())


@case("tiles, classes, on disk")
def _(kept: Recording) -> None:
    shape = (120, 160, 3)
    scene = np.lib.format.open_memmap(kept.folder / "photo.npy", mode="w+", dtype=np.uint8, shape=shape)
    scene[:] = photo("astronaut")
    session = played(kept, tiny(5), scene, Click(60, 60), Click(120, 60, label=2), Click(90, 10, False), tile=64)
    kept.keep("classes", map=session.class_map())
