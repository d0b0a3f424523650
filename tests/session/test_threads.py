"""Several threads: on sessions of their own over one network, and all on one session, where the newest goes first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest

import interactify
from interactify.interactions.click import Click, Interaction
from interactify.network.variables import StemKernels
from interactify.refinement.result import Result
from interactify.session.session import Session
from tests.fixtures import networks

SIZE = 24, 32
PHOTOS = [networks.random_photo(*SIZE, seed=seed) for seed in (1, 2)]
LARGER = networks.random_photo(32, 48, seed=1)


def together(*works: Callable[[], Any]) -> list[Any]:
    """What each returns, all begun at the same time, a thread for each; raises what one of them raises."""
    found: list[Any] = [None] * len(works)
    failed: list[BaseException] = []
    start = threading.Barrier(len(works))

    def run(place: int) -> None:
        start.wait()
        try:
            found[place] = works[place]()
        except BaseException as cause:
            failed.append(cause)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a thread waits for ever"
    if failed:
        raise failed[0]
    return found


def places(count: int, seed: int) -> list[Click]:
    random = Random(seed)
    cells = random.sample(range(SIZE[0] * SIZE[1]), count)
    return [Click(cell % SIZE[1], cell // SIZE[1], random.random() < 0.6) for cell in cells]


# ---- one network, a session for each thread --------------------------------------------------------------------------


def dropping() -> networks.Stateful:
    model = networks.Stateful()
    model.train(False)
    model.drop.train(True)
    return model


NETS: dict[str, Callable[[], interactify.Interactive]] = {
    "plain": lambda: interactify.wrap(networks.seeded(networks.Plain), max_evaluations=2),
    "dropout": lambda: interactify.wrap(networks.seeded(dropping, evaluating=False), max_evaluations=2),
    "kernels": lambda: interactify.wrap(
        networks.seeded(networks.Plain), variables=StemKernels(sigmas=(4.0,)), max_evaluations=2
    ),
}


@pytest.mark.parametrize("kind", NETS)
def test_fifty_clicks_each_give_what_they_give_alone(kind: str) -> None:
    net = NETS[kind]()

    def play(which: int) -> list[tuple[bytes, bytes]]:
        session, seen = net.session(PHOTOS[which]), []
        for click in places(50, seed=which):
            result = session.add([click])
            seen.append((result.mask.tobytes(), result.probability.tobytes()))
        return seen

    alone = [play(0), play(1)]
    assert together(lambda: play(0), lambda: play(1)) == alone
    assert len(set(alone[0])) > 25 and len(set(alone[1])) > 25, "the clicks change something"


# ---- one session, several threads ------------------------------------------------------------------------------------


class Paused:
    """In the place of what runs a session's evaluations: waits within one of them until it is let go on."""

    def __init__(self, session: Session, at: int) -> None:
        self.run, self.at, self.count = session.refiner.passes, at, 0
        self.there, self.on = threading.Event(), threading.Event()
        session.refiner.passes = self  # type: ignore[assignment]

    def __call__(self, *args: Any) -> Any:
        self.count += 1
        logits = self.run(*args)
        if self.count == self.at:
            self.there.set()
            assert self.on.wait(30)
        return logits


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def a_net(evaluations: int = 8) -> interactify.Interactive:
    return interactify.wrap(networks.seeded(networks.Plain), max_evaluations=evaluations)


def meanwhile(session: Session, said: Sequence[Interaction], other: Callable[[], Any], at: int = 1) -> Result:
    """What comes back of something that is said, when another thread comes in its `at`-th evaluation."""
    paused = Paused(session, at)
    found: list[Result] = []
    one = threading.Thread(target=lambda: found.append(session.add(said)))
    one.start()
    assert paused.there.wait(30)
    two = threading.Thread(target=other)
    two.start()
    until(lambda: len(session.control.turns._queue) == 2)
    paused.on.set()
    one.join(30)
    two.join(30)
    return found[0]


def superseded(net: interactify.Interactive, first: Sequence[Interaction], at: int) -> tuple[Result, Result]:
    """What comes back of something whose refinement a click meets in its `at`-th evaluation, and of that click."""
    session = net.session(LARGER)
    result = meanwhile(session, first, lambda: session.click(3, 3), at)
    assert session.interactions == (*first, Click(3, 3)), "what was said stays said"
    return result, session.result


def evaluations_of(net: interactify.Interactive, said: Sequence[Interaction]) -> int:
    session = net.session(LARGER)
    paused = Paused(session, -1)
    session.add(said)
    return paused.count


def test_what_is_superseded_does_not_hang_on_when() -> None:
    """It shows what one evaluation gives, and so does what is answered together with the newer click."""
    net, plain = a_net(), a_net().session(LARGER).result.mask
    wrong = next(click for click in places(99, seed=5) if plain[int(click.y), int(click.x)] != click.positive)
    said = [wrong, *places(3, seed=6)]
    once = a_net(evaluations=1).session(LARGER).add(said)
    count = evaluations_of(net, said)
    assert count > 3
    newer = set()
    for at in range(1, count):
        first, second = superseded(net, said, at)
        assert first.status == "superseded" and second.status != "superseded"
        assert first.mask.tobytes() == once.mask.tobytes()
        assert first.probability.tobytes() == once.probability.tobytes()
        newer.add(second.probability.tobytes())
    assert len(newer) == 1


