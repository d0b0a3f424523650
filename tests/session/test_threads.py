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
    """What each function returns, all started at the same time in threads; raises what one of them raises."""
    found: list[Any] = [None] * len(works)
    failed: list[BaseException] = []
    start = threading.Barrier(len(works))

    def run(index: int) -> None:
        start.wait()
        try:
            found[index] = works[index]()
        except BaseException as cause:
            failed.append(cause)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a thread waits forever"
    if failed:
        raise failed[0]
    return found


def random_clicks(count: int, seed: int) -> list[Click]:
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
def test_twenty_clicks_each_give_what_they_give_alone(kind: str) -> None:
    net = NETS[kind]()

    def play(which: int) -> list[tuple[bytes, bytes]]:
        session, results = net.session(PHOTOS[which]), []
        for click in random_clicks(20, seed=which):
            result = session.click(click.x, click.y, positive=not session.result.mask[int(click.y), int(click.x)])
            results.append((result.mask.tobytes(), result.probability.tobytes()))
        return results

    alone = [play(0), play(1)]
    assert together(lambda: play(0), lambda: play(1)) == alone
    assert len(set(alone[0])) > 10 and len(set(alone[1])) > 10, "the clicks change something"


# ---- one session, several threads ------------------------------------------------------------------------------------


class Paused:
    """Replaces what runs a session's evaluations: pauses within one of them until `resume` is set."""

    def __init__(self, session: Session, at: int) -> None:
        self.run, self.at, self.count = session.refiner.passes, at, 0
        self.reached, self.resume = threading.Event(), threading.Event()
        session.refiner.passes = self  # type: ignore[assignment]

    def __call__(self, *args: Any) -> Any:
        self.count += 1
        logits = self.run(*args)
        if self.count == self.at:
            self.reached.set()
            assert self.resume.wait(30)
        return logits


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "the condition was never true"
        time.sleep(0.001)


def a_net(evaluations: int = 8) -> interactify.Interactive:
    return interactify.wrap(networks.seeded(networks.Plain), max_evaluations=evaluations)


def interrupted(session: Session, interactions: Sequence[Interaction], other: Callable[[], Any], at: int = 1) -> Result:
    """The result of added interactions, when another thread makes a change in their `at`-th evaluation."""
    paused = Paused(session, at)
    found: list[Result] = []
    one = threading.Thread(target=lambda: found.append(session.add(interactions)))
    one.start()
    assert paused.reached.wait(30)
    two = threading.Thread(target=other)
    two.start()
    wait_until(lambda: len(session.control.turns._queue) == 2)
    paused.resume.set()
    one.join(30)
    two.join(30)
    return found[0]


def superseded(net: interactify.Interactive, first: Sequence[Interaction], at: int) -> tuple[Result, Result]:
    """The results of added interactions, and of a click that comes in their `at`-th evaluation."""
    session = net.session(LARGER)
    result = interrupted(session, first, lambda: session.click(3, 3), at)
    assert session.interactions == (*first, Click(3, 3)), "superseded interactions stay"
    return result, session.result


def evaluations_of(net: interactify.Interactive, interactions: Sequence[Interaction]) -> int:
    session = net.session(LARGER)
    paused = Paused(session, -1)
    session.add(interactions)
    return paused.count


def test_a_superseded_result_does_not_depend_on_when() -> None:
    """It is that of the first evaluation, and the newer result does not depend on it either."""
    net, plain = a_net(), a_net().session(LARGER).result.mask
    wrong = next(click for click in random_clicks(99, seed=5) if plain[int(click.y), int(click.x)] != click.positive)
    interactions = [wrong, *random_clicks(3, seed=6)]
    once = a_net(evaluations=1).session(LARGER).add(interactions)
    count = evaluations_of(net, interactions)
    assert count > 3
    newer = set()
    for at in range(1, count):
        first, second = superseded(net, interactions, at)
        assert first.status == "superseded" and second.status != "superseded"
        assert first.mask.tobytes() == once.mask.tobytes()
        assert first.probability.tobytes() == once.probability.tobytes()
        newer.add(second.probability.tobytes())
    assert len(newer) == 1


def test_a_superseded_box_does_not_depend_on_when() -> None:
    """A box without an object is refined again with its centre: the newer click may come in either refinement."""
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
    found = {superseded(net, [several], at)[0].probability.tobytes() for at in range(1, count)}
    assert len(found) == 1
    assert evaluations_of(once, [several]) == 2, "it is refined twice"


def test_the_order_of_arrival_is_kept() -> None:
    session, clicks = a_net(2).session(PHOTOS[0]), random_clicks(12, seed=3)
    with session.control.turns.acquire():  # all of them wait for this
        threads = []
        for index, click in enumerate(clicks):
            threads.append(threading.Thread(target=session.add, args=([click],)))
            threads[-1].start()
            wait_until(lambda index=index: len(session.control.turns._queue) == index + 2)
    for thread in threads:
        thread.join(30)
    assert session.interactions == tuple(clicks)
    statuses = [step.result.status for step in session.steps]
    assert set(statuses[:-1]) <= {"superseded", "done"} and statuses[-1] != "superseded"


def test_forty_clicks_from_four_threads() -> None:
    """All stay, each refined or superseded, while a fifth thread previews; the log replays to the same masks."""
    net = a_net(4)
    session = net.session(PHOTOS[0])
    shares = [random_clicks(40, seed=4)[k::4] for k in range(4)]
    ended = threading.Event()

    def add_all(share: list[Click]) -> list[Result]:
        return [session.add([click]) for click in share]

    def look() -> int:
        count = 0
        while not ended.is_set():
            preview = session.preview()
            assert preview.mask.shape == SIZE and np.isfinite(preview.probability).all()
            count += preview.status == "preview"
        return count

    def adding() -> list[list[Result]]:
        try:
            return together(*[lambda share=share: add_all(share) for share in shares])
        finally:
            ended.set()

    results, previews = together(adding, look)
    interactions = session.interactions
    assert len(interactions) == 40 and set(interactions) == {click for share in shares for click in share}
    for share, answers in zip(shares, results, strict=True):
        assert [click for click in interactions if click in share] == share, "each thread's clicks in its own order"
        assert all(answer.constraints.interactions[-1] == click for click, answer in zip(share, answers, strict=True))
    assert any(answer.status == "superseded" for answers in results for answer in answers)
    assert previews, "there were previews during the refinement"
    assert session.result.status != "superseded", "nothing superseded the last one"
    assert np.array_equal(
        interactify.replay(session.log(), net, PHOTOS[0]).result.probability, session.result.probability
    )


def test_undo_and_redo_from_other_threads() -> None:
    net = a_net(4)
    session = net.session(PHOTOS[0])

    def add_all(share: list[Click]) -> None:
        for click in share:
            session.add([click])

    def undo_and_redo(seed: int) -> None:
        random = Random(seed)
        for _ in range(15):
            random.choice([session.undo, session.redo, session.undo, lambda: session.label_map()])()

    clicks = random_clicks(20, seed=7)
    together(
        lambda: add_all(clicks[::2]), lambda: add_all(clicks[1::2]), lambda: undo_and_redo(1), lambda: undo_and_redo(2)
    )
    assert set(session.interactions) <= set(clicks) and len(set(session.interactions)) == len(session.interactions)
    for snapshot in session.history.snapshots:
        stages = [step.interactions for step in snapshot.track.steps]
        assert all(len(after) == len(before) + 1 and after[:-1] == before for before, after in pairwise(stages))
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


def test_a_change_of_no_interaction_waits() -> None:
    """A new name does not supersede a click: it is refined in full. Undo does."""
    session = a_net().session(PHOTOS[0])
    interactions = random_clicks(4, seed=6)
    assert interrupted(session, interactions, lambda: session.rename("object 1", "cat")).status != "superseded"
    assert session.objects == ("cat",) and session.interactions == tuple(interactions)
    session.reset()
    assert interrupted(session, interactions, session.undo).status == "superseded"
    assert session.interactions == ()


def test_a_late_result_is_dropped_after_a_restart() -> None:
    session = a_net().session(PHOTOS[0])
    interrupted(session, random_clicks(4, seed=6), session.restart)
    assert session.interactions == () and not session.can_undo


def test_a_class_map_waits_for_the_refinement() -> None:
    """It runs the network for the current clicks, while a refinement caches passes for its own clicks."""
    model = networks.seeded(lambda: networks.Plain(classes=3))
    net = interactify.wrap(model, variables="kernels", max_evaluations=4)
    session, interactions, maps = net.session(PHOTOS[0]), random_clicks(4, seed=6), []
    result = interrupted(session, interactions, lambda: maps.append(session.class_map()))
    assert result.status != "superseded"
    assert np.array_equal(result.probability, net.session(PHOTOS[0]).add(interactions).probability)
    assert np.array_equal(maps[0], session.class_map()), "it is that of the refined clicks"