def test_a_box_that_is_superseded_does_not_hang_on_when() -> None:
    """Where nothing is found in a box it is asked again, with its middle: the newer click may come in either pass."""
    net = a_net()
    mask = net.session(LARGER).result.mask
    boxes = [
        interactify.Box(x, y, x + 5, y + 5)
        for y in range(1, 25)
        for x in range(1, 41)
        if not mask[y - 1 : y + 7, x - 1 : x + 7].any()
    ]
    once, several = a_net(evaluations=1), next(box for box in boxes if evaluations_of(net, [box]) > 4)
    count = evaluations_of(net, [several])
    seen = {superseded(net, [several], at)[0].probability.tobytes() for at in range(1, count)}
    assert len(seen) == 1
    assert evaluations_of(once, [several]) == 2, "it is asked twice"


def test_the_order_of_arrival_is_kept() -> None:
    session, clicks = a_net(2).session(PHOTOS[0]), places(12, seed=3)
    with session.control.turns.acquire():  # nobody comes before all are there
        threads = []
        for place, click in enumerate(clicks):
            threads.append(threading.Thread(target=session.add, args=([click],)))
            threads[-1].start()
            until(lambda place=place: len(session.control.turns._queue) == place + 2)
    for thread in threads:
        thread.join(30)
    assert session.interactions == tuple(clicks)
    statuses = [step.result.status for step in session.steps]
    assert set(statuses[:-1]) <= {"superseded", "done"} and statuses[-1] != "superseded"


def test_forty_clicks_from_four_threads() -> None:
    """All are kept, each answered or superseded, while a fifth thread previews and what is left replays the same."""
    net = a_net(4)
    session = net.session(PHOTOS[0])
    shares = [places(40, seed=4)[k::4] for k in range(4)]
    ended = threading.Event()

    def say(share: list[Click]) -> list[Result]:
        return [session.add([click]) for click in share]

    def look() -> int:
        count = 0
        while not ended.is_set():
            seen = session.preview()
            assert seen.mask.shape == SIZE and np.isfinite(seen.probability).all()
            count += seen.status == "preview"
        return count

    def saying() -> list[list[Result]]:
        try:
            return together(*[lambda share=share: say(share) for share in shares])
        finally:
            ended.set()

    results, previews = together(saying, look)
    said = session.interactions
    assert len(said) == 40 and set(said) == {click for share in shares for click in share}
    for share, answers in zip(shares, results, strict=True):
        assert [click for click in said if click in share] == share, "each thread's clicks in its own order"
        assert all(answer.constraints.interactions[-1] == click for click, answer in zip(share, answers, strict=True))
    assert any(answer.status == "superseded" for answers in results for answer in answers)
    assert previews, "some were seen while it was refined"
    assert session.result.status != "superseded", "the last one made way for nobody"
    assert np.array_equal(
        interactify.replay(session.log(), net, PHOTOS[0]).result.probability, session.result.probability
    )


def test_undo_and_redo_from_other_threads() -> None:
    net = a_net(4)
    session = net.session(PHOTOS[0])

    def say(share: list[Click]) -> None:
        for click in share:
            session.add([click])

    def waver(seed: int) -> None:
        random = Random(seed)
        for _ in range(15):
            random.choice([session.undo, session.redo, session.undo, lambda: session.label_map()])()

    clicks = places(20, seed=7)
    together(lambda: say(clicks[::2]), lambda: say(clicks[1::2]), lambda: waver(1), lambda: waver(2))
    assert set(session.interactions) <= set(clicks) and len(set(session.interactions)) == len(session.interactions)
    for snapshot in session.history.snapshots:
        said = [step.interactions for step in snapshot.track.steps]
        assert all(len(after) == len(before) + 1 and after[:-1] == before for before, after in pairwise(said))
    assert np.array_equal(
        interactify.replay(session.log(), net, PHOTOS[0]).result.probability, session.result.probability
    )
    last, depth = session.result, len(session.history.past)
    while session.can_undo:
        session.undo()
    assert session.interactions == () and session.result is session.initial_step.result
    for _ in range(depth):
        session.redo()
    assert session.result is last


def test_what_changes_nothing_that_was_said_waits() -> None:
    """A new name makes no click moot: it is answered in full. One that is taken back is not."""
    session = a_net().session(PHOTOS[0])
    said = places(4, seed=6)
    assert meanwhile(session, said, lambda: session.rename("object 1", "cat")).status != "superseded"
    assert session.objects == ("cat",) and session.interactions == tuple(said)
    session.reset()
    assert meanwhile(session, said, session.undo).status == "superseded"
    assert session.interactions == ()


def test_a_late_result_is_dropped_where_the_session_began_anew() -> None:
    session = a_net().session(PHOTOS[0])
    meanwhile(session, places(4, seed=6), session.restart)
    assert session.interactions == () and not session.can_undo


def test_a_class_map_waits_for_what_is_refined() -> None:
    """It runs the network too, but for the clicks that hold, where a refinement keeps what is made for its own."""
    model = networks.seeded(lambda: networks.Plain(classes=3))
    net = interactify.wrap(model, variables="kernels", max_evaluations=4)
    session, said, maps = net.session(PHOTOS[0]), places(4, seed=6), []
    result = meanwhile(session, said, lambda: maps.append(session.class_map()))
    assert result.status != "superseded"
    assert np.array_equal(result.probability, net.session(PHOTOS[0]).add(said).probability)
    assert np.array_equal(maps[0], session.class_map()), "it is that of the clicks that it waited for"
